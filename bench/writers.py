"""What capture costs those who write."""
from contextlib import closing

import psycopg2

from lab import Cluster, Driver, Service, median, pgbench, ratio, rounds

COLUMNS = """id bigint PRIMARY KEY, title text NOT NULL, status text NOT NULL DEFAULT 'pending',
    progress int NOT NULL DEFAULT 0, message text, user_id text, session_id text, context text, unwatched int DEFAULT 0"""
WATCH = """topic => 'task', columns => '{id,title,status,progress,message,user_id,session_id,context}',
    types => '{"status": "status-changed", "progress": "progress-updated"}',
    user_column => 'user_id', session_column => 'session_id', context_columns => '{context}'"""


def prepare(cluster):
    """Four tables of the same content: not watched, watched by row and by statement, and with a trigger that
    notifies every row."""
    for table in ("plain", "watched", "by_statement", "notified"):
        cluster.sql(f"""
            CREATE TABLE {table} ({COLUMNS}) WITH (fillfactor = 50);
            INSERT INTO {table} (id, title, user_id, session_id, context)
            SELECT i, 'task ' || i, 'u' || i % 100, 's' || i % 500, 'c' || i % 10 FROM generate_series(1, 10000) i;""")
    cluster.sql(f"""
        SELECT event_service.watch('watched', {WATCH});
        SELECT event_service.watch('by_statement', {WATCH}, level => 'statement');
        CREATE FUNCTION notify_row() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_notify('plain', row_to_json(NEW)::text); RETURN NULL; END $$;
        CREATE TRIGGER notify AFTER INSERT OR UPDATE OR DELETE ON notified FOR EACH ROW EXECUTE FUNCTION notify_row();
        VACUUM ANALYZE;""")


ONE_ROW = "\\set id random(1, 10000)\nUPDATE {table} SET {column} = ({column} + 1) % 101 WHERE id = :id;\n"
HUNDRED_ROWS = ("\\set low random(0, 99) * 100\n"
                "UPDATE {table} SET {column} = ({column} + 1) % 101 WHERE id > :low AND id <= :low + 100;\n")


def script(candidate, template):
    table, column = {"unwatched column": ("watched", "unwatched")}.get(candidate, (candidate, "progress"))
    return template.format(table=table, column=column)


def notifications(cluster, clients, seconds):
    """Notifications that writers sent for each of their commits, committing back to back."""
    with closing(psycopg2.connect(cluster.url)) as listener:
        listener.autocommit = True
        listener.cursor().execute("LISTEN event_service_wake")
        tps = pgbench(cluster.url, script("watched", ONE_ROW), clients, seconds=seconds)
        listener.poll()
        return len(listener.notifies) / (tps * seconds)


def compare(cluster, clients, candidates, template, seconds, count):
    def measure(candidate):
        tps = pgbench(cluster.url, script(candidate, template), clients, seconds=seconds)
        cluster.wait_drained()
        return tps
    return rounds(count, candidates, measure)


def run(quick=False):
    seconds, count = (2, 3) if quick else (4, 5)
    results = {}
    for flush in (5, 1, 20):
        with Cluster(flush) as cluster:
            prepare(cluster)
            with Service(cluster.url) as service, Driver(service.stream_url(), 1) as driver:
                driver.wait_open()
                candidates = ["plain", "watched", "unwatched column", "notified"]
                for clients in (16, 1):
                    found = compare(cluster, clients, candidates, ONE_ROW, seconds, count)
                    for name in candidates:
                        results[f"{name}, {clients} writers, flush {flush} ms"] = {
                            "tps": median(found[name]), "ratio": ratio(found, name, "plain")}
                    results[f"watched / notified, {clients} writers, flush {flush} ms"] = {
                        "ratio": ratio(found, "watched", "notified")}
                    results[f"notifications a commit, {clients} writers, flush {flush} ms"] = {
                        "ratio": notifications(cluster, clients, seconds)}
                if flush == 5:
                    candidates = ["plain", "watched", "by_statement"]
                    found = compare(cluster, 1, candidates, HUNDRED_ROWS, seconds, count)
                    for name in candidates[1:]:
                        results[f"{name}, 100 rows a statement"] = {
                            "tps": median(found[name]), "ratio": ratio(found, name, "plain")}
                    results["by_statement / watched, 100 rows a statement"] = {
                        "ratio": ratio(found, "by_statement", "watched")}
                report = driver.report()
                if report["inversions"]:
                    raise SystemExit(f"events out of order: {report}")
    return results
