"""Faults of processes: nodes that die or freeze, PostgreSQL that stops, a disk that is full."""

import contextlib
import time

import psycopg2

from proxy import DIRECTIONS
from servers import MEBIBYTE
from stage import NODES, NotInjected

# Keepalives of 10 s and three probes 5 s apart: 25 s. A session that is silent for 20 s is ended.
KEEPALIVE_SECONDS = 25
# On a machine that is busy with other things it takes longer to see who is silent, and to look.
DEPOSED_WITHIN = 60
# After this a node whose log takes no more says that it is not ready.
STALLED_SECONDS = 15
# With so many events waiting a node that sequences is in the middle of it.
BATCH_SEEN = 3000


def big_insert(rows, table="item"):
    """A statement of many rows, as a transaction of a session."""

    def work(cursor, tag):
        cursor.execute(f"SELECT coalesce(max(id), 0) FROM {table} WHERE id < 1000000000")
        first = cursor.fetchone()[0] + 1
        last = first + rows - 1
        cursor.execute(
            f"INSERT INTO {table} SELECT i, 0, %s, 'c' || i %% 4, 'big'"
            " FROM generate_series(%s, %s) i", [tag, first, last])
        return [(f"{table}.created", first, last, tag, 0)]

    return work


def commit(stage, session, work):
    return stage.wait_for(
        f"{session.name} commits", lambda: session.transact(work), interval=0.2)


def kill_mid_batch(stage):
    """kill -9 of the pumping node while it moves a large transaction into the log."""
    fault = "kill -9 of a node mid-batch"
    name, _, _ = stage.wait_for_pump()
    node = stage.nodes[name]
    writing = stage.background(
        lambda: commit(stage, stage.session("mid-batch"), big_insert(stage.settings.batch_rows)))
    with stage.impaired(node):
        left = wait_for_batch(stage, node)
        if left:
            node.kill()
            killed = time.monotonic()
            stage.canary()
            node.start()
    for thread in writing:
        thread.join()
    if not left:
        raise NotInjected(fault, "no batch was seen")
    stage.injected(
        fault, f"{name}, {left} events waiting; the others went on, all delivered after"
        f" {time.monotonic() - killed:.1f} s")


def wait_for_batch(stage, node, seconds=20):
    """How many events wait as soon as the node sequences many; 0 if it never does."""
    connection = psycopg2.connect(stage.cluster.database_url("chaos"))
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            cursor.execute("""
                SELECT count(*) FROM event_service.inbox WHERE EXISTS (
                    SELECT FROM pg_stat_activity
                    WHERE application_name = %s AND state = 'active' AND query LIKE '%%advance(%%')
                """, [node.name])
            if (waiting := cursor.fetchone()[0]) >= BATCH_SEEN:
                return waiting
    return 0


def kill_pump(stage):
    """kill -9 of the pumping node among three."""
    name, process, _ = stage.wait_for_pump()
    node = stage.nodes[name]
    with stage.impaired(node):
        node.kill()
        killed = time.monotonic()
        seconds = stage.canary()
        successor = stage.wait_for(
            "another session sequences", lambda: (p := stage.pump()) and p[1] != process and p)
        took_over = time.monotonic() - killed
        node.start()
    stage.injected(
        "kill -9 of the pumping node",
        f"{name}; {successor and successor[0]} sequences after {took_over:.1f} s, an event"
        f" committed meanwhile was delivered in {seconds or -1:.1f} s")


