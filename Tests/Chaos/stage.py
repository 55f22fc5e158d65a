"""The stage on which faults are played: all processes of one run, and what is asked of them."""

import collections
import contextlib
import os
import random
import threading
import time

import psycopg2

from checker import CheckerProcess
from ledger import Violations
from proxy import ProxyProcess
from servers import Cluster, Monitor, Node, QueueWatch, Redis, Tablespace
from sessions import Session
from writers import CarelessWriter, LatencyWriter, Writer

LOCK_CLASS = 1163284052
PUMP_LOCK = 3
NODES = tuple(f"node-{number + 1}" for number in range(int(os.environ.get("CHAOS_NODES", "3"))))
KEEPERS = ("keeper-1", "keeper-2")
WRITERS = 8


class NotInjected(Exception):
    """A fault hit nothing, so it does not count."""

    def __init__(self, fault, why):
        super().__init__(fault, why)
        self.fault = fault
        self.why = why


class Fault:
    """One planned kind of fault: how often it really happened, and what was seen of it."""

    def __init__(self, name):
        self.name = name
        self.injected = 0
        self.missed = []
        self.effects = []


class Stage:
    """Everything that one run starts, and stops again."""

    def __init__(self, settings, faults):
        self.settings = settings
        self.random = random.Random(settings.seed)
        self.violations = Violations()
        self.faults = {name: Fault(name) for name in faults}
        self.latencies = []
        self.notes = collections.OrderedDict()
        self.logs = settings.output / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        for old in self.logs.iterdir():
            old.unlink()
        self.lock = threading.Lock()
        self.impairments = collections.Counter()
        self.writers = []
        self.nodes, self.keepers = {}, {}
        self.cluster = None
        self.redis = None
        self.processes = []
        self.began = time.monotonic()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def log(self, text):
        print(f"{time.monotonic() - self.began:7.1f}  {text}", flush=True)

    # Building ------------------------------------------------------------------------------------

    def _build(self):
        settings = self.settings
        self.cluster = cluster = Cluster(settings.data_below)
        cluster.start()
        cluster.tablespace = Tablespace(cluster.folder / "small", settings.log_mebibytes)
        cluster.execute("postgres", "CREATE ROLE chaos_service LOGIN")
        cluster.execute("postgres", "CREATE ROLE chaos_writer LOGIN")
        cluster.execute(
            "postgres", f"CREATE TABLESPACE chaos_log LOCATION '{cluster.tablespace.place}'")
        cluster.execute("postgres", "CREATE ROLE event_service_owner NOLOGIN")
        cluster.execute("postgres", "GRANT CREATE ON TABLESPACE chaos_log TO event_service_owner")
        cluster.create_database("chaos", settings.partition_size, "chaos_log")
        cluster.create_database("keeping", 2000)
        schema = (settings.here / "schema.sql").read_text()
        for database in ("chaos", "keeping"):
            cluster.execute(database, schema)

        self.redis = Redis(self.logs)
        self.redis.start()
        fanout = ["--fanout", "redis", "--redis-url", self.redis.url]
        self.proxy = ProxyProcess(
            {f"{name}-database": cluster.port for name in NODES} | {"writers": cluster.port})
        self.nodes = {
            name: Node(
                name, cluster.database_url(
                    "chaos", "chaos_service", self.proxy.ports[f"{name}-database"]),
                self.logs, ["--ring-bytes", "16MiB", "--max-backlog-bytes", "256KiB",
                            "--stream-lifetime", settings.stream_lifetime,
                            *fanout])
            for name in NODES}
        self.keepers = {
            name: Node(
                name, cluster.database_url("keeping", "chaos_service"), self.logs,
                ["--ring-bytes", "1MiB", "--retention", "3s", "--workers", "1"])
            for name in KEEPERS}
        everyone = self.nodes | self.keepers
        self.clients = ProxyProcess({name: node.port for name, node in everyone.items()})
        self.checker = CheckerProcess({
            name: {"direct": node.port, "proxied": self.clients.ports[name]}
            for name, node in everyone.items()})
        self.processes = [self.proxy.process, self.clients.process, self.checker.process]
        self.monitor = Monitor(list(everyone.values()), cluster, self.violations)
        self.queues = QueueWatch(cluster, self.violations, self.notes)
        self.checker.tell("range", "item.created", 1, 40, "start", 0)
        self.canary_session = self.session("canary")
        self.canary_lock = threading.Lock()

    def session(self, name, proxied=False):
        """A connection of a writer, by its name."""
        port = self.proxy.ports["writers"] if proxied else None
        return Session(name, self.cluster.database_url("chaos", "chaos_writer", port), self.checker)

    def start_nodes(self):
        for node in list(self.nodes.values()) + list(self.keepers.values()):
            node.start()
        self.monitor.start()
        self.queues.start()

    def start_writers(self):
        direct = self.cluster.database_url("chaos", "chaos_writer")
        proxied = self.cluster.database_url("chaos", "chaos_writer", self.proxy.ports["writers"])
        pause = WRITERS / self.settings.transactions_per_second
        for number in range(WRITERS):
            url = proxied if number % 2 else direct
            seed = self.random.getrandbits(32)
            self.writers.append(Writer(number, url, self.checker, seed, pause))
        self.careless = CarelessWriter(direct, self.checker)
        self.latency = LatencyWriter(direct, self.checker)
        for writer in [*self.writers, self.careless, self.latency]:
            writer.start()

    def open(self, name, nodes=NODES, **settings):
        self.checker.ask("open", {
            "name": name, "nodes": list(nodes), "seed": self.random.getrandbits(32), **settings})

    def open_readers(self):
        """Readers of every kind: pinned, restless, slow, narrow, polling."""
        many = 1 if self.settings.is_short else 2
        for name in NODES:
            self.open(f"pinned {name}", [name], measures=True)
            # So that every node has clients behind the proxy.
            self.open(f"proxied {name}", [name], via_proxy=True, query="context=c0")
        for number in range(many):
            self.open(f"restless {number}", via_proxy=number > 0, restless=True)
        self.open("slow", via_proxy=True, rate=self.settings.slow_rate,
                  query="context=c1" if self.settings.is_short else "")
        self.open("history", history=True)
        for number in range(4):
            for copy in range(many):
                self.open(f"context c{number}, {copy}", query=f"context=c{number}",
                          via_proxy=True, restless=copy > 0)
        self.open("bulk alone", query="type=bulk.*")
        self.open("one row", query="type=item.*&key=7", restless=True)
        for name in KEEPERS:
            self.open(f"kept {name}", [name], world="retention", resets_allowed=True, since="now")
        self.open("laggard", KEEPERS, world="retention", resets_allowed=True)

    # Asking --------------------------------------------------------------------------------------

    def pump(self):
        """(name, process id, port) of the node that sequences; None if there is none."""
        rows = self.cluster.query("chaos", """
            SELECT a.application_name, a.pid, a.client_port
            FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.granted
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """, [LOCK_CLASS, PUMP_LOCK])
        return rows[0] if rows else None

    def wait_for(self, what, body, seconds=None, interval=0.05):
        """Asks until there is an answer; without one the node or cluster is stuck."""
        seconds = seconds or self.settings.patience
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = body()
            except psycopg2.Error:
                answer = None
            if answer:
                return answer
            time.sleep(interval)
        self.violations.add("stuck", f"not within {seconds:.0f} s: {what}")
        self.log(f"STUCK: {what}")
        return None

    def wait_for_pump(self, other_than=None):
        return self.wait_for(
            "a node sequences", lambda: (p := self.pump()) and p[0] != other_than and p)

    def other_node(self, *names):
        """A sound node that is none of these; any of the others if there is none."""
        others = [name for name in NODES if name not in names]
        sound = [name for name in others if name in self.sound_nodes()]
        return self.nodes[self.random.choice(sound or others)]

    def inbox(self):
        return self.cluster.value("chaos", "SELECT count(*) FROM event_service.inbox")

    def publish_canary(self):
        """Commits one event; returns its event id."""
        published = []

        def work(cursor, tag):
            cursor.execute(
                "SELECT event_service.publish('chaos.canary',"
                " jsonb_build_object('tx', %s, 'n', 0), '{*}')", [tag])
            published.append(cursor.fetchone()[0])
            return [f"chaos.canary||{tag}|0"]

        with self.canary_lock:
            self.wait_for(
                "a canary commits", lambda: self.canary_session.transact(work), interval=0.2)
        return published[-1]

    @contextlib.contextmanager
    def impaired(self, node):
        """While a fault lasts, nobody waits for this node."""
        with self.lock:
            self.impairments[node.name] += 1
        try:
            yield
        finally:
            with self.lock:
                self.impairments[node.name] -= 1

    def sound_nodes(self):
        return [name for name in NODES if not self.impairments[name]]

    def canary(self):
        """Commits one event; returns how long it took to readers on all nodes that are sound."""
        event = self.publish_canary()
        began = time.monotonic()
        position = self.wait_for(
            "a canary is sequenced", lambda: self.cluster.query(
                "chaos", "SELECT position FROM event_service.log WHERE event_id = %s", [event]),
            interval=0.02)
        if position is None:
            return None

        def arrived():
            # Asked anew each time: a node may have become unsound meanwhile.
            readers = [f"pinned {name}" for name in self.sound_nodes()]
            status = self.checker.ask("status", readers)["readers"]
            return all((status[r]["position"] or 0) >= position[0][0] for r in readers)

        self.wait_for("a canary reaches all sound nodes", arrived, interval=0.02)
        return time.monotonic() - began

    def wait_ready(self, *nodes):
        """These nodes are ready, or all of them if none is named."""
        for node in nodes or self.nodes.values():
            self.wait_for(
                f"{node.name} is ready", lambda node=node: self.monitor.is_ready(node))

    def settle(self):
        """After faults: all nodes are ready, and what is committed arrives everywhere."""
        self.wait_ready()
        return self.canary()

    # Counting ------------------------------------------------------------------------------------

    def injected(self, name, effect):
        with self.lock:
            fault = self.faults[name]
            fault.injected += 1
            fault.effects.append(effect)
        self.log(f"{name}: {effect}")

    def missed(self, name, why):
        with self.lock:
            self.faults[name].missed.append(why)
        self.log(f"{name}: not injected: {why}")

    def play(self, act):
        """Runs an act; one that hit nothing may be played again."""
        try:
            act(self)
        except NotInjected as miss:
            self.missed(miss.fault, miss.why)
        except Exception as error:  # an act that breaks must not end the run without its report
            self.violations.add("broken act", f"{act.__name__}: {error!r}")
            self.log(f"BROKEN {act.__name__}: {error!r}")

    def background(self, *bodies):
        threads = [threading.Thread(target=body, daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        return threads

    def together(self, *acts):
        threads = [threading.Thread(target=self.play, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # Ending --------------------------------------------------------------------------------------

    def stop_writers(self):
        everyone = [*self.writers, self.careless, self.latency]
        for writer in everyone:
            writer.is_stopping = True
            writer.gate.set()
        for writer in everyone:
            writer.join(90)
            if writer.is_alive() or getattr(writer, "error", None):
                self.violations.add(
                    "broken writer", f"{writer.name}: {getattr(writer, 'error', 'hangs')!r}")

    def close(self):
        """Ends all that was started, however far that had come."""
        for node in [*self.nodes.values(), *self.keepers.values()]:
            if node.is_running():
                node.kill()
        for process in self.processes:
            process.terminate()
            process.join()
        if self.redis is not None and self.redis.process is not None:
            self.redis.kill()
        if self.cluster is not None:
            self.cluster.destroy()
