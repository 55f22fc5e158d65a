-- Audiences: which labels a row gives, and what becomes of an UPDATE that changes them.
\ir support/helpers.sql
SELECT plan(147);

-- The labels of a row -----------------------------------------------------------------------------

-- The audience of one row: the columns as given, watched with these arguments.
CREATE FUNCTION labels_of(definition text, row_values text, arguments text, level text DEFAULT 'row')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    EXECUTE format('CREATE TABLE labelled (id int PRIMARY KEY, %s)', definition);
    EXECUTE format('SELECT event_service.watch(''labelled'', columns => ''{id}'', level => %L, %s)', level, arguments);
    EXECUTE format('INSERT INTO labelled VALUES (1, %s)', row_values);
    DROP TABLE labelled;
    WITH taken AS (DELETE FROM event_service.inbox RETURNING audience) SELECT audience INTO found FROM taken;
    RETURN found;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

CREATE TYPE colour AS ENUM ('red', 'pale green');
CREATE DOMAIN name_list AS text[];
CREATE DOMAIN person AS text;
CREATE EXTENSION citext;
CREATE TABLE label_cases (name text, definition text, row_values text, arguments text, expected text);
INSERT INTO label_cases VALUES
('a user column', 'u text', $$'a'$$, $$user_column => 'u'$$, '{user:a}'),
('a session column', 's text', $$'a'$$, $$session_column => 's'$$, '{session:a}'),
('a context column', 'c text', $$'a'$$, $$context_columns => '{c}'$$, '{context:a}'),
('all three, in this order', 'c text, s text, u text', $$'c', 's', 'u'$$,
 $$context_columns => '{c}', session_column => 's', user_column => 'u'$$, '{user:u,session:s,context:c}'),
('one column as all three', 'x text', $$'x'$$,
 $$user_column => 'x', session_column => 'x', context_columns => '{x}'$$, '{user:x,session:x,context:x}'),
('the key as user', 'x int', '2', $$user_column => 'id'$$, '{user:1}'),
('NULL gives no label', 'u text, s text', $$NULL, 's'$$, $$user_column => 'u', session_column => 's'$$, '{session:s}'),
('the empty text gives no label', 'u text, s text', $$'', 's'$$,
 $$user_column => 'u', session_column => 's'$$, '{session:s}'),
('no label at all', 'u text, s text, c text', $$NULL, '', NULL$$,
 $$user_column => 'u', session_column => 's', context_columns => '{c}'$$, '{}'),
('a space is a label', 'u text', $$' '$$, $$user_column => 'u'$$, '{"user: "}'),
('a star is a name like others', 'u text', $$'*'$$, $$user_column => 'u'$$, '{user:*}'),
('no column gives an audience for everyone', 'c text', $$'*'$$, $$context_columns => '{c}'$$, '{context:*}'),
('a number', 'u int', '7', $$user_column => 'u'$$, '{user:7}'),
('a number of zero', 'u int', '0', $$user_column => 'u'$$, '{user:0}'),
('a uuid', 'u uuid', $$'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'$$, $$user_column => 'u'$$,
 '{user:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'),
