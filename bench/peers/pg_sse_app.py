"""pg-sse, as its documentation shows it: one read a stream and event."""
import json
import os

import psycopg
from pg_sse import Event, Hub, IntCursor, trigger_sql
from starlette.applications import Starlette
from starlette.routing import Route

URL = os.environ["DATABASE_URL"]
with psycopg.connect(URL, autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS messages (id bigserial PRIMARY KEY, room text, body json)")
    connection.execute(trigger_sql("messages", key_column="room", channel="room_change", on=("insert",)))
database = psycopg.connect(URL, autocommit=True)
hub = Hub(URL, channel="room_change", max_subscribers=2000)
cursors = IntCursor()


def read_after(after):
    rows = database.execute(
        "SELECT id, body FROM messages WHERE room = 'all' AND id > %s ORDER BY id LIMIT 500", (after,)).fetchall()
    return [Event(json.loads(body) if isinstance(body, str) else body, id=number) for number, body in rows]


def latest():
    return database.execute("SELECT coalesce(max(id), 0) FROM messages WHERE room = 'all'").fetchone()[0]


async def stream(request):
    return hub.sse("all", read=read_after, cursor=cursors.parse_one(request.headers.get("last-event-id")), start=latest)


app = Starlette(routes=[Route("/stream", stream)], lifespan=hub.lifespan)