def kill_redis(stage):
    """kill -9 of Redis, over which nodes pass batches on, and a new one that knows nothing, twice."""
    fault = "kill -9 of Redis under fan-out, twice"
    nodes = stage.nodes.values()

    def taken():
        return sum(node.metric('fanout_batches_total{outcome="taken"}') or 0 for node in nodes)

    delays, before = [], taken()
    for _ in range(2):
        stage.redis.kill()
        delays.append(stage.canary() or -1)
        time.sleep(stage.settings.away_seconds)
        stage.redis.start()
        stage.wait_for("Redis is back at a node", lambda: any(
            node.metric("fanout_connected") for node in nodes))
        delays.append(stage.canary() or -1)
    batches = stage.wait_for("batches are passed on", lambda: (n := taken() - before) > 0 and n, 30)
    if not batches:
        raise NotInjected(fault, "no batch was passed on before or after")
    stage.injected(
        fault, f"events were delivered in {max(delays):.1f} s at most, {batches:.0f} batches taken")


def restart_in_order(stage):
    """SIGTERM to one node after the other, as in a deployment."""
    longest = 0.0
    for name in NODES:
        node = stage.nodes[name]
        with stage.impaired(node):
            began = time.monotonic()
            node.terminate()
            status = node.wait()
            longest = max(longest, time.monotonic() - began)
            node.start()
            if status != 0:
                stage.violations.add("exit status", f"{name} ended with {status} after SIGTERM")
            stage.wait_ready(node)
    stage.canary()
    stage.injected(
        "restart of all nodes, one after the other",
        f"each ended within {longest:.1f} s")


def kill_mid_replay(stage):
    """kill -9 of a node that is replaying the log to streams; they go on at the others."""
    pump = stage.wait_for_pump()
    node = stage.other_node(pump and pump[0])
    status = stage.checker.ask("status", [])
    start = max(status["audited"] - stage.settings.replay_rows, 0)
    epoch = [epoch for epoch, first in status["epochs"] if first <= max(start, 1)][-1]
    names = [f"replay {node.starts}.{node.name}.{number}" for number in range(4)]
    for name in names:
        # Slow enough that the replay is under way when the node dies.
        stage.open(name, [node.name], one_shot=True, rate=2 * MEBIBYTE, since=f"{epoch}-{start}")

    def under_way():
        readers = stage.checker.ask("status", names)["readers"]
        return all(r["replayed"] > 200 and r["is_open"] for r in readers.values())

    stage.wait_for("replays are under way", under_way, 30, 0.02)
    with stage.impaired(node):
        node.kill()
        readers = stage.checker.ask("status", names)["readers"]
        caught = [r for r in readers.values() if r["replayed"] > 200 and not r["is_live"]]
        stage.checker.ask("move", names, list(NODES))
        node.start()
        stage.wait_for(
            "replays end", lambda: all(
                r["is_done"] for r in stage.checker.ask("status", names)["readers"].values()))
    for name in names:
        stage.checker.ask("close", name)
    fault = "kill -9 of a node mid-replay"
    if not caught:
        raise NotInjected(fault, "every replay had ended")
    stage.injected(
        fault,
        f"{node.name}, {len(caught)} replays at {min(r['position'] for r in caught)} …"
        f" {max(r['position'] for r in caught)}, ended at other nodes")


def freeze_pump(stage):
    """SIGSTOP of the pumping node for longer than its keepalives."""
    name, process, _ = stage.wait_for_pump()
    node = stage.nodes[name]
    deposed = None
    slowest = 0.0
    with stage.impaired(node):
        node.freeze()
        frozen = time.monotonic()
        while (lasts := time.monotonic() - frozen) < KEEPALIVE_SECONDS + 1 or (
                deposed is None and lasts < DEPOSED_WITHIN):
            slowest = max(slowest, stage.canary() or 0)
            pump = stage.pump()
            if deposed is None and pump and pump[1] != process:
                deposed = time.monotonic() - frozen
            time.sleep(0.3)
        node.thaw()
        woken = time.monotonic()
        stage.wait_ready(node)
    if deposed is None:
        stage.violations.add("stuck", f"{name} was frozen for {lasts:.0f} s and kept its place")
    stage.injected(
        "SIGSTOP of the pumping node past its keepalives",
        f"{name}; its session was ended after {deposed or -1:.1f} s, an event was delivered within"
        f" {slowest:.1f} s; ready {time.monotonic() - woken:.1f} s after it woke")