('an enum', 'c colour', $$'pale green'$$, $$context_columns => '{c}'$$, '{"context:pale green"}'),
('a domain', 'u person', $$'p'$$, $$user_column => 'u'$$, '{user:p}'),
('a citext keeps its case', 'u citext', $$'McX'$$, $$user_column => 'u'$$, '{user:McX}'),
('a char(n) has no padding', 'u char(5)', $$'ab'$$, $$user_column => 'u'$$, '{user:ab}'),
('an empty char(n) gives none', 'u char(5)', $$''$$, $$user_column => 'u'$$, '{}'),
('a boolean', 'c boolean', 'false', $$context_columns => '{c}'$$, '{context:false}'),
('odd characters stay', 'u text', $$E'a"b,c\\d\n:ü'$$, $$user_column => 'u'$$, E'{"user:a\\"b,c\\\\d\n:ü"}'),
('an array gives a label for each element', 'u text[]', $$'{a,b}'$$, $$user_column => 'u'$$, '{user:a,user:b}'),
('an array of one', 'u text[]', $$'{a}'$$, $$user_column => 'u'$$, '{user:a}'),
('an empty array gives none', 'u text[]', $$'{}'$$, $$user_column => 'u'$$, '{}'),
('a NULL array gives none', 'u text[]', 'NULL', $$user_column => 'u'$$, '{}'),
('elements that are NULL or empty give none', 'u text[]', $$'{a,NULL,"",b}'$$, $$user_column => 'u'$$, '{user:a,user:b}'),
('an array of nothing but these', 'u text[]', $$'{NULL,""}'$$, $$user_column => 'u'$$, '{}'),
('an element that occurs twice gives one', 'u text[]', $$'{b,a,b}'$$, $$user_column => 'u'$$, '{user:a,user:b}'),
('an array of two dimensions', 'u text[]', $$'{{a,b},{c,d}}'$$, $$user_column => 'u'$$, '{user:a,user:b,user:c,user:d}'),
('an array that begins at 0', 'u text[]', $$'[0:1]={a,b}'$$, $$user_column => 'u'$$, '{user:a,user:b}'),
('an array of numbers', 'u int[]', $$'{2,1}'$$, $$user_column => 'u'$$, '{user:1,user:2}'),
('an array of an enum', 'c colour[]', $$'{red}'$$, $$context_columns => '{c}'$$, '{context:red}'),
('a domain of an array', 'u name_list', $$'{a,b}'$$, $$user_column => 'u'$$, '{user:a,user:b}'),
('an array as session', 's text[]', $$'{x,y}'$$, $$session_column => 's'$$, '{session:x,session:y}'),
('arrays and a plain column', 'u text[], s text, c text[]', $$'{a,b}', 's', '{c,d}'$$,
 $$user_column => 'u', session_column => 's', context_columns => '{c}'$$,
 '{session:s,user:a,user:b,context:c,context:d}'),
('NAME=COLUMN', 'p int', '7', $$context_columns => '{project=p}'$$, '{context:project:7}'),
('two of them', 'p int, t int', '7, 7', $$context_columns => '{project=p,team=t}'$$, '{context:project:7,context:team:7}'),
('a bare one and a named one', 'p int, t int', '7, 7', $$context_columns => '{p,team=t}'$$, '{context:7,context:team:7}'),
('a named array', 'p int[]', $$'{7,8}'$$, $$context_columns => '{project=p}'$$, '{context:project:7,context:project:8}'),
('a named column that is NULL', 'p int, t int', 'NULL, 7', $$context_columns => '{project=p,team=t}'$$, '{context:team:7}'),
('a name with all that it may have', 'p int', '7', $$context_columns => '{A-z_0.9=p}'$$, '{context:A-z_0.9:7}'),
('a column whose name contains =', '"a=b" int', '7', $$context_columns => '{a=b}'$$, '{context:7}'),
('a named column whose name contains =', '"a=b" int', '7', $$context_columns => '{n=a=b}'$$, '{context:n:7}'),
('a column with an odd name', '"My Context" text', $$'x'$$, $$context_columns => '{"My Context"}'$$, '{context:x}'),
('one column under two names', 'p int', '7', $$context_columns => '{a=p,b=p}'$$, '{context:a:7,context:b:7}'),
('global', 'p int', '7', 'global => true', '{*}'),
('global and a user', 'u text', $$'a'$$, $$global => true, user_column => 'u'$$, '{*,user:a}'),
('global and a user without one', 'u text', 'NULL', $$global => true, user_column => 'u'$$, '{*}'),
('global and an array', 'u text[]', $$'{a,b}'$$, $$global => true, user_column => 'u'$$, '{*,user:a,user:b}'),
('global that is NULL is false', 'u text', $$'a'$$, $$global => NULL, user_column => 'u'$$, '{user:a}'),
('no audience', 'u text', $$'a'$$, 'global => false', '{}'),
('no context columns', 'u text', $$'a'$$, $$user_column => 'u', context_columns => '{}'$$, '{user:a}');
SELECT is(labels_of(definition, row_values, arguments, level), expected, format('%s, %s mode', name, level))
FROM label_cases, unnest('{row,statement}'::text[]) level;

-- Labels have at most 1024 bytes, with their prefix: what is longer could not be indexed.
SELECT is(labels_of('u text, s text', format('repeat(%L, %s), ''s''', c, n),
    'user_column => ''u'', session_column => ''s''', level) LIKE '{user:%', kept,
    format('a user of %s times %s is %s, %s mode', n, c, CASE WHEN kept THEN 'kept' ELSE 'dropped' END, level))
FROM (VALUES ('x', 1019, true), ('x', 1020, false), ('ü', 509, true), ('ü', 510, false), ('x', 3000000, false)) AS t (c, n, kept),
     unnest('{row,statement}'::text[]) level;
SELECT is(labels_of('u text, s text', $$repeat('x', 1020), 's'$$, $$user_column => 'u', session_column => 's'$$),
    '{session:s}', 'the other labels of the row are there');
