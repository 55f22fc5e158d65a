"""What tokens cost: in opening streams, and in every delivery afterwards."""
import base64
import hashlib
import hmac
import json
import tempfile
import time

from fanout import figures, interleaved, measure
from lab import Cluster
from peers import Ours

SECRET = "a secret of the benchmarks, good for nothing else"
STREAMS = 10_000


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def token(number):
    """One of a user of its own, with as many claims as an application's have."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + 3600, "sub": f"user-{number}", "sid": f"session-{number}", "jti": str(number),
              "contexts": ["project-1", "team:*"], "events": ["bench.*"], "scope": "events:read"}
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return text + "." + encoded(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest())


def run(quick=False):
    results = {}
    with Cluster(1) as cluster, tempfile.NamedTemporaryFile("w", prefix="event-service-bench.") as tokens:
        tokens.write("".join(token(number) + "\n" for number in range(STREAMS)))
        tokens.flush()
        # What is under way anyway, beside tokens that are in use.
        cluster.sql("SELECT event_service.revoke('gone-' || i) FROM generate_series(1, 1000) i")
        makers = {"with": lambda: Ours(cluster, "--workers", "1", "--jwt-secret", SECRET, auth="required"),
                  "without": lambda: Ours(cluster, "--workers", "1")}
        arguments = {"required": ["--token-file", tokens.name], "none": []}
        measured = interleaved(
            3 if quick else 9, makers,
            lambda peer: measure(peer, STREAMS, 1, 15, 5, arguments=arguments[peer.server.auth]))
        for name, bases in (("with", ["without"]), ("without", [])):
            results[f"10,000 streams, 5 events/s: {name}"] = figures(measured, name, *bases)
    return results
