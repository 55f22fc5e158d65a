"""A TCP proxy that can misbehave: cut, hold, delay, throttle; in one direction or both.

A held direction is what a partition looks like from the ends: nothing arrives, nobody is told, the
kernels go on acknowledging. When it heals, what was under way goes on, unless somebody gave up.
"""

import collections
import errno
import multiprocessing
import random
import selectors
import socket
import struct
import threading
import time

DIRECTIONS = ("up", "down")  # to the server, from the server
READ_BYTES = 1 << 16
# What one direction of one connection keeps of bytes that are not due yet.
LONGEST_QUEUE = 1 << 20


class Rule:
    """How one direction of a link behaves."""

    def __init__(self):
        self.hold = False
        self.delay = 0.0
        self.rate = None


class Pipe:
    """One direction of one connection."""

    def __init__(self, connection, source, sink, rule):
        self.connection = connection
        self.source = source
        self.sink = sink
        self.rule = rule
        self.hold = False
        self.queue = collections.deque()  # (due, bytes)
        self.queued = 0
        self.ended = False
        self.finished = False
        self.budget_at = 0.0

    def is_held(self):
        return self.hold or self.rule.hold

    def wants_read(self):
        return not self.ended and not self.is_held() and self.queued < LONGEST_QUEUE

    def read(self, now):
        data = self.source.recv(READ_BYTES)
        if not data:
            self.ended = True
            return
        self.queue.append((now + self.rule.delay, data))
        self.queued += len(data)

    def due(self):
        """When the first of what waits may go on; None if nothing waits or it is held."""
        if not self.queue or self.is_held():
            return None
        return max(self.queue[0][0], self.budget_at)

    def write(self, now):
        """Sends what is due; returns whether the sink took all of that."""
        while self.queue and not self.is_held() and self.due() <= now:
            due, data = self.queue[0]
            part = data[:4096] if self.rule.rate else data
            try:
                sent = self.sink.send(part)
            except BlockingIOError:
                return False
            if self.rule.rate:
                self.budget_at = max(self.budget_at, now) + sent / self.rule.rate
            self.queued -= sent
            if sent == len(data):
                self.queue.popleft()
            else:
                self.queue[0] = (due, data[sent:])
                if sent < len(part):
                    return False
        if self.ended and not self.queue and not self.finished and not self.is_held():
            self.finished = True
            self.sink.shutdown(socket.SHUT_WR)
        return True


class Connection:
    """A client's socket and the server's, and the two ways between them."""

    def __init__(self, link, client):
        self.link = link
        self.client = client
        self.server = socket.socket()
        for sock in (self.client, self.server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self.server.connect_ex(("127.0.0.1", link.target))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, "connect")
        self.pipes = {
            "up": Pipe(self, self.client, self.server, link.rules["up"]),
            "down": Pipe(self, self.server, self.client, link.rules["down"]),
        }
        self.blocked = set()
        self.is_connected = False
        self.is_closed = False

    def server_port(self):
        """The port under which the server knows this connection."""
        return self.server.getsockname()[1]

    def close(self, reset):
        for sock in (self.client, self.server):
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        self.is_closed = True


class Link:
    """A port that leads to another one."""

    def __init__(self, target):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.target = target
        self.rules = {direction: Rule() for direction in DIRECTIONS}
        self.connections = []
        self.accepted = 0
        # Whether new connections are ended at once.
        self.refuses = False


