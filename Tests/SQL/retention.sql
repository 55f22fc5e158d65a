-- Retention: the floor rises first, what lies below it goes later, and nothing else ever goes.
\ir support/helpers.sql
SELECT plan(86);

SELECT use_partitions_of(10) \g /dev/null
SELECT open_session('a'), open_session('b') \g /dev/null

-- Makes everything older than it is.
CREATE FUNCTION grow_older(by interval) RETURNS void LANGUAGE sql AS $$
    UPDATE event_service.tick SET at = at - by;
    UPDATE event_service.published_key SET at = at - by;
$$;
-- The state of the log: its floor, the positions whose rows are there, and the partitions.
CREATE FUNCTION kept() RETURNS text LANGUAGE sql AS $$
    SELECT format('floor %s, rows %s, partitions %s',
        (SELECT position FROM event_service.floor),
        (SELECT coalesce(min(position) || '-' || max(position) || CASE WHEN count(*) <> max(position) - min(position) + 1
                         THEN ' with holes' ELSE '' END, 'none') FROM event_service.log),
        (SELECT string_agg(substr(c.relname, 6), ' ' ORDER BY substr(c.relname, 6)::bigint) FROM pg_inherits i
         JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'event_service.log'::regclass))
$$;
CREATE FUNCTION page(after bigint) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s of %s: %s', min(scanned), min(floor || '..' || head), coalesce(string_agg(position::text, ' '), 'none'))
    FROM event_service.replay(after, 5)
