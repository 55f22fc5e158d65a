"""Whether the checker finds what it is there to find. A run that cannot fail proves nothing."""

import json
import pathlib
import random
import socket
import unittest

import plan
from checker import views
from ledger import Cursor, Violations, World
from proxy import DIRECTIONS, ProxyProcess
from wire import Frame, ProtocolError, ResponseParser, history_events

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAMES = pathlib.Path(__file__).resolve().parents[1] / "Fixtures/frames.json"


def chunk(text):
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


class WireTests(unittest.TestCase):
    def setUp(self):
        self.texts = [text.encode() for text in json.loads(FRAMES.read_text()).values()]
        self.bytes = HEAD + b"".join(map(chunk, self.texts)) + b"0\r\n\r\n"

    def parse(self, pieces):
        parser = ResponseParser()
        frames = [frame for piece in pieces for frame in parser.feed(piece)]
        return frames, parser

    def test_frames_come_out_however_the_bytes_are_cut(self):
        whole, parser = self.parse([self.bytes])
        self.assertEqual(len(whole), len(self.texts) - 1, "all but the heartbeat")
        self.assertEqual((parser.status, parser.heartbeats, parser.ended), (200, 1, True))
        single, _ = self.parse(bytes([byte]) for byte in self.bytes)
        self.assertEqual(single, whole)
        for seed in range(50):
            cuts = sorted(random.Random(seed).sample(range(len(self.bytes)), 40))
            pieces = [self.bytes[a:b] for a, b in zip([0, *cuts], [*cuts, len(self.bytes)])]
            self.assertEqual(self.parse(pieces)[0], whole)

    def test_a_frame_that_is_cut_off_does_not_come(self):
        for length in range(len(HEAD), len(self.bytes)):
            frames, parser = self.parse([self.bytes[:length]])
            self.assertLess(len(frames), len(self.texts))
            self.assertFalse(parser.ended and length < len(self.bytes) - 2)

    def test_what_is_no_response_is_refused(self):
        for wrong in (b"HTTP/1.0 200 OK\r\n\r\n", b"nonsense\r\n\r\n", HEAD + b"zz\r\n",
                      HEAD + b"3\r\nabcd\r\n", HEAD + chunk(b"idea: 1-2\n\n"),
                      b"HTTP/1.1 200 OK\r\nno field\r\n\r\n"):
            with self.assertRaises(ProtocolError):
                self.parse([wrong])

    def test_a_page_of_history_has_the_same_data_as_the_stream(self):
        events = [
            b'{"event_id":"9","type":"a.b","data":{"id":1}}', b'{"event_id":"10","data":"},{"}']
        items = [b'{"id":"5-%d",' % n + event[1:] for n, event in enumerate(events, 3)]
        body = b'{"events":[' + b",".join(items) + b'],"next":"5-4","has_more":false,"reset":null}'
        self.assertEqual(
            history_events(body), [Frame(5, 3, b"", events[0]), Frame(5, 4, b"", events[1])])
        self.assertEqual(history_events(b'{"events":[],"next":"5-4"}'), [])


def row(number, tx, context="c1"):
    return {"id": 1, "n": number, "tx": tx, "ctx": context}


