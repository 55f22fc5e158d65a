"""What was committed, what arrived, and in which ways the two can differ.

Nothing here knows of sockets or of the database: the writers tell what they committed, the readers
what they received. `test_chaos.py` shows that each way to lose, double, reorder or invent an event
is found.
"""

import json
from array import array
from bisect import bisect_right


class Violations:
    """Broken promises, each counted, the first of each kind kept in words."""

    KEPT = 20

    def __init__(self):
        self.counts = {}
        self.texts = {}

    def add(self, kind, text):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self.texts.setdefault(kind, [])
        if len(kept) < self.KEPT:
            kept.append(text)

    def merge(self, counts, texts):
        for kind, count in counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            self.texts.setdefault(kind, []).extend(texts[kind])


class Ledger:
    """Committed events against those that arrived, by signature.

    A signature names one event as its writer knows it: type, key, the transaction that wrote the
    row image, and the row's counter in it. Some, such as `left`, are not unique: they are counted.
    """

    def __init__(self, violations):
        self.violations = violations
        # Signature → (how many, since when), in the order of coming.
        self.awaited = {}
        self.unexplained = {}
        self.undone = {}
        self.matched = 0

    def expect(self, signatures, now):
        """These were committed."""
        for signature in signatures:
            if not self._take(self.unexplained, signature):
                self._put(self.awaited, signature, now)
            else:
                self.matched += 1

    def arrived(self, signature, now):
        """An event of this signature has a position now."""
        if self._take(self.awaited, signature):
            self.matched += 1
        else:
            self._put(self.unexplained, signature, now)

    def withdraw(self, signatures):
        """A crash undid what had been committed without waiting for the disk."""
        for signature in signatures:
            if not self._take(self.awaited, signature):
                self.violations.add(
                    "delivered before it was durable", f"{signature} was undone by the crash")

    def undo(self, tag, reason):
        """The transaction of this tag never committed."""
        self.undone[tag] = reason

    def oldest(self, now):
        """For how long the oldest committed event has waited, and its signature."""
        for signature, (_, since) in self.awaited.items():
            return now - since, signature
        return 0.0, None

    def close(self):
        """All is told and all has arrived: what is left over is wrong."""
        for signature, (count, _) in self.awaited.items():
            self.violations.add("committed, never delivered", f"{count} × {signature}")
        for signature, (count, _) in self.unexplained.items():
            tag = signature.split("|")[2]
            why = self.undone.get(tag, "nobody committed it")
            self.violations.add("delivered, never committed", f"{count} × {signature}: {why}")

    @staticmethod
    def _put(table, signature, now):
        count, since = table.get(signature, (0, now))
        table[signature] = (count + 1, since)

    @staticmethod
    def _take(table, signature):
        entry = table.get(signature)
        if entry is None:
            return False
        if entry[0] == 1:
            del table[signature]
        else:
            table[signature] = (entry[0] - 1, entry[1])
        return True


class Replica:
    """The watched tables, built from nothing but the events.

    Every old image must be the last new one of its key: a lost, doubled or reordered event of a row
    breaks that chain at once.
    """

    def __init__(self, violations):
        self.violations = violations
        self.topics = {}

    def rows(self, topic):
        return self.topics.setdefault(topic, {})

    def apply(self, position, topic, op, key, new, old):
        rows = self.rows(topic)
        held = rows.get(key)
        if op == "truncate":
            rows.clear()
            return
        if op == "insert":
            if held is not None:
                self._broken(position, topic, key, "inserted, though it is there")
        elif op == "enter":
            if held is None or held["n"] + 1 != new["n"]:
                self._broken(position, topic, key, f"entered as {new}, but was {held}")
        elif held != old:
            self._broken(position, topic, key, f"{op} of {old}, but it was {held}")
        if op == "delete":
            rows.pop(key, None)
        else:
            rows[key] = new

    def _broken(self, position, topic, key, text):
        self.violations.add("order of a row", f"{position}: {topic} {key} {text}")

    def compare(self, topic, table):
        """The table as the database has it at the end: a JSON object of its rows by key."""
        rows = self.rows(topic)
        table = json.loads(table)
        for key in rows.keys() | table.keys():
            if rows.get(key) != table.get(key):
                self.violations.add(
                    "replica differs from the table",
                    f"{topic} {key}: {rows.get(key)} in the replica, {table.get(key)} in the table")


class View:
    """What one kind of stream is due: the positions, in order, of the events that it may see."""

    def __init__(self, name, admits):
        self.name = name
        self.admits = admits
        self.positions = array("q")

    def index_after(self, position):
        return bisect_right(self.positions, position)


