"""Reads what the service sends, strictly: HTTP/1.1, chunks, Server-Sent Events."""

import re
from typing import NamedTuple


class ProtocolError(Exception):
    """The bytes are not what they should be."""


class Frame(NamedTuple):
    """One frame of a stream; `position` is None where it carries no id."""

    epoch: int | None
    position: int | None
    type: bytes
    data: bytes


# What nearly every frame looks like; all others take the slow way.
EVENT = re.compile(rb"id: (\d+)-(\d+)\nevent: ([^\n]+)\ndata: ([^\n]*)\n\n")
ID = re.compile(rb"(\d+)-(\d+)")
HISTORY_EVENT = re.compile(rb'\{"id":"(\d+)-(\d+)",')
HEARTBEAT = b": hb\n"


class ResponseParser:
    """The response to one request for a stream."""

    def __init__(self):
        self.status = None
        self.fields = {}
        # Whether the last chunk has come, so that the stream ended in order.
        self.ended = False
        self.heartbeats = 0
        self._raw = bytearray()
        self._text = bytearray()

    def feed(self, received):
        """Takes bytes as they come, and returns the frames that they complete."""
        self._raw += received
        if self.status is None and not self._read_head():
            return []
        if self.status != 200:
            return []
        self._read_chunks()
        return self._read_frames()

    def _read_head(self):
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self._raw[:end]).split(b"\r\n")
        del self._raw[: end + 4]
        match = re.fullmatch(rb"HTTP/1\.1 (\d{3})( .*)?", lines[0])
        if not match:
            raise ProtocolError(f"status line {lines[0]!r}")
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                raise ProtocolError(f"field {line!r}")
            self.fields[name.lower().decode()] = value.strip().decode()
        self.status = int(match[1])
        return True

    def _read_chunks(self):
        raw, start = self._raw, 0
        while not self.ended:
            line = raw.find(b"\r\n", start)
            if line < 0:
                break
            try:
                size = int(raw[start:line], 16)
            except ValueError:
                raise ProtocolError(f"chunk size {bytes(raw[start:line])!r}") from None
            end = line + 2 + size
            if len(raw) < end + 2:
                break
            if raw[end : end + 2] != b"\r\n":
                raise ProtocolError("a chunk is longer than it says")
            self._text += raw[line + 2 : end]
            self.ended = size == 0
            start = end + 2
        del raw[:start]

    def _read_frames(self):
        text, start, frames = self._text, 0, []
        while True:
            match = EVENT.match(text, start)
            if match:
                frames.append(
                    Frame(int(match[1]), int(match[2]), match[3], match[4]))
                start = match.end()
            elif text.startswith(HEARTBEAT, start):
                self.heartbeats += 1
                start += len(HEARTBEAT)
            else:
                end = text.find(b"\n\n", start)
                if end < 0:
                    break
                frames.append(self._read_frame(bytes(text[start:end])))
                start = end + 2
        del text[:start]
        return frames

    @staticmethod
    def _read_frame(block):
        epoch = position = None
        kind, data = b"", b""
        for line in block.split(b"\n"):
            name, colon, value = line.partition(b": ")
            if name == b"id" and (match := ID.fullmatch(value)):
                epoch, position = int(match[1]), int(match[2])
            elif name == b"event":
                kind = value
            elif name == b"data":
                data = value
            elif name != b"retry":
                raise ProtocolError(f"line {line!r}")
        return Frame(epoch, position, kind, data)


def history_events(body):
    """The events of a page of history, each with its data as a stream would carry them."""
    starts = list(HISTORY_EVENT.finditer(body))
    # The list is closed by `]`, each event but the last by a comma.
    ends = [match.start() - 1 for match in starts[1:]] + [body.rfind(b'],"next"')]
    return [
        Frame(int(match[1]), int(match[2]), b"", b"{" + body[match.end() : end])
        for match, end in zip(starts, ends)
    ]