class LedgerTests(unittest.TestCase):
    """A log of six events: a row is written, changed, moved elsewhere, deleted; a note."""

    EVENTS = [
        ("item.created", "insert", {"new": row(0, "t1")}),
        ("item.updated", "update", {"new": row(1, "t2"), "old": row(0, "t1"), "changed": ["n"]}),
        ("item.left", "leave", {}),
        ("item.entered", "enter", {"new": row(2, "t3", "c2")}),
        ("item.deleted", "delete", {"old": row(2, "t3", "c2")}),
        ("chaos.note", "publish", {"data": {"tx": "t4", "n": 7, "ctx": "c2"}}),
    ]
    SIGNATURES = ["item.created|1|t1|0", "item.updated|1|t2|1", "item.left|1||",
                  "item.entered|1|t3|2", "item.deleted|1|t3|2", "chaos.note||t4|7"]

    def setUp(self):
        self.violations = Violations()
        self.world = World(self.violations, views())
        self.readers = {}
        for view in self.world.views:
            cursor = Cursor(view.name or "everything", self.world, view)
            cursor.starts(0)
            self.readers[view.name] = cursor

    def frames(self, events=None):
        frames = []
        for number, (kind, op, images) in enumerate(events or self.EVENTS, 1):
            event = {"event_id": str(100 + number), "type": kind, "topic": kind.split(".")[0],
                     "op": op, **images}
            if op != "publish":
                event["key"] = "1"
            frames.append(Frame(9, number, kind.encode(), json.dumps(event).encode()))
        return frames

    def play(self, frames=None, everything=None, context=None):
        """Gives the readers their frames; by default what they are due."""
        frames = frames or self.frames()
        for frame in everything if everything is not None else frames[:2] + frames[3:]:
            self.readers[""].receive(frame)
        for frame in context if context is not None else frames[:3]:
            self.readers["context=c1"].receive(frame)
        self.world.audit(0)
        for cursor in self.readers.values():
            cursor.check()

    def close(self):
        self.world.ledger.close()
        return sorted(self.violations.counts)

    def test_a_log_without_fault_is_without_violation(self):
        self.world.ledger.expect(self.SIGNATURES, 0)
        self.play()
        self.assertEqual(self.close(), [])
        self.assertEqual(self.world.audited, 6)
        self.assertEqual(self.readers["context=c2"].behind(), 3)
        self.assertEqual(self.readers["context=c1"].behind(), 0)
        self.assertEqual(self.readers["type=bulk.*"].behind(), 0)
        self.world.compare_log(range(1, 7), range(101, 107))
        self.world.replica.compare("item", "{}")
        self.assertEqual(self.close(), [])

    def test_it_does_not_matter_who_tells_first(self):
        self.play()
        self.world.ledger.expect(self.SIGNATURES, 0)
        self.assertEqual(self.close(), [])

    def test_an_event_that_is_lost_for_one_stream_is_found(self):
        frames = self.frames()
        self.world.ledger.expect(self.SIGNATURES, 0)
        other = Cursor("other", self.world, self.world.views[0])
        other.starts(0)
        self.play()
        for frame in (frames[0], frames[3]):
            other.receive(frame)
        other.check()
        self.assertEqual(self.close(), ["lost on a stream"])

    def test_an_event_that_is_lost_for_all_is_found(self):
        self.world.ledger.expect(self.SIGNATURES, 0)
        frames = self.frames()
        self.play(everything=frames[:1] + frames[3:], context=[frames[0], frames[2]])
        self.assertEqual(self.world.missing(), 2)
        self.assertIn("committed, never delivered", self.close())

    def test_an_event_that_comes_twice_or_late_is_found(self):
        frames = self.frames()
        self.play(everything=[frames[0], frames[1], frames[1], frames[3], frames[4], frames[5]])
        self.assertIn("twice or out of order", self.violations.counts)
        self.setUp()
        self.play(everything=[frames[1], frames[0], frames[3], frames[4], frames[5]])
        self.assertIn("twice or out of order", self.violations.counts)

    def test_an_event_that_is_not_for_a_stream_is_found(self):
        frames = self.frames()
        self.play(context=frames[:4])
        self.assertIn("not for this stream", self.violations.counts)

    def test_two_events_under_one_id_are_found(self):
        other = self.frames()[0]._replace(data=self.frames()[0].data.replace(b"t1", b"t9"))
        self.play(context=[other, *self.frames()[1:3]])
        self.assertIn("one id, two events", self.violations.counts)

    def test_another_epoch_for_one_position_is_found(self):
        other = self.frames()[0]._replace(epoch=10)
        self.play(context=[other, *self.frames()[1:3]])
        self.assertIn("one id, two events", self.violations.counts)

    def test_an_epoch_that_goes_back_is_found(self):
        frames = [frame._replace(epoch=9 - frame.position // 4) for frame in self.frames()]
        self.play(frames)
        self.assertIn("epoch", self.violations.counts)

    def test_one_event_under_two_ids_is_found(self):
        frames = self.frames(self.EVENTS + [self.EVENTS[-1]])
        frames[6] = frames[6]._replace(data=frames[5].data)
        self.world.ledger.expect(self.SIGNATURES, 0)
        self.play(frames, everything=frames[:2] + frames[3:])
        self.assertEqual(self.close(), ["delivered, never committed", "one event, two ids"])

    def test_a_row_out_of_order_is_found(self):
        events = [self.EVENTS[i] for i in (0, 3, 2, 1, 4, 5)]
        self.play(self.frames(events), everything=self.frames(events), context=[])
        self.assertIn("order of a row", self.violations.counts)

    def test_an_event_of_a_transaction_that_did_not_commit_is_found_and_explained(self):
        self.world.ledger.expect(self.SIGNATURES[:5], 0)
        self.world.ledger.undo("t4", "it was rolled back")
        self.play()
        self.assertEqual(self.close(), ["delivered, never committed"])
        text = self.violations.texts["delivered, never committed"][0]
        self.assertIn("it was rolled back", text)

    def test_an_event_that_a_crash_undid_is_found_if_it_was_delivered(self):
        self.world.ledger.expect(self.SIGNATURES, 0)
        self.world.ledger.expect(["chaos.note||t5|1"], 0)
        self.play()
        self.world.ledger.withdraw(["chaos.note||t5|1"])
        self.assertEqual(self.close(), [])
        self.world.ledger.withdraw(self.SIGNATURES[-1:])
        self.assertEqual(self.close(), ["delivered before it was durable"])

    def test_a_log_that_differs_from_what_was_delivered_is_found(self):
        self.play()
        for positions, event_ids in (
                ([1], [101]), ([1, 2, 3, 4, 5, 7], [101, 102, 103, 104, 105, 106]),
                (range(1, 7), [101, 101, 101, 101, 101, 101])):
            self.violations.counts.clear()
            self.world.compare_log(positions, event_ids)
            self.assertNotEqual(self.violations.counts, {})

    def test_a_table_that_differs_from_the_replica_is_found(self):
        self.play()
        self.world.replica.compare("item", json.dumps({"1": row(2, "t3", "c2")}))
        self.assertIn("replica differs from the table", self.violations.counts)

    def test_without_a_view_every_position_is_due(self):
        cursor = Cursor("kept", self.world, None)
        cursor.starts(0)
        frames = self.frames()
        cursor.receive(frames[0])
        cursor.receive(frames[2])
        self.assertEqual(self.violations.counts, {"lost on a stream": 1})
        cursor.starts(4)
        cursor.receive(frames[4])
        self.assertEqual(self.violations.counts, {"lost on a stream": 1}, "a reset was told")


class PageTests(unittest.TestCase):
    def test_the_page_tells_of_every_fault(self):
        page = (pathlib.Path(__file__).resolve().parents[2] / "docs/reliability.md").read_text()
        for fault in plan.FAULTS + plan.LONG_FAULTS:
            self.assertIn(f"| {fault} |", page)


class ProxyTests(unittest.TestCase):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.proxy = ProxyProcess({"link": self.server.getsockname()[1]})
        self.client = socket.create_connection(("127.0.0.1", self.proxy.ports["link"]), 10)
        self.peer, _ = self.server.accept()
        for sock in (self.client, self.peer):
            sock.settimeout(10)

    def tearDown(self):
        for sock in (self.client, self.peer, self.server):
            sock.close()
        self.proxy.process.terminate()
        self.proxy.process.join()

    def hears(self, sock, seconds=0.2):
        sock.settimeout(seconds)
        try:
            return sock.recv(100)
        except TimeoutError:
            return None

    def test_a_held_direction_is_silent_and_loses_nothing(self):
        self.proxy.ask("rule", "link", ["down"], hold=True)
        self.client.sendall(b"up")
        self.assertEqual(self.hears(self.peer, 10), b"up")
        self.peer.sendall(b"down")
        self.assertIsNone(self.hears(self.client))
        self.peer.close()
        self.assertIsNone(self.hears(self.client), "not even that the other is gone")
        self.proxy.heal("link")
        self.assertEqual(self.hears(self.client, 10), b"down")
        self.assertEqual(self.hears(self.client, 10), b"")

    def test_one_connection_can_be_held(self):
        port = self.peer.getpeername()[1]
        self.assertTrue(self.proxy.ask("hold_one", "link", "down", port, True))
        self.peer.sendall(b"down")
        self.assertIsNone(self.hears(self.client))
        self.assertFalse(self.proxy.ask("hold_one", "link", "down", 1, True))

    def test_delayed_and_throttled_bytes_arrive_whole(self):
        self.proxy.ask("rule", "link", DIRECTIONS, delay=0.05, rate=200_000)
        sent = bytes(range(256)) * 100
        self.client.sendall(sent)
        received = b""
        while len(received) < len(sent):
            received += self.peer.recv(65536)
        self.assertEqual(received, sent)

    def test_a_cut_connection_ends_at_both_ends(self):
        self.assertEqual(self.proxy.ask("cut", "link"), 1)
        for sock in (self.client, self.peer):
            with self.assertRaises(ConnectionResetError):
                sock.recv(1)
        self.proxy.ask("refuse", "link", True)
        with socket.create_connection(("127.0.0.1", self.proxy.ports["link"]), 10) as refused:
            self.assertEqual(self.hears(refused, 10), b"")


if __name__ == "__main__":
    unittest.main()
