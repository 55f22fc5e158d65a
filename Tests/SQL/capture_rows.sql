-- Capture in row mode: what each change of a watched table becomes, and what watch() refuses.
\ir support/helpers.sql
SELECT plan(510);

-- The changes of one row --------------------------------------------------------------------------

CREATE TABLE item (id bigint PRIMARY KEY, name text, state text, note text, quiet text);
SELECT event_service.watch('item', topic => 'thing', columns => '{note,state,name,id}',
    types => '{"note": "noted", "state": "state-changed"}', global => true) \g /dev/null

INSERT INTO item VALUES (1, 'a', 'new', NULL, 'q');
:advance
SELECT is(captured(),
    'insert thing.created 1 {*} {"new":{"id":1,"name":"a","state":"new","note":null}}',
    'an INSERT is TOPIC.created with the new row, its columns in the order of the table');

UPDATE item SET name = 'b';
:advance
SELECT is(captured(), 'update thing.updated 1 {*} {"new":{"id":1,"name":"b","state":"new","note":null},'
    '"old":{"id":1,"name":"a","state":"new","note":null},"changed":["name"]}',
    'an UPDATE of a column without a type of its own is TOPIC.updated with new, old and changed');

UPDATE item SET state = 'done', name = 'c';
:advance
SELECT is(captured(), 'update thing.state-changed 1 {*} {"new":{"id":1,"name":"c","state":"done","note":null},'
    '"old":{"id":1,"name":"b","state":"new","note":null},"changed":["name","state"]}',
    'a mapped column names the event, also when one that is not mapped stands before it');

UPDATE item SET note = 'n', state = 'old';
:advance
SELECT is(captured(), 'update thing.state-changed 1 {*} {"new":{"id":1,"name":"c","state":"old","note":"n"},'
    '"old":{"id":1,"name":"c","state":"done","note":null},"changed":["state","note"]}',
    'of two mapped columns the first in the table''s order names the event, whatever the map''s order');

UPDATE item SET note = 'm';
:advance
SELECT is(captured(), 'update thing.noted 1 {*} {"new":{"id":1,"name":"c","state":"old","note":"m"},'
    '"old":{"id":1,"name":"c","state":"old","note":"n"},"changed":["note"]}',
    'the second mapped column names the event when it changed alone');

UPDATE item SET quiet = 'r';
UPDATE item SET name = name, state = state, note = note, id = id;
UPDATE item SET name = 'x' WHERE false;
:advance
SELECT is(captured(), '',
    'an UPDATE that changes no watched column, or nothing, or no row, gives no event');

UPDATE item SET id = 2, name = 'd', state = 'moved';
:advance
SELECT is(captured(),
    'delete thing.deleted 1 {*} {"old":{"id":1,"name":"c","state":"old","note":"m"}}' || E'\n' ||
    'insert thing.created 2 {*} {"new":{"id":2,"name":"d","state":"moved","note":"m"}}',
    'a changed key is a delete of the old row and an insert of the new one');

DELETE FROM item;
:advance
SELECT is(captured(),
    'delete thing.deleted 2 {*} {"old":{"id":2,"name":"d","state":"moved","note":"m"}}',
    'a DELETE is TOPIC.deleted with the old row');

INSERT INTO item VALUES (3, 'a'), (4, 'a');
:advance
SELECT captured() \g /dev/null
TRUNCATE item;
:advance
SELECT is(captured(), 'truncate thing.truncated - {*} -',
    'a TRUNCATE is one event for everyone, without key and data, however many rows there were');
TRUNCATE item;
:advance
SELECT is(captured(), 'truncate thing.truncated - {*} -', 'so is that of an empty table');

SELECT clock_timestamp() AS before \gset
INSERT INTO item VALUES (5, 'a', 'b', 'c', 'd');
SELECT clock_timestamp() AS after \gset
:advance
SELECT results_eq(
    $$SELECT id, type, topic, key, op, audience::text, hidden_from::text, data
      FROM event_service.events WHERE key = '5'$$,
    $$SELECT (SELECT epoch FROM event_service.epoch) || '-'
                 || (SELECT last_position FROM event_service.tick ORDER BY tick DESC LIMIT 1),
             'thing.created', 'thing', '5', 'insert', '{*}', '{}',
             '{"new": {"id": 5, "name": "a", "note": "c", "state": "b"}}'::jsonb$$,
    'the view shows id, type, topic, key, op, audience, nobody to hide from, and data');
SELECT ok(at >= :'before' AND at <= :'after', 'at is the database''s clock at the change')
FROM event_service.events WHERE key = '5';
SELECT is(pg_typeof(data)::text || pg_typeof(event_id)::text || pg_typeof(audience)::text,
    'jsonbbiginttext[]', 'the view''s data are jsonb, its event_id a bigint, its audience a text[]')
FROM event_service.events WHERE key = '5';

BEGIN;
INSERT INTO item (id) VALUES (6);
SELECT pg_sleep(0.002) \g /dev/null
INSERT INTO item (id) VALUES (7);
COMMIT;
:advance
SELECT captured() \g /dev/null
SELECT ok((SELECT at FROM event_service.events WHERE key = '7')
          > (SELECT at FROM event_service.events WHERE key = '6'),
    'two changes of one transaction have the times at which they happened');

SELECT ok(a.event_id < b.event_id, 'event ids follow the order of the changes')
FROM event_service.events a, event_service.events b WHERE a.key = '6' AND b.key = '7';

INSERT INTO item SELECT g, 'r' FROM generate_series(101, 103) g;
:advance
SELECT is(captured(), string_agg(format('insert thing.created %s {*} {"new":{"id":%1$s,"name":"r",'
    '"state":null,"note":null}}', g), E'\n' ORDER BY g),
    'a statement of three rows gives three events, in the order of the rows')
FROM generate_series(101, 103) g;

INSERT INTO item VALUES (104, 'u') ON CONFLICT (id) DO NOTHING;
INSERT INTO item VALUES (104, 'v') ON CONFLICT (id) DO NOTHING;
:advance
SELECT is(captured(),
    'insert thing.created 104 {*} {"new":{"id":104,"name":"u","state":null,"note":null}}',
    'ON CONFLICT DO NOTHING gives an event only for the row that was written');

BEGIN;
INSERT INTO item VALUES (105);
ROLLBACK;
:advance
SELECT is(captured(), '', 'a change that was rolled back gives no event');

-- columns -----------------------------------------------------------------------------------------

CREATE TABLE col (id int PRIMARY KEY, a int, b int, c int);
\set seen `psql -X -qAt -c "SELECT event_service.watch('col', global => true)" 2>&1`
SELECT matches(:'seen'::text, 'NOTICE:  event_service.watch: events of public.col will carry the key alone',
    'watch() without columns says in a NOTICE that only the key is sent');
SELECT matches(:'seen'::text, 'HINT:.*\{\*\}', 'and names the way to send all columns in its hint');
SELECT doesnt_match(:'seen'::text, 'audience', 'and has nothing to say about the audience of a global table');
INSERT INTO col VALUES (1, 1, 1, 1);
UPDATE col SET a = 2;
DELETE FROM col;
:advance
SELECT is(captured(), 'insert col.created 1 {*} {"new":{"id":1}}' || E'\n' ||
    'delete col.deleted 1 {*} {"old":{"id":1}}',
    'without columns the key alone is sent, and an UPDATE that does not change it is no event');

\set seen `psql -X -qAt -c "SELECT event_service.watch('col', columns => '{*}', global => true)" 2>&1`
SELECT is(:'seen'::text, '', 'with columns and an audience watch() is silent');
ALTER TABLE col ADD COLUMN later int;
INSERT INTO col VALUES (1, 1, 1, 1, 1);
UPDATE col SET later = 2;
:advance
SELECT is(captured(), 'insert col.created 1 {*} {"new":{"id":1,"a":1,"b":1,"c":1}}',
    '{*} is all columns at the time of the call: one added later is neither sent nor asked about');
SELECT event_service.watch('col', columns => '{*}', global => true) \g /dev/null
UPDATE col SET later = 3;
:advance
SELECT is(captured(), 'update col.updated 1 {*} {"new":{"id":1,"a":1,"b":1,"c":1,"later":3},'
    '"old":{"id":1,"a":1,"b":1,"c":1,"later":2},"changed":["later"]}',
    'called again, watch() takes the new column in');
ALTER TABLE col DROP COLUMN c;
SELECT event_service.watch('col', columns => '{*}', global => true) \g /dev/null
UPDATE col SET a = 5;
:advance
SELECT is(captured(), 'update col.updated 1 {*} {"new":{"id":1,"a":5,"b":1,"later":3},'
    '"old":{"id":1,"a":1,"b":1,"later":3},"changed":["a"]}',
    '{*} leaves out a column that was dropped');

SELECT event_service.watch('col', columns => '{b}', global => true) \g /dev/null
UPDATE col SET a = 6;
UPDATE col SET b = 6;
UPDATE col SET id = 2;
:advance
SELECT is(captured(), 'update col.updated 1 {*} {"new":{"b":6},"old":{"b":1},"changed":["b"]}' || E'\n' ||
    'delete col.deleted 1 {*} {"old":{"b":6}}' || E'\n' ||
    'insert col.created 2 {*} {"new":{"b":6}}',
    'a list of columns is what is sent; the key need not be among them');

