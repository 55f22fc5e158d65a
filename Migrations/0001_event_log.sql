-- 0001  The event log: inbox, log, ticks, epochs, floor; sequencing and reading
--
-- Apply with `event-service migrate`, or with
--   psql -v ON_ERROR_STOP=1 -f Migrations/0001_event_log.sql
-- as a superuser, or as a role that may create roles and create in this database. Applying a file
-- twice changes nothing.
--
-- The problem. A sequence number is taken before its transaction commits, so number 10 can become
-- visible after number 11 was delivered, and whoever resumes from 11 misses 10 for ever.
--
-- The answer. Triggers write to `inbox` in the application's transaction. `advance()` moves what
-- has committed since the last tick from `inbox` to `log` and gives it dense positions; which rows
-- those are it knows from two snapshots (the method of Skype's PgQ). So position order is the order
-- in which events became visible, no writer ever waits, and an open transaction delays nobody else.
--
--   inbox ──advance()──▶ log (position 1, 2, 3, …) ──replay()──▶ readers
--              │
--              └──▶ tick: the snapshot and the last position of every batch

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['event_service_owner', 'event_service_admin',
                                     'event_service_publisher', 'event_service_runtime'] LOOP
        CONTINUE WHEN to_regrole(role_name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of this cluster is being migrated at this very moment.
            NULL;
        END;
    END LOOP;
    -- Whoever migrates creates objects in the owner's name. From version 16 on who creates a role is a member
    -- of it, but may not act in its name.
    IF NOT pg_has_role(current_user, 'event_service_owner',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT event_service_owner TO %I', current_user);
    END IF;
    IF to_regnamespace('event_service') IS NULL THEN
        CREATE SCHEMA event_service AUTHORIZATION event_service_owner;
    END IF;
END $$;

-- The owner owns every object here and has no right on any application table. What runs in its name are
-- the functions of these files and the trigger functions that watch() writes – and with those the casts
-- that the owner of a watched table may have made for types of its own.
SET LOCAL ROLE event_service_owner;
-- PUBLIC's right to execute a new function is a global default; it can only be taken globally.
ALTER DEFAULT PRIVILEGES FOR ROLE event_service_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Which files were applied. psql leaves the checksum NULL; `event-service migrate` fills it in.
CREATE TABLE IF NOT EXISTS event_service.migrations (
    name       text PRIMARY KEY,
    checksum   text,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Tables ------------------------------------------------------------------------------------------

-- Written by the triggers and by publish(), emptied by advance(): rows live for milliseconds.
-- Columns are ordered so that alignment wastes nothing.
CREATE TABLE IF NOT EXISTS event_service.inbox (
    -- The event id. CACHE 1, so that numbers are given in the order of the calls: two updates of one
    -- row are serialised by its row lock, and their ids keep that order.
    event_id    bigint GENERATED ALWAYS AS IDENTITY (CACHE 1),
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Of the data as text: what bounds a batch and a page.
    bytes       int         GENERATED ALWAYS AS (coalesce(octet_length(data::text), 0)) STORED,
    op          "char"      NOT NULL,                -- insert update delete enter leave truncate publish
    conflate    boolean     NOT NULL DEFAULT false,  -- a slow stream may skip to the newest of its key
    type        text        NOT NULL,
    key         text,
    audience    text[]      NOT NULL,
    hidden_from text[]      NOT NULL DEFAULT '{}',
    -- json, not jsonb: it is never looked into here, keeps the order of the columns and the digits of
    -- the numbers, is cheaper to build, and comes out as it went in.
    data        json,
    -- What the writer's session has, so that no trigger need ask; advance() looks whether it is one.
    traceparent text        DEFAULT left(current_setting('event_service.traceparent', true), 56)
);
-- Vacuum by dead rows alone: the table is small again a moment after every burst.
ALTER TABLE event_service.inbox SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2000000000);

-- What clients read: immutable, dense, in commit order.
CREATE TABLE IF NOT EXISTS event_service.log (
    position    bigint      NOT NULL,
    event_id    bigint      NOT NULL,
    at          timestamptz NOT NULL,
    bytes       int         NOT NULL,
    op          "char"      NOT NULL,
    conflate    boolean     NOT NULL,
    type        text        NOT NULL,
    key         text,
    audience    text[]      NOT NULL,
    hidden_from text[]      NOT NULL,
    data        json,
    traceparent text,
    PRIMARY KEY (position)
) PARTITION BY RANGE (position);

-- One row for each sequenced batch. The newest holds the head and the snapshot from which the next
-- batch is the difference; the older ones tell which position stands for a time.
CREATE TABLE IF NOT EXISTS event_service.tick (
    tick          bigint PRIMARY KEY,
    snapshot      pg_snapshot NOT NULL,
    last_position bigint      NOT NULL,
    -- How many batches in a row, up to this one, left some waiting: how long a backlog has been at work.
    full_batches  int         NOT NULL DEFAULT 0,
    -- When last_position was given. It never goes back, and is not before the time of any event up to
    -- there, so that by a time no event is missed whose clock was ahead.
    at            timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row for each history of this log: the epoch of an event's id is that of the row with the
-- greatest first_position at or below it. `identity` is what tells one history from another.
CREATE TABLE IF NOT EXISTS event_service.epoch (
    epoch          bigint PRIMARY KEY,
    first_position bigint NOT NULL,
    identity       text[] NOT NULL,
    opened_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The lowest position that is kept. It is raised before anything is deleted.
CREATE TABLE IF NOT EXISTS event_service.floor (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint NOT NULL
);

-- Not IF NOT EXISTS: that locks writers out of the table even where there is nothing to do.
DO $$
BEGIN
    IF to_regclass('event_service.inbox_xid') IS NULL THEN
        CREATE INDEX inbox_xid ON event_service.inbox (xid, event_id);
        CREATE INDEX log_audience ON event_service.log USING gin (audience);
        CREATE INDEX tick_at ON event_service.tick (at);
    END IF;
    -- A log from before there was trace context.
    IF NOT EXISTS (SELECT FROM pg_attribute
                   WHERE attrelid = 'event_service.log'::regclass AND attname = 'traceparent') THEN
        ALTER TABLE event_service.inbox
            ADD COLUMN traceparent text DEFAULT left(current_setting('event_service.traceparent', true), 56);
        ALTER TABLE event_service.log ADD COLUMN traceparent text;
        -- What they return cannot be replaced.
        DROP FUNCTION IF EXISTS event_service.advance(int, bigint, boolean);
        DROP FUNCTION IF EXISTS event_service.replay(bigint, int, text[], text[], text[], bigint);
    END IF;
END $$;

INSERT INTO event_service.floor (position) VALUES (1) ON CONFLICT DO NOTHING;
INSERT INTO event_service.tick (tick, snapshot, last_position)
SELECT 0, pg_current_snapshot(), 0
WHERE NOT EXISTS (SELECT FROM event_service.tick);

-- Advisory locks, class 'EVNT' (1163284052). They belong to one database.
--   1  gate       writers: shared, for the transaction, tried only · a parked listener: exclusive
--   2  sequencer  advance() and attach(): exclusive, for the transaction
--   3  pump       the node that calls advance() for all: exclusive, for the session
--   4  migration  these files: exclusive, for the transaction
--   5  retention  sweep(): exclusive, for the transaction, tried only

-- Partitions of the log ---------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION event_service.partition_size() RETURNS bigint
LANGUAGE sql IMMUTABLE AS 'SELECT 2000000::bigint';

-- Makes the partitions for `ahead` more positions than there are.
CREATE OR REPLACE FUNCTION event_service.ensure_partitions(ahead bigint DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning AS $$
DECLARE
    size bigint := event_service.partition_size();
    head bigint;
    name text;
    low  bigint;
BEGIN
    -- The sequencer and retention may come here at once. This is the lock of ATTACH PARTITION.
    LOCK TABLE ONLY event_service.log IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT last_position INTO head FROM event_service.tick ORDER BY tick DESC LIMIT 1;
    FOR number IN head / size .. (head + coalesce(ahead, size)) / size LOOP
        name := 'log_p' || number;
        CONTINUE WHEN to_regclass('event_service.' || name) IS NOT NULL;
        low := greatest(number * size, 1);
        -- Created apart and then attached: readers and the sequencer are not locked out, and the
        -- CHECK spares ATTACH a scan.
        EXECUTE format('CREATE TABLE event_service.%I (LIKE event_service.log INCLUDING DEFAULTS,'
            ' CONSTRAINT bounds CHECK (position >= %s AND position < %s))',
            name, low, (number + 1) * size);
        -- A partition is written once, read and dropped: vacuum only where wraparound demands it.
        EXECUTE format('ALTER TABLE event_service.%I SET (autovacuum_vacuum_insert_threshold = -1)',
                       name);
        EXECUTE format('ALTER TABLE event_service.log ATTACH PARTITION event_service.%I'
            ' FOR VALUES FROM (%s) TO (%s)', name, low, (number + 1) * size);
        EXECUTE format('ALTER TABLE event_service.%I DROP CONSTRAINT bounds', name);
    END LOOP;
END $$;
SELECT event_service.ensure_partitions();

-- Epochs ------------------------------------------------------------------------------------------

-- What tells this history from a copy of it: the cluster, its timeline (a promoted standby and a
-- point-in-time recovery get a new one), the database (CREATE DATABASE … TEMPLATE), the log's own oid (a
-- dump restored into the same database), and when the server was started. A copy of the server's files,
-- or a snapshot of its disk, differs from the original in the last alone – and so does the original
-- after a restart, for which a new epoch is nothing but a number: see docs/decisions/0030.
CREATE OR REPLACE FUNCTION event_service.history_identity() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY[(SELECT system_identifier::text FROM pg_control_system()),
                 left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
                 (SELECT oid::text FROM pg_database WHERE datname = current_database()),
                 'event_service.log'::regclass::oid::text,
                 extract(epoch FROM pg_postmaster_start_time())::text]
$$;

-- Opens an epoch behind the present head and returns its number: the Unix second, but more than any
-- epoch before it in this database and in this cluster. Databases do not see each other, so the
-- cluster's last number is kept in a catalog that they share: the settings of a role that can never
-- log in.
CREATE OR REPLACE FUNCTION event_service.open_epoch(history text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    opened bigint;
BEGIN
    FOR attempt IN 1 .. 100 LOOP
        SELECT greatest(floor(extract(epoch FROM clock_timestamp()))::bigint,
                        (SELECT max(epoch) + 1 FROM event_service.epoch),
                        (SELECT max(substring(setting FROM '^application_name=event-service epoch (\d+)$')::bigint) + 1
                         FROM pg_db_role_setting s, unnest(s.setconfig) setting
                         WHERE s.setdatabase = 0 AND s.setrole = 'event_service_owner'::regrole))
        INTO opened;
        BEGIN
            EXECUTE format('ALTER ROLE event_service_owner SET application_name = %L',
                           'event-service epoch ' || opened);
            EXIT;
        EXCEPTION WHEN internal_error OR unique_violation THEN
            -- "tuple concurrently updated", or inserted if it is the cluster's first: another database
            -- opened one at this very moment.
            IF attempt = 100 THEN RAISE; END IF;
            PERFORM pg_sleep(0.01);
        END;
    END LOOP;
    INSERT INTO event_service.epoch (epoch, first_position, identity)
    SELECT opened, last_position + 1, history FROM event_service.tick ORDER BY tick DESC LIMIT 1;
    RETURN opened;
END $$;

-- The newest epoch: by it a reader knows whether the log is still the one that it attached to.
CREATE OR REPLACE FUNCTION event_service.newest_epoch() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(epoch) FROM event_service.epoch
$$;

-- Tells this history of this log from every other, by the epoch and a digest of the rest.
CREATE OR REPLACE FUNCTION event_service.history_name() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.epoch || '-' || left(encode(sha256(convert_to(e.identity::text, 'UTF8')), 'hex'), 16)
    FROM event_service.epoch e ORDER BY e.epoch DESC LIMIT 1
$$;

-- All epochs, each with the head and the floor of the log.
CREATE OR REPLACE FUNCTION event_service.bounds()
RETURNS TABLE (epoch bigint, first_position bigint, head bigint, floor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT e.epoch, e.first_position,
           (SELECT t.last_position FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1),
           (SELECT f.position FROM event_service.floor f)
    FROM event_service.epoch e ORDER BY e.epoch
$$;

-- Called first on every connection of the service, after every reconnect and failover: opens a new
-- epoch if the history forked, and returns all epochs with head and floor.
CREATE OR REPLACE FUNCTION event_service.attach()
RETURNS TABLE (epoch bigint, first_position bigint, head bigint, floor bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    history text[] := event_service.history_identity();
    known   text[];
    opened  bigint;
    oldest  xid8;
BEGIN
    PERFORM pg_advisory_xact_lock(1163284052, 2);
    SELECT e.identity INTO known FROM event_service.epoch e ORDER BY e.epoch DESC LIMIT 1;
    IF known IS DISTINCT FROM history THEN
        opened := event_service.open_epoch(history);
        -- Another cluster, database or table: transaction ids begin anew there and the old snapshots
        -- mean nothing. (A new timeline alone goes on with the old ids.)
        IF known IS NOT NULL AND known[1] || known[3:4] <> history[1] || history[3:4] THEN
            -- The next batch begins with the oldest transaction that runs before the UPDATE: this one
            -- is not older, nor is any whose rows the UPDATE does not see. A snapshot of here and now
            -- would count as done what this transaction stamps and what commits meanwhile.
            oldest := pg_snapshot_xmin(pg_current_snapshot());
            UPDATE event_service.inbox SET xid = pg_current_xact_id();
            INSERT INTO event_service.tick (tick, snapshot, last_position, at)
            SELECT t.tick + 1, format('%1$s:%1$s:', oldest)::pg_snapshot, t.last_position, t.at
            FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1;
        END IF;
        -- No id of an epoch is given before the second is over that it is named after, so that no copy
        -- which takes over later, and has not heard of it, opens one of the same number. (A clock that
        -- was set back is not waited for.)
        IF known IS NOT NULL THEN
            PERFORM pg_sleep_until(to_timestamp(opened + 1))
            WHERE to_timestamp(opened) < clock_timestamp() + interval '5 seconds';
        END IF;
    END IF;
    PERFORM set_config('event_service.epoch', event_service.newest_epoch()::text, false);
    RETURN QUERY SELECT * FROM event_service.bounds();
END $$;

-- Sequencing --------------------------------------------------------------------------------------

-- Moves what has committed since the last tick from the inbox to the log, at most `max_rows` events
-- and about `max_bytes` of data, and returns it in order of position. One row of NULLs says that
-- another session is sequencing. Any node may call it, alone in its transaction (autocommit, READ
-- COMMITTED); what it returns may be delivered once that has committed. With `release_gate` it first
-- lets the gate go that the session holds: one way to the server instead of two for whoever was woken.
--
-- To find the first of what waits takes a look at all of it, so batches of one size would take a time
-- that grows with the square of a backlog. After four full batches each is twice the one before, up to
-- 64 × max_rows and 8 × max_bytes; of these only the last event is returned, and the caller reads the
-- others in the log, page by page.
CREATE OR REPLACE FUNCTION event_service.advance(max_rows int DEFAULT 1000,
                                                 max_bytes bigint DEFAULT 8388608,
                                                 release_gate boolean DEFAULT false)
RETURNS TABLE ("position" bigint, event_id bigint, at timestamptz, bytes int, op "char",
               conflate boolean, type text, key text, audience text[], hidden_from text[], data json,
               traceparent text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- The statistics of a table that is empty most of the time mean nothing. What is off is only dear to the
-- planner, and a plan so dear would be compiled, for tens of milliseconds: so jit goes off with it. There is
-- one good plan for each query here, and to make it anew at each call would take as long as all the rest.
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    previous record;
    present  pg_snapshot;
    low      xid8;
    high     xid8;
    late     xid8[];
    chosen   tid[];
    waiting  int;
    newest   timestamptz;
    moved    int;
    stride   int;
    rows     int;
    budget   bigint;
BEGIN
    IF release_gate THEN
        PERFORM pg_advisory_unlock(1163284052, 1);
    END IF;
    -- Its own later rows would lie below the tick.
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE EXCEPTION 'event_service.advance: this transaction has written; sequencing needs one of its own'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- A batch of none would look like an empty inbox; one of more than a partition might not find its
    -- partitions there.
    max_rows := least(greatest(max_rows, 1), event_service.partition_size());
    max_bytes := greatest(max_bytes, 1);
    IF NOT pg_try_advisory_xact_lock(1163284052, 2) THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- One statement after the lock, so with a snapshot that sees the last winner's tick. Of the identity it
    -- takes what can be had at next to no cost; the rest never changes alone.
    SELECT t.*, pg_current_snapshot() AS present, e.epoch, e.identity[3:5] = ARRAY[
               (SELECT oid::text FROM pg_database WHERE datname = current_database()),
               'event_service.log'::regclass::oid::text,
               extract(epoch FROM pg_postmaster_start_time())::text] AS is_here,
           -- In progress at the last tick, ended since.
           (SELECT array_agg(x) FROM pg_snapshot_xip(t.snapshot) x
            WHERE pg_visible_in_snapshot(x, pg_current_snapshot())) AS late
    INTO previous
    FROM (SELECT * FROM event_service.tick ORDER BY tick DESC LIMIT 1) t
    CROSS JOIN (SELECT * FROM event_service.epoch ORDER BY epoch DESC LIMIT 1) e;
    -- What a session that has attached is given is of the history that it knows.
    IF previous.epoch <> nullif(current_setting('event_service.epoch', true), '')::bigint
        OR previous.is_here IS NOT TRUE THEN
        RAISE EXCEPTION 'event_service.advance: this is another history than the one that was attached to'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call event_service.attach() first.';
    END IF;
    present := previous.present;
    late := previous.late;
    low := pg_snapshot_xmax(previous.snapshot);
    high := pg_snapshot_xmax(present);
    IF low = high AND late IS NULL THEN
        RETURN;
    END IF;

    stride := 1 << least(greatest(previous.full_batches - 3, 0), 6);
    rows := least(max_rows::bigint * stride, event_service.partition_size());
    budget := max_bytes * least(stride, 8);
    -- In order of the ids, never of the xids: that is the order of the writes, and what was written to
    -- a row first stands first. One row more than wanted tells whether more is waiting.
    SELECT array_agg(c.tid) FILTER (WHERE c.number <= rows AND c.before < budget), count(*),
           max(c.at) FILTER (WHERE c.number <= rows AND c.before < budget)
    INTO chosen, waiting, newest
    FROM (
        SELECT q.tid, q.at, row_number() OVER w AS number, sum(q.bytes) OVER w - q.bytes AS before
        FROM (
            SELECT i.ctid AS tid, i.event_id, i.bytes, i.at
            FROM event_service.inbox i
            WHERE i.xid >= low AND i.xid < high AND pg_visible_in_snapshot(i.xid, present)
            UNION ALL
            SELECT i.ctid, i.event_id, i.bytes, i.at
            FROM event_service.inbox i
            WHERE late IS NOT NULL AND i.xid = ANY (late)
            ORDER BY 2 LIMIT rows + 1
        ) q
        WINDOW w AS (ORDER BY q.event_id ROWS UNBOUNDED PRECEDING)
    ) c;
    moved := coalesce(cardinality(chosen), 0);

    IF moved > 0 THEN
        -- A position that a client has seen must not be given again after a crash.
        IF current_setting('synchronous_commit') IN ('off', 'local') THEN
            PERFORM set_config('synchronous_commit', 'on', true);
        END IF;
        -- Beginning a partition, make the next. Never one for this very batch: a reader may see a commit
        -- an instant before it hears of a new partition, and would take the page for complete.
        IF (previous.last_position + moved) / event_service.partition_size()
            > previous.last_position / event_service.partition_size() THEN
            PERFORM event_service.ensure_partitions(moved + event_service.partition_size());
        END IF;
        RETURN QUERY
        WITH taken AS (
            -- ctid = ANY (array) is a TID scan whatever the statistics say.
            DELETE FROM event_service.inbox i WHERE i.ctid = ANY (chosen) RETURNING i.*
        ), given AS (
            INSERT INTO event_service.log AS l
                (position, event_id, at, bytes, op, conflate, type, key, audience, hidden_from, data, traceparent)
            SELECT previous.last_position + row_number() OVER (ORDER BY t.event_id), t.event_id, t.at,
                   t.bytes, t.op, t.conflate, t.type, t.key, t.audience, t.hidden_from, t.data,
                   -- Version 00 of W3C Trace Context, section 3.2.
                   CASE WHEN t.traceparent ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'
                        THEN t.traceparent END
            FROM taken t
            RETURNING l.position, l.event_id, l.at, l.bytes, l.op, l.conflate, l.type, l.key,
                      l.audience, l.hidden_from, l.data, l.traceparent
        )
        SELECT * FROM given
        WHERE stride = 1 OR given.position = previous.last_position + moved ORDER BY given.position;
        -- With more waiting the old snapshot stays: what it does not cover comes with the next call.
        -- A clock that was set back makes the times of ticks stand still, but not for more than an hour.
        INSERT INTO event_service.tick (tick, snapshot, last_position, full_batches, at)
        VALUES (previous.tick + 1,
                CASE WHEN waiting > moved THEN previous.snapshot ELSE present END,
                previous.last_position + moved,
                CASE WHEN waiting > moved THEN previous.full_batches + 1 ELSE 0 END,
                least(greatest(clock_timestamp(), previous.at, newest), clock_timestamp() + interval '1 hour'));
        PERFORM pg_notify('event_service_tick', (previous.last_position + moved)::text);
    ELSIF high::text::numeric - low::text::numeric > 5000 THEN
        -- Nothing of ours, but many transactions passed: keep the scanned range short.
        INSERT INTO event_service.tick (tick, snapshot, last_position, at)
        VALUES (previous.tick + 1, present, previous.last_position, previous.at);
    END IF;
END $$;

-- Reading -----------------------------------------------------------------------------------------

-- Raises if the events behind `low`, which were read just now, are not there any more. A DROP is seen
-- through every snapshot: one from before the floor was raised finds a page short and does not know it.
CREATE OR REPLACE FUNCTION event_service.check_not_dropped(low bigint, head bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF low < head AND to_regclass('event_service.log_p' || (low + 1) / event_service.partition_size()) IS NULL THEN
        RAISE EXCEPTION 'event_service.replay: the events behind % expired while they were read', low
            USING ERRCODE = 'serialization_failure', HINT = 'Ask again: the floor has risen since.';
    END IF;
END $$;

-- One page of the log behind position `after`, narrowed to events with one of `labels`, one of the
-- LIKE patterns `types` and one of `keys` (NULL: all). Every row carries head and floor of the same
-- snapshot and `scanned`, the position up to which the page is complete; a page without an event is
-- one row whose position is NULL.
CREATE OR REPLACE FUNCTION event_service.replay(
    after bigint, max_rows int DEFAULT 1000, labels text[] DEFAULT NULL, types text[] DEFAULT NULL,
    keys text[] DEFAULT NULL, max_bytes bigint DEFAULT 8388608)
RETURNS TABLE (head bigint, floor bigint, scanned bigint, "position" bigint, event_id bigint,
               at timestamptz, bytes int, op "char", conflate boolean, type text, key text,
               audience text[], hidden_from text[], data json, traceparent text)
-- STABLE: all its queries see the snapshot of the caller's statement, so they agree.
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_indexscan = on SET enable_bitmapscan = off SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    head      bigint := (SELECT t.last_position FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1);
    lowest    bigint := (SELECT f.position FROM event_service.floor f);
    low       bigint := greatest(after, lowest - 1);
    until     bigint;
    weight    bigint;
    matching  bigint;
    condition text := concat(CASE WHEN labels IS NOT NULL THEN ' AND l.audience && $5' END,
                             CASE WHEN types IS NOT NULL THEN ' AND l.type LIKE ANY ($6)' END,
                             CASE WHEN keys IS NOT NULL THEN ' AND l.key = ANY ($7)' END);
BEGIN
    -- A page of none would never come to an end.
    max_rows := greatest(max_rows, 1);
    max_bytes := greatest(max_bytes, 1);
    until := low + greatest(least(head - low, CASE condition WHEN '' THEN max_rows ELSE 20000 END), 0);
    -- EXECUTE plans each page for its own positions, so that only their partitions are opened.
    IF condition = '' AND until > low THEN
        EXECUTE 'SELECT sum(l.bytes) FROM event_service.log l WHERE l.position > $1 AND l.position <= $2'
        INTO weight USING low, until;
    END IF;
    IF weight < max_bytes THEN
        -- Everything of a stretch that is not too heavy, as most pages are: nothing to choose.
        RETURN QUERY EXECUTE $query$
            SELECT $1, $2, $4, l.position, l.event_id, l.at, l.bytes, l.op, l.conflate, l.type,
                   l.key, l.audience, l.hidden_from, l.data, l.traceparent
            FROM event_service.log l WHERE l.position > $3 AND l.position <= $4 ORDER BY l.position
            $query$
        USING head, lowest, low, until;
        PERFORM event_service.check_not_dropped(low, head);
        RETURN;
    END IF;
    IF labels IS NOT NULL AND head - low > 20000 THEN
        -- Read on by position as long as one event in 25 matches, else through the audience index,
        -- which finds a few among millions, but looks at all of them for every page.
        EXECUTE 'SELECT count(*) FROM event_service.log l'
            ' WHERE l.position > $1 AND l.position <= $1 + 5000 AND l.audience && $2'
        INTO matching USING low, labels;
        IF matching < 200 THEN
            until := head;
            PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'on', true);
        END IF;
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH found AS MATERIALIZED (
            SELECT q.*, sum(q.bytes) OVER (ORDER BY q.position ROWS UNBOUNDED PRECEDING) - q.bytes AS before
            FROM (
                SELECT l.* FROM event_service.log l
                WHERE l.position > $3 AND l.position <= $4 %s
                ORDER BY l.position LIMIT $8
            ) q
        ), page AS (
            SELECT * FROM found f WHERE f.before < $9
        ), extent AS (
            SELECT CASE WHEN (SELECT count(*) FROM found) < $8
                         AND (SELECT count(*) FROM found) = (SELECT count(*) FROM page)
                        THEN $4 ELSE (SELECT max(p.position) FROM page p) END AS scanned
        )
        SELECT $1, $2, e.scanned, p.position, p.event_id, p.at, p.bytes, p.op, p.conflate, p.type,
               p.key, p.audience, p.hidden_from, p.data, p.traceparent
        FROM extent e LEFT JOIN page p ON true ORDER BY p.position
        $query$, condition)
    USING head, lowest, low, until, labels, types, keys, max_rows, max_bytes;
    PERFORM event_service.check_not_dropped(low, head);
END $$;

-- The event at one position, or none.
CREATE OR REPLACE FUNCTION event_service.event_at(wanted bigint)
RETURNS SETOF event_service.log
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM event_service.log
    WHERE position = wanted AND position >= (SELECT f.position FROM event_service.floor f)
$$;

-- The last position that was sequenced before a time; the head for a time to come; NULL if that time
-- lies before the first tick that is kept.
CREATE OR REPLACE FUNCTION event_service.position_before(instant timestamptz) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN instant > clock_timestamp()
                THEN (SELECT last_position FROM event_service.tick ORDER BY tick DESC LIMIT 1)
                ELSE (SELECT last_position FROM event_service.tick WHERE at < instant
                      ORDER BY at DESC, tick DESC LIMIT 1) END
$$;

-- The id of an event or cursor: EPOCH-POSITION. Position 0 lies in the first epoch.
CREATE OR REPLACE FUNCTION event_service.stream_id("position" bigint) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT e.epoch FROM event_service.epoch e
                     WHERE e.first_position <= stream_id.position ORDER BY e.epoch DESC LIMIT 1),
                    (SELECT min(e.epoch) FROM event_service.epoch e)) || '-' || stream_id.position
$$;

-- The id from which a stream continues what the calling transaction sees. Call it before reading the
-- data (or anywhere in a REPEATABLE READ transaction) and hand it to the client as `since`: every
-- change that the data lack will come, some that they hold may come again. STABLE, so that it looks
-- through the caller's own snapshot.
CREATE OR REPLACE FUNCTION event_service.cursor() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT event_service.stream_id(last_position)
    FROM event_service.tick ORDER BY tick DESC LIMIT 1
$$;

-- What a node asks once a second: the state of the log, and when the event was captured that waits
-- first in the inbox, in the order of transactions (NULL: none waits). Looks only where advance() would:
-- an old snapshot, of a backup for example, keeps every row that went through the inbox since.
CREATE OR REPLACE FUNCTION event_service.status()
RETURNS TABLE (head bigint, floor bigint, epoch bigint, waiting_since timestamptz, now timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
    WITH last AS (
        SELECT t.last_position, t.snapshot FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1
    )
    SELECT last.last_position,
           (SELECT f.position FROM event_service.floor f),
           (SELECT max(e.epoch) FROM event_service.epoch e),
           coalesce((SELECT i.at FROM event_service.inbox i
                     WHERE i.xid = ANY (ARRAY(SELECT pg_snapshot_xip(last.snapshot))) LIMIT 1),
                    (SELECT i.at FROM event_service.inbox i
                     WHERE i.xid >= pg_snapshot_xmax(last.snapshot) ORDER BY i.xid, i.event_id LIMIT 1)),
           clock_timestamp()
    FROM last
$$;

-- The first epoch opens here, so that cursor() has an answer before any node runs.
SELECT count(*) AS epochs FROM event_service.attach();

INSERT INTO event_service.migrations (name) VALUES ('0001_event_log.sql') ON CONFLICT DO NOTHING;
COMMIT;
