"""Faults of connections: cut, held, delayed, throttled, through the proxies."""

import time

from proxy import DIRECTIONS
from stage import NODES, NotInjected

# Within this a node must notice that it hears nothing, and say so.
NOTICED_WITHIN = 30.0


def listener_port(stage, name):
    """The port, as PostgreSQL sees it, of the connection on which a node listens."""
    rows = stage.cluster.query("chaos", """
        SELECT client_port FROM pg_stat_activity
        WHERE application_name = %s AND query ~ 'event_service.status|advance|event_service_probe'
        """, [name])
    return rows[0][0] if rows else None


def hold_listener(stage, node, fault):
    """Holds what PostgreSQL says to the listener, until /readyz tells."""
    link = f"{node.name}-database"
    stage.wait_ready(node)
    port = stage.wait_for("a listener is found", lambda: listener_port(stage, node.name), 10)
    # A node that has noticed shall not be well again before anybody looks.
    stage.proxy.ask("refuse", link, True)
    held = time.monotonic()
    if not stage.proxy.ask("hold_one", link, "down", port, True):
        stage.proxy.heal(link)
        raise NotInjected(fault, "the connection was gone")
    stage.wait_for(
        f"{node.name} notices that it is half-dead",
        lambda: stage.monitor.unready_after(node, held), NOTICED_WITHIN + 30)
    seconds = stage.monitor.unready_after(node, held)
    reasons = stage.monitor.reasons_since(node, held)
    # What PostgreSQL holds for it is let go as well: the connection is dead for good.
    stage.proxy.heal(link)
    stage.proxy.ask("cut", link)
    if seconds is None or seconds > NOTICED_WITHIN:
        stage.violations.add("readyz", f"{node.name} noticed after {seconds} s")
    stage.injected(
        fault, f"{node.name}; not ready ({', '.join(reasons)}) after {seconds or -1:.1f} s")


def half_dead_follower(stage):
    """A node whose listener hears nothing, though its connection stands."""
    node = stage.other_node(stage.wait_for_pump()[0])
    with stage.impaired(node):
        hold_listener(stage, node, "half-dead listener")
        stage.wait_ready(node)


def half_dead_pump(stage):
    """The same for the node that sequences: the others have to notice as well."""
    node = stage.nodes[stage.wait_for_pump()[0]]
    with stage.impaired(node):
        threads = stage.background(stage.canary)
        hold_listener(stage, node, "half-dead listener of the pumping node")
        for thread in threads:
            thread.join()
    stage.settle()


def blackhole(stage):
    """Nothing passes between a node and PostgreSQL, and nobody is told."""
    node = stage.other_node(stage.wait_for_pump()[0])
    link = f"{node.name}-database"
    stage.wait_ready(node)
    with stage.impaired(node):
        connections = stage.proxy.ask("rule", link, DIRECTIONS, hold=True)
        began = time.monotonic()
        stage.wait_for(
            f"{node.name} notices that it is cut off",
            lambda: stage.monitor.unready_after(node, began), NOTICED_WITHIN + 30)
        seconds = stage.monitor.unready_after(node, began)
        if seconds is None or seconds > NOTICED_WITHIN:
            stage.violations.add("readyz", f"{node.name} noticed after {seconds} s")
        stage.proxy.heal(link)
        healed = time.monotonic()
        stage.wait_ready(node)
    stage.injected(
        "node and PostgreSQL blackholed",
        f"{node.name}, {connections} connections; not ready after {seconds or -1:.1f} s, ready"
        f" {time.monotonic() - healed:.1f} s after it healed")


def blackhole_all(stage):
    """No node reaches PostgreSQL."""
    stage.wait_ready()
    for name in NODES:
        stage.proxy.ask("rule", f"{name}-database", DIRECTIONS, hold=True)
    began = time.monotonic()
    for node in stage.nodes.values():
        stage.wait_for(
            f"{node.name} notices that it is cut off",
            lambda node=node: stage.monitor.unready_after(node, began), NOTICED_WITHIN + 30)
    waiting = stage.inbox()
    for name in NODES:
        stage.proxy.heal(f"{name}-database")
    healed = time.monotonic()
    stage.settle()
    stage.injected(
        "all nodes and PostgreSQL blackholed",
        f"{waiting} events waited, all delivered {time.monotonic() - healed:.1f} s after it healed")