-- on_change ---------------------------------------------------------------------------------------

SELECT event_service.watch('col', columns => '{id,a}', on_change => '{b}', global => true) \g /dev/null
UPDATE col SET a = 7;
UPDATE col SET b = 7;
UPDATE col SET a = 8, b = 8;
:advance
SELECT is(captured(),
    'update col.updated 2 {*} {"new":{"id":2,"a":7},"old":{"id":2,"a":7},"changed":[]}' || E'\n' ||
    'update col.updated 2 {*} {"new":{"id":2,"a":8},"old":{"id":2,"a":7},"changed":["a"]}',
    'on_change alone decides whether there is an event; changed lists those sent that changed');

SELECT event_service.watch('col', columns => '{id,a}', on_change => '{}', global => true) \g /dev/null
UPDATE col SET a = 9, b = 9, later = 9;
UPDATE col SET id = 3;
:advance
SELECT is(captured(), 'delete col.deleted 2 {*} {"old":{"id":2,"a":9}}' || E'\n' ||
    'insert col.created 3 {*} {"new":{"id":3,"a":9}}',
    'with an empty on_change the key still counts');

SELECT event_service.watch('col', columns => '{id}', on_change => '{}',
    user_column => 'a', context_columns => '{b}') \g /dev/null
UPDATE col SET later = 10;
UPDATE col SET b = 10;
UPDATE col SET a = NULL;
:advance
SELECT is(captured(),
    'leave col.left 3 {user:9,context:9} not {user:9,context:10} -' || E'\n' ||
    'update col.updated 3 {user:9} {"new":{"id":3},"old":{"id":3},"changed":[]}' || E'\n' ||
    'enter col.entered 3 {user:9,context:10} not {user:9} {"new":{"id":3}}' || E'\n' ||
    'leave col.left 3 {user:9,context:10} not {context:10} -' || E'\n' ||
    'update col.updated 3 {context:10} {"new":{"id":3},"old":{"id":3},"changed":[]}',
    'and so do the columns of the audience, whether they are sent or not');

SELECT event_service.watch('col', columns => '{id,a,b}', on_change => '{b}',
    types => '{"a": "a-changed", "b": "b-changed"}', global => true) \g /dev/null
UPDATE col SET a = 1;
UPDATE col SET a = 2, b = 2;
UPDATE col SET b = 3;
:advance
SELECT is(captured(),
    'update col.a-changed 3 {*} {"new":{"id":3,"a":2,"b":2},"old":{"id":3,"a":1,"b":10},'
    '"changed":["a","b"]}' || E'\n' ||
    'update col.b-changed 3 {*} {"new":{"id":3,"a":2,"b":3},"old":{"id":3,"a":2,"b":2},'
    '"changed":["b"]}',
    'a mapped column outside on_change can name an event, but makes none by itself');

-- Keys --------------------------------------------------------------------------------------------

-- What a table of this definition gives for one INSERT: the keys and types, or the error.
CREATE FUNCTION keys_of(definition text, row_values text, key text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    keys text;
BEGIN
    EXECUTE format('CREATE TABLE keyed (%s)', definition);
    PERFORM event_service.watch('keyed', key => key, columns => '{*}', global => true);
    EXECUTE format('INSERT INTO keyed VALUES (%s)', row_values);
    WITH taken AS (DELETE FROM event_service.inbox RETURNING *)
    SELECT string_agg(coalesce(taken.key, 'NULL'), ' ' ORDER BY event_id) INTO keys FROM taken;
    DROP TABLE keyed;
    RETURN keys;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

CREATE TYPE mood AS ENUM ('sad', 'very happy');
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]+$');

