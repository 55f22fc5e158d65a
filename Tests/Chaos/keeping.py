"""A second log that forgets within seconds: partitions are dropped while it is written and read."""

import threading
import time

import psycopg2

# The laggard stays away for longer than the log remembers.
AWAY_SECONDS = 7.0


class Keeper(threading.Thread):
    """Writes to the database `keeping`, watches its partitions, and sends the laggard away."""

    def __init__(self, stage):
        super().__init__(name="keeper", daemon=True)
        self.stage = stage
        self.gate = threading.Event()
        self.gate.set()
        self.is_stopping = False
        self.committed = 0
        self.partitions = set()
        self.dropped = set()
        self.floor = 0

    def run(self):
        looked = left = 0.0
        connection = None
        while not self.is_stopping:
            self.gate.wait()
            now = time.monotonic()
            try:
                if connection is None:
                    connection = psycopg2.connect(
                        self.stage.cluster.database_url("keeping"), application_name="keeper")
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    self.write(cursor)
                    if now - looked > 0.5:
                        looked = now
                        self.look(cursor)
            except psycopg2.Error:
                connection = None
            if now - left > 2 * AWAY_SECONDS:
                left = now
                self.stage.checker.ask("pause", "laggard", AWAY_SECONDS)
            time.sleep(0.03)

    def write(self, cursor):
        cursor.execute(
            "SELECT event_service.publish('chaos.kept', to_jsonb(i), '{*}')"
            " FROM generate_series(1, 20) i")
        self.committed += 20

    def look(self, cursor):
        cursor.execute("""
            SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
            WHERE h.inhparent = 'event_service.log'::regclass""")
        present = {row[0] for row in cursor}
        self.dropped |= self.partitions - present
        self.partitions = present
        cursor.execute("SELECT position FROM event_service.floor")
        self.floor = cursor.fetchone()[0]

    def finish(self):
        """Counts the fault, if partitions were dropped and a reader was told of it."""
        self.is_stopping = True
        self.join(30)
        readers = self.stage.checker.ask("status")["readers"]
        told = readers["laggard"]["resets"]
        others = sum(
            reader["resets"] for name, reader in readers.items() if name.startswith("kept "))
        name = "retention dropping partitions under load"
        if not self.dropped or not told:
            self.stage.missed(name, f"{len(self.dropped)} dropped, {told} resets told")
            return
        self.stage.injected(
            name,
            f"{self.committed} events, floor at {self.floor}, {len(self.dropped)} partitions"
            f" dropped; a reader that stayed away too long was told {told} times, those that stayed"
            f" {others} times")
