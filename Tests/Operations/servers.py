"""What these tests share with those of web/e2e: a service and a database to run it on; and some streams."""
import contextlib
import pathlib
import socket
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "web/e2e"))

from support import Database, Service, free_port, until  # noqa: E402

__all__ = ["ROOT", "Database", "Service", "free_port", "open_streams", "until"]


@contextlib.contextmanager
def open_streams(service, count):
    """Opens streams one after the other and holds them; gives the status that each was answered with."""
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=20))
            client.sendall(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answers.append(int(client.recv(4096).split()[1]))
        yield answers