SELECT is(labels_of('u text[]', $$ARRAY[repeat('x', 1020), 'a']$$, $$user_column => 'u'$$), '{user:a}',
    'and so are the other elements of an array');
SELECT is(length(labels_of('c text', format('repeat(''x'', %s)', n), $$context_columns => '{project=c}'$$)), expected,
    format('the name counts: a context of %s', n))
FROM (VALUES (1024 - 16, 1026), (1024 - 15, 2)) AS t (n, expected);

-- NOTICE ------------------------------------------------------------------------------------------

CREATE TABLE unseen (id int PRIMARY KEY, u text);
\set seen `psql -X -qAt -c "SELECT event_service.watch('unseen', columns => '{*}')" 2>&1`
SELECT matches(:'seen'::text, '^NOTICE:  event_service.watch: events of public.unseen have no audience; only auth=none will see them',
    'a watch without an audience says so in a NOTICE');
SELECT matches(:'seen'::text, 'user_column, session_column or context_columns, or say global => true', 'whose hint says what to do');
\set seen `psql -X -qAt -c "SELECT event_service.watch('unseen', columns => '{*}', user_column => 'u')" 2>&1`
SELECT is(:'seen'::text, '', 'with a column it is silent');
\set seen `psql -X -qAt -c "SELECT event_service.watch('unseen', columns => '{*}', global => true)" 2>&1`
SELECT is(:'seen'::text, '', 'global is silent');
\set seen `psql -X -qAt -c "SELECT event_service.watch('unseen')" 2>&1`
SELECT is(cardinality(regexp_split_to_array(:'seen', 'NOTICE:')) - 1, 2, 'without columns too there are two of them');
\set seen `psql -X -qAt -c "INSERT INTO unseen VALUES (1, 'a')" 2>&1`
SELECT is(:'seen'::text, '', 'writing is silent');
SELECT throws_like($$SELECT event_service.watch('unseen', columns => '{*}', context_columns => '{id,u}')$$,
    '%7 of id and 7 of u would both be context:7', 'two bare contexts are refused with the reason');
SELECT matches(hint_of($$SELECT event_service.watch('unseen', columns => '{*}', context_columns => '{id,u}')$$),
    'u=u', 'and with the way out');
SELECT throws_like($$SELECT event_service.watch('unseen', columns => '{*}', context_columns => '{a:b=id}')$$,
    '%''a:b=id'' does not name a context', 'a name that could be mistaken for another is refused');
DELETE FROM event_service.inbox;

-- From one audience to another --------------------------------------------------------------------
-- Every subset of two users and two contexts, to every other: 256 updates in one statement, in both
-- modes, compared with what follows from the sets alone.

CREATE TABLE moved_row (id int PRIMARY KEY, users text[], contexts text[], state text);
CREATE TABLE moved_statement (LIKE moved_row INCLUDING ALL);
CREATE TABLE subset (n int PRIMARY KEY, users text[], contexts text[], labels text[]);
INSERT INTO subset
SELECT n, u, c, ARRAY(SELECT 'user:' || x FROM unnest(u) x UNION ALL SELECT 'context:' || x FROM unnest(c) x)
FROM (SELECT n, array_remove(ARRAY[CASE WHEN n & 1 > 0 THEN 'a' END, CASE WHEN n & 2 > 0 THEN 'b' END], NULL) AS u,
             array_remove(ARRAY[CASE WHEN n & 4 > 0 THEN 'x' END, CASE WHEN n & 8 > 0 THEN 'y' END], NULL) AS c
      FROM generate_series(0, 15) n) s;
-- id is 16 times the old subset and the new one.
CREATE VIEW move AS
SELECT o.n * 16 + n.n AS id, o.labels AS before, n.labels AS after,
       ARRAY(SELECT unnest(o.labels) INTERSECT SELECT unnest(n.labels) ORDER BY 1) AS shared
FROM subset o, subset n;

SELECT event_service.watch('moved_row', 'm', columns => '{id,state}', user_column => 'users', context_columns => '{contexts}'),
       event_service.watch('moved_statement', 'm', columns => '{id,state}', user_column => 'users',
           context_columns => '{contexts}', level => 'statement') \g /dev/null