SELECT is(keys_of(definition, row_values, key), expected, 'key: ' || name) FROM (VALUES
    ('a bigint beyond 2^53 is exact', 'id bigint PRIMARY KEY', '9007199254740993', NULL,
     '9007199254740993'),
    ('a uuid', 'id uuid PRIMARY KEY', '''A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11''', NULL,
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
    ('a text of odd characters is itself', 'id text PRIMARY KEY', $$E'a "b"\\ \'c\'\n, ü'$$, NULL,
     E'a "b"\\ ''c''\n, ü'),
    ('an empty text', 'id text PRIMARY KEY', $$''$$, NULL, ''),
    ('a timestamptz is written in UTC', 'id timestamptz PRIMARY KEY',
     '''2024-07-01 12:00:00.25+05:30''', NULL, '2024-07-01 06:30:00.25+00'),
    ('a date', 'id date PRIMARY KEY', '''2024-07-01''', NULL, '2024-07-01'),
    ('a numeric keeps its digits', 'id numeric PRIMARY KEY', '1.500', NULL, '1.500'),
    ('an enum', 'id mood PRIMARY KEY', '''very happy''', NULL, 'very happy'),
    ('a domain', 'id code PRIMARY KEY', '''ABC''', NULL, 'ABC'),
    ('a bytea', 'id bytea PRIMARY KEY', $$'\xDEADBEEF'$$, NULL, '\xdeadbeef'),
    ('a boolean', 'id boolean PRIMARY KEY', 'true', NULL, 'true'),
    ('two columns are a JSON array', 'a int, b text, PRIMARY KEY (a, b)', '1, ''x''', NULL, '[1, "x"]'),
    ('in the order of the primary key, not of the table', 'a int, b text, PRIMARY KEY (b, a)',
     '1, ''x''', NULL, '["x", 1]'),
    ('a JSON array quotes what needs it', 'a text, b text, PRIMARY KEY (a, b)', $$'a"b\', 'c, d'$$,
     NULL, '["a\"b\\", "c, d"]'),
    ('columns that the primary key only includes are no part of it',
     'a int, b int, PRIMARY KEY (a) INCLUDE (b)', '1, 2', NULL, '1'),
    ('key names a column', 'a int PRIMARY KEY, b int', '1, 2', 'b', '2'),
    ('key names two, with spaces', 'a int, b int, c int', '1, 2, 3', ' c , a ', '[3, 1]'),
    ('key names two, without spaces', 'a int, b int, c int', '1, 2, 3', 'b,a', '[2, 1]'),
    ('key in place of a primary key that is missing', 'a int, b int', '1, 2', 'a', '1'),
    ('a NULL in the only column', 'a int, b int', 'NULL, 2', 'a', 'NULL'),
    ('a NULL in one of two columns', 'a int, b int', 'NULL, 2', 'a, b', '[null, 2]'),
    ('a column with a space and capitals', '"My Id" int PRIMARY KEY', '1', NULL, '1'),
    ('a column with a space, named', '"My Id" int', '1', 'My Id', '1'),
    ('a column with a comma in its name', '"a,b" int PRIMARY KEY', '1', NULL, '1'),
    ('a column called key', 'key int PRIMARY KEY', '1', NULL, '1'),
    ('three columns of three types', 'a date, b boolean, c mood, PRIMARY KEY (a, b, c)',
     '''2024-07-01'', false, ''sad''', NULL, '["2024-07-01", false, "sad"]'),
    ('no primary key', 'a int, b int', '1, 2', NULL,
     '42P16: event_service.watch: public.keyed has no primary key'),
    ('a unique index is no primary key', 'a int NOT NULL UNIQUE, b int', '1, 2', NULL,
     '42P16: event_service.watch: public.keyed has no primary key'),
    ('a column that is not there', 'a int PRIMARY KEY, b int', '1, 2', 'c',
     '42703: event_service.watch: public.keyed has no column c'),
    ('capitals count', 'a int PRIMARY KEY, b int', '1, 2', 'A',
     '42703: event_service.watch: public.keyed has no column A'),
    ('one of two that is not there', 'a int PRIMARY KEY, b int', '1, 2', 'b, c',
     '42703: event_service.watch: public.keyed has no column c'),
    ('a system column', 'a int PRIMARY KEY, b int', '1, 2', 'ctid',
     '42703: event_service.watch: public.keyed has no column ctid')
) AS t (name, definition, row_values, key, expected);

SELECT matches(keys_of('a int PRIMARY KEY', '1', ''), '^42', 'an empty key is refused');
SELECT matches(keys_of('a int PRIMARY KEY', '1', 'a,'), '^42703', 'a key that ends in a comma is refused');
CREATE TABLE keyless (a int);
SELECT matches(hint_of($$SELECT event_service.watch('keyless', columns => '{*}')$$), 'key => ''id''',
    'the error of a table without a primary key tells how to name the key');

CREATE TABLE pair (a int, b text, c int, PRIMARY KEY (a, b));
SELECT event_service.watch('pair', columns => '{c}', global => true) \g /dev/null
INSERT INTO pair VALUES (1, 'x', 1);
UPDATE pair SET c = 2;
UPDATE pair SET b = 'y';
:advance
SELECT is(captured(), 'insert pair.created [1, "x"] {*} {"new":{"c":1}}' || E'\n' ||
    'update pair.updated [1, "x"] {*} {"new":{"c":2},"old":{"c":1},"changed":["c"]}' || E'\n' ||
    'delete pair.deleted [1, "x"] {*} {"old":{"c":2}}' || E'\n' ||
    'insert pair.created [1, "y"] {*} {"new":{"c":2}}',
    'a change of one column of a composite key is a delete and an insert');

CREATE TABLE nullable (a int, b int);
SELECT event_service.watch('nullable', key => 'a', columns => '{b}', global => true) \g /dev/null
INSERT INTO nullable VALUES (NULL, 1);
UPDATE nullable SET b = 2;
UPDATE nullable SET a = 1;
UPDATE nullable SET a = NULL;
:advance
SELECT is(captured(), 'insert nullable.created - {*} {"new":{"b":1}}' || E'\n' ||
    'update nullable.updated - {*} {"new":{"b":2},"old":{"b":1},"changed":["b"]}' || E'\n' ||
    'delete nullable.deleted - {*} {"old":{"b":2}}' || E'\n' ||
    'insert nullable.created 1 {*} {"new":{"b":2}}' || E'\n' ||
    'delete nullable.deleted 1 {*} {"old":{"b":2}}' || E'\n' ||
    'insert nullable.created - {*} {"new":{"b":2}}',
    'a key that is or becomes NULL fails no writer');

-- Names -------------------------------------------------------------------------------------------

CREATE TABLE "Weird ""Name"" 100% <type>" (
    "select" int PRIMARY KEY, type text, key text, new text, old text, changed text, event_id int,
    "Ünï cödé" text, "a.b" text, "it's" text, "say ""hi""" text, "%I" text, "$1" text, op text, data json);
SELECT event_service.watch('"Weird ""Name"" 100% <type>"', topic => 'weird', columns => '{*}',
    types => '{"it''s": "its-changed"}', global => true) \g /dev/null
INSERT INTO "Weird ""Name"" 100% <type>" VALUES
    (1, 't', 'k', 'n', 'o', 'c', 7, 'ü', 'ab', 'i', 'h', 'p', 'd', 'op', '[1]');
UPDATE "Weird ""Name"" 100% <type>" SET type = 't2', key = 'k2', new = 'n2', old = 'o2', changed = 'c2',
    event_id = 8, "Ünï cödé" = 'ü2', "a.b" = 'ab2', "it's" = 'i2', "say ""hi""" = 'h2', "%I" = 'p2',
    "$1" = 'd2', op = 'op2', data = '[2]';
:advance
SELECT is(captured(),
    'insert weird.created 1 {*} {"new":{"select":1,"type":"t","key":"k","new":"n","old":"o",'
    '"changed":"c","event_id":7,"Ünï cödé":"ü","a.b":"ab","it''s":"i","say \"hi\"":"h","%I":"p",'
    '"$1":"d","op":"op","data":[1]}}' || E'\n' ||
    'update weird.its-changed 1 {*} {"new":{"select":1,"type":"t2","key":"k2","new":"n2","old":"o2",'
    '"changed":"c2","event_id":8,"Ünï cödé":"ü2","a.b":"ab2","it''s":"i2","say \"hi\"":"h2","%I":"p2",'
    '"$1":"d2","op":"op2","data":[2]},"old":{"select":1,"type":"t","key":"k","new":"n","old":"o",'
    '"changed":"c","event_id":7,"Ünï cödé":"ü","a.b":"ab","it''s":"i","say \"hi\"":"h","%I":"p",'
    '"$1":"d","op":"op","data":[1]},"changed":["type","key","new","old","changed","event_id",'
    '"Ünï cödé","a.b","it''s","say \"hi\"","%I","$1","op","data"]}',
    'names of tables and columns may be whatever PostgreSQL allows');
SELECT is((SELECT count(*)::int FROM event_service.watched WHERE drifted), 0,
    'and watched sees no drift in them');

-- What a column of this name gives: three events, or an error.
CREATE FUNCTION column_called(name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE named (pk int PRIMARY KEY, %I text)', name);
    PERFORM event_service.watch('named', columns => ARRAY[name], user_column => name);
    EXECUTE 'INSERT INTO named VALUES (1, ''a'')';
    EXECUTE format('UPDATE named SET %I = ''b''', name);
    DELETE FROM named;
    DROP TABLE named;
    RETURN replace(take_inbox('named.%'), '{' || to_json(name) || ':"', '{"C":"');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Words that the capture function uses itself, and those that its template is filled in by.
SELECT is(column_called(name), 'insert named.created 1 {user:a} {"new":{"C":"a"}}' || E'\n' ||
    'leave named.left 1 {user:a} not {user:b} -' || E'\n' ||
    'enter named.entered 1 {user:b} {"new":{"C":"b"}}' || E'\n' ||
    'delete named.deleted 1 {user:b} {"old":{"C":"b"}}',
    format('a column may be called %s', name))
FROM unnest(ARRAY['i', 'd', 'n', 'o', 'p', 'e', 's', 'x', 'r', 'new', 'old', 'old_key', 'new_key',
    'old_audience', 'new_audience', 'shared', 'changed', 'type', 'nulls', 'found', 'tg_op', 'tg_relid',
    'sqlstate', 'sqlerrm', 'by', 'if', 'begin', 'declare', 'execute', 'foreach', 'loop',
    'strict', 'while', 'row', 'old.x', 'returning', 'event_id', 'audience', 'hidden_from', 'conflate', 'key', 'data', 'number',
    'part', 'event_service row', 'position', 'user', 'table', 'xmin_', '<type>', '<changed>',
    '<new image>', '<condition>', '$body$', 'a\b', 'a''b"c', E'a\nb', ' ', '%s', '{*}']) AS t (name);

-- A column of 63 bytes, the longest there is.
SELECT is(left(column_called(repeat('ü', 31) || 'x'), 27), 'insert named.created 1 {use', 'of 63 bytes');

-- Two tables with the same long beginning.
SELECT repeat('ж', 30) || '1' AS long1, repeat('ж', 30) || '2' AS long2 \gset
CREATE TABLE :"long1" (id int PRIMARY KEY, a int);
CREATE TABLE :"long2" (id int PRIMARY KEY, b int);
SELECT event_service.watch(format('%I', :'long1')::regclass, 'long1', columns => '{*}', global => true),
       event_service.watch(format('%I', :'long2')::regclass, 'long2', columns => '{*}', global => true)
\g /dev/null
SELECT is(outcome(format('INSERT INTO %I VALUES (1, 1)', :'long1')), 'ok',
    'a table whose long name begins as that of another can be written');
SELECT is(outcome(format('INSERT INTO %I VALUES (1, 1)', :'long2')), 'ok', 'and so can the other');
:advance
SELECT is(captured(), 'insert long1.created 1 {*} {"new":{"id":1,"a":1}}' || E'\n' ||
    'insert long2.created 1 {*} {"new":{"id":1,"b":1}}', 'and each gives its own events');

CREATE SCHEMA "Odd schema";
CREATE SCHEMA other;
CREATE TABLE "Odd schema".twin (id int PRIMARY KEY);
CREATE TABLE other.twin (id int PRIMARY KEY);
SELECT event_service.watch('"Odd schema".twin', 'odd', columns => '{*}', global => true),
       event_service.watch('other.twin', columns => '{*}', global => true) \g /dev/null
INSERT INTO "Odd schema".twin VALUES (1);
INSERT INTO other.twin VALUES (2);
:advance
SELECT is(captured(), 'insert odd.created 1 {*} {"new":{"id":1}}' || E'\n' ||
    'insert twin.created 2 {*} {"new":{"id":2}}',
    'tables of one name in two schemas are two, and a topic taken from the name has no schema');

CREATE TABLE renamed (id int PRIMARY KEY);
SELECT event_service.watch('renamed', columns => '{*}', global => true) \g /dev/null
ALTER TABLE renamed RENAME TO renamed_since;
ALTER TABLE renamed_since SET SCHEMA other;
INSERT INTO other.renamed_since VALUES (1);
:advance
SELECT is(captured(), 'insert renamed.created 1 {*} {"new":{"id":1}}',
    'a table that is renamed and moved stays watched, its topic stays');
SELECT event_service.watch('other.renamed_since', columns => '{*}', global => true) \g /dev/null
INSERT INTO other.renamed_since VALUES (2);
:advance
SELECT is(captured(), 'insert renamed_since.created 2 {*} {"new":{"id":2}}',
    'until watch() is called again');

-- Topics and types --------------------------------------------------------------------------------

CREATE TABLE plain (id int PRIMARY KEY, a int, b text, m mood, arr text[]);
CREATE VIEW plain_view AS SELECT * FROM plain;
CREATE MATERIALIZED VIEW plain_matview AS SELECT * FROM plain;
CREATE SEQUENCE plain_sequence;
CREATE TYPE plain_type AS (a int);
CREATE FUNCTION watch_plain(arguments text) RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT event_service.watch(''plain'', columns => ''{*}'', %s)', arguments)
$$;

SELECT lives_ok(watch_plain(format('topic => %L, global => true', topic)), 'a topic can be ' || topic)
FROM unnest(ARRAY['a', 'A-Z_0', 'a.b.c', 'streams', 'Stream', 'x.stream', 'event_services',
                  'event-service', '0', '-', repeat('x', 118), '_.-']) AS t (topic);

SELECT throws_ok(watch_plain(format('topic => %L, global => true', topic)), state, NULL,
    format('a topic cannot be %s', to_json(left(topic, 20))))
FROM (VALUES
    ('', '22023'), (' ', '22023'), ('has space', '22023'), ('a..b', '22023'), ('.a', '22023'),
    ('a.', '22023'), ('ü', '22023'), ('a/b', '22023'), ('a*', '22023'), ('*', '22023'),
    (E'a\nb', '22023'), (E'a\n', '22023'), (E'a\t', '22023'), ('a''b', '22023'), ('a,b', '22023'),
    (repeat('x', 119), '22023'), ('stream', '42939'), ('stream.x', '42939'),
    ('event_service', '42939'), ('event_service.x.y', '42939')) AS t (topic, state);

CREATE TABLE "Bad topic" (id int PRIMARY KEY);
CREATE TABLE stream (id int PRIMARY KEY);
SELECT throws_ok($$SELECT event_service.watch('"Bad topic"', columns => '{*}')$$, '22023', NULL,
    'the rules hold for the table''s name too');
SELECT throws_ok($$SELECT event_service.watch('stream', columns => '{*}')$$, '42939', NULL,
    'a table called stream needs a topic of its own');
SELECT matches(hint_of(watch_plain('topic => ''a b''')), 'invoice\.paid', 'the hint gives an example');

SELECT throws_ok(watch_plain(format('types => %L, global => true', types)), state, NULL,
    'types cannot be ' || left(types, 40))
FROM (VALUES
    ('[]', '22023'), ('"a"', '22023'), ('1', '22023'), ('null', '22023'), ('["a"]', '22023'),
    ('{"a": 1}', '22023'), ('{"a": null}', '22023'), ('{"a": ["x"]}', '22023'), ('{"a": {}}', '22023'),
    ('{"a": ""}', '22023'), ('{"a": "b.c"}', '22023'), ('{"a": "b c"}', '22023'),
    ('{"a": "ü"}', '22023'), ('{"a": "b\n"}', '22023'), ('{"a": "*"}', '22023'),
    ('{"a": "ok", "b": "not ok"}', '22023'), ('{"nope": "x"}', '42703'), ('{"": "x"}', '42703'),
    ('{"A": "x"}', '42703'), ('{"ctid": "x"}', '42703'),
    ('{"a": "' || repeat('x', 123) || '"}', '22023')) AS t (types, state);
SELECT lives_ok(watch_plain(format('types => %L, global => true', types)), 'types can be ' || left(types, 40))
FROM (VALUES ('{}'), ('{"a": "updated"}'), ('{"a": "created", "b": "created"}'), ('{"a": "-"}'),
             ('{"a": "' || repeat('x', 122) || '"}')) AS t (types);
SELECT lives_ok(watch_plain('types => NULL, global => true'), 'types can be NULL');

-- Which operations --------------------------------------------------------------------------------

CREATE FUNCTION change_plain() RETURNS void LANGUAGE sql AS $$
    INSERT INTO plain VALUES (1, 1);
    UPDATE plain SET a = 2;
    UPDATE plain SET id = 2;
    DELETE FROM plain;
    TRUNCATE plain;
$$;

-- The types of the events that these operations, watched, give for the changes above.
CREATE FUNCTION types_for(ops text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    types text;
BEGIN
    PERFORM event_service.watch('plain', columns => '{*}', global => true, ops => ops);
    PERFORM change_plain();
    WITH taken AS (DELETE FROM event_service.inbox RETURNING *)
    SELECT string_agg(replace(type, 'plain.', ''), ' ' ORDER BY event_id) INTO types FROM taken;
    RETURN types;
END $$;

SELECT is(types_for(ops), expected, format('ops %L', ops)) FROM (VALUES
    ('insert,update,delete', 'created updated deleted created deleted truncated'),
    ('insert', 'created'),
    ('update', 'updated deleted created'),
    ('delete', 'deleted truncated'),
    ('truncate', 'truncated'),
    ('insert,truncate', 'created truncated'),
    ('delete,truncate', 'deleted truncated'),
    (' INSERT , Delete ', 'created deleted truncated'),
    ('update,update', 'updated deleted created'),
    ('delete,update,insert', 'created updated deleted created deleted truncated')) AS t (ops, expected);

SELECT throws_ok(watch_plain(format('ops => %L', ops)), '22023', NULL, format('ops cannot be %L', ops))
FROM (VALUES ('upsert'), (''), (NULL), ('insert,,delete'), ('insert,'), ('insert;delete'),
             ('insert update'), ('select')) AS t (ops);
SELECT throws_ok(watch_plain(format('level => %L', level)), '22023', NULL, format('level cannot be %L', level))
FROM (VALUES ('rows'), (''), (NULL), ('ROW'), (' row'), ('transaction')) AS t (level);

-- Other arguments that are refused ----------------------------------------------------------------

SELECT throws_ok(watch_plain(arguments), state, NULL, 'refused: ' || arguments) FROM (VALUES
    ('on_change => ''{nope}''', '42703'), ('on_change => ''{a,ctid}''', '42703'),
    ('on_change => ''{A}''', '42703'), ('on_change => ''{NULL}''', '42703'),
    ('user_column => ''nope''', '42703'), ('user_column => ''''', '42703'),
    ('session_column => ''nope''', '42703'), ('user_column => ''tableoid''', '42703'),
    ('context_columns => ''{nope}''', '42703'), ('context_columns => ''{x=nope}''', '42703'),
    ('context_columns => ''{x=}''', '42703'), ('context_columns => ''{NULL}''', '42703'),
    ('context_columns => ''{""}''', '42703'), ('context_columns => ''{=a}''', '22023'),
    ('context_columns => ''{a b=a}''', '22023'), ('context_columns => ''{a:b=a}''', '22023'),
    ('context_columns => ''{ü=a}''', '22023'), ('context_columns => ''{*=a}''', '22023'),
    ('context_columns => ''{a,b}''', '22023'), ('context_columns => ''{a,a}''', '22023'),
    ('context_columns => ''{a,x=b,b}''', '22023'),
    ('conflate => ''{nope}''', '22023'), ('conflate => ''{plain.updated}''', '22023'),
    ('conflate => ''{updated,nope}''', '22023'), ('conflate => ''{""}''', '22023'),
    ('conflate => ''{a}'', types => ''{"a": "a-changed"}''', '22023'),
    ('key => ''nope''', '42703')) AS t (arguments, state);

SELECT throws_ok(format('SELECT event_service.watch(''plain'', columns => %L)', columns), '42703', NULL,
    'columns cannot be ' || columns)
FROM (VALUES ('{nope}'), ('{*,id}'), ('{id,nope}'), ('{ID}'), ('{xmin}'), ('{NULL}'), ('{""}')) AS t (columns);
SELECT throws_like($$SELECT event_service.watch('plain', columns => '{z,id,y}')$$, '%has no column y, z%',
    'the error names all columns that are not there');

SELECT throws_ok(format('SELECT event_service.watch(%s, key => ''a'')', tbl), state, NULL,
    'what cannot be watched: ' || tbl)
FROM (VALUES ('''plain_view''', '42809'), ('''plain_matview''', '42809'), ('''plain_sequence''', '42809'),
             ('''plain_pkey''', '42809'), ('''plain_type''', '42809'), ('''pg_class''', '42809'),
             ('''event_service.log''', '42809'), ('''event_service.inbox''', '42809'),
             ('''event_service.events''', '42809'), ('''information_schema.sql_features''', '42809'),
             ('NULL', '42P01'), ('0', '42P01'), ('''no_such_table''', '42P01')) AS t (tbl, state);

-- No columns at all: refused, or captured without failing any writer.
CREATE FUNCTION watch_nothing(on_change text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    CREATE TABLE nothing (id int PRIMARY KEY, a int);
    BEGIN
        PERFORM event_service.watch('nothing', columns => '{}', on_change => on_change::text[], global => true);
    EXCEPTION WHEN invalid_parameter_value THEN
        DROP TABLE nothing;
        RETURN 'refused';
    END;
    INSERT INTO nothing VALUES (1, 1);
    UPDATE nothing SET a = 2;
    UPDATE nothing SET id = 2;
    DROP TABLE nothing;
    RETURN CASE WHEN take_inbox() LIKE '%false%' THEN 'the row is false' ELSE 'captured' END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT matches(watch_nothing(on_change), '^(refused|captured)$',
    format('columns {} with on_change %s is refused or captured', on_change))
FROM (VALUES (NULL), ('{}'), ('{a}')) AS t (on_change);

SELECT event_service.watch('plain', 'before', columns => '{id,a}', global => true) \g /dev/null
SELECT throws_ok($$SELECT event_service.watch('plain', 'after', columns => '{*}', ops => 'insert',
    conflate => '{nope}')$$, '22023', NULL, 'a call with a bad argument is refused');
SELECT change_plain() \g /dev/null
:advance
SELECT is(captured(), 'insert before.created 1 {*} {"new":{"id":1,"a":1}}' || E'\n' ||
    'update before.updated 1 {*} {"new":{"id":1,"a":2},"old":{"id":1,"a":1},"changed":["a"]}' || E'\n' ||
    'delete before.deleted 1 {*} {"old":{"id":1,"a":2}}' || E'\n' ||
    'insert before.created 2 {*} {"new":{"id":2,"a":2}}' || E'\n' ||
    'delete before.deleted 2 {*} {"old":{"id":2,"a":2}}' || E'\n' ||
    'truncate before.truncated - {*} -', 'and what was watched before stays as it was');

-- conflate ----------------------------------------------------------------------------------------

SELECT event_service.watch('plain', columns => '{id,a,b}', user_column => 'b',
    types => '{"a": "a-changed"}', conflate => '{a-changed}') \g /dev/null
INSERT INTO plain VALUES (1, 1, 'u');
UPDATE plain SET a = 2;
UPDATE plain SET b = 'v';
UPDATE plain SET id = 2;
DELETE FROM plain;
:advance
SELECT results_eq(
    $$SELECT type, conflate FROM event_service.log WHERE position > (SELECT position FROM last_look)
      ORDER BY position$$,
    $$VALUES ('plain.created', false), ('plain.a-changed', true), ('plain.left', false),
             ('plain.entered', false), ('plain.deleted', false), ('plain.created', false),
             ('plain.deleted', false)$$,
    'only the events of a conflated suffix are marked');
SELECT event_service.watch('plain', columns => '{id,a,b}', global => true,
    conflate => '{updated,created,deleted}') \g /dev/null
SELECT captured() \g /dev/null
INSERT INTO plain VALUES (1, 1, 'u');
UPDATE plain SET a = 2;
UPDATE plain SET id = 2;
DELETE FROM plain;
:advance
SELECT results_eq(
    $$SELECT type, conflate FROM event_service.log WHERE position > (SELECT position FROM last_look)
      ORDER BY position$$,
    $$VALUES ('plain.created', true), ('plain.updated', true), ('plain.deleted', true),
             ('plain.created', true), ('plain.deleted', true)$$,
    'created, updated and deleted can be conflated');

-- Again, and no more ------------------------------------------------------------------------------

CREATE FUNCTION footprint() RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ',
        (SELECT md5(string_agg(oid::text || proname, ',' ORDER BY oid)) FROM pg_proc),
        (SELECT md5(string_agg(oid::text || tgname, ',' ORDER BY oid)) FROM pg_trigger),
        (SELECT md5(string_agg(objoid || description, ',' ORDER BY objoid, objsubid)) FROM pg_description),
        (SELECT count(*) FROM pg_depend), (SELECT count(*) FROM pg_shdepend),
        (SELECT count(*) FROM pg_class), (SELECT count(*) FROM event_service.watched))
$$;
CREATE FUNCTION triggers_of(tbl regclass) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(oid::text, ',' ORDER BY oid) FROM pg_trigger WHERE tgrelid = tbl
$$;

CREATE TABLE again (id int PRIMARY KEY, a int, b int);
SELECT footprint() AS before \gset
SELECT event_service.watch('again', columns => '{id}', global => true) \g /dev/null
SELECT triggers_of('again') AS first \gset
SELECT event_service.watch('again', 'new.topic', columns => '{a}', on_change => '{b}',
    types => '{"b": "b-changed"}', global => true) \g /dev/null
SELECT is(triggers_of('again'), :'first',
    'other settings of the same operations and level keep the triggers, so that no lock is taken');
INSERT INTO again VALUES (1, 1, 1);
UPDATE again SET a = 2, b = 2;
:advance
SELECT captured() AS seen \gset
SELECT is(:'seen'::text, (SELECT string_agg(line, E'\n') FROM (VALUES
    ('insert plain.created 1 {*} {"new":{"id":1,"a":1,"b":"u"}}'),
    ('update plain.updated 1 {*} {"new":{"id":1,"a":2,"b":"u"},"old":{"id":1,"a":1,"b":"u"},"changed":["a"]}'),
    ('delete plain.deleted 1 {*} {"old":{"id":1,"a":2,"b":"u"}}'),
    ('insert plain.created 2 {*} {"new":{"id":2,"a":2,"b":"u"}}'),
    ('delete plain.deleted 2 {*} {"old":{"id":2,"a":2,"b":"u"}}'),
    ('insert new.topic.created 1 {*} {"new":{"a":1}}'),
    ('update new.topic.b-changed 1 {*} {"new":{"a":2},"old":{"a":1},"changed":["a"]}')) AS t (line)),
    'the new settings replace the old ones: one event a change');
SELECT is((SELECT count(*)::int FROM event_service.watched WHERE tbl = 'again'::regclass), 1,
    'watched has one row for a table');
SELECT event_service.watch('again', columns => '{a}', ops => 'insert', global => true) \g /dev/null
SELECT is((SELECT string_agg(tgname, ',' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'again'::regclass),
    '0_event_service_insert', 'fewer operations leave only their triggers');
UPDATE again SET a = 3;
:advance
SELECT is(captured(), '', 'and what is no longer watched gives nothing');
SELECT event_service.watch('again', columns => '{a}', level => 'statement', global => true) \g /dev/null
SELECT event_service.watch('again', columns => '{a}', level => 'row', global => true) \g /dev/null
UPDATE again SET a = 4;
:advance
SELECT is(captured(), 'update again.updated 1 {*} {"new":{"a":4},"old":{"a":3},"changed":["a"]}',
    'the level can be changed and changed back');

SELECT event_service.unwatch('again') \g /dev/null
SELECT is(footprint(), :'before', 'unwatch() leaves nothing behind: no trigger, function or comment');
UPDATE again SET a = 5;
DELETE FROM again;
:advance
SELECT is(captured(), '', 'and the table gives no events');
SELECT ok(EXISTS (SELECT FROM event_service.events WHERE topic = 'new.topic'),
    'the log keeps what was captured before');
SELECT lives_ok($$SELECT event_service.unwatch('again')$$, 'unwatch() of a table that is not watched is no error');
SELECT throws_ok($$SELECT event_service.unwatch('plain_view')$$, '42809', NULL, 'unwatch() of a view is one');
SELECT throws_ok($$SELECT event_service.unwatch(NULL)$$, '42P01', NULL, 'and so is that of nothing');

CREATE TRIGGER event_service_mine AFTER INSERT ON again FOR EACH ROW
    EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT event_service.watch('again', columns => '{a}', global => true),
       event_service.unwatch('again') \g /dev/null
SELECT is((SELECT string_agg(tgname, ',') FROM pg_trigger WHERE tgrelid = 'again'::regclass),
    'event_service_mine', 'a trigger of the application is left alone, whatever it is called');

CREATE TABLE gone (id int PRIMARY KEY);
SELECT footprint() AS before \gset
CREATE TABLE gone2 (id int PRIMARY KEY);
SELECT event_service.watch('gone2', columns => '{*}', global => true) \g /dev/null
DROP TABLE gone2;
SELECT event_service.watch('gone', columns => '{*}', global => true),
       event_service.unwatch('gone') \g /dev/null
SELECT is(footprint(), :'before', 'the function of a table that was dropped goes with the next call');

BEGIN;
SELECT event_service.watch('gone', columns => '{*}', global => true) \g /dev/null
INSERT INTO gone VALUES (1);
ROLLBACK;
SELECT is(footprint(), :'before', 'a watch() that was rolled back leaves nothing');
BEGIN;
INSERT INTO gone VALUES (1);
SELECT event_service.watch('gone', columns => '{*}', global => true) \g /dev/null
INSERT INTO gone VALUES (2);
COMMIT;
:advance
SELECT is(captured(), 'insert gone.created 2 {*} {"new":{"id":2}}',
    'watch() captures from its call on, also within the transaction that calls it');

-- Values ------------------------------------------------------------------------------------------

CREATE EXTENSION citext;
CREATE TYPE place AS (city text, since timestamptz);
CREATE DOMAIN percent AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN instant AS timestamptz;
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE everything (
    id int PRIMARY KEY, b boolean, i2 smallint, i8 bigint, n numeric, n2 numeric(10,2), f4 real,
    f8 double precision, t text, vc varchar(9), c char(4), bin bytea, ts timestamp, tz timestamptz,
    d date, tm time, tmz timetz, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[],
    tza timestamptz[], e mood, ea mood[], dm percent, di instant, cp place, ct citext, ip inet,
    cd cidr, r int4range, tr tstzrange, bt bit(4), vb varbit, xm xml, pt point, nm name, mac macaddr,
    twice int GENERATED ALWAYS AS (i2 * 2) STORED);
SELECT event_service.watch('everything', columns => '{*}', global => true) \g /dev/null
INSERT INTO everything VALUES (
    1, true, -32768, 9223372036854775807, 1.500, 1.5, 'NaN', '-infinity', E'q"\\ \n\t\u2028 ü 🎈',
    'vc', 'c', '\x00ff', '2024-02-29 23:59:59.999999', '2024-02-29 23:59:59.5+02', 'infinity',
    '24:00', '12:00+02', '1 year 2 mons -3 days 04:05:06.7', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    E'{"z": 1,\r\n "a":  1.0e2, "z": 2}', '{"z": 1, "a": 1.00, "z": 2}', '{{1,2},{3,NULL}}', '{a,"b c",NULL}',
    '{2024-02-29 12:00+02}', 'very happy', '{sad}', 12.5, '2024-01-01 00:00+01', '(Ulm,"2024-01-01 00:00+01")',
    'CaSe', '10.0.0.1/24', '10.0.0.0/8', '[1,5)', '["2024-01-01 00:00+01",)', '1010', '11', '<a>b</a>',
    '(1,2)', 'nm', '08:00:2b:01:02:03');
:advance
SELECT is(captured(), 'insert everything.created 1 {*} {"new":{"id":1,"b":true,"i2":-32768,'
    '"i8":9223372036854775807,"n":1.500,"n2":1.50,"f4":"NaN","f8":"-Infinity",'
    '"t":"q\"\\ \n\t' || U&'\2028' || ' ü 🎈","vc":"vc","c":"c   ","bin":"\\x00ff",'
    '"ts":"2024-02-29T23:59:59.999999","tz":"2024-02-29T21:59:59.5+00:00","d":"infinity",'
    '"tm":"24:00:00","tmz":"12:00:00+02","iv":"1 year 2 mons -3 days +04:05:06.7",'
    '"u":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","j":' || E'{"z": 1,\r\n "a":  1.0e2, "z": 2}'
    || ',"jb":{"a": 1.00, "z": 2},"ia":[[1,2],[3,null]],"ta":["a","b c",null],'
    '"tza":["2024-02-29T10:00:00+00:00"],"e":"very happy","ea":["sad"],"dm":12.50,'
    '"di":"2023-12-31T23:00:00+00:00","cp":{"city":"Ulm","since":"2023-12-31T23:00:00+00:00"},'
    '"ct":"CaSe","ip":"10.0.0.1/24","cd":"10.0.0.0/8","r":"[1,5)",'
    '"tr":"[\"2023-12-31 23:00:00+00\",)","bt":"1010","vb":"11","xm":"<a>b</a>","pt":"(1,2)",'
    '"nm":"nm","mac":"08:00:2b:01:02:03","twice":-65536}}',
    'every type is written as JSON: numbers with their digits, times in ISO 8601 and UTC, json as it came');

UPDATE everything SET b = NULL, i2 = NULL, i8 = NULL, n = NULL, n2 = NULL, f4 = NULL, f8 = NULL, t = NULL,
    vc = NULL, c = NULL, bin = NULL, ts = NULL, tz = NULL, d = NULL, tm = NULL, tmz = NULL, iv = NULL,
    u = NULL, j = NULL, jb = NULL, ia = NULL, ta = NULL, tza = NULL, e = NULL, ea = NULL, dm = NULL,
    di = NULL, cp = NULL, ct = NULL, ip = NULL, cd = NULL, r = NULL, tr = NULL, bt = NULL, vb = NULL,
    xm = NULL, pt = NULL, nm = NULL, mac = NULL;
:advance
SELECT is(data -> 'changed', (SELECT jsonb_agg(attname ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = 'everything'::regclass AND attnum > 1), 'changed lists every column that became NULL')
FROM event_service.events WHERE type = 'everything.updated';
SELECT is(jsonb_path_query_array(data, '$.new.* ? (@ != null)'), '[1]', 'whose new values are null')
FROM event_service.events WHERE type = 'everything.updated';
SELECT captured() \g /dev/null
UPDATE everything SET j = NULL, cp = NULL, pt = NULL, xm = NULL, n = NULL;
:advance
SELECT is(captured(), '', 'NULL to NULL is no change, whatever the type');

-- What counts as a change: identity, not equality.
CREATE FUNCTION is_change(type text, old_value text, new_value text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE changing (id int PRIMARY KEY, v %s)', type);
    INSERT INTO changing VALUES (1);
    EXECUTE format('UPDATE changing SET v = %L', old_value);
    PERFORM event_service.watch('changing', columns => '{v}', global => true);
    EXECUTE format('UPDATE changing SET v = %L', new_value);
    DROP TABLE changing;
    RETURN take_inbox() <> '';
END $$;

SELECT is(is_change(type, old_value, new_value), expected, format('%s: %s to %s is %s change', type,
    coalesce(old_value, 'NULL'), coalesce(new_value, 'NULL'), CASE WHEN expected THEN 'a' ELSE 'no' END))
FROM (VALUES
    ('int', '1', '2', true), ('int', '1', '1', false), ('int', NULL, '1', true), ('int', '1', NULL, true),
    ('numeric', '1.0', '1.00', true), ('numeric', '1.0', '1.0', false), ('numeric', 'NaN', 'NaN', false),
    ('numeric(9,2)', '1', '1.00', false), ('numeric', 'infinity', '-infinity', true),
    ('float8', '0', '-0', true), ('float8', 'NaN', 'NaN', false), ('float8', '0.1', '0.10', false),
    ('text', 'a', 'A', true), ('text', 'a', 'a ', true), ('text', '', NULL, true), ('text', '', '', false),
    ('text COLLATE blind', 'a', 'A', true), ('text COLLATE blind', 'a', 'a', false),
    ('varchar COLLATE blind', 'a', 'A', true), ('citext', 'a', 'A', true), ('citext', 'a', 'a', false),
    ('char(5)', 'a', 'a  ', false), ('char(5)', 'a', 'b', true),
    ('json', '{"a":1}', '{"a": 1}', true), ('json', '{"a":1}', '{"a":1}', false),
    ('json', 'null', NULL, true), ('jsonb', '{"a":1}', '{"a": 1}', false), ('jsonb', '1.0', '1.00', true),
    ('xml', '<a/>', '<b/>', true), ('xml', '<a/>', '<a/>', false), ('point', '(1,2)', '(1,3)', true),
    ('point', '(1,2)', '(1,2)', false), ('box', '(0,0),(1,1)', '(0,0),(1,2)', true),
    ('timestamptz', '2024-01-01 00:00+00', '2024-01-01 02:00+02', false),
    ('timestamptz', 'infinity', 'infinity', false), ('timetz', '12:00+02', '10:00+00', true),
    ('interval', '24:00', '1 day', true), ('interval', '60 min', '1 hour', false),
    ('bytea', '\x00', '\x0000', true), ('int[]', '{1,2}', '{2,1}', true), ('int[]', '{1,2}', '{1,2}', false),
    ('int[]', '[0:0]={1}', '{1}', true), ('text[]', '{NULL}', '{"NULL"}', true), ('text[]', '{}', NULL, true),
    ('mood', 'sad', 'very happy', true), ('percent', '1', '1.00', false), ('percent', '1', '1.01', true),
    ('place', '(a,)', '(A,)', true), ('place', '(a,)', '(a,)', false), ('place', '(,)', NULL, true),
    ('numeric[]', '{1.0}', '{1.00}', true), ('int4range', '[1,2]', '[1,3)', false),
    ('inet', '10.0.0.1', '10.0.0.1/32', false), ('bit(2)', '10', '11', true), ('tsvector', 'a b', 'b a', false)
) AS t (type, old_value, new_value, expected);

-- json ends lines and spells characters as it likes.
CREATE TABLE doc (id int PRIMARY KEY, j json);
SELECT event_service.watch('doc', columns => '{*}', global => true) \g /dev/null
INSERT INTO doc VALUES (1, E'{\n  "a": [\r\n1 ]\n}'), (2, '"\u0000"'), (3, '"\\u0000"'), (4, '"\u00e4"');
:advance
SELECT is(captured(), 'insert doc.created 1 {*} {"new":{"id":1,"j":' || E'{\n  "a": [\r\n1 ]\n}' || '}}' || E'\n' ||
    'insert doc.created 2 {*} {"new":{"id":2,"j":"\u0000"}}' || E'\n' ||
    'insert doc.created 3 {*} {"new":{"id":3,"j":"\\u0000"}}' || E'\n' ||
    'insert doc.created 4 {*} {"new":{"id":4,"j":"\u00e4"}}',
    'json comes out of the log as it went in: line ends, U+0000 and all');
SELECT is(data, to_jsonb('{"new":{"id":2,"j":"\u0000"}}'::text),
    'the view shows data that contain U+0000, which jsonb cannot hold, as one string')
FROM event_service.events WHERE type = 'doc.created' AND key = '2';
SELECT is(data, '{"new": {"id": 3, "j": "\\u0000"}}',
    'a backslash before u0000 is no U+0000: the view shows an object')
FROM event_service.events WHERE type = 'doc.created' AND key = '3';
CREATE TABLE escape (id int PRIMARY KEY, t text);
SELECT event_service.watch('escape', columns => '{*}', global => true) \g /dev/null
INSERT INTO escape VALUES (1, '\u0000');
:advance
SELECT captured() \g /dev/null
SELECT is(data, '{"new": {"id": 1, "t": "\\u0000"}}', 'nor is the text of six characters \u0000')
FROM event_service.events WHERE type = 'escape.created';
-- json that jsonb does not take; each is sequenced and removed by itself, so that none hides another.
CREATE FUNCTION shown_json() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    seen text;
BEGIN
    seen := outcome('SELECT count(*), count(data) FROM event_service.events');
    DELETE FROM event_service.log WHERE type = 'doc.created' AND key = '9';
    DELETE FROM doc WHERE id = 9;
    DELETE FROM event_service.inbox;
    RETURN seen;
END $$;
INSERT INTO doc VALUES (9, '"\ud83d"');
:advance
SELECT is(shown_json(), 'ok', 'half a surrogate pair in a json column does not make the view unreadable');
INSERT INTO doc VALUES (9, '1e400000');
:advance
SELECT is(shown_json(), 'ok', 'nor does a number that is too large for numeric');
SELECT captured() \g /dev/null

-- Whatever the writer's session has set -----------------------------------------------------------

CREATE TABLE setting (
    id timestamptz PRIMARY KEY, tz timestamptz, ts timestamp, d date, iv interval, f8 double precision,
    f4 real, bin bytea, tza timestamptz[], di instant, cp place, tr tstzrange, fa float8[], jb jsonb,
    ctx timestamptz);
SELECT event_service.watch('setting', columns => '{*}', context_columns => '{ctx}') \g /dev/null
CREATE FUNCTION write_setting(minute int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.setting VALUES (
        timestamptz '2024-03-10T12:00:00Z' + minute * interval '1 minute', '2024-03-10T02:30:00.123456Z',
        '2024-03-10T02:30:00', date '2024-03-10', make_interval(1, 2, 0, 3, 4, 5, 6.5), 0.1::float8 + 0.2,
        (1::float4 / 3), decode('00ff5c', 'hex'), ARRAY[timestamptz '2024-07-01T00:00:00Z'],
        '2024-07-01T00:00:00Z', ROW('Ulm', timestamptz '2024-07-01T00:00:00Z')::public.place,
        tstzrange('2024-07-01T00:00:00Z', NULL), ARRAY[0.1::float8 + 0.2], '1.0', '2024-07-01T00:00:00Z')
$$;
SELECT write_setting(1) \g /dev/null
SET TimeZone = 'America/New_York';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SET standard_conforming_strings = off;
SET quote_all_identifiers = on;
SET search_path = '';
SET xmlbinary = 'hex';
SELECT public.write_setting(2) \g /dev/null
UPDATE public.setting SET iv = NULL WHERE f4 > 0;
DELETE FROM public.setting;
RESET ALL;
SET client_min_messages = warning;
:advance
SELECT results_eq($$SELECT count(*)::int, count(DISTINCT data -> 'new' #- '{id}')::int
                    FROM event_service.events WHERE type = 'setting.created'$$, 'VALUES (2, 1)',
    'a row is the same event from a session with another time zone, date style, interval style, …');
SELECT is((SELECT data::text FROM event_service.log WHERE type = 'setting.created' ORDER BY position DESC LIMIT 1),
    '{"new":{"id":"2024-03-10T12:02:00+00:00","tz":"2024-03-10T02:30:00.123456+00:00",'
    '"ts":"2024-03-10T02:30:00","d":"2024-03-10","iv":"1 year 2 mons 3 days 04:05:06.5",'
    '"f8":0.30000000000000004,"f4":0.33333334,"bin":"\\x00ff5c","tza":["2024-07-01T00:00:00+00:00"],'
    '"di":"2024-07-01T00:00:00+00:00","cp":{"city":"Ulm","since":"2024-07-01T00:00:00+00:00"},'
    '"tr":"[\"2024-07-01 00:00:00+00\",)","fa":[0.30000000000000004],"jb":1.0,'
    '"ctx":"2024-07-01T00:00:00+00:00"}}', 'in UTC, ISO 8601, with all digits');
SELECT is((SELECT string_agg(DISTINCT audience::text, ' ') FROM event_service.log WHERE type LIKE 'setting.%'),
    '{"context:2024-07-01 00:00:00+00"}', 'and so are its labels');
SELECT is((SELECT string_agg(op_name(op) || ' ' || key, ', ' ORDER BY position) FROM event_service.log
           WHERE type LIKE 'setting.%'),
    'insert 2024-03-10 12:01:00+00, insert 2024-03-10 12:02:00+00, update 2024-03-10 12:01:00+00, '
    'update 2024-03-10 12:02:00+00, delete 2024-03-10 12:01:00+00, delete 2024-03-10 12:02:00+00',
    'and so is its key');
SELECT captured() \g /dev/null

-- Each type by itself, since a capture function fixes only the settings that its columns ask for.
CREATE DOMAIN instants AS timestamptz[];
CREATE DOMAIN nested_instant AS instant;
CREATE TYPE span AS RANGE (subtype = timestamptz);

-- What a value gives as a column, as the key or as a label, written under settings as they are.
CREATE FUNCTION written(value text, place text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE alike (id %s, v %2$s)',
        CASE place WHEN 'key' THEN (SELECT atttypid::regtype FROM pg_attribute
                                    WHERE attrelid = 'sample'::regclass AND attname = value)
                   ELSE 'int' END,
        (SELECT atttypid::regtype FROM pg_attribute
         WHERE attrelid = 'sample'::regclass AND attname = value));
    PERFORM event_service.watch('alike', key => 'id', columns => CASE place WHEN 'column' THEN '{v}'::text[] END,
        context_columns => CASE place WHEN 'label' THEN '{v}'::text[] END);
    EXECUTE format('INSERT INTO alike SELECT %1$s, %2$I FROM sample',
                   CASE place WHEN 'key' THEN quote_ident(value) ELSE '1' END, value);
    DROP TABLE alike;
    RETURN take_inbox();
END $$;

CREATE TABLE sample AS SELECT
    timestamptz '2024-07-01 00:00+00' AS zoned, time with time zone '12:00+02' AS zoned_time,
    timestamp '2024-07-01 00:00' AS unzoned, date '2024-07-13' AS day,
    ARRAY[timestamptz '2024-07-01 00:00+00'] AS zoned_array, ARRAY[date '2024-07-13'] AS day_array,
    ARRAY[timestamp '2024-07-13 01:00'] AS unzoned_array,
    instant '2024-07-01 00:00+00' AS zoned_domain, instants '{2024-07-01 00:00+00}' AS array_domain,
    nested_instant '2024-07-01 00:00+00' AS domain_domain, ARRAY['2024-07-01 00:00+00']::instant[] AS domain_array,
    ROW('Ulm', '2024-07-01 00:00+00')::place AS composite, ARRAY[ROW('Ulm', '2024-07-01 00:00+00')::place] AS composites,
    tstzrange('2024-07-01 00:00+00', NULL) AS zoned_range, daterange('2024-07-13', NULL) AS day_range,
    span('2024-07-01 00:00+00', NULL) AS own_range, tstzmultirange(tstzrange('2024-07-01 00:00+00', NULL)) AS multirange,
    interval '1 year 2 days 3:04' AS span, ARRAY[interval '1 day 2:00'] AS spans,
    0.1::float8 + 0.2 AS eight, (1 / 3.0)::float4 AS four, ARRAY[0.1::float8 + 0.2] AS eights,
    point(0.1::float8 + 0.2, 0) AS point, '\x00ff'::bytea AS bytes, ARRAY['\x00ff'::bytea] AS bytes_array,
    'public.item'::regclass AS relation, ARRAY['public.item'::regclass] AS relations,
    'item'::regclass::oid AS oid, 1.50 AS numeric, 't'::text AS text, mood 'sad' AS mood;
CREATE TABLE alike_before AS
    SELECT attname, place, written(attname, place) AS event
    FROM pg_attribute, unnest('{column,key,label}'::text[]) place WHERE attrelid = 'sample'::regclass AND attnum > 0;
SET TimeZone = 'Asia/Kathmandu';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -15;
SET bytea_output = 'escape';
SELECT is(written(attname, place), event, format('%s as a %s does not depend on the session', attname, place))
FROM alike_before;
RESET ALL;
SET client_min_messages = warning;

-- Large values ------------------------------------------------------------------------------------

CREATE TABLE large (id int PRIMARY KEY, t text, jb jsonb, bin bytea, small text);
ALTER TABLE large ALTER t SET STORAGE EXTERNAL, ALTER bin SET STORAGE EXTERNAL;
SELECT event_service.watch('large', columns => '{*}', global => true) \g /dev/null
CREATE FUNCTION noise(bytes int) RETURNS text LANGUAGE sql AS $$
    SELECT left(string_agg(md5(random()::text), ''), bytes) FROM generate_series(0, bytes / 32)
$$;
CREATE FUNCTION last_data() RETURNS text LANGUAGE sql AS $$
    SELECT data::text FROM event_service.log ORDER BY position DESC LIMIT 1
$$;
INSERT INTO large VALUES (1, noise(1048572), NULL, NULL, 's');
:advance
SELECT is(length(last_data()), 1048572 + length('{"new":{"id":1,"t":"","jb":null,"bin":null,"small":"s"}}'),
    'a value of 1 MiB as stored is sent');
UPDATE large SET t = noise(1048577);
:advance
SELECT matches(last_data()::json #>> '{new,t}', '^\{"omitted_bytes" : 10485(77|81)\}$',
    'a little more is omitted and its size is sent in its place');
SELECT is(length(last_data()::json #>> '{old,t}'), 1048572, 'the old value, which was not too large, is there');
SELECT is(last_data()::json ->> 'changed', '["t"]', 'the omitted column is among the changed');
SELECT is(last_data()::json #>> '{new,small}', 's', 'and the other columns are there');
UPDATE large SET t = NULL, bin = convert_to(noise(3000000), 'UTF8'),
    jb = to_jsonb((SELECT array_agg(md5(random()::text)) FROM generate_series(1, 50000)));
:advance
SELECT matches(last_data()::json #>> '{new,bin}', '^\{"omitted_bytes" : 300000[04]\}$', 'a bytea is omitted');
SELECT matches((last_data()::json #>> '{new,jb}'), '^\{"omitted_bytes" : 1\d{6}\}$', 'a jsonb is omitted');
SELECT matches(last_data()::json #>> '{old,t}', '^\{"omitted_bytes" : 10485(77|81)\}$', 'and an old value is omitted');
UPDATE large SET small = 'r';
:advance
SELECT is(last_data()::json ->> 'changed', '["small"]',
    'a large value that stays is not among the changed');
DELETE FROM large;
:advance
SELECT matches(last_data(), '^\{"old":\{"id":1,"t":null,"jb":\{"omitted_bytes" : \d+\},"bin":\{"omitted_bytes" : 300000[04]\},"small":"r"\}\}$',
    'a DELETE sends sizes in place of large values');
CREATE TABLE dense (id int PRIMARY KEY, t text, ta text[], j json);
SELECT event_service.watch('dense', columns => '{*}', global => true) \g /dev/null
INSERT INTO dense VALUES (1, repeat('a', 5000000), ARRAY[repeat('b', 2000000)], to_json(repeat('c', 3000000)));
:advance
SELECT is(length(last_data()), 10000000 + length('{"new":{"id":1,"t":"","ta":[""],"j":""}}'),
    'values that are stored small, because they compress well, are sent');
DO $$ BEGIN
    FOR n IN 11 .. 22 LOOP
        INSERT INTO dense (id, t) VALUES (n, repeat('d', 1100000));
    END LOOP;
END $$;
:advance
SELECT is(string_agg(DISTINCT length(data::text)::text, ' '), (1100000 + length('{"new":{"id":11,"t":"","ta":null,"j":null}}'))::text,
    'and they are so however often the session has written')
FROM event_service.log WHERE type = 'dense.created' AND key::int > 10;
INSERT INTO dense (id, t) VALUES (2, repeat('a', 8388608));
:advance
SELECT is(last_data()::json #>> '{new,t}', format('{"omitted_bytes" : %s}', pg_column_size(t)),
    'but not one of more than 8 MiB, however small it is stored') FROM dense WHERE id = 2;
INSERT INTO dense (id, t) VALUES (3, repeat(chr(1), 1400000));
:advance
SELECT is(last_data()::json #>> '{new,t}', format('{"omitted_bytes" : %s}', pg_column_size(t)),
    'nor one of which JSON makes more than that') FROM dense WHERE id = 3;
INSERT INTO dense (id, t) VALUES (4, repeat(chr(1), 1300000));
:advance
SELECT is(length(last_data()::json -> 'new' ->> 't'), 1300000, 'of six bytes for one, a little less is sent');
CREATE TABLE widening (id int PRIMARY KEY, a text, b text, c int);
SELECT event_service.watch('widening', columns => '{*}', global => true) \g /dev/null
INSERT INTO widening VALUES (1, repeat(chr(1), 60000000), repeat(chr(1), 60000000), 0);
SELECT lives_ok('UPDATE widening SET c = 1', 'a row whose JSON would not fit into memory can be written');
:advance
SELECT is(last_data(), format('{"new":{"id":1,"a":%1$s,"b":%1$s,"c":1},"old":{"id":1,"a":%1$s,"b":%1$s,"c":0},"changed":["c"]}',
    json_build_object('omitted_bytes', pg_column_size(a))), 'and its event has the sizes') FROM widening;
DROP TABLE widening;
-- Many that are not too large each are so together.
SELECT format('CREATE TABLE crowd (id int PRIMARY KEY, %s)', string_agg(format('c%s text', n), ', '))
FROM generate_series(1, 64) n \gexec
SELECT event_service.watch('crowd', columns => '{*}', global => true) \g /dev/null
INSERT INTO crowd (id, c1, c2) VALUES (1, repeat('a', 1048540), repeat('a', 1048577));
:advance
SELECT is(regexp_replace(last_data(), '"c3":null.*', ''),
    format('{"new":{"id":1,"c1":"%s","c2":{"omitted_bytes" : %s},', repeat('a', 1048540), pg_column_size(c2)),
    'of 64 texts each has room for a 64th of 64 MiB') FROM crowd;
DROP TABLE crowd;

-- The same for whatever has no fixed length.
CREATE TYPE composite AS (a text, b int);
CREATE TYPE letters AS RANGE (subtype = text);
CREATE DOMAIN text_domain AS text;
CREATE DOMAIN array_domain AS int[];
CREATE FUNCTION image_of(kind text, storage text, expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    image text;
BEGIN
    EXECUTE format('CREATE TABLE sized (id int PRIMARY KEY, v %s)', kind);
    EXECUTE format('ALTER TABLE sized ALTER v SET STORAGE %s', storage);
    PERFORM event_service.watch('sized', columns => '{v}', global => true);
    EXECUTE format('INSERT INTO sized SELECT 1, %s', expression);
    WITH taken AS (DELETE FROM event_service.inbox i WHERE i.type LIKE 'sized.%' RETURNING data) SELECT data INTO image FROM taken;
    EXECUTE 'SELECT CASE $1 WHEN format(''{"new":{"v":%s}}'', to_json(v)) THEN ''sent'''
            ' WHEN format(''{"new":{"v":{"omitted_bytes" : %s}}}'', pg_column_size(v)) THEN ''omitted'' ELSE left($1, 100) END FROM sized'
        INTO image USING image;
    DROP TABLE sized;
    RETURN image;
END $$;
CREATE TABLE sizes (type text, expression text);
INSERT INTO sizes VALUES
('text', 'repeat(''a'', N)'), ('varchar', 'repeat(''a'', N)'), ('char(9000000)', '''a'''), ('text_domain', 'repeat(''a'', N)'),
('bytea', 'convert_to(repeat(''a'', N), ''UTF8'')'), ('varbit', 'repeat(''10'', N * 4)::varbit'),
('json', 'to_json(repeat(''a'', N))'), ('jsonb', 'to_jsonb(repeat(''a'', N))'),
('xml', '(''<a>'' || repeat(''a'', N) || ''</a>'')::xml'), ('int[]', 'array_fill(0, ARRAY[N / 4])'),
('text[]', 'ARRAY[repeat(''a'', N)]'), ('int[][][][][][]', 'array_fill(0, ARRAY[N / 8, 2, 1, 1, 1, 1])'),
('array_domain', 'array_fill(0, ARRAY[N / 4])'), ('composite', 'ROW(repeat(''a'', N), 1)::composite'),
('letters', 'letters(''a'', repeat(''b'', N))');
SELECT is(image_of(type, 'EXTENDED', replace(expression, 'N', '9000000')), 'omitted', format('a %s of 9 MB, stored small, is omitted', type))
FROM sizes;
SELECT is(image_of(type, 'EXTERNAL', replace(expression, 'N', '20000')), 'sent', format('a %s of 20 kB is sent', type))
FROM sizes WHERE type NOT LIKE 'char%';
-- What a value becomes as JSON may be far larger than itself.
CREATE FUNCTION as_json(letters) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    RAISE program_limit_exceeded;
END $$;
CREATE CAST (letters AS json) WITH FUNCTION as_json(letters);
CREATE TABLE unwritable (id int PRIMARY KEY, v letters);
SELECT event_service.watch('unwritable', columns => '{v}', global => true) \g /dev/null
SELECT lives_ok($$INSERT INTO unwritable VALUES (1, letters('0', noise(20000)))$$, 'a value that cannot be written as JSON fails no writer');
:advance
SELECT matches(last_data(), '^\{"new":\{"v":\{"omitted_bytes" : \d{5}\}\}\}$', 'and is omitted');
DROP TABLE unwritable;
CREATE TABLE huge (id int PRIMARY KEY, t text, data text GENERATED ALWAYS AS (t || t) STORED);
SELECT event_service.watch('huge', key => 't', columns => '{id}', user_column => 't',
    context_columns => '{data}') \g /dev/null
SELECT lives_ok($$INSERT INTO huge VALUES (1, noise(2000000))$$, 'a key of 2 MB fails no writer');
:advance
SELECT results_eq($$SELECT length(key), audience::text FROM event_service.log ORDER BY position DESC LIMIT 1$$,
    $$VALUES (2000000, '{}')$$, 'and what is too long for a label gives none');
SELECT captured() \g /dev/null

-- A function takes at most 100 arguments; a table has more columns.
SELECT format('CREATE TABLE wide (id int PRIMARY KEY, %s)', string_agg(format('c%s bool', n), ', '))
FROM generate_series(2, 201) n \gexec
SELECT event_service.watch('wide', columns => '{*}', global => true) \g /dev/null
INSERT INTO wide VALUES (1, true);
UPDATE wide SET c201 = false;
:advance
SELECT results_eq($$SELECT count(*)::int, last_data()::json ->> 'changed'
                    FROM json_object_keys(last_data()::json -> 'new')$$, $$VALUES (201, '["c201"]')$$,
    'a table of 201 columns sends them all');

SELECT is((SELECT string_agg(tbl::text || ' ' || drift, ', ') FROM event_service.watched
           WHERE drifted AND tbl::text NOT LIKE '"ж%' AND tbl::text <> 'col'), NULL,
    'nothing that was watched here has drifted');
SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