def freeze_follower(stage):
    """SIGSTOP of a node that only reads."""
    node = stage.other_node(stage.wait_for_pump()[0])
    with stage.impaired(node):
        node.freeze()
        frozen = time.monotonic()
        while time.monotonic() - frozen < KEEPALIVE_SECONDS + 1:
            stage.canary()
            time.sleep(1)
        node.thaw()
    woken = time.monotonic()
    stage.settle()
    stage.injected(
        "SIGSTOP of a following node past its keepalives",
        f"{node.name}; ready with all events {time.monotonic() - woken:.1f} s after it woke")


def stop_postgres(stage, mode):
    """Stops PostgreSQL under load, and starts it again."""
    fault = f"PostgreSQL stopped ({mode}) under load"
    counts = [writer.session.counts["failed"] for writer in stage.writers]
    # Only who was ready can say that it no longer is.
    stage.wait_ready()
    stopped = time.monotonic()
    stage.cluster.stop(mode)
    time.sleep(stage.settings.away_seconds)
    told = [stage.monitor.unready_after(node, stopped) for node in stage.nodes.values()]
    stage.cluster.start()
    started = time.monotonic()
    stage.settle()
    recovered = time.monotonic() - started
    failed = sum(w.session.counts["failed"] for w in stage.writers) - sum(counts)
    if any(seconds is None for seconds in told):
        stage.violations.add("readyz", f"a node did not say that PostgreSQL was away: {told}")
    if not failed:
        raise NotInjected(fault, "no writer noticed")
    stage.injected(
        fault, f"{failed} transactions failed; not ready after at most"
        f" {max(seconds or 0 for seconds in told):.1f} s, all well {recovered:.1f} s after the"
        " start")


def stop_fast(stage):
    """A stop that lets PostgreSQL write all that it holds."""
    stop_postgres(stage, "fast")


def crash(stage):
    """An immediate stop, with a writer among others that does not wait for the disk."""
    with careless_writer(stage):
        time.sleep(0.5)
        stop_postgres(stage, "immediate")


def crash_alone(stage):
    """An immediate stop while nothing but the careless writer commits: what flushes the log of one
    commit flushes that of all before it."""
    others = [*stage.writers, stage.latency, stage.keeper]
    for writer in others:
        writer.gate.clear()
    stage.wait_for("the others are at rest", lambda: not stage.cluster.value("chaos", """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name = ANY (%s) AND state <> 'idle'""", [[w.name for w in others]]))
    for name in NODES:
        stage.proxy.ask("rule", f"{name}-database", DIRECTIONS, hold=True)
    try:
        with careless_writer(stage):
            time.sleep(0.3)
            stage.cluster.stop("immediate")
            for name in NODES:
                stage.proxy.heal(f"{name}-database")
            stage.cluster.start()
    finally:
        for writer in others:
            writer.gate.set()
    stage.settle()


@contextlib.contextmanager
def careless_writer(stage):
    """Lets the careless writer write, and counts what a crash undid of it."""
    session = stage.careless.session
    before = session.counts["lost in a crash"]
    stage.careless.gate.set()
    yield
    stage.wait_for("the careless writer is back", lambda: session.connection)
    stage.careless.gate.clear()
    if lost := session.counts["lost in a crash"] - before:
        stage.injected(
            "crash under a writer with synchronous_commit=off",
            f"{lost} commits undone, none of them delivered")


