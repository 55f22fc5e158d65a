"""In which order the faults are played, and how a run ends."""

import collections
import time
from array import array

import acts
import links
import loads
from keeping import Keeper
from stage import NODES

CARELESS = "crash under a writer with synchronous_commit=off"
# What a run must have done at least once.
FAULTS = [
    "backlog of a time without any node",
    "kill -9 of a node mid-batch",
    "kill -9 of a node mid-replay",
    "kill -9 of the pumping node",
    "kill -9 of Redis under fan-out, twice",
    "SIGSTOP of the pumping node past its keepalives",
    "PostgreSQL stopped (fast) under load",
    "PostgreSQL stopped (immediate) under load",
    CARELESS,
    "connections to PostgreSQL cut",
    "half-dead listener",
    "node and PostgreSQL blackholed",
    "one direction to PostgreSQL held, then the other",
    "connection to PostgreSQL delayed and throttled",
    "connections of clients cut",
    "clients blackholed",
    "clients throttled and delayed",
    "writers' connections cut in mid-commit",
    "full disk under the log",
    "transactions and a snapshot held open",
    "large statements, row mode",
    "large statements, statement mode",
    "bulk COPY",
    "TRUNCATE of a watched table",
    "retention dropping partitions under load",
    "savepoints and transactions rolled back",
    "cascades, moves between partitions, changed keys",
    "partitions of the log filled",
]
LONG_FAULTS = [
    "restart of all nodes, one after the other",
    "SIGSTOP of a following node past its keepalives",
    "half-dead listener of the pumping node",
    "all nodes and PostgreSQL blackholed",
]


def fault_names(settings):
    return FAULTS if settings.is_short else FAULTS + LONG_FAULTS


def until_injected(stage, act, name, tries=4):
    """Plays an act that may hit nothing, until it has."""
    before = stage.faults[name].injected
    for _ in range(tries):
        stage.play(act)
        if stage.faults[name].injected > before:
            return


def play(stage):
    stage.play(loads.backlog)
    stage.keeper = Keeper(stage)
    stage.keeper.start()
    if stage.settings.is_short:
        play_short(stage)
    else:
        play_long(stage)


def play_short(stage):
    """Every kind of fault once; what takes long by nature at the same time as others."""
    stage.together(acts.freeze_pump, cut_off_others, loads_meanwhile, client_faults)
    until_injected(stage, acts.kill_mid_batch, "kill -9 of a node mid-batch")
    until_injected(stage, acts.kill_mid_replay, "kill -9 of a node mid-replay")
    stage.play(acts.kill_pump)
    stage.play(acts.kill_redis)
    until_injected(stage, acts.fill_disk, "full disk under the log", 2)
    stage.together(links.delay_database, links.cut_one_direction)
    stage.play(links.cut_database)
    stage.play(acts.stop_fast)
    stage.play(acts.crash)
    if not stage.faults[CARELESS].injected:
        until_injected(stage, acts.crash_alone, CARELESS)


def cut_off_others(stage):
    stage.play(links.half_dead_follower)
    stage.play(links.blackhole)


def loads_meanwhile(stage):
    stage.together(acts.hold_transaction, acts.cut_in_commit, loads.heavy_loads)


def client_faults(stage):
    stage.play(links.cut_clients)
    stage.play(links.slow_clients)


def play_long(stage):
    """Rounds of all faults in a random order until the time is up, at least one."""
    end = stage.began + stage.settings.seconds
    play_round(stage, lambda: True)
    while time.monotonic() < end:
        play_round(stage, lambda: time.monotonic() < end)


