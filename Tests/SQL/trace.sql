-- Trace context: what a session's setting becomes, by every way in, and what is none.
\ir support/helpers.sql
SELECT plan(31);

\set one 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
\set two 00-00000000000000000000000000000001-0000000000000001-00

-- The traces of the events sequenced since the last look, a line each; `-` is none.
CREATE FUNCTION traces() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    lines text;
BEGIN
    SELECT string_agg(concat_ws(' ', op_name(l.op), coalesce(l.traceparent, '-')), E'\n' ORDER BY l.position) INTO lines
    FROM event_service.log l WHERE l.position > (SELECT position FROM last_look);
    UPDATE last_look SET position = coalesce((SELECT max(l.position) FROM event_service.log l), 0);
    RETURN coalesce(lines, '');
END $$;

CREATE TABLE pets (id int PRIMARY KEY, name text, owner text);
CREATE TABLE herd (id int PRIMARY KEY, name text);
SELECT event_service.watch('pets', columns => '{*}', user_column => 'owner'),
       event_service.watch('herd', columns => '{*}', global => true, level => 'statement') \g /dev/null

-- A transaction's ----------------------------------------------------------------------------------

INSERT INTO pets VALUES (1, 'rex', 'ann');
:advance
SELECT is(traces(), 'insert -', 'a session that never set one has none');

BEGIN;
SET LOCAL event_service.traceparent = :'one';
INSERT INTO pets VALUES (2, 'max', 'ann');
UPDATE pets SET name = 'ivy' WHERE id = 2;
UPDATE pets SET owner = 'bob' WHERE id = 2;
DELETE FROM pets WHERE id = 2;
TRUNCATE pets;
INSERT INTO herd SELECT i, 'h' FROM generate_series(1, 2) i;
UPDATE herd SET name = 'g';
DELETE FROM herd WHERE id = 1;
SELECT event_service.publish('a.b', '1', '{*}') \g /dev/null
COMMIT;
:advance
SELECT is(traces(), concat_ws(E'\n', 'insert ' || :'one', 'update ' || :'one', 'leave ' || :'one', 'enter ' || :'one', 'delete ' || :'one',
    'truncate ' || :'one', 'insert ' || :'one', 'insert ' || :'one', 'update ' || :'one', 'update ' || :'one', 'delete ' || :'one', 'publish ' || :'one'),
    'SET LOCAL gives one to all events of the transaction, whatever wrote them');
INSERT INTO pets VALUES (3, 'tom', 'ann');
SELECT event_service.publish('a.b', '1', '{*}') \g /dev/null
:advance
SELECT is(traces(), E'insert -\npublish -', 'and to none after it');

BEGIN;
SET LOCAL event_service.traceparent = :'one';
INSERT INTO pets VALUES (4, 'a', 'ann');
SET LOCAL event_service.traceparent = :'two';
INSERT INTO pets VALUES (5, 'b', 'ann');
RESET event_service.traceparent;
INSERT INTO pets VALUES (6, 'c', 'ann');
COMMIT;
:advance
SELECT is(traces(), 'insert ' || :'one' || E'\ninsert ' || :'two' || E'\ninsert -', 'it may change within the transaction');

BEGIN;
SAVEPOINT s;
SET LOCAL event_service.traceparent = :'one';
ROLLBACK TO s;
INSERT INTO pets VALUES (7, 'd', 'ann');
COMMIT;
:advance
SELECT is(traces(), 'insert -', 'what a savepoint set goes with it');

-- A session's ----------------------------------------------------------------------------------------

SET event_service.traceparent = :'two';
INSERT INTO pets VALUES (8, 'e', 'ann');
SELECT event_service.publish('a.b', '1', '{*}', dedup_key => 'd') AS first \gset
SET event_service.traceparent = :'one';
SELECT is(event_service.publish('a.b', '1', '{*}', dedup_key => 'd'), :first::bigint, 'a repeat is still the first event');
RESET event_service.traceparent;
:advance
SELECT is(traces(), 'insert ' || :'two' || E'\npublish ' || :'two', 'SET gives one to all that follows, a repeat changes none');

CREATE ROLE sql_test_writer LOGIN;
GRANT INSERT ON pets TO sql_test_writer;
SELECT open_session('writer', 'sql_test_writer'), tell('writer', format('SET event_service.traceparent = %L', :'one')),
       tell('writer', $$INSERT INTO pets VALUES (9, 'f', 'ann')$$), close_session('writer') \g /dev/null
:advance
SELECT is(traces(), 'insert ' || :'one', 'who writes needs no right to set it');

-- Reading --------------------------------------------------------------------------------------------

SELECT is((SELECT traceparent FROM event_service.events ORDER BY at DESC LIMIT 1), :'one', 'people see it in the view');
SELECT is((SELECT string_agg(traceparent, ' ' ORDER BY position) FROM event_service.replay(0) WHERE key IN ('4', '5')), :'one' || ' ' || :'two',
    'a page has it');
SELECT is((SELECT string_agg(traceparent, ' ' ORDER BY position) FROM event_service.replay(0, types => '{pets.created}', keys => '{4,5}')),
    :'one' || ' ' || :'two', 'a narrowed one too');
SELECT is((SELECT e.traceparent FROM event_service.log l, event_service.event_at(l.position) e WHERE l.key = '5'), :'two', 'and a single event');
SET event_service.traceparent = :'one';
SELECT add('t') \g /dev/null
RESET event_service.traceparent;
SELECT is(string_agg(traceparent, ' '), :'one', 'advance() returns it') FROM event_service.advance();
SELECT traces() \g /dev/null

-- What is none ---------------------------------------------------------------------------------------

CREATE FUNCTION of_setting(value text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('event_service.traceparent', value, true), add('n');
    RETURN 'ok';
END $$;
SELECT is(of_setting(value), 'ok', 'a writer is not failed by ' || coalesce(left(to_json(value)::text, 60), 'NULL'))
FROM unnest(ARRAY['', ' ', 'nonsense', upper(:'one'), :'one' || ' ', ' ' || :'one', :'one' || '-x', left(:'one', 54),
    '01' || substr(:'one', 3), 'ff' || substr(:'one', 3), E'00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\n',
    '00-00000000000000000000000000000000-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01',
    repeat('0', 1000000), repeat('ü', 55)]) value;
SELECT is(max(octet_length(traceparent)), 110::int, 'nor does it keep much of it') FROM event_service.inbox;
:advance
SELECT is(traces(), concat_ws(E'\n', VARIADIC array_fill('publish -'::text, ARRAY[15])), 'and no event has it');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