$$;
-- Sequences so many events in one batch.
CREATE FUNCTION fill(number int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell('b', format($q$DO 'BEGIN PERFORM add(g::text) FROM generate_series(1, %s) g; END'$q$, number)),
            ask('b', 'SELECT sequenced()');
END $$;

-- An empty log -------------------------------------------------------------------------------------

SELECT is(event_service.raise_floor('0'), 1::bigint, 'the floor of an empty log is 1');
SELECT is(event_service.sweep(1, '0'), false, 'there is nothing to sweep');
SELECT grow_older('30 days') \g /dev/null
SELECT is(event_service.raise_floor('7 days'), 1::bigint, 'however old it is');
SELECT is(event_service.sweep(1, '7 days'), false, 'nor is there then');
SELECT is(kept(), 'floor 1, rows none, partitions 0 1', 'and nothing is gone');
SELECT is(count(*), 1::bigint, 'the tick that holds the head stays') FROM event_service.tick;

-- The floor ----------------------------------------------------------------------------------------

-- Batches of 7, 8 and 9, of seven days and three, two and one minutes ago, and one of 2 that is new.
SELECT fill(7), grow_older('1 min') \g /dev/null
SELECT fill(8), grow_older('1 min') \g /dev/null
SELECT fill(9), grow_older('7 days 1 min') \g /dev/null
SELECT fill(2) \g /dev/null
SELECT is(kept(), 'floor 1, rows 1-26, partitions 0 1 2 3', 'a log of four batches');
SELECT is(event_service.raise_floor('7 days 00:03:30'), 1::bigint, 'the floor stays while all is younger');
SELECT is(event_service.raise_floor(NULL), 1::bigint, 'or no time is given');
SELECT is(event_service.raise_floor('7 days 00:02:30'), 8::bigint, 'it rises over what was sequenced longer ago');
SELECT is(kept(), 'floor 8, rows 1-26, partitions 0 1 2 3', 'no row goes with that');
SELECT is(page(0), '12 of 8..26: 8 9 10 11 12', 'but no page has them any more, and each says so');
SELECT is((SELECT count(*) FROM event_service.event_at(7)), 0::bigint, 'nor are they there one by one');
SELECT is((SELECT count(*) FROM event_service.events), 19::bigint, 'or in the view');
SELECT is(event_service.raise_floor('8 days'), 8::bigint, 'it never falls');
SELECT is(event_service.raise_floor('7 days 00:01:30'), 16::bigint, 'and rises on');
SELECT is(event_service.raise_floor('7 days 00:02'), 16::bigint, 'for all who ask');

-- Partitions ---------------------------------------------------------------------------------------

SELECT is(event_service.sweep(8, '7 days 00:01:30'), false, 'with the floor of before');
SELECT is(kept(), 'floor 16, rows 1-26, partitions 0 1 2 3', 'only what that one had left below it goes: no whole partition');
SELECT is(event_service.sweep(NULL, '7 days 00:01:30'), false, 'with none');
SELECT is(event_service.sweep(16, NULL), false, 'or without a time');
SELECT is(kept(), 'floor 16, rows 1-26, partitions 0 1 2 3', 'nothing goes');
SELECT is(event_service.sweep(16, '7 days 00:01:30'), false, 'with its own');
SELECT is(kept(), 'floor 16, rows 10-26, partitions 1 2 3', 'the partition that is wholly below goes, the rows of the next stay');
SELECT is(event_service.sweep(1000, '7 days 00:01:30'), false, 'a floor higher than that of the log');
SELECT is(kept(), 'floor 16, rows 10-26, partitions 1 2 3', 'takes nothing with it');
SELECT is(event_service.raise_floor('7 days'), 25::bigint, 'the floor rises over the old batches');
UPDATE event_service.floor SET position = 20;
SELECT event_service.sweep(25, '7 days') \g /dev/null
SELECT is(kept(), 'floor 20, rows 20-26, partitions 2 3', 'a partition whose last position is just below the floor goes');
UPDATE event_service.floor SET position = 25;
SELECT is(page(0), '26 of 25..26: 25 26', 'what is above the floor is all there');

-- A page whose snapshot is older than the floor: it cannot be read any more, and must not look complete.
SELECT fill(10) \g /dev/null
SELECT tell('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ'), ask('a', 'SELECT count(*)::text FROM event_service.epoch') \g /dev/null
UPDATE event_service.floor SET position = 31;
SELECT event_service.sweep(31, '7 days') \g /dev/null
SELECT is(kept(), 'floor 31, rows 30-36, partitions 3 4', 'partition 2 is dropped');
SELECT is(ask('a', $$SELECT outcome('SELECT page(24)')$$),
    '40001: event_service.replay: the events behind 24 expired while they were read',
    'a page of before, from a snapshot of before, is an error');
SELECT is(ask('a', $$SELECT hint_of('SELECT page(0)')$$), 'Ask again: the floor has risen since.', 'that says what to do');
SELECT is(ask('a', $$SELECT outcome('SELECT count(*) FROM event_service.replay(26, 5, ''{*}'')')$$),
    '40001: event_service.replay: the events behind 26 expired while they were read', 'with labels too');
SELECT is(ask('a', 'SELECT page(30)'), '35 of 25..36: 31 32 33 34 35', 'what is there can be read through it');
SELECT is(ask('a', 'SELECT page(36)'), '36 of 25..36: none', 'and where nothing is, nothing is missing');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(ask('a', 'SELECT page(24)'), '35 of 31..36: 31 32 33 34 35', 'the next snapshot knows the floor');

-- Rows of a partition that is not full -------------------------------------------------------------

SELECT grow_older('1 day'), fill(2) \g /dev/null
SELECT event_service.raise_floor('1 day') \g /dev/null
SELECT is(kept(), 'floor 37, rows 30-38, partitions 3 4', 'the floor has risen within a partition');
SELECT event_service.sweep(37, '1 day') \g /dev/null
SELECT is(kept(), 'floor 37, rows 30-38, partitions 3 4', 'its rows stay at first');
UPDATE event_service.tick SET at = at - interval '49 minutes' WHERE last_position <= 36;
SELECT event_service.sweep(37, '1 day') \g /dev/null
SELECT is(kept(), 'floor 37, rows 30-38, partitions 3 4', 'for most of an hour, in which the partition may become full');
UPDATE event_service.tick SET at = at - interval '2 minutes' WHERE last_position <= 36;
SELECT event_service.sweep(36, '1 day') \g /dev/null
SELECT is(kept(), 'floor 37, rows 36-38, partitions 3 4', 'then they go, as far as the floor of before reaches');
SELECT event_service.sweep(37, '1 day') \g /dev/null
SELECT is(kept(), 'floor 37, rows 37-38, partitions 3 4', 'and no further');
SELECT is(page(0), '38 of 37..38: 37 38', 'a page has what is above');

-- A quiet log: nothing new comes, and yet it empties.
SELECT grow_older('1 day') \g /dev/null
SELECT event_service.raise_floor('1 day') AS reached \gset
SELECT is(:reached, 39, 'of a quiet log the floor rises over the head');
SELECT event_service.sweep(:reached, '1 day') \g /dev/null
SELECT is(kept(), 'floor 39, rows 37-38, partitions 3 4', 'with the rows still there');
SELECT grow_older('51 minutes') \g /dev/null
SELECT event_service.sweep(:reached, '1 day') \g /dev/null
SELECT is(kept(), 'floor 39, rows none, partitions 3 4', 'less than an hour later they are gone');
SELECT is(page(0), '38 of 39..38: none', 'a page of the empty log tells head and floor');
SELECT is(event_service.cursor(), event_service.stream_id(38), 'the head stays');
SELECT grow_older('10 days') \g /dev/null
SELECT event_service.raise_floor('1 day'), event_service.sweep(39, '1 day') \g /dev/null
SELECT is(kept(), 'floor 39, rows none, partitions 3 4', 'for as long as it is quiet');
SELECT fill(3) \g /dev/null
SELECT is(page(38), '41 of 39..41: 39 40 41', 'and what comes next follows on it');
SELECT event_service.raise_floor('1 day'), event_service.sweep(39, '1 day') \g /dev/null
SELECT is(kept(), 'floor 39, rows 39-41, partitions 3 4 5', 'and stays');
SELECT fill(9) \g /dev/null
SELECT event_service.sweep(39, '1 day') \g /dev/null
SELECT is(kept(), 'floor 39, rows 39-50, partitions 3 4 5 6', 'a partition that holds the floor stays');

-- A log that lay still while no node ran: its rows go though the ticks of their time are thinned out.
SELECT grow_older('30 days') \g /dev/null
SELECT fill(1) \g /dev/null
SELECT event_service.raise_floor('1 day') \g /dev/null
SELECT event_service.sweep(51, '1 day') \g /dev/null
SELECT is(kept(), 'floor 51, rows 51-51, partitions 5 6', 'after a long pause all that is too old goes at once');
SELECT fill(3), event_service.sweep(51, '1 day') \g /dev/null
SELECT is(kept(), 'floor 51, rows 51-54, partitions 5 6', 'and nothing else, however often one sweeps');

-- A log younger than `keep`: none of its rows is overdue yet.
CREATE FUNCTION young() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    DELETE FROM event_service.tick WHERE last_position < 54;
    PERFORM event_service.raise_floor('0'), event_service.sweep(55, '0');
    state := kept();
    RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
    RETURN state;
END $$;
SELECT is(young(), 'floor 55, rows 51-54, partitions 5 6', 'below the floor of a young log rows wait for their hour too');

-- Small steps.
SELECT use_partitions_of(100000) \g /dev/null
INSERT INTO event_service.inbox (op, type, key, audience) SELECT 'p', 'test.event', g, '{*}' FROM generate_series(1, 10001) g;
:advance
SELECT grow_older('2 days'), event_service.raise_floor('1 day') AS reached \gset
SELECT is(event_service.sweep(10056, '1 day'), true, 'of many rows 10,000 go at a time, and sweep() says that there are more');
SELECT is(event_service.sweep(10056, '1 day'), false, 'until there are not');
SELECT is(kept(), 'floor 10056, rows none, partitions 0 1', 'and all are gone');

-- Ticks --------------------------------------------------------------------------------------------

-- In each of the last 180 seconds four ticks, and four a second of an hour ago.
DELETE FROM event_service.tick;
INSERT INTO event_service.tick (tick, snapshot, last_position, at)
SELECT n, pg_current_snapshot(), 9000 + n, date_trunc('second', now()) - interval '180 s' + n * interval '250 ms'
FROM generate_series(1, 719) n;
SELECT max(last_position) AS head FROM event_service.tick \gset
SELECT event_service.sweep(1, '1 day') \g /dev/null
SELECT is(count(*), count(DISTINCT date_trunc('second', at)), 'of the ticks older than a minute one a second stays')
FROM event_service.tick WHERE at < now() - interval '62 s';
SELECT is(count(DISTINCT date_trunc('second', at)), 118::bigint, 'and every second has one')
FROM event_service.tick WHERE at BETWEEN date_trunc('second', now()) - interval '180 s' AND date_trunc('second', now()) - interval '62.1 s';
SELECT is(count(*), 0::bigint, 'the last one')
FROM event_service.tick WHERE at < now() - interval '62 s' AND extract(milliseconds FROM at)::int % 1000 <> 750;
SELECT is(count(*), 232::bigint, 'of the last minute all stay') FROM event_service.tick WHERE at >= date_trunc('second', now()) - interval '58 s';
SELECT is(last_position, :head::bigint, 'the newest holds the head') FROM event_service.tick ORDER BY tick DESC LIMIT 1;

-- Old ones go, but for the one that stands for the oldest time that may be asked for.
DELETE FROM event_service.tick;
INSERT INTO event_service.tick (tick, snapshot, last_position, at)
SELECT 100 - n, pg_current_snapshot(), 10000 - n, now() - n * interval '1 hour' FROM generate_series(0, 60) n;
SELECT event_service.position_before(now() - interval '24:30') AS before \gset
SELECT event_service.sweep(1, '1 day') \g /dev/null
SELECT is(min(tick), 100 - 25::bigint, 'ticks older than the log is kept go, an hour later, but the last of them stays') FROM event_service.tick;
SELECT is(event_service.position_before(now() - interval '24:30'), :before::bigint, 'so that the times of what is kept still have a position');
SELECT event_service.sweep(1, '1 day') \g /dev/null
SELECT is(count(*), 26::bigint, 'again nothing changes') FROM event_service.tick;
SELECT grow_older('30 days') \g /dev/null
SELECT event_service.sweep(1, '1 day') \g /dev/null
SELECT is(count(*) || ' ' || max(tick), '1 100', 'of a quiet log the newest alone stays') FROM event_service.tick;

-- Deduplication keys -------------------------------------------------------------------------------

SELECT event_service.publish('test.event', NULL, '{*}', dedup_key => 'a') AS a \gset
SELECT grow_older('23:59') \g /dev/null
SELECT event_service.publish('test.event', NULL, '{*}', dedup_key => 'b') \g /dev/null
SELECT event_service.sweep(1, '1 hour') \g /dev/null
SELECT is(string_agg(dedup_key, ' ' ORDER BY dedup_key), 'a b', 'deduplication keys stay for 24 hours, however short the log is kept')
FROM event_service.published_key;
SELECT grow_older('00:02') \g /dev/null
SELECT event_service.sweep(1, '1 hour') \g /dev/null
SELECT is(string_agg(dedup_key, ' '), 'b', 'then they go') FROM event_service.published_key;

-- Two at once --------------------------------------------------------------------------------------

-- A log as at the beginning.
:advance
UPDATE event_service.tick SET last_position = 0 WHERE tick = (SELECT max(tick) FROM event_service.tick);
UPDATE event_service.floor SET position = 1;
SELECT use_partitions_of(10) \g /dev/null
SELECT fill(10), fill(10), fill(5), grow_older('2 days') \g /dev/null
SELECT fill(2) \g /dev/null
SELECT is(kept(), 'floor 1, rows 1-27, partitions 0 1 2 3', 'a log of four batches again');
SELECT tell('a', 'BEGIN') \g /dev/null
SELECT is(ask('a', $$SELECT event_service.raise_floor('1 day')::text$$), '26', 'one node raises the floor');
SELECT start_query('b', $$SELECT event_service.raise_floor('1 day')::text$$) \g /dev/null
SELECT ok(gets_blocked('b'), 'another does at the same time');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), '26', 'and gets the same');
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT event_service.sweep(26, '1 day')::text$$) \g /dev/null
SELECT is(ask('b', $$SELECT event_service.sweep(26, '1 day')::text$$), 'false', 'while one sweeps, another has nothing to do, and does not wait');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT is(kept(), 'floor 26, rows 1-27, partitions 0 1 2 3', 'what was rolled back is all there');

