"""Logical readers: each receives its view of the log over one connection after another.

All of them live on one selector loop, in the checker's process.
"""

import errno
import random
import re
import selectors
import socket
import struct
import time
from datetime import datetime, timezone

from ledger import Cursor
from wire import ProtocolError, ResponseParser, history_events

# The service is started with a heartbeat of 1 s.
SILENCE_SECONDS = 5.0
LATENCY_TYPE = b"chaos.latency"
TIME = re.compile(rb'"time":"([^"]+)"')


class Reader:
    """What streams and polling have in common: a node, a socket, a cursor, the next attempt."""

    def __init__(self, checker, spec, world, view):
        self.checker = checker
        self.name = spec["name"]
        self.world = world
        self.view = view
        self.query = spec.get("query", "")
        # Names of nodes: one for a reader that stays, several for one that roams.
        self.nodes = spec["nodes"]
        self.via_proxy = spec.get("via_proxy", False)
        self.resets_allowed = spec.get("resets_allowed", False)
        self.random = random.Random(spec["seed"])
        self.cursor = Cursor(self.name, world, view)
        self.since = spec.get("since", "earliest")
        self.last_id = None
        self.node = None
        self.socket = None
        self.parser = None
        self.request = b""
        self.next_attempt = 0.0
        self.heard_at = 0.0
        self.progress_at = time.monotonic()
        self.is_stopped = False
        self.connections = self.refusals = self.cuts = self.resets = self.silences = 0

    def violation(self, kind, text):
        self.world.violations.add(kind, f"{self.name} on {self.node}: {text}")

    # Connecting ----------------------------------------------------------------------------------

    def tick(self, now):
        """Called often: connects when it is time, and gives up on what is silent."""
        if self.is_stopped:
            return
        if self.socket is None:
            if now >= self.next_attempt:
                self.connect(now)
        elif now - self.heard_at > self.silence_seconds():
            self.silences += 1
            self.disconnect(now)

    def silence_seconds(self):
        return SILENCE_SECONDS

    def connect(self, now):
        others = [node for node in self.nodes if node != self.node] or self.nodes
        self.node = self.random.choice(others)
        port = self.checker.port(self.node, self.via_proxy)
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.prepare_socket()
        self.heard_at = now
        self.parser = ResponseParser()
        self.request = self.compose(port)
        code = self.socket.connect_ex(("127.0.0.1", port))
        if code not in (0, errno.EINPROGRESS):
            self.disconnect(now)
            return
        self.checker.selector.register(self.socket, selectors.EVENT_WRITE, self)

    def prepare_socket(self):
        pass

    def disconnect(self, now, reset=False, pause=0.5):
        """Ends the connection, and comes back a moment later."""
        if self.socket is None:
            return
        self.checker.unregister(self.socket)
        if reset:
            self.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self.socket = None
        self.next_attempt = now + self.random.uniform(0, pause)

    def stop(self, now):
        self.is_stopped = True
        self.disconnect(now)

    def ready(self, mask, now):
        """The socket can be written or read."""
        try:
            if mask & selectors.EVENT_WRITE:
                self.socket.sendall(self.request)
                self.checker.selector.modify(self.socket, selectors.EVENT_READ, self)
                return
            received = self.socket.recv(self.receive_bytes())
        except BlockingIOError:
            return
        except OSError:
            self.cuts += 1
            self.disconnect(now)
            return
        self.heard_at = now
        if received:
            try:
                self.received(received, now)
            except ProtocolError as error:
                self.violation("protocol", str(error))
                self.disconnect(now)
        else:
            self.closed(now)

    def receive_bytes(self):
        return 1 << 18

    def status(self):
        return {
            "position": self.cursor.position, "count": self.cursor.count, "node": self.node,
            "behind": self.cursor.behind(), "connections": self.connections, "cuts": self.cuts,
            "refusals": self.refusals, "resets": self.resets, "silences": self.silences,
            "progress_at": self.progress_at,
        }


