-- What becomes of the writes of a watched table when the table changes: they go through with their
-- events, or fail with a hint that names event_service.watch. No event is lost in silence.
\ir support/helpers.sql
SELECT plan(100);

-- One that changes the table, and whose own writes are not captured; one that wrote to the table before.
SELECT open_session('owner'), open_session('before') \g /dev/null
SELECT tell('owner', 'SET session_replication_role = replica') \g /dev/null

-- One write: `ok` if it went through with one event, `hint` if it failed with the hint, else what happened.
CREATE FUNCTION write_as(session text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    went   text := ask(session, format('SELECT outcome(%L)', statement));
    events bigint;
BEGIN
    WITH taken AS (DELETE FROM event_service.inbox RETURNING *) SELECT count(*) INTO events FROM taken;
    RETURN CASE WHEN went = 'ok' AND events = 1 THEN 'ok'
                WHEN went = 'ok' THEN format('went through with %s events', events)
                WHEN ask(session, format('SELECT hint_of(%L)', statement))
                     ~ 'event_service\.watch\(\) on (public\.)?changing again, or event_service\.unwatch\(\)' THEN 'hint'
                ELSE went END;
END $$;

-- Watches a table of the columns id, n and those given, writes to it, changes it, and says how an INSERT, an
-- UPDATE and a DELETE then go, in a session that wrote before and in a new one.
CREATE FUNCTION writes_after(definition text, change text, level text, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    session text;
    went    text[] := '{}';
BEGIN
    PERFORM tell('owner', 'DROP TABLE IF EXISTS changing'),
            tell('owner', format('CREATE TABLE changing (id int PRIMARY KEY, n int DEFAULT 1, %s)', definition)),
            ask('owner', format('SELECT event_service.watch(''changing'', level => %L, %s)::text', level, arguments)),
            tell('before', 'INSERT INTO changing (id) VALUES (1)'), tell('before', 'UPDATE changing SET n = 2'),
            tell('before', 'DELETE FROM changing'), tell('owner', change), open_session('new');
    PERFORM take_inbox();
    FOREACH session IN ARRAY ARRAY['before', 'new'] LOOP
        went := went || write_as(session, 'INSERT INTO changing (id) VALUES (1)');
        PERFORM tell('owner', 'INSERT INTO changing (id) SELECT 1 WHERE NOT EXISTS (SELECT FROM changing)');
        went := went || write_as(session, 'UPDATE changing SET n = n + 1')
                     || write_as(session, 'DELETE FROM changing');
        PERFORM tell('owner', 'DELETE FROM changing');
    END LOOP;
    PERFORM close_session('new');
    RETURN array_to_string(went[1:3], ' ') || ', new: ' || array_to_string(went[4:6], ' ');
END $$;

CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE change_cases (name text, definition text, change text, arguments text, by_row text, by_statement text);
INSERT INTO change_cases VALUES
-- name, columns, change, arguments of watch(), outcome by row (wrote before, new), by statement
('nothing changes', 'x text', 'ANALYZE changing', $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column is added', 'x text', 'ALTER TABLE changing ADD y int', $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column that is not watched is dropped', 'x text, y int', 'ALTER TABLE changing DROP y', $$columns => '{x,n}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column that is not watched is renamed', 'x text, y int', 'ALTER TABLE changing RENAME y TO z', $$columns => '{x,n}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column that is not watched changes its type', 'x text, y int', 'ALTER TABLE changing ALTER y TYPE text', $$columns => '{x,n}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column that is sent is dropped', 'x text', 'ALTER TABLE changing DROP x', $$columns => '{*}'$$, 'hint hint hint, new: hint hint hint', NULL),
('a column that is sent is renamed', 'x text', 'ALTER TABLE changing RENAME x TO y', $$columns => '{*}'$$, 'hint hint hint, new: hint hint hint', NULL),
('two columns are exchanged', 'x text, y text', 'ALTER TABLE changing RENAME x TO z; ALTER TABLE changing RENAME y TO x; ALTER TABLE changing RENAME z TO y',
 $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a column whose change is an event is renamed', 'x text', 'ALTER TABLE changing RENAME x TO y', $$columns => '{n}', on_change => '{x,n}'$$, 'hint hint hint, new: hint hint hint', NULL),
('a column that names a type is renamed', 'x text', 'ALTER TABLE changing RENAME x TO y', $$columns => '{n}', types => '{"x": "x-changed"}'$$, 'hint hint hint, new: hint hint hint', NULL),
('a user column is dropped', 'x text', 'ALTER TABLE changing DROP x', $$columns => '{n}', user_column => 'x'$$, 'hint hint hint, new: hint hint hint', NULL),
('a context column is renamed', 'x text', 'ALTER TABLE changing RENAME x TO y', $$columns => '{n}', context_columns => '{a=x}'$$, 'hint hint hint, new: hint hint hint', NULL),
('the table is renamed and renamed back', 'x text', 'ALTER TABLE changing RENAME TO other; ALTER TABLE other RENAME TO changing', $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL),
('a constraint and an index come', 'x text', 'ALTER TABLE changing ADD CHECK (id > 0); CREATE INDEX ON changing (x)', $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL),
('the primary key goes', 'x text', 'ALTER TABLE changing DROP CONSTRAINT changing_pkey', $$columns => '{*}'$$, 'ok ok ok, new: ok ok ok', NULL);
-- Types. Who wrote before fails by row: PL/pgSQL keeps the types of a row's columns as long as a function
-- stays the same.
INSERT INTO change_cases
SELECT format('%s becomes %s', was, becomes), format('x %s', was), format('ALTER TABLE changing ALTER x TYPE %s USING %s', becomes, conversion),
       $$columns => '{*}', user_column => 'x', types => '{"x": "x-changed"}'$$, 'hint hint hint, new: ' || fresh, fresh || ', new: ' || fresh
FROM (VALUES
    ('int', 'bigint', 'x', 'ok ok ok'), ('bigint', 'int', 'x', 'ok ok ok'), ('int', 'text', 'x::text', 'ok ok ok'), ('int', 'numeric', 'x', 'ok ok ok'),
    ('text', 'varchar(9)', 'x', 'ok ok ok'), ('varchar(9)', 'text', 'x', 'ok ok ok'), ('text', 'int', 'x::int', 'ok ok ok'),
    ('text', 'mood', 'x::mood', 'ok ok ok'), ('mood', 'text', 'x::text', 'ok ok ok'), ('text', 'uuid', 'x::uuid', 'ok ok ok'),
    ('text', 'jsonb', 'to_jsonb(x)', 'ok ok ok'), ('text', 'bytea', 'x::bytea', 'ok ok ok'), ('text', 'char(9)', 'x', 'ok ok ok'), ('char(9)', 'text', 'x', 'ok ok ok'),
    ('timestamp', 'timestamptz', 'x', 'ok ok ok'), ('date', 'timestamptz', 'x', 'ok ok ok'), ('jsonb', 'text', 'x::text', 'ok ok ok'),
    ('json', 'jsonb', 'x', 'ok ok ok'), ('jsonb', 'json', 'x', 'ok ok ok'), ('text', 'text[]', 'ARRAY[x]', 'ok ok ok'),
    -- These cannot be compared, or read as labels.
    ('int', 'json', 'to_json(x)', 'ok hint ok'), ('text', 'xml', 'x::xml', 'ok hint ok'), ('int[]', 'int', 'x[1]', 'hint hint hint')
) AS t (was, becomes, conversion, fresh);

SELECT is(writes_after(definition, change, level, arguments), CASE WHEN level = 'row' THEN by_row ELSE coalesce(by_statement, by_row) END, name || ', by ' || level)
FROM change_cases, unnest(ARRAY['row', 'statement']) level;
-- An array of labels that becomes a text: only the text itself can tell.
SELECT is(writes_after($$x text[] DEFAULT '{a}'$$, $$ALTER TABLE changing ALTER x DROP DEFAULT, ALTER x TYPE text USING x[1], ALTER x SET DEFAULT 'a'$$,
    'row', $$columns => '{*}', user_column => 'x'$$), 'hint hint hint, new: hint hint hint', 'text[] becomes text, by row');

-- watch() in the transaction that changes the table: nothing happens to anybody.
SELECT is(writes_after('x int', format($$BEGIN; %s; SELECT event_service.watch('changing', columns => '{*}', level => %L); COMMIT$$, change, level),
    level, $$columns => '{*}'$$), 'ok ok ok, new: ok ok ok', format('%s, with watch(), by %s', change, level))
FROM unnest(ARRAY['ALTER TABLE changing RENAME x TO y', 'ALTER TABLE changing ALTER x TYPE bigint', 'ALTER TABLE changing DROP x']) change,
     unnest(ARRAY['row', 'statement']) level;

-- Drift.
CREATE FUNCTION drift_after(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    PERFORM tell('owner', 'DROP TABLE IF EXISTS changing'), tell('owner', 'CREATE TABLE changing (id int PRIMARY KEY, x int, y text)'),
            ask('owner', $q$SELECT event_service.watch('changing', columns => '{id,x}', user_column => 'x')::text$q$), tell('owner', change);
    SELECT CASE WHEN drifted THEN drift END INTO found FROM event_service.watched WHERE topic = 'changing';
    RETURN found;
END $$;
SELECT is(drift_after(change), expected, change || ': ' || coalesce(expected, 'no drift'))
FROM (VALUES
    ('ALTER TABLE changing ADD z int', NULL), ('ALTER TABLE changing DROP y', NULL), ('ALTER TABLE changing RENAME y TO z', NULL),
    ('ALTER TABLE changing ALTER y TYPE varchar', NULL),
    ('ALTER TABLE changing DROP x', 'column x is gone'), ('ALTER TABLE changing RENAME x TO z', 'column x is gone'),
    ('ALTER TABLE changing ALTER x TYPE numeric', 'the capture function is not what watch() would write now'),
    ('ALTER TABLE changing ALTER x TYPE timestamptz USING now()', 'the capture function is not what watch() would write now'),
    ('ALTER TABLE changing DISABLE TRIGGER ALL', 'trigger 0_event_service_delete is disabled, trigger 0_event_service_insert is disabled, '
     'trigger 0_event_service_truncate is disabled, trigger 0_event_service_update is disabled'),
    ('DROP TRIGGER "0_event_service_update" ON changing', 'trigger 0_event_service_update is missing'),
    ('ALTER TABLE changing RENAME TO moved', NULL)) AS v (change, expected);
DROP TABLE moved;

-- The table goes.
SELECT ok(drift_after('DROP TABLE changing') ~ '^the table, or its triggers, are gone: event_service\.capture_\d+_changing\(\)$', 'a table that was dropped is told');
SELECT tell('owner', 'CREATE TABLE changing (id int PRIMARY KEY)') \g /dev/null
SELECT is(write_as('before', 'INSERT INTO changing VALUES (1)'), 'went through with 0 events', 'one that is made anew is not watched');
SELECT ask('owner', $$SELECT event_service.watch('changing', columns => '{*}')::text$$) \g /dev/null
SELECT is(write_as('before', 'INSERT INTO changing VALUES (2)'), 'ok', 'until it is');
SELECT is((SELECT count(*) FROM event_service.watched WHERE topic = 'changing'), 1::bigint, 'which does away with the old function');
BEGIN;
INSERT INTO changing VALUES (3);
DROP TABLE changing;
COMMIT;
SELECT is(take_inbox(), 'insert changing.created 3 {} {"new":{"id":3}}', 'what was written before the drop, in the same transaction, is an event');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
