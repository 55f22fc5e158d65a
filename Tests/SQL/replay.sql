-- Reading: what replay(), event_at(), position_before(), stream_id(), cursor() and status() return.
\ir support/helpers.sql
SELECT plan(123);

-- A log of 60,000 events in partitions of 25,000. Labels of every density: everyone, one user in ten,
-- contexts in 20 and in 30 (on either side of where the audience index takes over), one in 7,000 (so that
-- whole stretches of 20,000 positions hold two), and one that has a single event.
SELECT use_partitions_of(25000) \g /dev/null
SELECT event_service.status()::text AS status_at_first \gset
INSERT INTO event_service.inbox (op, type, key, audience, hidden_from, data)
SELECT 'p', (ARRAY['task.created', 'task.updated', 'tasks.created', 'a.b.c', 'a_b.c'])[1 + g % 5], 'k' || g % 1000,
       array_remove(ARRAY['user:' || g % 10,
                          CASE WHEN g % 20 = 3 THEN 'context:twenty' END,
                          CASE WHEN g % 30 = 4 THEN 'context:thirty' END,
                          CASE WHEN g % 7000 = 5 THEN 'context:rare' END,
                          CASE WHEN g = 43210 THEN 'context:once' END,
                          CASE WHEN g % 50 = 0 THEN '*' END], NULL),
       CASE WHEN g % 11 = 0 THEN '{user:0}'::text[] ELSE '{}' END,
       CASE WHEN g % 97 <> 0 THEN to_json(repeat('x', g % 150)) END
FROM generate_series(1, 60000) g;
:advance
:advance
:advance
ANALYZE event_service.log;

-- A page -----------------------------------------------------------------------------------------

-- A page in short: how far it reads, the positions in it, head and floor.
CREATE FUNCTION page(after bigint, max_rows int DEFAULT 1000, labels text[] DEFAULT NULL, types text[] DEFAULT NULL,
                     keys text[] DEFAULT NULL, max_bytes bigint DEFAULT 8388608) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s of %s: %s', min(scanned), string_agg(DISTINCT floor || '..' || head, ' and '),
                  coalesce(string_agg(position::text, ' '), CASE count(*) WHEN 1 THEN 'none' ELSE count(*) || ' rows' END))
    FROM event_service.replay(after, max_rows, labels, types, keys, max_bytes)
$$;