class World:
    """One event log, as all readers together see it."""

    def __init__(self, violations, views):
        self.violations = violations
        self.ledger = Ledger(violations)
        self.replica = Replica(violations)
        self.views = views
        # The epochs, oldest first, each with its first position; a server that starts may open one.
        self.epochs = []
        # By position: a digest of the event's bytes, 0 where none was seen, and its event id.
        self.digests = array("q", [0])
        self.event_ids = array("q", [0])
        self.known_ids = set()
        # Seen, but not yet looked into, since something before is missing.
        self.waiting = {}
        # Everything up to here was looked into, in order.
        self.audited = 0

    def saw(self, epoch, position, kind, data, reader):
        """A reader received an event; the first to do so decides what the id means."""
        digests = self.digests
        if position >= len(digests):
            digests.extend([0] * (position + 1 - len(digests)))
        digest = hash((epoch, data)) or 1
        known = digests[position]
        if known == 0:
            digests[position] = digest
            self.waiting[position] = (epoch, kind, data)
        elif known != digest:
            self.violations.add("one id, two events", f"{reader}: {position} is {data[:200]!r}")

    def audit(self, now):
        """Looks into all that came without a gap, in the order of the positions."""
        while (event := self.waiting.pop(self.audited + 1, None)) is not None:
            self.audited += 1
            self._audit(self.audited, *event, now)

    def _audit(self, position, epoch, kind, data, now):
        if not self.epochs or epoch != self.epochs[-1][0]:
            if self.epochs and epoch < self.epochs[-1][0]:
                self.violations.add("epoch", f"{epoch}-{position} after {self.epochs[-1]}")
            self.epochs.append((epoch, position))
        event = json.loads(data)
        if kind and event["type"].encode() != kind:
            self.violations.add("type", f"{position}: {kind!r} {data[:200]!r}")
        event_id = int(event["event_id"])
        self.event_ids.append(event_id)
        if event_id in self.known_ids:
            self.violations.add("one event, two ids", f"{position}: {data[:200]!r}")
        self.known_ids.add(event_id)
        op, key = event["op"], event.get("key", "")
        new, old = event.get("new"), event.get("old")
        image = event["data"] if op == "publish" else new or old or {}
        self.ledger.arrived(
            f"{event['type']}|{key}|{image.get('tx', '')}|{image.get('n', '')}", now)
        held = self.replica.rows(event["topic"]).get(key)
        for view in self.views:
            if view.admits(event, held):
                view.positions.append(position)
        if op not in ("publish", "leave"):
            self.replica.apply(position, event["topic"], op, key, new, old)

    def missing(self):
        """The first position that nobody has received, though a later one was."""
        return self.audited + 1 if self.waiting else None

    def compare_log(self, positions, event_ids):
        """The log as the database has it at the end."""
        if len(positions) != self.audited:
            self.violations.add(
                "log and streams",
                f"the log has {len(positions)} events, the readers {self.audited}")
        for index, (position, event_id) in enumerate(zip(positions, event_ids), 1):
            if position != index:
                self.violations.add("dense positions", f"{position} stands at place {index}")
                return
            if index <= self.audited and self.event_ids[index] != event_id:
                self.violations.add("log and streams", f"{position} is another event in the log")


class Cursor:
    """Up to where one logical reader has received its view, over all its connections."""

    def __init__(self, reader, world, view):
        self.reader = reader
        self.world = world
        # None: every position is due, one after the other; for a log that forgets.
        self.view = view
        self.position = None
        self.count = 0
        # Behind which position the view is compared, where in the view that is, what came since.
        self._start = None
        self._next = None
        self._received = []

    def starts(self, position):
        """A stream begins behind this position: the first, or after a reset that was told."""
        self.position = self._start = position
        self._next = None
        self._received = []

    def receive(self, frame):
        """An event came."""
        position = frame.position
        violations = self.world.violations
        if position <= self.position:
            violations.add(
                "twice or out of order", f"{self.reader}: {position} behind {self.position}")
            return
        if self.view is not None:
            self._received.append(position)
        elif position != self.position + 1:
            violations.add("lost on a stream", f"{self.reader}: {self.position} … {position}")
        self.position = position
        self.count += 1
        self.world.saw(frame.epoch, position, frame.type, frame.data, self.reader)

    def check(self):
        """Compares what came with what was due, as far as that is known."""
        if not self._received or self.world.audited < self._received[0]:
            return
        due = self.view.positions
        if self._next is None:
            self._next = self.view.index_after(self._start)
        done = 0
        for position in self._received:
            if position > self.world.audited:
                break
            done += 1
            if self._next < len(due) and due[self._next] == position:
                self._next += 1
            else:
                self._differs(position)
        del self._received[:done]

    def _differs(self, position):
        due = self.view.positions
        missed = due[self._next] if self._next < len(due) else None
        if missed is not None and missed < position:
            self.world.violations.add(
                "lost on a stream", f"{self.reader}: {missed} was due, {position} came")
        else:
            self.world.violations.add(
                "not for this stream", f"{self.reader}: {position} is not in {self.view.name}")
        self._next = self.view.index_after(position)

    def behind(self):
        """How many events that are known to be due have not come."""
        if self.view is None or self.position is None:
            return 0
        return len(self.view.positions) - self.view.index_after(self.position)
