"""Writers: applications that go on writing small transactions of all kinds."""

import collections
import random
import threading
import time

import psycopg2

from sessions import CarelessSession, Session

CONTEXTS = 4
HOT_ROWS = 40
# Ids that belong to one writer alone.
OWN_IDS = 1_000_000_000


class Writer(threading.Thread):
    """Writes small transactions of all kinds until it is stopped."""

    def __init__(self, number, url, checker, seed, pause):
        super().__init__(name=f"w{number}", daemon=True)
        self.session = Session(f"w{number}", url, checker)
        self.random = random.Random(seed)
        self.pause = pause
        self.gate = threading.Event()
        self.gate.set()
        self.is_stopping = False
        self.next_id = (number + 1) * OWN_IDS
        self.ranges = {"item": [], "bulk": []}
        self.families = []
        self.parts = []
        self.on_commit = []
        # What to do once a commit that was in doubt turns out to have happened.
        self.in_doubt = []
        self.done = collections.Counter()
        self.error = None
        self.kinds = [
            (self.update_hot, 6), (self.move_hot, 2), (self.insert_own, 4), (self.update_own, 5),
            (self.delete_own, 3), (self.change_key, 2), (self.begin_family, 2),
            (self.end_family, 1), (self.rename_family, 1), (self.insert_part, 2),
            (self.move_part, 2), (self.publish, 3), (self.scratch, 2), (self.bulk, 3),
        ]

    def run(self):
        while not self.is_stopping:
            self.gate.wait()
            try:
                self.step()
            except psycopg2.Error:
                self.session.close()
                time.sleep(self.random.uniform(0.05, 0.4))
            except Exception as error:  # told by the main thread, which fails the run
                self.error = error
                return
            time.sleep(self.random.expovariate(1 / self.pause))
        self.finish()

    def step(self):
        if self.session.connection is None:
            before = self.session.counts["unknown, committed"]
            self.session.connect()
            if self.session.counts["unknown, committed"] > before:
                for action in self.in_doubt:
                    action()
        self.on_commit = []
        if self.session.transact(self.work):
            for action in self.on_commit:
                action()
        self.in_doubt = self.on_commit

    def finish(self):
        """No question stays open."""
        deadline = time.monotonic() + 60
        while self.session.open_question is not None and time.monotonic() < deadline:
            try:
                self.session.close()
                self.session.connect()
            except psycopg2.Error:
                time.sleep(0.2)
        self.session.close()

    def work(self, cursor, tag):
        events = []
        kinds, weights = zip(*self.kinds)
        for kind in self.random.choices(kinds, weights, k=self.random.choice((1, 1, 1, 2, 3))):
            events += kind(cursor, tag)
            self.on_commit.append(lambda kind=kind: self.done.update([kind.__name__]))
            if self.random.random() < 0.1:
                time.sleep(self.random.uniform(0, 0.02))
        if self.random.random() < 0.02:
            cursor.execute("SELECT 1 / 0")
        return None if self.random.random() < 0.1 else events

    # Rows that all writers share -----------------------------------------------------------------

    def update_hot(self, cursor, tag):
        events = []
        # In the order of the ids, so that few of them deadlock.
        rows = sorted(self.random.randint(1, HOT_ROWS) for _ in range(self.random.randint(1, 3)))
        for row in rows:
            cursor.execute("SAVEPOINT here")
            cursor.execute(
                "UPDATE item SET n = n + 1, tx = %s WHERE id = %s RETURNING n", [tag, row])
            number = cursor.fetchone()[0]
            if self.random.random() < 0.2:
                cursor.execute("ROLLBACK TO here")
                self.on_commit.append(lambda: self.done.update(["rolled back to a savepoint"]))
            else:
                events.append(f"item.updated|{row}|{tag}|{number}")
        return events

    def move_hot(self, cursor, tag):
        row = self.random.randint(1, HOT_ROWS)
        context = f"c{self.random.randrange(CONTEXTS)}"
        cursor.execute("SELECT ctx FROM item WHERE id = %s FOR UPDATE", [row])
        before = cursor.fetchone()[0]
        cursor.execute(
            "UPDATE item SET n = n + 1, tx = %s, ctx = %s WHERE id = %s RETURNING n",
            [tag, context, row])
        number = cursor.fetchone()[0]
        if before == context:
            return [f"item.updated|{row}|{tag}|{number}"]
        return [f"item.left|{row}||", f"item.entered|{row}|{tag}|{number}"]

    # Rows of its own -----------------------------------------------------------------------------

    def take_ids(self, count):
        first = self.next_id
        self.next_id += count
        return first, first + count - 1

    def insert_own(self, cursor, tag, table="item", most=20):
        first, last = self.take_ids(self.random.randint(1, most))
        cursor.execute(
            f"INSERT INTO {table} SELECT i, 0, %s, 'c' || i %% {CONTEXTS},"
            " repeat('x', (i %% 200)::int) FROM generate_series(%s, %s) i", [tag, first, last])
        self.on_commit.append(lambda: self.ranges[table].append((first, last)))
        return [f"{table}.created|{i}|{tag}|0" for i in range(first, last + 1)]

    def pick_own(self, table):
        return self.random.choice(self.ranges[table]) if self.ranges[table] else None

    def update_own(self, cursor, tag, table="item"):
        chosen = self.pick_own(table)
        if chosen is None:
            return []
        cursor.execute(
            f"UPDATE {table} SET n = n + 1, tx = %s WHERE id BETWEEN %s AND %s RETURNING id, n",
            [tag, *chosen])
        return [f"{table}.updated|{i}|{tag}|{n}" for i, n in cursor]

    def delete_own(self, cursor, tag, table="item"):
        chosen = self.pick_own(table)
        if chosen is None:
            return []
        cursor.execute(
            f"DELETE FROM {table} WHERE id BETWEEN %s AND %s RETURNING id, n, tx", chosen)
        self.on_commit.append(lambda: self.forget(table, chosen))
        return [f"{table}.deleted|{i}|{tx}|{n}" for i, n, tx in cursor]

    def forget(self, table, chosen):
        # Two steps of one transaction may have chosen the same.
        if chosen in self.ranges[table]:
            self.ranges[table].remove(chosen)

    def change_key(self, cursor, tag):
        chosen = self.pick_own("item")
        if chosen is None:
            return []
        cursor.execute("SELECT n, tx FROM item WHERE id = %s FOR UPDATE", [chosen[0]])
        held = cursor.fetchone()
        if held is None:
            return []
        new, _ = self.take_ids(1)
        cursor.execute(
            "UPDATE item SET id = %s, n = n + 1, tx = %s WHERE id = %s", [new, tag, chosen[0]])
        self.on_commit.append(lambda: self.ranges["item"].append((new, new)))
        return [f"item.deleted|{chosen[0]}|{held[1]}|{held[0]}",
                f"item.created|{new}|{tag}|{held[0] + 1}"]

    def bulk(self, cursor, tag):
        step = self.random.choice((self.insert_own, self.update_own, self.delete_own))
        if step == self.insert_own:
            return self.insert_own(cursor, tag, "bulk", 200)
        return step(cursor, tag, "bulk")

    # Cascades, partitions, publishing, TRUNCATE --------------------------------------------------

    def begin_family(self, cursor, tag):
        parent, last = self.take_ids(self.random.randint(2, 6))
        cursor.execute("INSERT INTO parent VALUES (%s, 0, %s)", [parent, tag])
        cursor.execute(
            "INSERT INTO child SELECT i, 0, %s, %s FROM generate_series(%s, %s) i",
            [tag, parent, parent + 1, last])
        self.on_commit.append(lambda: self.families.append(parent))
        return [f"parent.created|{parent}|{tag}|0"] + [
            f"child.created|{i}|{tag}|0" for i in range(parent + 1, last + 1)]

    def family(self, cursor):
        if not self.families:
            return None, []
        parent = self.random.choice(self.families)
        cursor.execute("SELECT n, tx FROM parent WHERE id = %s FOR UPDATE", [parent])
        held = cursor.fetchone()
        cursor.execute("SELECT id, n, tx FROM child WHERE parent_id = %s", [parent])
        return (parent, *held) if held else None, cursor.fetchall()

    def end_family(self, cursor, tag):
        parent, children = self.family(cursor)
        if parent is None:
            return []
        cursor.execute("DELETE FROM parent WHERE id = %s", [parent[0]])
        self.on_commit.append(lambda: self.families.remove(parent[0]))
        return [f"parent.deleted|{parent[0]}|{parent[2]}|{parent[1]}"] + [
            f"child.deleted|{i}|{tx}|{n}" for i, n, tx in children]

    def rename_family(self, cursor, tag):
        parent, children = self.family(cursor)
        if parent is None:
            return []
        new, _ = self.take_ids(1)
        cursor.execute(
            "UPDATE parent SET id = %s, n = n + 1, tx = %s WHERE id = %s", [new, tag, parent[0]])
        self.on_commit.append(lambda: self.families.remove(parent[0]))
        self.on_commit.append(lambda: self.families.append(new))
        return [f"parent.deleted|{parent[0]}|{parent[2]}|{parent[1]}",
                f"parent.created|{new}|{tag}|{parent[1] + 1}"] + [
            f"child.updated|{i}|{tx}|{n}" for i, n, tx in children]

    def insert_part(self, cursor, tag):
        row, _ = self.take_ids(1)
        region = self.random.randrange(4)
        cursor.execute("INSERT INTO part VALUES (%s, %s, 0, %s)", [row, region, tag])
        self.on_commit.append(lambda: self.parts.append(row))
        return [f"part.created|[{row}, {region}]|{tag}|0"]

    def move_part(self, cursor, tag):
        if not self.parts:
            return []
        row = self.random.choice(self.parts)
        cursor.execute("SELECT region, n, tx FROM part WHERE id = %s FOR UPDATE", [row])
        region, number, writer = cursor.fetchone()
        new = self.random.randrange(4)
        cursor.execute(
            "UPDATE part SET region = %s, n = n + 1, tx = %s WHERE id = %s", [new, tag, row])
        if new == region:
            return [f"part.updated|[{row}, {region}]|{tag}|{number + 1}"]
        return [f"part.deleted|[{row}, {region}]|{writer}|{number}",
                f"part.created|[{row}, {new}]|{tag}|{number + 1}"]

    def publish(self, cursor, tag):
        count = self.random.randint(1, 4)
        first = self.take_ids(count)[0]
        context = self.random.choice((None, f"c{self.random.randrange(CONTEXTS)}"))
        cursor.execute(
            "SELECT event_service.publish('chaos.note', jsonb_strip_nulls(jsonb_build_object("
            "'tx', %s, 'n', i, 'ctx', %s)), %s) FROM generate_series(%s, %s) i",
            [tag, context, [f"context:{context}"] if context else ["*"], first, first + count - 1])
        return [f"chaos.note||{tag}|{i}" for i in range(first, first + count)]

    def scratch(self, cursor, tag):
        events = []
        if self.random.random() < 0.2:
            cursor.execute("TRUNCATE scratch")
            events.append("scratch.truncated|||")
        first, last = self.take_ids(self.random.randint(1, 5))
        cursor.execute(
            f"INSERT INTO scratch SELECT i, 0, %s, 'c' || i %% {CONTEXTS}, NULL"
            " FROM generate_series(%s, %s) i", [tag, first, last])
        return events + [f"scratch.created|{i}|{tag}|0" for i in range(first, last + 1)]