CREATE TABLE moves (mode text, number int, op text, type text, id int, audience text[], hidden_from text[], data jsonb);
CREATE FUNCTION move_all(mode text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I SELECT o.n * 16 + n.n, o.users, o.contexts, ''old'' FROM subset o, subset n', 'moved_' || mode);
    DELETE FROM event_service.inbox;
    EXECUTE format('UPDATE %I m SET users = s.users, contexts = s.contexts, state = ''new'' FROM subset s WHERE s.n = m.id %% 16',
                   'moved_' || mode);
    WITH taken AS (DELETE FROM event_service.inbox RETURNING *)
    INSERT INTO moves SELECT mode, row_number() OVER (PARTITION BY key ORDER BY event_id), op_name(op), type, key::int,
                             sorted(audience), sorted(hidden_from), data FROM taken;
END $$;
SELECT move_all('row'), move_all('statement') \g /dev/null

-- What must come: a leave for labels of the old audience and none of the new, the update for labels
-- in both, an enter for labels of the new and none in both.
CREATE VIEW expected_moves AS
SELECT id, row_number() OVER (PARTITION BY id ORDER BY part)::int AS number, op, type, audience, hidden_from, data
FROM (
    SELECT id, 1 AS part, 'leave' AS op, 'm.left' AS type, sorted(before) AS audience, sorted(after) AS hidden_from, NULL::jsonb AS data
    FROM move WHERE EXISTS (SELECT unnest(before) EXCEPT SELECT unnest(after))
    UNION ALL
    SELECT id, 2, 'update', 'm.updated', shared, '{}', jsonb_build_object('new', jsonb_build_object('id', id, 'state', 'new'),
        'old', jsonb_build_object('id', id, 'state', 'old'), 'changed', '["state"]'::jsonb)
    FROM move WHERE shared <> '{}' OR before = '{}' AND after = '{}'
    UNION ALL
    SELECT id, 3, 'enter', 'm.entered', sorted(after), shared, jsonb_build_object('new', jsonb_build_object('id', id, 'state', 'new'))
    FROM move WHERE EXISTS (SELECT unnest(after) EXCEPT SELECT unnest(before))
) e;
SELECT is((SELECT count(*)::int FROM moves m WHERE m.mode = 'row'), (SELECT count(*)::int FROM expected_moves),
    'all moves together give as many events as follow from the sets');
SELECT is_empty(format($$(SELECT number, op, type, id, audience, hidden_from, data FROM moves WHERE mode = %1$L
     EXCEPT SELECT number, op, type, id, audience, hidden_from, data FROM expected_moves)$$, mode),
    format('%s mode: no event is there that should not be, nor in another order', mode)) FROM unnest('{row,statement}'::text[]) mode;
SELECT is_empty(format($$(SELECT number, op, type, id, audience, hidden_from, data FROM expected_moves
     EXCEPT SELECT number, op, type, id, audience, hidden_from, data FROM moves WHERE mode = %1$L)$$, mode),
    format('%s mode: no event is missing', mode)) FROM unnest('{row,statement}'::text[]) mode;

-- What a stream with any set of labels makes of it. It begins with the rows that it may see.
CREATE VIEW received AS
SELECT s.n AS stream, s.labels, m.* FROM subset s JOIN moves m
    ON m.audience && s.labels AND NOT m.hidden_from && s.labels;
SELECT is_empty('SELECT FROM received GROUP BY mode, stream, id HAVING count(*) > 1',
    'a stream gets at most one event of an update, whatever labels it holds');
SELECT is_empty($$SELECT FROM received r JOIN move USING (id)
    WHERE op = 'leave' AND NOT (before && labels AND NOT after && labels)$$,
    'leave comes only to streams that saw the row and see it no more');
SELECT is_empty($$SELECT FROM received r JOIN move USING (id)
    WHERE op = 'update' AND NOT (before && labels AND after && labels)$$,
    'the update comes only to streams that saw the row and still see it');
SELECT is_empty($$
    SELECT s.n, move.id, r.op FROM subset s CROSS JOIN move CROSS JOIN unnest('{row,statement}'::text[]) level
    LEFT JOIN received r ON r.stream = s.n AND r.id = move.id AND r.mode = level
    WHERE after && s.labels AND coalesce(r.data #>> '{new,state}', 'nothing') <> 'new'
       OR NOT after && s.labels AND before && s.labels AND r.op IS DISTINCT FROM 'leave'
       OR NOT after && s.labels AND NOT before && s.labels AND r.op IS NOT NULL$$,
    'every stream that may see the row afterwards has its new state, every other one knows that it is gone, none heard more');
SELECT is((SELECT string_agg(DISTINCT coalesce(data::text, 'none'), ' ') FROM moves WHERE op = 'leave'), 'none',
    'a leave has no data');
SELECT is((SELECT string_agg(DISTINCT k, ' ') FROM moves, jsonb_object_keys(data) k WHERE op = 'enter'), 'new',
    'an enter has the new row alone');

-- The order of labels and labels that two columns share.
CREATE TABLE crossed (id int PRIMARY KEY, a text, b text);
SELECT event_service.watch('crossed', columns => '{id}', on_change => '{}', context_columns => '{x=a,x=b}') \g /dev/null
INSERT INTO crossed VALUES (1, '1', '2');
UPDATE crossed SET a = b, b = a;
:advance
SELECT is(string_agg(op_name(op) || ' ' || sorted(audience)::text, ', ' ORDER BY position),
    'insert {context:x:1,context:x:2}, update {context:x:1,context:x:2}',
    'an audience is a set: the same labels in another order neither leave nor enter')
FROM event_service.log WHERE type LIKE 'crossed.%';
SELECT captured() \g /dev/null
CREATE TABLE reordered (id int PRIMARY KEY, u text[]);
SELECT event_service.watch('reordered', columns => '{id}', on_change => '{}', user_column => 'u') \g /dev/null
INSERT INTO reordered VALUES (1, '{a,b}');
UPDATE reordered SET u = '{b,a,NULL,a}';
:advance
SELECT is(captured(), 'insert reordered.created 1 {user:a,user:b} {"new":{"id":1}}' || E'\n' ||
    'update reordered.updated 1 {user:a,user:b} {"new":{"id":1},"old":{"id":1},"changed":[]}',
    'nor does an array whose elements stand in another order');

-- Everyone is a label like others: with global a move between users reaches everyone as an update.
CREATE TABLE open_table (id int PRIMARY KEY, u text);
SELECT event_service.watch('open_table', columns => '{u}', user_column => 'u', global => true) \g /dev/null
INSERT INTO open_table VALUES (1, 'a');
UPDATE open_table SET u = 'b';
:advance
SELECT is((SELECT string_agg(op_name(op), ' ' ORDER BY position) FROM event_service.log
           WHERE type LIKE 'open_table.%' AND audience && '{*}' AND NOT hidden_from && '{*}'), 'insert update',
    'of a move in a table for everyone the update alone reaches a stream');
SELECT captured() \g /dev/null

-- Each of the three has its own id and position, and none is conflated but the update.
CREATE TABLE three (id int PRIMARY KEY, u text[]);
SELECT event_service.watch('three', columns => '{id}', user_column => 'u', conflate => '{updated}') \g /dev/null
INSERT INTO three VALUES (1, '{a,b}');
UPDATE three SET u = '{b,c}';
:advance
SELECT results_eq($$SELECT op_name(op), conflate, position - min(position) OVER (), event_id - min(event_id) OVER ()
                    FROM event_service.log WHERE type LIKE 'three.%' ORDER BY position$$,
    $$VALUES ('insert', false, 0::bigint, 0::bigint), ('leave', false, 1, 1), ('update', true, 2, 2), ('enter', false, 3, 3)$$,
    'each of the three has an id and a position of its own');
SELECT results_eq($$SELECT op, topic, audience, hidden_from, data FROM event_service.events WHERE topic = 'three' AND op <> 'insert'
                    ORDER BY event_id$$,
    $$VALUES ('leave', 'three', '{user:a,user:b}'::text[], '{user:b,user:c}'::text[], NULL::jsonb),
             ('update', 'three', '{user:b}', '{}', '{"new": {"id": 1}, "old": {"id": 1}, "changed": []}'),
             ('enter', 'three', '{user:b,user:c}', '{user:b}', '{"new": {"id": 1}}')$$,
    'the view shows for whom each is and from whom it is hidden');

-- The example.
INSERT INTO tasks (title, user_id, session_id, context) VALUES ('t', 'u', 's', 'c');
UPDATE tasks SET user_id = 'v', progress = 5;
:advance
SELECT is((SELECT string_agg(concat_ws(' ', op, type, sorted(audience), sorted(hidden_from), data -> 'changed'), ', ' ORDER BY event_id)
           FROM event_service.events WHERE topic = 'task'),
    'insert task.created {context:c,session:s,user:u} {}, '
    'leave task.left {context:c,session:s,user:u} {context:c,session:s,user:v}, '
    'update task.progress-updated {context:c,session:s} {} ["progress", "user_id"], '
    'enter task.entered {context:c,session:s,user:v} {context:c,session:s}',
    'a task that changes hands leaves one user and enters the other; its session and context see an update');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