-- Somebody who reads for long: a dump, a report.
SELECT tell('a', 'BEGIN'), ask('a', 'SELECT count(*)::text FROM event_service.log') \g /dev/null
INSERT INTO event_service.published_key VALUES ('old', 1, now() - interval '2 days');
SELECT is(event_service.sweep(26, '1 day'), false, 'a sweep does not wait for long readers');
SELECT alike(kept(), 'floor 26, rows 1-27%, partitions 0 1 2 3', 'whose partitions stay');
SELECT is(count(*), 0::bigint, 'but does what it can') FROM event_service.published_key WHERE dedup_key = 'old';
SELECT is(page(25), '27 of 26..27: 26 27', 'others read on meanwhile');
SELECT fill(1) \g /dev/null
SELECT is(page(25), '28 of 26..28: 26 27 28', 'and sequence on');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT event_service.sweep(26, '1 day') \g /dev/null
SELECT is(kept(), 'floor 26, rows 26-28, partitions 2 3', 'the next sweep drops them');

-- A race -------------------------------------------------------------------------------------------

-- Readers from the very beginning, again and again, while the log grows at one end and goes at the other.
-- Every page must begin where it says, and be dense to where it says.
CREATE TABLE faults (page text);
CREATE TABLE pages (first bigint, refused boolean);
CREATE PROCEDURE read_from_the_floor() LANGUAGE plpgsql AS $$
DECLARE
    p       record;
    after   bigint;
    refused boolean;