class StreamReader(Reader):
    """Reads `GET /api/v1/events/stream`, and resumes by `Last-Event-ID`."""

    def __init__(self, checker, spec, world, view):
        super().__init__(checker, spec, world, view)
        # Bytes a second for one that is slow; None for one that is not.
        self.rate = spec.get("rate")
        self.one_shot = spec.get("one_shot", False)
        self.measures = spec.get("measures", False)
        # Leaves by itself now and then, as tabs that are closed and opened do.
        self.restless = spec.get("restless", False)
        self.leaves_at = None
        self.is_live = False
        self.is_done = False
        self.has_open = False
        self.replayed = 0
        self.ends = {}
        self.budget = 0.0
        self.budget_at = time.monotonic()
        self.health = None

    def prepare_socket(self):
        if self.rate:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

    def compose(self, port):
        query = [self.query] if self.query else []
        fields = ""
        if self.last_id is None:
            query.append(f"since={self.since}")
        else:
            fields = f"Last-Event-ID: {self.last_id[0]}-{self.last_id[1]}\r\n"
        self.has_open = self.is_live = False
        self.replayed = 0
        if self.restless:
            self.leaves_at = time.monotonic() + self.random.expovariate(1 / 4)
        return (
            f"GET /api/v1/events/stream?{'&'.join(query)} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\n{fields}\r\n").encode()

    def tick(self, now):
        if self.leaves_at is not None and now >= self.leaves_at and self.socket is not None:
            self.disconnect(now, reset=self.random.random() < 0.5)
        super().tick(now)
        if self.rate and self.socket is not None and self.budget_left(now) > 0:
            self.checker.watch(self.socket, selectors.EVENT_READ, self)

    def silence_seconds(self):
        # A slow reader is silent because it does not read.
        return 60.0 if self.rate else SILENCE_SECONDS

    def budget_left(self, now):
        self.budget = min(self.budget + (now - self.budget_at) * self.rate, self.rate)
        self.budget_at = now
        return self.budget

    def receive_bytes(self):
        return 4096 if self.rate else 1 << 18

    def received(self, received, now):
        if self.rate:
            self.budget -= len(received)
            if self.budget <= 0:
                # Its socket is left alone until it may read again.
                self.checker.unregister(self.socket)
        frames = self.parser.feed(received)
        if self.parser.status not in (None, 200):
            self.refused(now)
            return
        for frame in frames:
            self.take(frame, now)
            if self.socket is None:
                return
        if self.parser.ended:
            self.closed(now)

    def refused(self, now):
        self.refusals += 1
        if self.parser.status != 503:
            self.violation("refused", f"{self.parser.status} to {self.request!r}")
        elif "retry-after" not in self.parser.fields:
            self.violation("refused", "503 without Retry-After")
        self.disconnect(now)

    def closed(self, now):
        if not self.parser.ended:
            self.cuts += 1
        self.disconnect(now)

    def take(self, frame, now):
        if not frame.type.startswith(b"stream."):
            if not self.has_open:
                self.violation("protocol", "an event before stream.open")
            self.cursor.receive(frame)
            self.last_id = (frame.epoch, frame.position)
            self.replayed += 1
            self.progress_at = now
            if self.measures and frame.type == LATENCY_TYPE and self.is_live:
                self.measure(frame)
            return
        if frame.type == b"stream.open":
            self.opened(frame)
        elif frame.type == b"stream.reset":
            self.reset(frame)
        elif frame.type == b"stream.live":
            self.is_live = True
            self.is_done = self.one_shot
        elif frame.type == b"stream.health":
            self.health = frame.data
        elif frame.type == b"stream.end":
            reason = frame.data.decode()
            self.ends[reason] = self.ends.get(reason, 0) + 1
        elif frame.type != b"stream.cursor":
            self.violation("protocol", f"a frame of type {frame.type!r}")
        if frame.position is not None:
            self.last_id = (frame.epoch, frame.position)
        if self.is_done:
            self.stop(now)

    def opened(self, frame):
        self.has_open = True
        self.connections += 1
        if self.cursor.position is None:
            self.cursor.starts(frame.position)
        elif b'"resumed":"complete"' in frame.data:
            if self.last_id != (frame.epoch, frame.position):
                self.violation("resume", f"asked for {self.last_id}, got {frame}")
        elif not self.resets_allowed or b'"resumed":"gap"' not in frame.data:
            self.violation("resume", f"{frame.data!r} to {self.last_id}")

    def reset(self, frame):
        self.resets += 1
        if not self.resets_allowed:
            self.violation("reset that nobody planned", f"{frame.data!r}")
        self.cursor.starts(frame.position)

    def measure(self, frame):
        text = TIME.search(frame.data)[1].decode()
        captured = datetime.fromisoformat(text.replace("Z", "+00:00"))
        seconds = (datetime.now(timezone.utc) - captured).total_seconds()
        self.checker.latencies.append((time.monotonic(), self.node, seconds))

    def status(self):
        return super().status() | {
            "is_live": self.is_live, "is_done": self.is_done, "replayed": self.replayed,
            "ends": self.ends, "is_open": self.has_open and self.socket is not None,
        }


class HistoryReader(Reader):
    """Polls `GET /api/v1/events/history`, the fallback of clients that cannot stream."""

    def __init__(self, checker, spec, world, view):
        super().__init__(checker, spec, world, view)
        self.answer = b""

    def compose(self, port):
        self.answer = b""
        since = self.since if self.last_id is None else f"{self.last_id[0]}-{self.last_id[1]}"
        query = f"since={since}&limit=1000&wait=2" + (f"&{self.query}" if self.query else "")
        return (
            f"GET /api/v1/events/history?{query} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").encode()

    def received(self, received, now):
        self.answer += received

    def closed(self, now):
        head, _, body = self.answer.partition(b"\r\n\r\n")
        status = head[9:12]
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if status == b"503":
            self.refusals += 1
        elif status != b"200" or not length or len(body) < int(length[1]):
            # Cut before it was complete: the same page is asked for again.
            self.cuts += 1
            if status not in (b"", b"200"):
                self.violation("refused", f"{head[:80]!r}")
        else:
            self.page(body, now)
            self.disconnect(now, pause=0)
            return
        self.disconnect(now)

    def page(self, body, now):
        self.connections += 1
        tail = body[body.rfind(b'],"next"') :]
        following = re.match(rb'\],"next":"(\d+)-(\d+)","has_more":(true|false),"reset":(.)', tail)
        if not following:
            self.violation("protocol", f"a page that ends {tail[:120]!r}")
            return
        if following[4] != b"n":
            self.resets += 1
            if not self.resets_allowed:
                self.violation("reset that nobody planned", f"{tail!r}")
            self.cursor.starts(int(following[2]))
        elif self.cursor.position is None:
            # A page does not say where `earliest` is: the first event does.
            self.cursor.starts(0)
        for frame in history_events(body):
            self.cursor.receive(frame)
            self.progress_at = now
        self.last_id = (int(following[1]), int(following[2]))
