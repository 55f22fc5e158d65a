"""The processes under test: a PostgreSQL cluster, the service's nodes, the log's tablespace."""

import collections
import contextlib
import errno
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXECUTABLE = ROOT / ".build/release/event-service"
MEBIBYTE = 1 << 20


def free_port():
    """One that stays free while its node is dead: below those that the kernel gives to clients."""
    while True:
        port = random.randrange(12_000, 20_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Tablespace:
    """A small file system that can be filled to the last byte and made roomy again.

    A tmpfs of its own, on which a file takes all the room there is. Where mounting is not permitted
    the disk cannot be filled, and the run says so.
    """

    def __init__(self, folder, mebibytes):
        self.folder = folder
        self.ballast = folder / "ballast"
        folder.mkdir()
        folder.parent.chmod(0o755)
        self.as_root = [] if os.getuid() == 0 else ["sudo", "-n"]
        run = subprocess.run(
            [*self.as_root, "mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=777", "chaos",
             folder], capture_output=True, text=True)
        self.problem = run.stderr.strip() if run.returncode else None
        self.place = folder / "log"
        self.place.mkdir()
        if os.getuid() == 0:
            shutil.chown(self.place, "postgres")

    def fill(self):
        """Takes all the room there is, down to the last page, while others take some of it too."""
        taken = 0
        with open(self.ballast, "wb") as file:
            for step in (64 * MEBIBYTE, MEBIBYTE, 4096):
                try:
                    while True:
                        os.posix_fallocate(file.fileno(), taken, step)
                        taken += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def empty(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        if self.problem is None:
            subprocess.run([*self.as_root, "umount", "-l", self.folder], check=False)


class Cluster:
    """PostgreSQL, started and stopped by dev/postgres."""

    SETTINGS = ["max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB",
                "wal_writer_delay=2s", "log_checkpoints=off", "log_line_prefix=%a:"]

    def __init__(self, below=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="event-service-chaos.", dir=below))
        self.tablespace = None
        self.port = None
        self.down_since = None
        self.starts = 0

    def _tool(self, command, *arguments):
        run = subprocess.run(
            [ROOT / "dev/postgres", command, self.folder, *arguments],
            capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"dev/postgres {command}: {run.stderr}")
        return run.stdout

    def database_url(self, database, user="postgres", port=None):
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def create_database(self, name, partition_size, tablespace=None):
        """A migrated database whose log has small partitions."""
        self.execute("postgres", f"CREATE DATABASE {name}")
        environment = dict(os.environ, DATABASE_URL=self.database_url(name))
        subprocess.run([ROOT / "dev/apply-migrations"], check=True, env=environment)
        moved = ""
        if tablespace:
            moved = ("ALTER FUNCTION event_service.ensure_partitions(bigint)"
                     f" SET default_tablespace = '{tablespace}';")
        self.execute(name, f"""
            CREATE OR REPLACE FUNCTION event_service.partition_size() RETURNS bigint
            LANGUAGE sql IMMUTABLE AS 'SELECT {partition_size}::bigint';
            DROP TABLE event_service.log_p0, event_service.log_p1;
            {moved}
            SELECT event_service.ensure_partitions();""")

    def execute(self, database, sql, parameters=None):
        return self.query(database, sql, parameters, fetch=False)

    def query(self, database, sql, parameters=None, fetch=True):
        connection = psycopg2.connect(self.database_url(database), application_name="chaos")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if fetch else None
        finally:
            connection.close()

    def value(self, database, sql, parameters=None):
        return self.query(database, sql, parameters)[0][0]

    def stop(self, mode):
        """Stops PostgreSQL, fast or immediate."""
        self.down_since = time.monotonic()
        self._tool("stop", mode)

    def start(self):
        url = self._tool("start", *self.SETTINGS).strip()
        self.port = int(url.split(":")[-1].split("/")[0])
        self.starts += 1
        self.down_since = None

    def errors(self):
        """How often sessions of nodes met which error, by its text without the numbers in it."""
        text = (self.folder / "data/server.log").read_text(errors="replace")
        errors = re.findall(r"(?m)^(?:node|keeper)-\d:(?:ERROR|FATAL|PANIC): +(.*)$", text)
        return collections.Counter(re.sub(r"\d+", "…", error) for error in errors)

    def destroy(self):
        try:
            self._tool("stop", "immediate")
        finally:
            if self.tablespace is not None:
                self.tablespace.close()
            shutil.rmtree(self.folder, ignore_errors=True)


class Redis:
    """A Redis server that keeps nothing, restarted on the same port as often as it is killed."""

    def __init__(self, logs):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.log_path = logs / "redis.log"
        self.process = None

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                 "--appendonly", "no", "--dir", str(self.log_path.parent)], stdout=log, stderr=log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Node:
    """One `event-service serve`, restarted on the same ports as often as it is killed."""

    def __init__(self, name, database_url, logs, arguments=()):
        self.name = name
        self.port, self.ops_port = free_port(), free_port()
        self.arguments = [
            EXECUTABLE, "serve", "--auth", "none", "--listen", f"127.0.0.1:{self.port}",
            "--ops-listen", f"127.0.0.1:{self.ops_port}",
            "--database-url", f"{database_url}?application_name={name}",
            "--heartbeat", "1s", "--drain", "1s", "--log-level", "debug", *arguments]
        self.log_path = logs / f"{name}.log"
        self.process = None
        self.started_at = 0.0
        self.is_stopped = False
        self.starts = 0

    def start(self):
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("EVENT_SERVICE_") and name != "DATABASE_URL"}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        self.started_at = time.monotonic()
        self.starts += 1

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        self.is_stopped = True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_stopped = False

    def terminate(self):
        """Asks it to stop in order."""
        if self.is_stopped:
            self.thaw()
        self.process.terminate()

    def wait(self):
        """Waits until it has stopped; returns the exit status, None if it had to be killed."""
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def readiness(self):
        """(ready, reasons), or None if the node does not answer."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            connection.request("GET", "/readyz")
            body = json.loads(connection.getresponse().read())
            connection.close()
            return body["ready"], tuple(body["reasons"])
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def metric(self, name):
        """One sample of the page of metrics; None if the node does not answer or has none."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=1)
            connection.request("GET", "/metrics")
            page = connection.getresponse().read().decode()
            connection.close()
        except (OSError, http.client.HTTPException):
            return None
        found = re.search(rf"(?m)^event_service_{re.escape(name)} (\S+)$", page)
        return float(found.group(1)) if found else None

    def resident_bytes(self):
        try:
            with open(f"/proc/{self.process.pid}/status") as status:
                for line in status:
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0

    def log_size(self):
        return self.log_path.stat().st_size

    def log_since(self, size):
        with open(self.log_path, "rb") as log:
            log.seek(size)
            return log.read().decode(errors="replace")


