#!/usr/bin/python3
"""Reads Tests/Fixtures/event-stream.json with the plainest parser there can be, written from the
standard's text (WHATWG HTML, section 9.2.6) alone: what the other parsers are held to is held to it.
"""
import base64
import json
import pathlib
import re
import sys


def parse(stream):
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    events, last_id, retry, comments = [], "", None, 0
    event_type = data = ""
    block_id = None
    lines = re.split("\r\n|\n|\r", text)
    # What stands behind the last line end is no line.
    for line in lines[:-1]:
        if line == "":
            if block_id is not None:
                last_id = block_id
            if data != "":
                events.append([event_type or "message", data.removesuffix("\n"), last_id])
            event_type, data, block_id = "", "", None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "" and line.startswith(":"):
            comments += 1
        elif name == "event":
            event_type = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            block_id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return {"events": events, "id": last_id, "retry": retry, "comments": comments}


path = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/event-stream.json"
vectors = json.loads(path.read_text())
faults = 0
for vector in vectors:
    if "chunks" in vector:
        stream = b"".join(base64.b64decode(chunk) for chunk in vector["chunks"])
    else:
        stream = vector["stream"].encode()
    expected = {"events": vector["events"], "id": vector.get("id", ""),
                "retry": vector.get("retry"), "comments": vector.get("comments", 0)}
    found = parse(stream)
    if found != expected:
        faults += 1
        print(f"{vector['name']}: {found}, not {expected}")
print(f"reference: {len(vectors)} vectors, {faults} faults")
sys.exit(bool(faults))