class Proxy:
    """Runs in a process of its own; `ProxyProcess` is its other end."""

    def __init__(self, commands, links):
        self.commands = commands
        self.links = links
        self.selector = selectors.DefaultSelector()
        self.selector.register(commands, selectors.EVENT_READ, None)
        for link in links.values():
            self.selector.register(link.listener, selectors.EVENT_READ, link)
        self.random = random.Random(1)
        # Connections with bytes that wait for their time, or for room in a socket.
        self.queueing = set()

    def run(self):
        while True:
            touched = set()
            for key, mask in self.selector.select(self.timeout()):
                if key.fileobj is self.commands:
                    name, arguments, settings = self.commands.recv()
                    self.commands.send(getattr(self, name)(*arguments, **settings))
                    touched.update(c for link in self.links.values() for c in link.connections)
                elif isinstance(key.data, Link):
                    self.accept(key.data)
                elif not key.data.is_closed:
                    self.serve(key.data, key.fileobj, mask)
                    touched.add(key.data)
            now = time.monotonic()
            for connection in touched | self.queueing:
                if not connection.is_closed:
                    self.move(connection, now)

    def timeout(self):
        dues = [
            due for connection in self.queueing for pipe in connection.pipes.values()
            if pipe.sink not in connection.blocked and (due := pipe.due()) is not None]
        return max(min(dues) - time.monotonic(), 0) if dues else 1.0

    def accept(self, link):
        try:
            client, _ = link.listener.accept()
        except OSError:
            return
        if link.refuses:
            client.close()
            return
        try:
            connection = Connection(link, client)
        except OSError:
            client.close()
            return
        link.accepted += 1
        link.connections.append(connection)
        self.watch(connection)

    def serve(self, connection, sock, mask):
        now = time.monotonic()
        try:
            if mask & selectors.EVENT_WRITE:
                connection.blocked.discard(sock)
                if sock is connection.server and not connection.is_connected:
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code:
                        raise OSError(code, "connect")
                    connection.is_connected = True
            if mask & selectors.EVENT_READ:
                for pipe in connection.pipes.values():
                    if pipe.source is sock and pipe.wants_read():
                        pipe.read(now)
        except BlockingIOError:
            pass
        except OSError:
            self.drop(connection, reset=True)

    def move(self, connection, now):
        """Sends what is due, and asks the selector for what is wanted next."""
        try:
            if connection.is_connected:
                for pipe in connection.pipes.values():
                    if pipe.sink not in connection.blocked and not pipe.write(now):
                        connection.blocked.add(pipe.sink)
        except OSError:
            self.drop(connection, reset=True)
            return
        pipes = connection.pipes.values()
        if all(pipe.finished for pipe in pipes):
            self.drop(connection, reset=False)
            return
        if any(pipe.queue for pipe in pipes):
            self.queueing.add(connection)
        else:
            self.queueing.discard(connection)
        self.watch(connection)

    def watch(self, connection):
        for pipe in connection.pipes.values():
            sock, mask = pipe.source, 0
            if pipe.wants_read() and connection.is_connected:
                mask |= selectors.EVENT_READ
            if sock in connection.blocked or (
                    sock is connection.server and not connection.is_connected):
                mask |= selectors.EVENT_WRITE
            key = self.selector.get_map().get(sock)
            if key is None and mask:
                self.selector.register(sock, mask, connection)
            elif key is not None and not mask:
                self.selector.unregister(sock)
            elif key is not None and key.events != mask:
                self.selector.modify(sock, mask, connection)

    def drop(self, connection, reset):
        if connection.is_closed:
            return
        for sock in (connection.client, connection.server):
            if sock in self.selector.get_map():
                self.selector.unregister(sock)
        self.queueing.discard(connection)
        connection.close(reset)
        connection.link.connections.remove(connection)

    # Commands ------------------------------------------------------------------------------------

    def ports(self):
        return {name: link.port for name, link in self.links.items()}

    def rule(self, name, directions, **settings):
        """Changes how a link behaves; returns how many connections it has."""
        link = self.links[name]
        for direction in directions:
            for setting, value in settings.items():
                setattr(link.rules[direction], setting, value)
        return len(link.connections)

    def hold_one(self, name, direction, server_port, hold):
        """Holds one direction of the connection that the server knows by this port."""
        for connection in self.links[name].connections:
            if connection.server_port() == server_port:
                connection.pipes[direction].hold = hold
                return True
        return False

    def refuse(self, name, refuses):
        """Whether new connections of a link are ended at once."""
        self.links[name].refuses = refuses

    def cut(self, name, share=1.0, reset=True):
        """Ends connections of a link in the middle of whatever they do; returns how many."""
        chosen = [c for c in self.links[name].connections if self.random.random() < share]
        for connection in chosen:
            self.drop(connection, reset)
        return len(chosen)

    def stats(self, name):
        link = self.links[name]
        return {
            "connections": len(link.connections), "accepted": link.accepted,
            "queued": sum(p.queued for c in link.connections for p in c.pipes.values()),
        }


def serve(commands, targets):
    links = {name: Link(target) for name, target in targets.items()}
    try:
        Proxy(commands, links).run()
    except (EOFError, KeyboardInterrupt):
        pass


class ProxyProcess:
    """The main process's end."""

    def __init__(self, targets):
        self._commands, commands = multiprocessing.Pipe()
        self._lock = threading.Lock()
        self.process = multiprocessing.Process(
            target=serve, args=(commands, targets), daemon=True)
        self.process.start()
        self.ports = self.ask("ports")

    def ask(self, name, *arguments, **settings):
        with self._lock:
            self._commands.send((name, arguments, settings))
            return self._commands.recv()

    def heal(self, name):
        """The link behaves again."""
        self.ask("refuse", name, False)
        self.ask("rule", name, DIRECTIONS, hold=False, delay=0.0, rate=None)