class QueueWatch(threading.Thread):
    """Looks at what may grow within PostgreSQL: the notification queue, the inbox."""

    # The queue has 8 GB. A session that does not read what it is told keeps all that comes after.
    QUEUE_LIMIT = 0.01

    def __init__(self, cluster, violations, notes):
        super().__init__(name="queues", daemon=True)
        self.cluster = cluster
        self.violations = violations
        self.notes = notes

    def run(self):
        queue = inbox = dead = 0
        while True:
            try:
                usage, size, rows = self.cluster.query("chaos", """
                    SELECT pg_notification_queue_usage(),
                           pg_total_relation_size('event_service.inbox') >> 20,
                           pg_stat_get_dead_tuples('event_service.inbox'::regclass)""")[0]
                queue, inbox, dead = max(queue, usage), max(inbox, size), max(dead, rows)
                self.notes["notification queue at most"] = f"{queue:.6f} of its size"
                self.notes["inbox at most"] = f"{inbox} MiB, {dead} dead rows"
                if usage > self.QUEUE_LIMIT:
                    self.violations.add("notification queue", f"{usage:.3f} of it is used")
            except psycopg2.Error:
                pass
            time.sleep(1)


class Monitor(threading.Thread):
    """Watches the nodes: what /readyz says, whether that is true, how much memory they hold."""

    INTERVAL = 0.25
    # Above this a node's memory is not bounded by what is configured.
    MEMORY_LIMIT = 400 * MEBIBYTE
    # Within this a node must say that PostgreSQL is away whose connections were closed in order.
    HONEST_WITHIN = 5.0

    def __init__(self, nodes, cluster, violations):
        super().__init__(name="monitor", daemon=True)
        self.nodes = nodes
        self.cluster = cluster
        self.violations = violations
        # By node: [(when, ready, reasons)], one entry for each change; None where it was silent.
        self.timeline = {node.name: [] for node in nodes}
        self.peak = {node.name: 0 for node in nodes}

    def run(self):
        while True:
            for node in self.nodes:
                self.look_at(node)
            time.sleep(self.INTERVAL)

    def look_at(self, node):
        if not node.is_running() or node.is_stopped:
            answer = None
        else:
            answer = node.readiness()
            resident = node.resident_bytes()
            self.peak[node.name] = max(self.peak[node.name], resident)
            if resident > self.MEMORY_LIMIT:
                self.violations.add("memory", f"{node.name} holds {resident // MEBIBYTE} MiB")
        now = time.monotonic()
        line = self.timeline[node.name]
        if not line or line[-1][1] != answer:
            line.append((now, answer))
        down = self.cluster.down_since
        if answer and answer[0] and down is not None and now - down > self.HONEST_WITHIN:
            self.violations.add("readyz", f"{node.name} is ready without PostgreSQL")

    def unready_after(self, node, since):
        """How long after `since` the node said that it is not ready; None if it has not."""
        for when, answer in self.timeline[node.name]:
            if when >= since and answer is not None and not answer[0]:
                return when - since
        return None

    def reasons_since(self, node, since):
        return sorted({reason for when, answer in list(self.timeline[node.name])
                       if when >= since and answer for reason in answer[1]})

    def is_ready(self, node):
        line = self.timeline[node.name]
        return bool(line) and line[-1][1] is not None and line[-1][1][0]