def fill_disk(stage):
    """No room for the log, and recovery when room comes back."""
    fault = "full disk under the log"
    space = stage.cluster.tablespace
    if space.problem:
        raise NotInjected(fault, f"no file system could be mounted: {space.problem}")
    sizes = {node.name: node.log_size() for node in stage.nodes.values()}
    filled = time.monotonic()
    space.fill()
    session = stage.session("disk")
    try:
        commit(stage, session, big_insert(20_000))
        stage.wait_for(
            "a node is told that the disk is full", lambda: any(
                "No space left on device" in node.log_since(sizes[node.name])
                for node in stage.nodes.values()), 30)
        time.sleep(stage.settings.disk_seconds)
        waiting = stage.inbox()
        reconnects = sum(node.log_since(sizes[node.name]).count("listener: attached")
                         for node in stage.nodes.values())
    finally:
        space.empty()
    emptied = time.monotonic()
    if waiting < 1000:
        raise NotInjected(fault, f"only {waiting} events waited")
    told = [name for name in NODES
            if "sequencer" in stage.monitor.reasons_since(stage.nodes[name], filled)]
    if stage.settings.disk_seconds > STALLED_SECONDS and len(told) < len(NODES):
        stage.violations.add("readyz", f"the disk was full, and only {told} said so")
    stage.canary()
    stage.injected(
        fault, f"{waiting} events waited; not ready (sequencer): {len(told)} nodes;"
        f" {reconnects} reconnects; all delivered {time.monotonic() - emptied:.1f} s after there"
        " was room")


def cut_in_commit(stage):
    """The connection ends while its COMMIT is on the way, or the answer to it."""
    fault = "writers' connections cut in mid-commit"
    session = stage.session("doubt", proxied=True)

    def work(cursor, tag):
        cursor.execute(
            "SELECT event_service.publish('chaos.doubt', jsonb_build_object('tx', %s, 'n', 0),"
            " '{*}')", [tag])
        return [f"chaos.doubt||{tag}|0"]

    def lose(direction):
        stage.proxy.ask("rule", "writers", [direction], hold=True)
        stage.background(end)

    def end():
        time.sleep(0.3)
        stage.proxy.ask("cut", "writers")
        stage.proxy.heal("writers")

    for _ in range(3):
        for direction in DIRECTIONS:
            session.before_commit = lambda: lose(direction)
            if session.transact(work):
                raise NotInjected(fault, "the commit was answered")
            stage.wait_for("the writer is back", lambda: session.connect() or True, interval=0.2)
    session.close()
    committed, undone = (session.counts[f"unknown, {kind}"] for kind in ("committed", "undone"))
    if not committed or not undone:
        raise NotInjected(fault, f"{committed} had committed, {undone} had not")
    stage.injected(
        fault, f"of the commits without an answer {committed} had committed, {undone} had not")


def hold_transaction(stage):
    """Transactions that stay open while all else goes on: one commits, one is undone."""
    seconds = stage.settings.open_seconds
    began = time.monotonic()

    def work(keep):
        def run(cursor, tag):
            cursor.execute(
                "SELECT event_service.publish('chaos.long', jsonb_build_object('tx', %s, 'n', i),"
                " '{*}') FROM generate_series(1, 10) i", [tag])
            time.sleep(max(began + seconds - time.monotonic(), 0))
            cursor.execute(
                "SELECT event_service.publish('chaos.long', jsonb_build_object('tx', %s, 'n', i),"
                " '{*}') FROM generate_series(11, 20) i", [tag])
            return [f"chaos.long||{tag}|{i}" for i in range(1, 21)] if keep else None
        return run

    def undone():
        try:
            stage.session("long-undone").transact(work(False))
        except psycopg2.Error:
            pass

    def old_snapshot():
        connection = psycopg2.connect(stage.cluster.database_url("chaos"))
        connection.set_session(isolation_level="REPEATABLE READ")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM item")
            time.sleep(max(began + seconds - time.monotonic(), 0))
        connection.close()

    other = stage.background(undone, old_snapshot)
    committed = stage.session("long").transact(work(True))
    for thread in other:
        thread.join()
    fault = "transactions and a snapshot held open"
    if not committed:
        raise NotInjected(fault, "the transaction broke")
    stage.canary()
    stage.injected(
        fault, f"{time.monotonic() - began:.0f} s; one committed with 20 events, one was rolled"
        " back")
