-- A backlog: what waits is worked off in growing batches, in order; and what an old snapshot keeps of
-- the inbox costs nobody anything.
\ir support/helpers.sql
SELECT plan(16);

CREATE TABLE batches (number int GENERATED ALWAYS AS IDENTITY, first bigint, last bigint, returned int);

-- Calls advance() until nothing comes, and notes each batch: where it began and ended, and how many of
-- its events were returned. A procedure, since each call needs a transaction of its own.
CREATE PROCEDURE work_off(max_rows int, max_bytes bigint DEFAULT 8388608) LANGUAGE plpgsql AS $$
DECLARE
    head   bigint;
    batch  record;
BEGIN
    TRUNCATE batches RESTART IDENTITY;
    LOOP
        SELECT t.last_position INTO head FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1;
        COMMIT;
        SELECT max(a.position) AS last, count(a.position) AS returned INTO batch
        FROM event_service.advance(max_rows, max_bytes) a;
        COMMIT;
        EXIT WHEN batch.last IS NULL;
        INSERT INTO batches (first, last, returned) VALUES (head + 1, batch.last, batch.returned);
        COMMIT;
    END LOOP;
END $$;

CREATE FUNCTION sizes() RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg((last - first + 1)::text, ' ' ORDER BY number) FROM batches $$;
CREATE FUNCTION returned() RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(returned::text, ' ' ORDER BY number) FROM batches $$;

-- Growing batches ---------------------------------------------------------------------------------

SELECT count(event_service.publish('a.b', to_jsonb(i), '{*}')) AS published FROM generate_series(1, 42) i \gset
CALL work_off(10);
SELECT is(sizes(), '10 10 10 10 2', 'a burst comes in batches of one size');
SELECT is(returned(), '10 10 10 10 1', 'and each returns its events; the fifth may be larger, and returns its last alone');

SELECT count(event_service.publish('a.b', to_jsonb(i), '{*}')) AS published FROM generate_series(1, 2500) i \gset
CALL work_off(10);
SELECT is(sizes(), '10 10 10 10 20 40 80 160 320 640 640 560', 'a backlog comes in batches that double, up to 64 times');
SELECT is(returned(), '10 10 10 10 1 1 1 1 1 1 1 1', 'the large ones return their last event alone');
SELECT is((SELECT array_agg((data #>> '{}')::int ORDER BY position) FROM event_service.log WHERE position > 42),
          ARRAY(SELECT generate_series(1, 2500)), 'in the order of the writes');
SELECT is((SELECT array_agg(position ORDER BY position) FROM event_service.log),
          ARRAY(SELECT generate_series(1::bigint, 2542)), 'and without a gap');
SELECT is((SELECT full_batches FROM event_service.tick ORDER BY tick DESC LIMIT 1), 0, 'after it all begins anew');

SELECT count(event_service.publish('a.b', to_jsonb(i), '{*}')) AS published FROM generate_series(1, 15) i \gset
CALL work_off(10);
SELECT is(returned(), '10 5', 'with small batches');

-- Each of these has 1002 bytes.
SELECT count(event_service.publish('a.b', to_jsonb(repeat('x', 1000)), '{*}')) AS published FROM generate_series(1, 60) i \gset
CALL work_off(100, 2000);
SELECT is(sizes(), '2 2 2 2 4 8 16 16 8', 'a bound in bytes doubles up to 8 times');

-- What commits during a backlog waits for its turn.
SELECT count(event_service.publish('a.b', to_jsonb(i), '{*}')) AS published FROM generate_series(1, 60) i \gset
SELECT count(*) AS moved FROM event_service.advance(10) \gset
SELECT event_service.publish('a.late', '0', '{*}') AS published \gset
CALL work_off(10);
SELECT is((SELECT type FROM event_service.log ORDER BY position DESC LIMIT 1), 'a.late', 'what is newer comes later');
SELECT is(sizes(), '10 10 10 20 1', 'in a batch of its own: the backlog was looked at as of its first batch');

-- An old snapshot ---------------------------------------------------------------------------------

-- How many entries of the inbox's index one look reads.
CREATE FUNCTION entries_read(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_stat_get_xact_tuples_returned('event_service.inbox_xid'::regclass);
BEGIN
    EXECUTE query;
    RETURN pg_stat_get_xact_tuples_returned('event_service.inbox_xid'::regclass) - before;
END $$;

SELECT open_session('backup');
SELECT tell('backup', 'BEGIN ISOLATION LEVEL REPEATABLE READ');
SELECT ask('backup', 'SELECT count(*)::text FROM pg_class');
SELECT count(event_service.publish('a.b', to_jsonb(i), '{*}')) AS published FROM generate_series(1, 5000) i \gset
CALL work_off(1000);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT cmp_ok((SELECT entries_read('SELECT count(*) FROM event_service.inbox WHERE xid >= ''0''')), '>=', 5000::bigint,
    'an open snapshot keeps what went through the inbox');
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT cmp_ok((SELECT entries_read('SELECT * FROM event_service.status()')), '<', 10::bigint, 'status() does not look at it');
SELECT cmp_ok((SELECT entries_read('SELECT * FROM event_service.advance()')), '<', 10::bigint, 'nor does advance()');
SELECT event_service.publish('a.b', '1', '{*}') AS published \gset
SELECT ok((SELECT clock_timestamp() - waiting_since < interval '1 minute' FROM event_service.status()),
    'and what waits is found behind it');
SELECT tell('backup', 'COMMIT');
SELECT close_session('backup');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
