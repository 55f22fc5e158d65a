"""How fast a client that comes back gets what it missed."""
import time

from lab import Cluster, Driver, Service, median

EVENTS = 1_000_000


def fill(cluster):
    """A million events, of which every thousandth is for one user."""
    cluster.sql(f"""
        INSERT INTO event_service.inbox (op, type, key, audience, data)
        SELECT 'u', 'task.progress-updated', (i % 1000)::text,
               CASE WHEN i % 1000 = 0 THEN '{{user:rare}}'::text[] ELSE ARRAY['user:' || i % 100, 'context:all'] END,
               json_build_object('new', json_build_object('id', i % 1000, 'title', 'task ' || i % 1000, 'status',
                   'running', 'progress', i % 101), 'old', json_build_object('progress', (i + 100) % 101),
                   'changed', json_build_array('progress'))
        FROM generate_series(1, {EVENTS}) i;""")
    while cluster.sql("SELECT count(*) FROM event_service.advance(20000, 100000000)") != "0":
        pass
    cluster.sql("VACUUM ANALYZE event_service.log")
    return cluster.sql("SELECT event_service.stream_id(0)")


def sparse(cluster):
    """Database time of 1,000 events among a million, as a stream asks for them."""
    statement = ("SELECT count(position) FROM event_service.replay(0, 1000, ARRAY['*', 'user:rare'], NULL, NULL)")
    times = []
    for _ in range(7):
        text = cluster.sql(f"EXPLAIN (ANALYZE, TIMING OFF) {statement};")
        times.append(float(text.rsplit("Execution Time: ", 1)[1].split()[0]))
    if cluster.sql(statement) != "1000":
        raise SystemExit("the sparse audience is not 1,000 events")
    return median(times)


def dense(service, start):
    """A stream from the beginning of the log to its head, which a client reads as fast as it can."""
    began = time.monotonic()
    with Driver(service.stream_url(), 1, "--dense", "--last-event-id", start) as driver:
        report = driver.wait_events(EVENTS)
        seconds = time.monotonic() - began
    if report["events"] != EVENTS or report["gaps"] or report["inversions"]:
        raise SystemExit(f"the replay is not the log: {report}")
    return EVENTS / seconds


def run(quick=False):
    with Cluster(1) as cluster:
        start = fill(cluster)
        with Service(cluster.url) as service:
            speeds = [dense(service, start) for _ in range(3 if quick else 5)]
        return {"dense, events a second": {"value": median(speeds)},
                "sparse, ms in the database": {"value": sparse(cluster)}}
