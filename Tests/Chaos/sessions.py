"""Connections of applications that keep what they committed, and ask when they cannot know.

Every row has a counter `n` and the tag `tx` of the transaction that wrote it last, so that each
event has a signature that its writer can foretell: `type|key|tx|n`.
"""

import collections
import time

import psycopg2


class Session:
    """One connection that tells the checker what became of each transaction."""

    def __init__(self, name, url, checker, synchronous=True):
        self.name = name
        self.url = url
        self.checker = checker
        self.synchronous = synchronous
        self.connection = None
        self.seq = 0
        # Of a commit whose outcome is not known: (seq, tag, events).
        self.open_question = None
        self.counts = collections.Counter()

    def before_commit(self):
        """Nothing, but for an act that wants to be there at this moment."""

    def connect(self):
        """Connects, and asks for the outcome that is open. Raises if PostgreSQL is away."""
        connection = psycopg2.connect(self.url, application_name=self.name, connect_timeout=5)
        try:
            self._settle_open_question(connection)
            if not self.synchronous:
                with connection.cursor() as cursor:
                    cursor.execute("SET synchronous_commit = off")
                connection.commit()
        except BaseException:
            connection.close()
            raise
        self.connection = connection

    def _settle_open_question(self, connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            # The session before may not have noticed yet that it is alone.
            while True:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = %s AND pid <> pg_backend_pid()", [self.name])
                if cursor.fetchone()[0] == 0:
                    break
                time.sleep(0.02)
            cursor.execute(
                "INSERT INTO outcome VALUES (%s, 0) ON CONFLICT DO NOTHING", [self.name])
            cursor.execute("SELECT seq FROM outcome WHERE writer = %s", [self.name])
            last = cursor.fetchone()[0]
        # One of the same name may have been here before.
        self.seq = max(self.seq, last)
        connection.autocommit = False
        self.settle(last)

    def settle(self, last):
        """The database says which of this session's transactions was the last."""
        if self.open_question is None:
            return
        seq, tag, events = self.open_question
        self.open_question = None
        if seq == last:
            self.counts["unknown, committed"] += 1
            self.committed(seq, events)
        else:
            self.counts["unknown, undone"] += 1
            self.undone(tag, "its connection broke")

    def transact(self, work):
        """Runs `work(cursor, tag)`, which returns the events; None if it is to be rolled back.

        Returns whether it is known to have committed.
        """
        if self.connection is None:
            self.connect()
        self.seq += 1
        tag = f"{self.name}.{self.seq}"
        try:
            with self.connection.cursor() as cursor:
                events = work(cursor, tag)
                if events is None:
                    self.connection.rollback()
                    self.counts["rolled back"] += 1
                    self.undone(tag, "it was rolled back")
                    return False
                cursor.execute(
                    "UPDATE outcome SET seq = %s WHERE writer = %s", [self.seq, self.name])
        except psycopg2.Error as error:
            # Not committed for certain: COMMIT was never sent.
            self.undone(tag, f"it failed: {error}")
            self.counts["failed"] += 1
            self._recover()
            return False
        self.open_question = (self.seq, tag, events)
        self.before_commit()
        try:
            self.connection.commit()
        except psycopg2.Error:
            self.close()
            return False
        self.open_question = None
        self.committed(self.seq, events)
        return True

    def _recover(self):
        try:
            self.connection.rollback()
        except psycopg2.Error:
            self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def committed(self, seq, events):
        self.counts["committed"] += 1
        plain = [event for event in events if isinstance(event, str)]
        ranges = [event for event in events if not isinstance(event, str)]
        self.counts["events"] += len(plain) + sum(event[2] - event[1] + 1 for event in ranges)
        for event in ranges:
            self.checker.tell("range", *event)
        if plain:
            self.checker.tell("committed", plain)

    def undone(self, tag, reason):
        self.checker.tell("undone", tag, reason)


class CarelessSession(Session):
    """Commits without waiting for the disk, so that a crash undoes what it took for done."""

    def __init__(self, name, url, checker):
        super().__init__(name, url, checker, synchronous=False)
        self.recent = collections.deque(maxlen=20_000)

    def committed(self, seq, events):
        super().committed(seq, events)
        self.recent.append((seq, events))

    def settle(self, last):
        super().settle(last)
        while self.recent and self.recent[-1][0] > last:
            _, events = self.recent.pop()
            self.counts["lost in a crash"] += 1
            self.checker.tell("lost in a crash", events)
