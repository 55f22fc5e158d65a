"""The checker's process: readers on one loop, and what they receive against what was committed."""

import multiprocessing
import selectors
import threading
import time

from ledger import View, Violations, World
from readers import HistoryReader, StreamReader

CONTEXTS = 4


def context_view(name):
    """The events with the label `context:NAME`, as the row images show it."""

    def admits(event, held):
        if event["op"] == "leave":
            return held is not None and held.get("ctx") == name
        image = event.get("new") or event.get("old") or event.get("data") or {}
        return image.get("ctx") == name

    return View(f"context={name}", admits)


def views():
    """The views that readers of the main world ask for, by their query."""
    everything = View("", lambda event, _: event["op"] != "leave")
    bulk = View("type=bulk.*", lambda event, _: event["topic"] == "bulk" and event["op"] != "leave")
    one_row = View(
        "type=item.*&key=7", lambda event, _: event["topic"] == "item" and event.get("key") == "7"
        and event["op"] != "leave")
    return [everything, bulk, one_row] + [context_view(f"c{n}") for n in range(CONTEXTS)]


class Checker:
    """Runs in a process of its own; `CheckerProcess` is its other end."""

    def __init__(self, commands, expectations, ports):
        self.commands = commands
        self.expectations = expectations
        self.ports = ports
        self.selector = selectors.DefaultSelector()
        self.violations = Violations()
        self.worlds = {
            "main": World(self.violations, views()),
            # Forgets, so that nothing but the order and the resets can be checked in it.
            "retention": World(self.violations, []),
        }
        self.readers = {}
        self.latencies = []
        self.selector.register(commands, selectors.EVENT_READ, self.command)
        self.selector.register(expectations, selectors.EVENT_READ, self.expectation)
        self.is_running = True

    def port(self, node, via_proxy):
        return self.ports[node]["proxied" if via_proxy else "direct"]

    def watch(self, sock, mask, reader):
        if sock not in self.selector.get_map():
            self.selector.register(sock, mask, reader)

    def unregister(self, sock):
        if sock in self.selector.get_map():
            self.selector.unregister(sock)

    def run(self):
        ticked = 0.0
        while self.is_running:
            for key, mask in self.selector.select(0.02):
                now = time.monotonic()
                if isinstance(key.data, (StreamReader, HistoryReader)):
                    # A reader that was stopped by the one before it in this round.
                    if key.data.socket is key.fileobj:
                        key.data.ready(mask, now)
                else:
                    key.data(now)
            now = time.monotonic()
            self.worlds["main"].audit(now)
            if now - ticked > 0.02:
                ticked = now
                for reader in list(self.readers.values()):
                    reader.tick(now)
                    if reader.view is not None:
                        reader.cursor.check()

    # Inputs --------------------------------------------------------------------------------------

    def expectation(self, now):
        ledger = self.worlds["main"].ledger
        kind, *arguments = self.expectations.recv()
        if kind == "committed":
            ledger.expect(arguments[0], now)
        elif kind == "range":
            kind_of_event, first, last, tag, number = arguments
            ledger.expect(
                (f"{kind_of_event}|{key}|{tag}|{number}" for key in range(first, last + 1)), now)
        elif kind == "undone":
            ledger.undo(*arguments)
        elif kind == "lost in a crash":
            ledger.withdraw(arguments[0])

    def command(self, now):
        name, *arguments = self.commands.recv()
        self.commands.send(getattr(self, name)(*arguments))

    def open(self, spec):
        world = self.worlds[spec.get("world", "main")]
        view = None
        if spec.get("world", "main") == "main":
            view = next(v for v in world.views if v.name == spec.get("query", ""))
        kind = HistoryReader if spec.get("history") else StreamReader
        self.readers[spec["name"]] = kind(self, spec, world, view)

    def close(self, name):
        reader = self.readers.pop(name)
        reader.stop(time.monotonic())
        return reader.status()

    def hurry(self):
        """Slow readers come back at full speed, and restless ones stay."""
        for reader in self.readers.values():
            if isinstance(reader, StreamReader):
                if reader.rate:
                    reader.disconnect(time.monotonic())
                reader.rate = reader.leaves_at = None
                reader.restless = False

    def move(self, names, nodes):
        """Readers may use other nodes from here on, at full speed."""
        for name in names:
            self.readers[name].nodes = nodes
            self.readers[name].rate = None
            self.readers[name].disconnect(time.monotonic())

    def pause(self, name, seconds):
        """A reader leaves, and comes back after a while."""
        now = time.monotonic()
        self.readers[name].disconnect(now)
        self.readers[name].next_attempt = now + seconds

    def status(self, names=None):
        now = time.monotonic()
        world = self.worlds["main"]
        waiting, signature = world.ledger.oldest(now)
        chosen = self.readers if names is None else {name: self.readers[name] for name in names}
        return {
            "epochs": world.epochs, "audited": world.audited, "missing": world.missing(),
            "awaited": len(world.ledger.awaited), "oldest": (waiting, signature),
            "unexplained": len(world.ledger.unexplained), "matched": world.ledger.matched,
            "retention_head": len(self.worlds["retention"].digests) - 1,
            "readers": {name: reader.status() for name, reader in chosen.items()},
            "violations": (self.violations.counts, self.violations.texts),
        }

    def take_latencies(self):
        taken, self.latencies = self.latencies, []
        return taken

    def finish(self, tables, log):
        """Everything has been told and received: the last comparisons."""
        world = self.worlds["main"]
        if world.missing() is not None:
            self.violations.add("lost for everybody", f"{world.missing()} was never received")
        world.ledger.close()
        for topic, table in tables.items():
            world.replica.compare(topic, table)
        world.compare_log(*log)
        for reader in self.readers.values():
            if reader.view is not None:
                reader.cursor.check()
                if reader.cursor.behind():
                    self.violations.add(
                        "lost on a stream",
                        f"{reader.name}: {reader.cursor.behind()} events never came")
        return self.status()

    def stop(self):
        self.is_running = False


def serve(commands, expectations, ports):
    try:
        Checker(commands, expectations, ports).run()
    except (EOFError, KeyboardInterrupt):
        pass


class CheckerProcess:
    """The main process's end: commands that are answered, and expectations that are only told."""

    def __init__(self, ports):
        self._commands, commands = multiprocessing.Pipe()
        receiver, self._expectations = multiprocessing.Pipe(duplex=False)
        self._command_lock = threading.Lock()
        self._expectation_lock = threading.Lock()
        self.process = multiprocessing.Process(
            target=serve, args=(commands, receiver, ports), daemon=True)
        self.process.start()

    def ask(self, name, *arguments):
        with self._command_lock:
            self._commands.send((name, *arguments))
            return self._commands.recv()

    def tell(self, kind, *arguments):
        with self._expectation_lock:
            self._expectations.send((kind, *arguments))
