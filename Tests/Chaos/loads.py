"""Loads that are faults for a careless design: a backlog, large statements, COPY, TRUNCATE."""

import io
import time

from acts import big_insert, commit
from servers import MEBIBYTE
from stage import NotInjected


def backlog(stage):
    """Events that were written while no node ran; more come while the nodes work them off."""
    rows = stage.settings.backlog_rows
    session = stage.session("backlog")
    for _ in range(3):
        commit(stage, session, big_insert(rows // 3))
    waiting = stage.inbox()
    stage.start_nodes()
    stage.open_readers()
    stage.start_writers()
    began = time.monotonic()
    heads = [0]

    def drained():
        heads.append(stage.checker.ask("status", [])["audited"])
        return heads[-1] >= waiting

    stage.wait_for("the backlog is worked off", drained, interval=0.1)
    steps = sum(1 for before, after in zip(heads, heads[1:]) if after > before)
    stage.settle()
    fault = "backlog of a time without any node"
    if waiting < rows:
        raise NotInjected(fault, f"only {waiting} events were waiting")
    seconds = time.monotonic() - began
    stage.injected(
        fault, f"{waiting} events, in at least {steps} portions, all received and live"
        f" {seconds:.1f} s after the start; a node held at most"
        f" {max(stage.monitor.peak.values()) // MEBIBYTE} MiB")


def large_statements(stage):
    """100,000 rows by one statement, then updated and deleted; row mode and statement mode."""
    rows = stage.settings.statement_rows
    for table, level in (("item", "row"), ("bulk", "statement")):
        session = stage.session(f"large-{table}")
        span = []

        def insert(cursor, tag, table=table, span=span):
            events = big_insert(rows, table)(cursor, tag)
            first = events[0][1]
            span[:] = [first, first + stage.settings.changed_rows - 1, tag]
            return events

        def update(cursor, tag, table=table, span=span):
            cursor.execute(
                f"UPDATE {table} SET n = n + 1, tx = %s WHERE id BETWEEN %s AND %s",
                [tag, *span[:2]])
            events = [(f"{table}.updated", *span[:2], tag, 1)]
            span[2] = tag
            return events

        def delete(cursor, tag, table=table, span=span):
            cursor.execute(f"DELETE FROM {table} WHERE id BETWEEN %s AND %s", span[:2])
            return [(f"{table}.deleted", *span[:2], span[2], 1)]

        began = time.monotonic()
        commit(stage, session, insert)
        commit(stage, session, update)
        commit(stage, session, delete)
        session.close()
        committed = time.monotonic() - began
        stage.canary()
        stage.injected(
            f"large statements, {level} mode",
            f"{rows} rows inserted, {stage.settings.changed_rows} updated, then deleted; committed"
            f" in {committed:.1f} s, delivered after {time.monotonic() - began:.1f} s")


def copy_rows(stage):
    """A bulk COPY into a watched table."""
    rows = stage.settings.copy_rows

    def work(cursor, tag):
        cursor.execute("SELECT coalesce(max(id), 0) FROM item WHERE id < 1000000000")
        first = cursor.fetchone()[0] + 1
        text = "".join(f"{i}\t0\t{tag}\tc{i % 4}\tcopied\n" for i in range(first, first + rows))
        cursor.copy_expert("COPY item FROM STDIN", io.StringIO(text))
        return [("item.created", first, first + rows - 1, tag, 0)]

    commit(stage, stage.session("copy"), work)
    stage.canary()
    stage.injected("bulk COPY", f"{rows} rows")


def truncate(stage):
    """TRUNCATE of a watched table that others write to."""
    def work(cursor, tag):
        cursor.execute("SELECT count(*) FROM scratch")
        held.append(cursor.fetchone()[0])
        cursor.execute("TRUNCATE scratch")
        return ["scratch.truncated|||"]

    held = []
    commit(stage, stage.session("truncate"), work)
    stage.canary()
    stage.injected("TRUNCATE of a watched table", f"{held[-1]} rows went with one event")


def heavy_loads(stage):
    for act in (large_statements, copy_rows, truncate):
        stage.play(act)