BEGIN
    FOR round IN 1 .. 100000 LOOP
        after := 0;
        refused := false;
        BEGIN
            FOR page IN 1 .. 3 LOOP
                SELECT min(r.floor) AS floor, min(r.scanned) AS scanned, min(r.position) AS first, max(r.position) AS last,
                       count(r.position) AS number INTO p FROM event_service.replay(after, 7) r;
                IF p.number > 0 AND (p.first <> greatest(after + 1, p.floor) OR p.last <> p.scanned OR p.number <> p.last - p.first + 1)
                   OR p.number = 0 AND p.scanned >= greatest(after + 1, p.floor) THEN
                    INSERT INTO faults VALUES (format('after %s: %s', after, p));
                END IF;
                after := p.scanned;
            END LOOP;
        EXCEPTION WHEN serialization_failure THEN
            refused := true;
        END;
        INSERT INTO pages VALUES (p.first, refused);
        COMMIT;
        EXIT WHEN NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 99);
    END LOOP;
END $$;
SELECT pg_advisory_lock(99) \g /dev/null
SELECT open_session('reader ' || g), start_query('reader ' || g, 'CALL read_from_the_floor()') FROM generate_series(1, 3) g \g /dev/null
CREATE PROCEDURE grow_and_shrink() LANGUAGE plpgsql AS $$
DECLARE
    floor  bigint := 1;
    before bigint := 1;