SELECT is(page(0, 3), '3 of 1..60000: 1 2 3', 'the first page begins with position 1');
SELECT is(page(3, 3), '6 of 1..60000: 4 5 6', 'a page begins behind the position given');
SELECT is(page(59998, 3), '60000 of 1..60000: 59999 60000', 'the last page ends at the head');
SELECT is(page(60000), '60000 of 1..60000: none', 'a page behind the head is one row without an event');
SELECT is(page(60001), '60001 of 1..60000: none', 'so is one past it, which is complete up to there');
SELECT is(page(9223372036854775807), '9223372036854775807 of 1..60000: none', 'however far past');
SELECT is(page(9223372036854775807, labels => '{user:1}'), '9223372036854775807 of 1..60000: none', 'also with labels');
SELECT is(page(-1, 2), '2 of 1..60000: 1 2', 'a position below 0 is 0');
SELECT is(page(-9223372036854775808, 2), '2 of 1..60000: 1 2', 'however far below');
SELECT is(page(NULL, 2), '2 of 1..60000: 1 2', 'so is NULL');
SELECT is(page(0, v), '1 of 1..60000: 1', format('max_rows %s is 1', coalesce(v::text, 'NULL')))
FROM unnest(ARRAY[0, -7, NULL]) v;
SELECT is(page(100, max_bytes => v), '101 of 1..60000: 101', format('max_bytes %s is 1', coalesce(v::text, 'NULL')))
FROM unnest(ARRAY[0, -7, NULL]::bigint[]) v;
SELECT is(page(24998, 4), '25002 of 1..60000: 24999 25000 25001 25002', 'a page may cross a partition boundary');
SELECT results_eq('SELECT position, event_id, at, bytes, op, conflate, type, key, audience, hidden_from, data::text
                   FROM event_service.replay(24990, 20)',
    'SELECT position, event_id, at, bytes, op, conflate, type, key, audience, hidden_from, data::text
     FROM event_service.log WHERE position BETWEEN 24991 AND 25010 ORDER BY position', 'a page has the rows of the log');
-- "x…" of 9, 10, 11, 12 characters and two quotes.
SELECT is(page(8, 10, max_bytes => 24), '11 of 1..60000: 9 10 11', 'max_bytes ends a page behind the event that reaches it');
SELECT is(page(8, 10, max_bytes => 23), '10 of 1..60000: 9 10', 'not before');
SELECT is(page(8, 10, max_bytes => 5), '9 of 1..60000: 9', 'an event larger than max_bytes comes alone');

-- Narrowed.
SELECT is(page(0, 3, '{user:1}'), '21 of 1..60000: 1 11 21', 'labels narrow, and a full page is complete up to its last event');
SELECT is(page(0, 5, '{user:1,user:2}'), '21 of 1..60000: 1 2 11 12 21', 'any of the labels will do');
SELECT is(page(0, 4, '{user:0,context:twenty}'), '23 of 1..60000: 3 10 20 23', 'an event with two of them comes once');
SELECT is(page(0, 2, '{*}'), '100 of 1..60000: 50 100', '* is a label, not a pattern');
SELECT is(page(0, 2, '{user:%}'), '60000 of 1..60000: none', 'and % is none either');
SELECT is(page(0, 2, '{}'), '60000 of 1..60000: none', 'no label, no event');
SELECT is(page(0, 4, types => '{task.%}'), '10 of 1..60000: 1 5 6 10', 'types are patterns of LIKE');
SELECT is(page(0, 2, types => ARRAY['a\_b.c', 'task.updated']), '4 of 1..60000: 1 4', 'several');
SELECT is(page(0, 2, types => ARRAY['a\_b%']), '9 of 1..60000: 4 9', 'in which an underline must be escaped');
SELECT is(page(0, 2, types => '{}'), '20000 of 1..60000: none', 'no type, no event, over 20,000 positions a page');
SELECT is(page(0, 3, keys => '{k7,k3}'), '1003 of 1..60000: 3 7 1003', 'keys narrow');
SELECT is(page(0, 2, '{user:7}', '{tasks.created}', '{k7,k17,k3}'), '17 of 1..60000: 7 17', 'labels, types and keys all narrow');
SELECT is(page(20000, 9, keys => '{none}'), '40000 of 1..60000: none', 'a page of none goes on where it ends');
SELECT is(page(40000, 9, keys => '{none}'), '60000 of 1..60000: none', 'to the head');
SELECT is(page(0, 9, '{context:once}'), '60000 of 1..60000: 43210', 'a rare label is found in one page, however far away');
SELECT is(page(0, 2, '{context:rare}'), '7005 of 1..60000: 5 7005', 'whose events come in order');
SELECT is(page(0, 9, '{context:rare}', max_bytes => 1), '5 of 1..60000: 5', 'max_bytes holds there too');
SELECT is(page(0, 9, '{context:rare}', '{nothing.%}'), '60000 of 1..60000: none', 'so do types');
SELECT is(page(39999, 9, '{context:rare}'), '60000 of 1..60000: 42005 49005 56005', 'within 20,000 of the head nothing changes');

-- Both ways ---------------------------------------------------------------------------------------

-- Which way a page of these labels is read: by position, or by the audience index.
CREATE FUNCTION way(labels text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    scans bigint;
BEGIN
    -- Counters of this transaction; the index scans of the GIN indexes.
    SELECT sum(pg_stat_get_xact_numscans(x.indexrelid)) INTO scans FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'gin' AND x.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event_service.log'::regclass);
    PERFORM FROM event_service.replay(0, 1000, labels);
    RETURN CASE WHEN (SELECT sum(pg_stat_get_xact_numscans(x.indexrelid)) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
        JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'gin' AND x.indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event_service.log'::regclass)) > scans
        THEN 'index' ELSE 'position' END;
END $$;
SELECT is(way(labels), expected, format('%s is read by %s', labels, expected))
FROM (VALUES ('{user:1}'::text[], 'position'), ('{context:twenty}', 'position'), ('{context:thirty}', 'index'),
             ('{context:rare}', 'index'), ('{context:none}', 'index'), ('{context:rare,user:1}', 'position'),
             (NULL, 'position')) AS w (labels, expected);

-- All pages from a position on, as the positions in them. Raises where a page is not what a reader relies on.
CREATE FUNCTION walk(after bigint, max_rows int, labels text[], types text[], keys text[], max_bytes bigint)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    found bigint[] := '{}';
    page  record;
BEGIN
    LOOP
        SELECT min(r.scanned) AS scanned, count(r.position) AS rows, sum(r.bytes) AS bytes,
               coalesce(array_agg(r.position ORDER BY r.number) FILTER (WHERE r.position IS NOT NULL), '{}') AS positions,
               bool_and((r.floor, r.head, r.scanned) = (1, 60000, r.first_scanned)) AS agree,
               bool_and(r.position > r.before AND r.position <= r.scanned) AS ordered,
               (array_agg(r.bytes ORDER BY r.number DESC))[1] AS last_bytes
        INTO page
        FROM (SELECT *, lag(position, 1, after) OVER (ORDER BY number) AS before, first_value(scanned) OVER () AS first_scanned
              FROM event_service.replay(after, max_rows, labels, types, keys, max_bytes) WITH ORDINALITY
                   AS p (head, floor, scanned, position, event_id, at, bytes, op, conflate, type, key, audience,
                         hidden_from, data, traceparent, number)) r;
        ASSERT page.agree, 'every row has the same bounds';
        ASSERT page.ordered IS NOT false, 'the rows are in order and within the page';
        ASSERT page.rows <= max_rows, 'max_rows';
        ASSERT page.rows = 0 OR page.bytes - page.last_bytes < max_bytes, 'max_bytes';
        ASSERT page.scanned > after OR page.scanned = 60000, 'there is progress';
        found := found || page.positions;
        after := page.scanned;
        EXIT WHEN after >= 60000;
    END LOOP;
    RETURN found;
END $$;
-- What they must be, by a plain query.
CREATE FUNCTION expected(after bigint, labels text[], types text[], keys text[]) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(position ORDER BY position), '{}') FROM event_service.log l
    WHERE l.position > expected.after AND (labels IS NULL OR l.audience && labels)
      AND (types IS NULL OR l.type LIKE ANY (types)) AND (keys IS NULL OR l.key = ANY (keys))
$$;
CREATE TABLE walks (after bigint, max_rows int, labels text[], types text[], keys text[], max_bytes bigint,
                    way text, is_right boolean);
CREATE PROCEDURE walk_at_random(rounds int) LANGUAGE plpgsql AS $$
DECLARE
    w walks;
BEGIN
    PERFORM setseed(0.42);
    FOR round IN 1 .. rounds LOOP
        -- Most of them from far below the head, where the two ways part.
        w.after := CASE WHEN random() < 0.7 THEN floor(random() * 40000) ELSE 60000 - floor(random() * 3000) END;
        w.labels := CASE WHEN random() < 0.8 THEN (SELECT array_agg(l) FROM (
            SELECT l FROM unnest(ARRAY['user:1', 'user:5', 'context:twenty', 'context:thirty', 'context:rare', 'context:once',
                                       'context:none', '*', 'context:rare', 'context:thirty', 'context:once']) l
            ORDER BY random() LIMIT 1 + floor(random() * 2)) chosen) END;
        w.types := CASE WHEN random() < 0.3 THEN (ARRAY['{task.%}', '{task%}', '{a.%,task.created}', '{%.created}', '{z.z}'])
                        [1 + floor(random() * 5)::int]::text[] END;
        w.keys := CASE WHEN random() < 0.2 THEN (SELECT array_agg('k' || floor(random() * 1000)) FROM generate_series(1, 40)) END;
        -- Small pages where there is little to read.
        w.max_rows := (ARRAY[1, 7, 100, 300, 1000])[floor(random() * 2)::int
            + CASE WHEN w.after > 59000 OR w.labels <@ '{context:rare,context:once,context:none}' THEN 1
                   WHEN w.labels IS NULL THEN 4 ELSE 3 END];
        w.max_bytes := CASE WHEN random() < 0.3 THEN 4000 + floor(random() * 40000) ELSE 8388608 END;
        w.way := CASE WHEN w.labels IS NOT NULL AND w.after < 40000 THEN way(w.labels) ELSE 'position' END;
        w.is_right := walk(w.after, w.max_rows, w.labels, w.types, w.keys, w.max_bytes)
                      = expected(w.after, w.labels, w.types, w.keys);
        INSERT INTO walks VALUES (w.*);
    END LOOP;
END $$;
CALL walk_at_random(100);
SELECT is(count(*), 100::bigint, 'pages of 100 random kinds keep their promises') FROM walks;
SELECT is(string_agg(walks::text, '; '), NULL, 'and cover every event that a plain query finds, once and in order')
FROM walks WHERE NOT is_right;
SELECT ok(count(*) FILTER (WHERE way = 'index') > 20 AND count(*) FILTER (WHERE way = 'position') > 20,
    format('both ways were taken: %s by index, %s by position', count(*) FILTER (WHERE way = 'index'),
           count(*) FILTER (WHERE way = 'position'))) FROM walks;

-- The floor ---------------------------------------------------------------------------------------

UPDATE event_service.floor SET position = 30001;
SELECT is(page(0, 2), '30002 of 30001..60000: 30001 30002', 'a page from below the floor begins at it, and says where it is');
SELECT is(page(30000, 2), '30002 of 30001..60000: 30001 30002', 'the floor itself is there');
SELECT is(page(29999, 2), '30002 of 30001..60000: 30001 30002', 'the position before it is not');
SELECT is(page(30001, 2), '30003 of 30001..60000: 30002 30003', 'above it nothing changes');
SELECT is(page(0, 2, '{context:rare}'), '42005 of 30001..60000: 35005 42005', 'nor is it passed with labels');
SELECT is(page(0, 2, keys => '{k1}'), '31001 of 30001..60000: 30001 31001', 'or keys');
UPDATE event_service.floor SET position = 60001;
SELECT is(page(0), '60000 of 60001..60000: none', 'of a log that is empty again no event comes');
SELECT is(page(0, labels => '{*}'), '60000 of 60001..60000: none', 'with labels neither');
UPDATE event_service.floor SET position = 1;

-- One statement sees one state: the page of a session whose snapshot is older than the next batch.
SELECT open_session('old') \g /dev/null
SELECT tell('old', 'BEGIN ISOLATION LEVEL REPEATABLE READ'), ask('old', 'SELECT count(*)::text FROM event_service.log') \g /dev/null
SELECT add('new') \g /dev/null
:advance
UPDATE event_service.floor SET position = 2;
SELECT is(ask('old', 'SELECT page(59999)'), '60000 of 1..60000: 60000', 'head, floor and events of a page are those of one snapshot');
SELECT is(page(59999), '60001 of 2..60001: 60000 60001', 'a later one has the new ones');
SELECT tell('old', 'COMMIT') \g /dev/null

-- event_at ----------------------------------------------------------------------------------------

UPDATE event_service.floor SET position = 30001;
SELECT results_eq('SELECT event_at::text FROM event_service.event_at(30001)',
    'SELECT l::text FROM event_service.log l WHERE position = 30001', 'event_at() has one event of the log');
SELECT is((SELECT position FROM event_service.event_at(60001)), 60001::bigint, 'the newest');
SELECT is((SELECT position FROM event_service.event_at(v)), NULL, format('no event is at %s', coalesce(v::text, 'NULL')))
FROM unnest(ARRAY[30000, 1, 60002, 0, -1, 9223372036854775807, NULL]) v;
UPDATE event_service.floor SET position = 1;

-- The view of the log is narrowed likewise.
BEGIN;
UPDATE event_service.floor SET position = 60000;
SELECT is(string_agg(split_part(id, '-', 2), ' ' ORDER BY id), '60000 60001', 'the view events begins at the floor') FROM event_service.events;
ROLLBACK;

-- Times -------------------------------------------------------------------------------------------

-- Four ticks at known times over the last minutes, the first with two events.
DELETE FROM event_service.tick;
INSERT INTO event_service.tick (tick, snapshot, last_position, at)
SELECT n, pg_current_snapshot(), p, now() - ago
FROM (VALUES (1, 0, interval '50 min'), (2, 59990, '40 min'), (3, 59991, '30 min'), (4, 59991, '30 min'), (5, 60001, '20 min'))
     AS t (n, p, ago);
CREATE FUNCTION before_ago(ago interval) RETURNS bigint LANGUAGE sql AS
    'SELECT event_service.position_before((SELECT at FROM event_service.tick WHERE tick = 1) + interval ''50 min'' - ago)';
SELECT is(before_ago(ago), expected, format('%s ago is behind %s', ago, coalesce(expected::text, 'no tick')))
FROM (VALUES (interval '1 day', NULL::bigint), ('50 min', NULL), ('49:59.999999', 0), ('45 min', 0), ('40 min', 0),
             ('39:59.999999', 59990), ('30 min', 59990), ('29:59.999999', 59991), ('20 min', 59991),
             ('19:59.999999', 60001), ('1 min', 60001), ('-1 min', 60001), ('-100 years', 60001)) AS t (ago, expected);
SELECT is(event_service.position_before('infinity'), 60001::bigint, 'the end of time is the head');
SELECT is(event_service.position_before('-infinity'), NULL, 'the beginning is before every tick');
SELECT is(event_service.position_before(NULL), NULL, 'no time has no position');

-- By the times of the events themselves: none of a time or later stands at or below the position before it.
SELECT add('t' || g) FROM generate_series(1, 5) g \g /dev/null
:advance
SELECT add('u') \g /dev/null
:advance
SELECT tell('old', 'BEGIN'), ask('old', $$SELECT add('open')::text$$), add('v') \g /dev/null
:advance
SELECT add('w'), tell('old', 'COMMIT') \g /dev/null
:advance
SELECT is(count(*), 0::bigint, 'every event of a time or later lies behind the position before it')
FROM event_service.log l CROSS JOIN (SELECT at FROM event_service.log WHERE position > 60001) t
WHERE l.at >= t.at AND l.position > 60001 AND l.position <= event_service.position_before(t.at);
SELECT is(array_agg(event_service.position_before(at) ORDER BY position), '{60001,60001,60001,60001,60001,60006,60007,60007,60008}',
    'and few earlier ones') FROM event_service.log WHERE position > 60001;

-- Ids ---------------------------------------------------------------------------------------------

SELECT is(event_service.stream_id(60010), (SELECT epoch FROM event_service.epoch) || '-60010', 'an id is EPOCH-POSITION');
SELECT is(event_service.stream_id(0), (SELECT epoch FROM event_service.epoch) || '-0', 'position 0 has one too');
SELECT is(event_service.stream_id(NULL), NULL, 'no position has none');
BEGIN;
DELETE FROM event_service.epoch;
INSERT INTO event_service.epoch (epoch, first_position, identity) VALUES
    (1000, 1, '{}'), (1001, 1, '{}'), (2000, 11, '{}'), (3000, 21, '{}'), (3001, 21, '{}');
SELECT is(event_service.stream_id(p), expected, format('of five epochs %s is that of %s', split_part(expected, '-', 1), p))
FROM (VALUES (0, '1000-0'), (1, '1001-1'), (10, '1001-10'), (11, '2000-11'), (20, '2000-20'), (21, '3001-21'),
             (99, '3001-99')) AS v (p, expected);
SELECT is(id, event_service.stream_id(60001), 'the view shows the same id') FROM event_service.events WHERE split_part(id, '-', 2) = '60001';
SELECT results_eq('SELECT * FROM event_service.bounds()', $$VALUES (1000::bigint, 1::bigint, 60010::bigint, 1::bigint),
    (1001, 1, 60010, 1), (2000, 11, 60010, 1), (3000, 21, 60010, 1), (3001, 21, 60010, 1)$$,
    'bounds() has all epochs, in order, each with head and floor');
ROLLBACK;

-- cursor() ----------------------------------------------------------------------------------------

CREATE TABLE fact (id int PRIMARY KEY, n int);
SELECT event_service.watch('fact', columns => '{n}', global => true) \g /dev/null
INSERT INTO fact VALUES (1, 0);
:advance
SELECT event_service.stream_id(60011) AS here, event_service.stream_id(60012) AS next \gset
SELECT is(event_service.cursor(), :'here', 'the cursor is the id of the head');
-- What a reader holds and what its stream brings: every row of `changes` behind the cursor.
CREATE FUNCTION brings(cursor text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(data -> 'new' ->> 'n', ' ' ORDER BY position), '') FROM event_service.log
    WHERE position > split_part(cursor, '-', 2)::bigint AND type LIKE 'fact.%'
$$;
SELECT tell('old', 'BEGIN') \g /dev/null
SELECT is(ask('old', 'SELECT event_service.cursor()'), :'here', 'READ COMMITTED: first the cursor');
UPDATE fact SET n = 1;
:advance
SELECT is(ask('old', 'SELECT n::text FROM fact'), '1', 'then the data, which hold a later change');
SELECT is(brings(:'here'), '1', 'which comes again, and is not missed');
SELECT is(ask('old', 'SELECT event_service.cursor()'), :'next', 'each call looks anew');
SELECT tell('old', 'COMMIT') \g /dev/null

SELECT tell('old', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT is(ask('old', 'SELECT n::text FROM fact'), '1', 'REPEATABLE READ: first the data');
UPDATE fact SET n = 2;
:advance
SELECT is(ask('old', 'SELECT event_service.cursor()'), :'next', 'then the cursor, of the same snapshot');
SELECT is(brings(:'next'), '2', 'behind which comes what the data lack');
SELECT is(ask('old', 'SELECT n::text FROM fact'), '1', 'and which they still lack');
SELECT tell('old', 'COMMIT') \g /dev/null

-- Committed before the snapshot, sequenced after it.
UPDATE fact SET n = 3;
SELECT tell('old', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT ask('old', 'SELECT event_service.cursor()') AS cursor \gset
:advance
SELECT is(ask('old', 'SELECT n::text FROM fact'), '3', 'what has committed and has no position yet is in the data');
SELECT is(brings(:'cursor'), '3', 'and comes again');
SELECT tell('old', 'COMMIT') \g /dev/null

-- Open at the snapshot, committed before the head that it sees moves on.
SELECT open_session('writer') \g /dev/null
SELECT tell('writer', 'BEGIN'), tell('writer', 'UPDATE fact SET n = 4') \g /dev/null
SELECT tell('old', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT ask('old', 'SELECT event_service.cursor()') AS cursor \gset
SELECT tell('writer', 'COMMIT') \g /dev/null
:advance
SELECT is(ask('old', 'SELECT n::text FROM fact'), '3', 'what was open is not in the data');
SELECT is(brings(:'cursor'), '4', 'and comes');
SELECT tell('old', 'COMMIT') \g /dev/null
BEGIN;
UPDATE fact SET n = 5;
SELECT event_service.cursor() AS cursor \gset
COMMIT;
:advance
SELECT is(brings(:'cursor'), '5', 'what the caller itself has written comes again');
SELECT tell('old', 'BEGIN READ ONLY') \g /dev/null
SELECT is(ask('old', 'SELECT event_service.cursor()'), event_service.cursor(), 'it works in a transaction that is read only');
SELECT tell('old', 'COMMIT') \g /dev/null

-- status() ----------------------------------------------------------------------------------------

SELECT alike(:'status_at_first'::text, '(0,1,' || (SELECT epoch FROM event_service.epoch) || ',,%)',
    'an empty log has head 0, floor 1, and nothing waits');
SELECT results_eq('SELECT head, floor, epoch, waiting_since FROM event_service.status()',
    'SELECT last_position, 1::bigint, (SELECT max(epoch) FROM event_service.epoch), NULL::timestamptz
     FROM event_service.tick ORDER BY tick DESC LIMIT 1', 'status() has head, floor and epoch, and says when nothing waits');
SELECT tell('old', 'BEGIN'), ask('old', $$SELECT add('open')::text$$) \g /dev/null
SELECT is(waiting_since, NULL, 'what is not committed does not wait') FROM event_service.status();
SELECT add('waits') \g /dev/null
SELECT add('waits, too') \g /dev/null
SELECT is(waiting_since, (SELECT min(at) FROM event_service.inbox), 'what has committed does, since it was captured')
FROM event_service.status();
SELECT tell('old', 'COMMIT') \g /dev/null
SELECT sequenced(1) \g /dev/null
SELECT is(waiting_since, (SELECT min(at) FROM event_service.inbox), 'until the last is sequenced') FROM event_service.status();
:advance
SELECT is(waiting_since, NULL, 'and then nothing waits') FROM event_service.status();
SELECT ok(now BETWEEN now() AND clock_timestamp(), 'it tells the time of the database') FROM event_service.status();

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