def play_round(stage, goes_on):
    calm = [
        lambda s: s.together(acts.freeze_pump, links.half_dead_follower),
        acts.freeze_follower,
        links.blackhole,
        acts.restart_in_order,
        links.half_dead_pump,
        lambda s: until_injected(s, acts.kill_mid_batch, "kill -9 of a node mid-batch"),
        lambda s: until_injected(s, acts.kill_mid_replay, "kill -9 of a node mid-replay"),
        acts.kill_pump,
        acts.kill_redis,
        links.cut_clients,
        links.cut_database,
        links.blackhole_all,
        links.cut_one_direction,
        links.slow_links,
        acts.cut_in_commit,
        loads.heavy_loads,
    ]
    rough = [
        acts.stop_fast,
        acts.crash,
        lambda s: until_injected(s, acts.crash_alone, CARELESS),
        lambda s: until_injected(s, acts.fill_disk, "full disk under the log", 2),
        acts.kill_pump,
    ]
    stage.random.shuffle(calm)
    stage.random.shuffle(rough)
    # Open for minutes: nothing that stops PostgreSQL may come between.
    held = stage.background(lambda: stage.play(acts.hold_transaction))
    for act in calm:
        if goes_on():
            stage.play(act)
            stage.settle()
    for thread in held:
        thread.join()
    for act in rough:
        if goes_on():
            stage.play(act)
            stage.settle()


def finish(stage):
    """All is healed and written: what was committed has to be everywhere."""
    stage.log("the end: all is healed")
    for name in NODES:
        stage.proxy.heal(f"{name}-database")
        stage.clients.heal(name)
    stage.proxy.heal("writers")
    stage.settle()
    stage.stop_writers()
    stage.log("the writers have stopped")
    stage.keeper.finish()
    stage.checker.ask("hurry")
    stage.wait_for("the inbox is empty", lambda: stage.inbox() == 0)
    head = stage.cluster.value(
        "chaos", "SELECT last_position FROM event_service.tick ORDER BY tick DESC LIMIT 1")

    behind = {}

    def all_received():
        status = stage.checker.ask("status")
        behind.clear()
        behind.update({name: (reader["behind"], reader["position"], reader["node"])
                       for name, reader in status["readers"].items() if reader["behind"]})
        return status["audited"] >= head and not behind

    if not stage.wait_for("every reader has all it is due", all_received, interval=0.2):
        stage.log(f"behind the head {head}: {behind}")
    stage.log("the readers have all they are due")
    count_writers(stage, head)
    stage.latencies = stage.checker.ask("take_latencies")
    final = stage.checker.ask("finish", *read_everything(stage))
    if len(final["epochs"]) > stage.cluster.starts:
        stage.violations.add(
            "epoch", f"{len(final['epochs'])} epochs after {stage.cluster.starts} starts")
    stage.log("tables and log are compared")
    stop_nodes(stage)
    return final


def read_everything(stage):
    """The watched tables, each as JSON with its rows by key, and the event id of each position."""
    tables = {}
    for topic, key in (("item", "id::text"), ("bulk", "id::text"), ("scratch", "id::text"),
                       ("parent", "id::text"), ("child", "id::text"),
                       ("part", "jsonb_build_array(id, region)::text")):
        tables[topic] = stage.cluster.value(
            "chaos", f"SELECT json_object_agg({key}, to_jsonb(t))::text FROM {topic} t") or "{}"
    log = stage.cluster.query(
        "chaos", "SELECT position, event_id FROM event_service.log ORDER BY position")
    return tables, [array("q", column) for column in zip(*log)]


def count_writers(stage, head):
    """Faults that the writers injected all the time."""
    counts = [writer.session.counts for writer in stage.writers]
    done = sum((writer.done for writer in stage.writers), collections.Counter())
    undone = sum(count["rolled back"] + count["failed"] for count in counts)
    if undone:
        stage.injected(
            "savepoints and transactions rolled back",
            f"{undone} transactions, {done['rolled back to a savepoint']} savepoints")
    told = {name: done[name] for name in (
        "end_family", "rename_family", "move_part", "change_key", "move_hot", "scratch", "bulk")}
    if all(told.values()):
        stage.injected("cascades, moves between partitions, changed keys", f"{told}")
    full = head // stage.settings.partition_size
    if full:
        stage.injected("partitions of the log filled", f"{full} of {stage.settings.partition_size}")
    if head < stage.settings.least_events:
        stage.violations.add("too few events", f"{head}, wanted {stage.settings.least_events}")


def stop_nodes(stage):
    everyone = [*stage.nodes.values(), *stage.keepers.values()]
    for node in everyone:
        node.terminate()
    for node in everyone:
        status = node.wait()
        if status != 0:
            stage.violations.add("exit status", f"{node.name} ended with {status} after SIGTERM")