class CarelessWriter(threading.Thread):
    """Commits with `synchronous_commit = off`, as fast as it can while it is let."""

    def __init__(self, url, checker):
        super().__init__(name="careless", daemon=True)
        self.session = CarelessSession("careless", url, checker)
        self.gate = threading.Event()
        self.is_stopping = False

    def run(self):
        number = 0
        while not self.is_stopping:
            self.gate.wait()
            number += 1
            try:
                self.session.transact(lambda cursor, tag: self.write(cursor, tag, number))
            except psycopg2.Error:
                self.session.close()
                time.sleep(0.05)
        self.finish()

    finish = Writer.finish

    def write(self, cursor, tag, number):
        cursor.execute(
            "SELECT event_service.publish('chaos.careless', jsonb_build_object('tx', %s, 'n', %s),"
            " '{*}')", [tag, number])
        return [f"chaos.careless||{tag}|{number}"]


class LatencyWriter(threading.Thread):
    """Publishes one small event after the other, whose way to the readers is timed."""

    def __init__(self, url, checker):
        super().__init__(name="latency", daemon=True)
        self.session = Session("latency", url, checker)
        self.gate = threading.Event()
        self.gate.set()
        self.is_stopping = False

    def run(self):
        while not self.is_stopping:
            self.gate.wait()
            try:
                self.session.transact(self.write)
            except psycopg2.Error:
                self.session.close()
            time.sleep(0.05)
        self.finish()

    finish = Writer.finish

    def write(self, cursor, tag):
        cursor.execute(
            "SELECT event_service.publish('chaos.latency', jsonb_build_object('tx', %s, 'n', 0),"
            " '{*}')", [tag])
        return [f"chaos.latency||{tag}|0"]