BEGIN
    FOR round IN 1 .. 120 LOOP
        PERFORM add(g::text) FROM generate_series(1, 1 + round % 9) g;
        COMMIT;
        PERFORM FROM event_service.advance();
        COMMIT;
        before := floor;
        floor := event_service.raise_floor('20 ms');
        COMMIT;
        PERFORM event_service.sweep(before, '-49 minutes');
        COMMIT;
    END LOOP;
END $$;
CALL grow_and_shrink();
SELECT pg_advisory_unlock(99) \g /dev/null
SELECT is(string_agg(answer_of('reader ' || g), ' '), 'CALL CALL CALL', 'no reader failed') FROM generate_series(1, 3) g;
SELECT is(string_agg(page, E'\n'), NULL, 'no page was short without saying so') FROM faults;
SELECT ok(count(DISTINCT first) > 20, format('there was a race: %s rounds from %s floors, %s refused', count(*), count(DISTINCT first),
    count(*) FILTER (WHERE refused))) FROM pages;
SELECT ok(count(*) < 12, 'and partitions went meanwhile') FROM pg_inherits WHERE inhparent = 'event_service.log'::regclass;
SELECT is(count(*), max(position) - (SELECT position FROM event_service.floor) + 1, 'all above the floor is there')
FROM event_service.log WHERE position >= (SELECT position FROM event_service.floor);

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