def cut_database(stage):
    """All connections of all sound nodes to PostgreSQL end at once, several times."""
    cut = 0
    for _ in range(3):
        for name in stage.sound_nodes():
            cut += stage.proxy.ask("cut", f"{name}-database", reset=stage.random.random() < 0.5)
        time.sleep(stage.random.uniform(0.05, 0.7))
    began = time.monotonic()
    stage.canary()
    fault = "connections to PostgreSQL cut"
    if not cut:
        raise NotInjected(fault, "there was no connection")
    stage.injected(
        fault, f"{cut} connections, all delivered {time.monotonic() - began:.1f} s later")


def cut_one_direction(stage):
    """For a while PostgreSQL hears a node that does not hear PostgreSQL, then the reverse."""
    node = stage.other_node(stage.wait_for_pump()[0])
    link = f"{node.name}-database"
    for direction in DIRECTIONS:
        connections = stage.proxy.ask("rule", link, [direction], hold=True)
        time.sleep(stage.settings.one_way_seconds)
        stage.proxy.ask("rule", link, [direction], hold=False)
    stage.canary()
    stage.injected(
        "one direction to PostgreSQL held, then the other",
        f"{node.name}, {connections} connections, {stage.settings.one_way_seconds} s each")


def delay_database(stage):
    """A slow way between the pumping node and PostgreSQL."""
    name, _, _ = stage.wait_for_pump()
    link = f"{name}-database"
    stage.proxy.ask("rule", link, DIRECTIONS, delay=0.15)
    seconds = stage.canary()
    stage.proxy.ask("rule", link, DIRECTIONS, delay=0.02, rate=1_000_000)
    time.sleep(stage.settings.delay_seconds)
    queued = stage.proxy.ask("stats", link)["queued"]
    stage.proxy.heal(link)
    healed = stage.canary()
    stage.injected(
        "connection to PostgreSQL delayed and throttled",
        f"{name}, an event took {seconds or -1:.2f} s with 300 ms a round trip,"
        f" {healed or -1:.2f} s afterwards; {queued} bytes were held back")


def slow_clients(stage):
    """Clients of one node get little, those of another nothing."""
    one = stage.other_node()
    other = stage.other_node(one.name, *(n.name for n in stage.nodes.values() if n.is_stopped))
    stage.together(
        lambda stage: throttle_clients(stage, one), lambda stage: hold_clients(stage, other))


def slow_links(stage):
    """Three links, three ways in which one can be bad."""
    stage.together(delay_database, slow_clients)


def cut_clients(stage):
    """Connections of clients end at any byte."""
    cut = 0
    for _ in range(8):
        for name in NODES:
            cut += stage.clients.ask(
                "cut", name, share=0.5, reset=stage.random.random() < 0.5)
        time.sleep(stage.random.uniform(0.05, 0.5))
    stage.canary()
    fault = "connections of clients cut"
    if not cut:
        raise NotInjected(fault, "there was no connection")
    stage.injected(fault, f"{cut} connections, each resumed by its reader")


def hold_clients(stage, node):
    """Clients hear nothing and are not told; without a heartbeat they go to another node."""
    name = f"proxied {node.name}"

    def reader():
        return stage.checker.ask("status", [name])["readers"][name]

    stage.wait_for(f"{name} has its stream", lambda: reader()["is_open"])
    before = reader()["silences"]
    connections = stage.clients.ask("rule", node.name, ["down"], hold=True)
    began = time.monotonic()
    stage.wait_for("clients notice", lambda: reader()["silences"] > before, 20)
    seconds = time.monotonic() - began
    stage.clients.heal(node.name)
    stage.injected(
        "clients blackholed",
        f"{connections} connections of {node.name}; noticed by the missing heartbeat after"
        f" {seconds:.1f} s")


def throttle_clients(stage, node):
    """Streams that cannot follow fall behind and read the log at their own pace."""
    size = node.log_size()
    stage.clients.ask("rule", node.name, ["down"], rate=stage.settings.throttle_rate, delay=0.05)
    fell = stage.wait_for(
        "a stream falls behind",
        lambda: node.log_since(size).count("stream: fell behind"), 60, 0.3)
    stage.clients.heal(node.name)
    stage.canary()
    fault = "clients throttled and delayed"
    if not fell:
        raise NotInjected(fault, "every stream kept up")
    stage.injected(fault, f"{node.name}; {fell} times a stream fell behind")
