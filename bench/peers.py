"""What else pushes events, each as one server that is told to send one event to all of its streams.

Every frame is about as long as ours, and holds the time at which its sender had it.
"""
import http.client
import pathlib
import subprocess
import sys
import tempfile
from datetime import datetime, timezone

import psycopg2

from lab import ROOT, Process, Service, free_port, wait_port

PEERS = ROOT / "bench/peers"
SCRATCH = ROOT / ".build/bench"


def now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Ours:
    """The service, and a session that publishes in PostgreSQL."""

    # What is published makes frames of 226 bytes.
    PAYLOAD = "x" * 60

    def __init__(self, cluster, *arguments, **options):
        self.server = Service(cluster.url, *arguments, **options)
        self.session = psycopg2.connect(cluster.url)
        self.session.autocommit = True
        self.cursor = self.session.cursor()

    def url(self, query=""):
        return self.server.stream_url(query)

    def send(self, count=1, audience="*"):
        self.cursor.execute(
            "SELECT event_service.publish('bench.tick', to_jsonb(%s::text), ARRAY[%s]) FROM generate_series(1, %s)",
            (self.PAYLOAD, audience, count))

    def close(self):
        self.session.close()
        self.server.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Bare:
    """A loop of send() in C: what the kernel takes, and no service can do without."""

    def __init__(self):
        SCRATCH.mkdir(parents=True, exist_ok=True)
        subprocess.check_call(["gcc", "-O2", "-Wall", "-o", SCRATCH / "bare", PEERS / "bare.c"])
        self.port = free_port()
        self.server = Process([SCRATCH / "bare", self.port], stdin=subprocess.PIPE, text=True)
        wait_port(self.port)

    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def send(self, count=1):
        self.server.process.stdin.write(f"226 {count}\n")
        self.server.process.stdin.flush()

    def close(self):
        self.server.process.stdin.close()
        self.server.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Nchan(Bare):
    """nginx with Nchan: one worker, one channel, messages published by HTTP."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="event-service-bench.")
        self.port = free_port()
        root = pathlib.Path(self.folder.name)
        (root / "nginx.conf").write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
            worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log;
            user root; worker_rlimit_nofile 19000;
            events {{ worker_connections 18000; }}
            http {{
                access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
                fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                nchan_shared_memory_size 512m;
                server {{
                    listen 127.0.0.1:{self.port} backlog=4096;
                    location = /pub {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 100;
                                       keepalive_requests 1000000; }}
                    location / {{ nchan_subscriber eventsource; nchan_channel_id bench;
                                  nchan_subscriber_first_message newest; }}
                }}
            }}""")
        self.server = Process(["/usr/sbin/nginx", "-c", root / "nginx.conf", "-p", root])
        wait_port(self.port)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)

    def send(self, count=1):
        for _ in range(count):
            self.connection.request("POST", "/pub", f'{{"time":"{now()}","data":"{"x" * 140}"}}')
            self.connection.getresponse().read()

    def close(self):
        self.server.close()
        self.folder.cleanup()


class PgSse(Bare):
    """pg-sse under uvicorn, as its documentation shows it."""

    def __init__(self, cluster):
        environment = SCRATCH / "pg-sse"
        if not (environment / "bin/uvicorn").exists():
            subprocess.check_call([sys.executable, "-m", "venv", environment])
            subprocess.check_call([environment / "bin/pip", "-q", "install", "pg-sse[starlette]==0.5.0", "uvicorn"])
        self.session = psycopg2.connect(cluster.url)
        self.session.autocommit = True
        self.cursor = self.session.cursor()
        self.port = free_port()
        self.server = Process(
            [environment / "bin/uvicorn", "pg_sse_app:app", "--app-dir", PEERS, "--port", self.port,
             "--log-level", "error", "--backlog", "4096"],
            env={"DATABASE_URL": cluster.url, "PATH": "/usr/bin:/bin"})
        wait_port(self.port)

    def url(self):
        return f"http://127.0.0.1:{self.port}/stream"

    def send(self, count=1):
        self.cursor.execute(
            """INSERT INTO messages (room, body) SELECT 'all', json_build_object('time', to_char(clock_timestamp()
               AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', repeat('x', 140))
               FROM generate_series(1, %s)""", (count,))

    def close(self):
        self.session.close()
        self.server.close()
