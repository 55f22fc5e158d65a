-- Publishing: what publish() and publish_all() take and refuse, and what becomes of it.
\ir support/helpers.sql
SELECT plan(137);

SELECT open_session('a'), open_session('b') \g /dev/null

-- An event -----------------------------------------------------------------------------------------

SELECT event_service.publish('invoice.paid', '{"n": 1}', '{user:ann}') AS id \gset
:advance
SELECT results_eq('SELECT event_id, type, topic, key, op, audience, hidden_from, data FROM event_service.events',
    format($$VALUES (%s::bigint, 'invoice.paid', 'invoice', NULL::text, 'publish', '{user:ann}'::text[], '{}'::text[],
                     '{"n": 1}'::jsonb)$$, :'id'),
    'an event is in the log with what was given, under the id that was returned');
SELECT ok(at BETWEEN now() - interval '10 s' AND now(), 'and the time') FROM event_service.events;
SELECT captured() \g /dev/null

SELECT event_service.publish(audience => '{*}', key => 'k', data => '[1]', type => 'a.b', dedup_key => 'd') \g /dev/null
:advance
SELECT is(captured(), 'publish a.b k {*} [1]', 'its arguments have the names of the contract');
SELECT ok(NOT proisstrict AND pronargdefaults = 2 AND prorettype = 'bigint'::regtype, 'of which key and dedup_key may be left out')
FROM pg_proc WHERE oid = 'event_service.publish(text, jsonb, text[], text, text)'::regprocedure;

BEGIN;
SELECT event_service.publish('a.b', '1', '{*}') < event_service.publish('a.b', '2', '{*}') AS ascending \gset
SELECT is(count(*), 2::bigint, 'events wait for the commit') FROM event_service.inbox;
ROLLBACK;
SELECT ok(:'ascending', 'ids ascend');
:advance
SELECT is(captured(), '', 'what is rolled back never happened');

BEGIN;
SELECT event_service.publish('a.b', '1', '{*}') \g /dev/null
SAVEPOINT s;
SELECT event_service.publish('a.b', '2', '{*}') \g /dev/null
ROLLBACK TO s;
SELECT event_service.publish('a.b', '3', '{*}') \g /dev/null
COMMIT;
:advance
SELECT is(captured(), E'publish a.b - {*} 1\npublish a.b - {*} 3', 'nor what is rolled back to a savepoint');

-- Types --------------------------------------------------------------------------------------------

SELECT is(outcome(format('SELECT event_service.publish(%L, NULL, ''{*}'')', type)), 'ok', type || ' is a type')
FROM unnest(ARRAY['a.b', 'A-1_.b-_2', 'a.b.c.d.e', '0.0', '-._', 'Stream.a', 'streams.a', 'a.stream', 'event_services.a',
                  'a.event_service.b', 'event-service.a', repeat('a', 126) || '.b']) type;
:advance
SELECT results_eq($$SELECT DISTINCT topic FROM event_service.events WHERE type IN ('a.b.c.d.e', '0.0') ORDER BY 1$$,
    $$VALUES ('0'), ('a.b.c.d')$$, 'a topic is all before the last dot');
SELECT captured() \g /dev/null
SELECT is(outcome(format('SELECT event_service.publish(%L, NULL, ''{*}'')', type)),
    format('22023: event_service: %s is not an event type', coalesce(quote_literal(type), 'NULL')), coalesce(to_json(type)::text, 'NULL') || ' is none')
FROM unnest(ARRAY['', 'a', '.', 'a.', '.b', 'a..b', 'a.b.', 'a b.c', ' a.b', 'a.b ', 'a.ü', 'a.b/c', 'a.*', E'a.b\n', E'a\n.b',
                  'a.b:c', 'ä.b', repeat('a', 127) || '.b', NULL]) type;
SELECT is(outcome(format('SELECT event_service.publish(%L, NULL, ''{*}'')', type)),
    format('42939: event_service: the type %s is reserved', quote_literal(type)), format('%s is reserved', type))
FROM unnest(ARRAY['stream.open', 'stream.a.b', 'event_service.canary']) type;
SELECT is(hint_of($$SELECT event_service.publish('a', NULL, '{*}')$$),
    'A type is two or more parts of [A-Za-z0-9_-] joined by dots, at most 128 bytes, for example ''invoice.paid''.',
    'the hint says what a type is');
SELECT is(count(*), 0::bigint, 'what is refused leaves nothing') FROM event_service.inbox;

-- Audiences ----------------------------------------------------------------------------------------

SELECT is(outcome(format('SELECT event_service.publish(''a.b'', NULL, %L)', audience)), 'ok', left(to_json(audience)::text, 60) || ' is an audience')
FROM unnest(ARRAY['{*}', '{user:a}', '{session:a}', '{context:a}', '{context:a:b}', '{user:a,session:b,context:c,*}', '{user:*}',
                  '{"user: "}', '{user::}', '{"user:ü 🎈"}', E'{"user:a\nb"}', '{user:a,user:a}',
                  '{user:' || repeat('a', 1019) || '}']) audience;
SELECT is(outcome(format('SELECT event_service.publish(''a.b'', NULL, %L)', audience)),
    format('22023: event_service.publish: %s is not an audience', coalesce(quote_literal(audience::text[]), 'NULL')),
    coalesce(left(to_json(audience)::text, 60), 'NULL') || ' is none')
FROM unnest(ARRAY[NULL, '{}', '{NULL}', '{""}', '{user:}', '{user}', '{a}', '{users:a}', '{User:a}', '{" user:a"}', '{**}', '{*,NULL}',
                  '{role:a}', '{topic:a}', '{user:a,bad}', '{:a}', '{user:' || repeat('a', 1020) || '}',
                  '{user:' || repeat('ü', 510) || '}']) audience;
SELECT ok(hint_of($$SELECT event_service.publish('a.b', NULL, '{a}')$$) ~ 'user:ID, session:ID, context:NAME, or \*', 'the hint says what a label is');
:advance
SELECT captured() \g /dev/null
-- A set, however it is written: readers know arrays of one dimension.
SELECT event_service.publish('a.b', NULL, '{{user:a,user:b},{user:c,*}}'), event_service.publish('a.b', NULL, '[0:1]={user:a,user:b}') \g /dev/null
:advance
SELECT is(captured(), E'publish a.b - {user:a,user:b,user:c,*} null\npublish a.b - {user:a,user:b} null',
    'an array of more dimensions, or one that begins at 0, becomes a plain one');

-- Data ---------------------------------------------------------------------------------------------

SELECT event_service.publish('a.b', NULL, '{*}'), event_service.publish('a.b', 'null', '{*}'), event_service.publish('a.b', '"a"', '{*}'),
       event_service.publish('a.b', '{"z": 1.00, "a": [1, 2, {"x": null}]}', '{*}'), event_service.publish('a.b', '"ü\n🎈"', '{*}', '') \g /dev/null
:advance
SELECT is(captured(), E'publish a.b - {*} null\npublish a.b - {*} null\npublish a.b - {*} "a"\n'
    'publish a.b - {*} {"a": [1, 2, {"x": null}], "z": 1.00}\npublish a.b  {*} "ü\\n🎈"',
    'NULL is JSON''s null; all else comes out as jsonb writes it');

-- A value of over 1 MiB, as it is stored, gives way to its size.
SELECT event_service.publish('a.b', to_jsonb(repeat('x', n)), '{*}', n::text) FROM unnest(ARRAY[1048000, 1048576, 3000000]) n \g /dev/null
SELECT is(string_agg(key || ' ' || CASE WHEN bytes < 100 THEN data::text ELSE bytes::text END, ', ' ORDER BY event_id),
    '1048000 1048002, 1048576 {"omitted_bytes" : 1048588}, 3000000 {"omitted_bytes" : 3000012}',
    'data of over 1 MiB give way to their size') FROM event_service.inbox;
:advance
SELECT captured() \g /dev/null
-- From a table it comes as it lies there.
CREATE TABLE document (body jsonb);
INSERT INTO document VALUES (to_jsonb(repeat('x', 3000000)));
SELECT event_service.publish('a.b', body, '{*}') FROM document \g /dev/null
SELECT is(bytes, 3000002, 'and compressed it is small') FROM event_service.inbox;
:advance
SELECT captured() \g /dev/null
SELECT event_service.publish('a.b', NULL, '{*}', repeat('k', 100000)) \g /dev/null
SELECT is(length(key), 100000, 'a key may be long') FROM event_service.inbox;
:advance
SELECT captured() \g /dev/null

-- Deduplication ------------------------------------------------------------------------------------

SELECT event_service.publish('a.b', '1', '{*}', dedup_key => 'x') AS x \gset
SELECT is(event_service.publish('c.d', '2', '{user:a}', 'other', 'x'), :x::bigint, 'a dedup_key that was seen returns the first event''s id');
SELECT isnt(event_service.publish('a.b', '3', '{*}', dedup_key => 'X'), :x::bigint, 'another key is another');
SELECT event_service.publish('a.b', '4', '{*}', dedup_key => ''), event_service.publish('a.b', '5', '{*}', dedup_key => '') \g /dev/null
SELECT event_service.publish('a.b', '6', '{*}', dedup_key => NULL), event_service.publish('a.b', '6', '{*}', dedup_key => NULL) \g /dev/null
:advance
SELECT is(captured(), E'publish a.b - {*} 1\npublish a.b - {*} 3\npublish a.b - {*} 4\npublish a.b - {*} 6\npublish a.b - {*} 6',
    'and nothing is added; the empty text is a key, NULL is none');
SELECT is(event_service.publish('a.b', '7', '{*}', dedup_key => 'x'), :x::bigint, 'also when the first was sequenced long ago');
SELECT is(outcome($$SELECT event_service.publish('bad', NULL, '{*}', dedup_key => 'x')$$), '22023: event_service: ''bad'' is not an event type',
    'what is bad is refused even if it was seen');
SELECT is(outcome($$SELECT event_service.publish('a.b', NULL, '{*}', dedup_key => repeat('ü', 512))$$), 'ok', 'a dedup_key of 1024 bytes');
SELECT is(outcome($$SELECT event_service.publish('a.b', NULL, '{*}', dedup_key => repeat('ü', 512) || 'x')$$),
    '22023: event_service.publish: the dedup_key has 1025 bytes, more than 1024', 'one of more is refused');
BEGIN;
SELECT event_service.publish('a.b', '8', '{*}', dedup_key => 'y') AS y \gset
SELECT is(event_service.publish('a.b', '9', '{*}', dedup_key => 'y'), :y::bigint, 'within one transaction too');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT event_service.publish('a.b', '10', '{*}', dedup_key => 'z') AS lost \gset
ROLLBACK TO s;
SELECT isnt(event_service.publish('a.b', '11', '{*}', dedup_key => 'z'), :lost::bigint, 'what was rolled back was never seen');
COMMIT;
:advance
SELECT is(captured(), E'publish a.b - {*} null\npublish a.b - {*} 8\npublish a.b - {*} 11', 'each gave one event');

-- 24 hours.
UPDATE event_service.published_key SET at = at - interval '23 hours 59 minutes' WHERE dedup_key = 'x';
SELECT is(event_service.publish('a.b', '12', '{*}', dedup_key => 'x'), :x::bigint, 'a key is remembered for 24 hours');
UPDATE event_service.published_key SET at = at - interval '1 minute 1 second' WHERE dedup_key = 'x';
SELECT event_service.publish('a.b', '13', '{*}', dedup_key => 'x') AS x2 \gset
SELECT isnt(:x2::bigint, :x::bigint, 'and then free, whether or not it was swept');
SELECT is(event_service.publish('a.b', '14', '{*}', dedup_key => 'x'), :x2::bigint, 'from then on it is the later event''s');
UPDATE event_service.published_key SET at = at - interval '12 hours' WHERE dedup_key = 'x';
SELECT is(event_service.publish('a.b', '15', '{*}', dedup_key => 'x'), :x2::bigint, 'counted from that one');
UPDATE event_service.published_key SET at = at - interval '12 hours 1 second' WHERE dedup_key = 'x';
SELECT isnt(event_service.publish('a.b', '16', '{*}', dedup_key => 'x'), :x2::bigint, 'asking does not prolong it');
:advance
SELECT is(captured(), E'publish a.b - {*} 13\npublish a.b - {*} 16', 'each time one event');

-- Two at once.
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT event_service.publish('a.b', '1', '{*}', dedup_key => 'race')::text$$) AS first \gset
SELECT start_query('b', $$SELECT event_service.publish('a.b', '2', '{*}', dedup_key => 'race')::text$$) \g /dev/null
SELECT ok(gets_blocked('b'), 'a second publisher of a key waits for the first');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), :'first', 'and gets its id');
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT event_service.publish('a.b', '3', '{*}', dedup_key => 'race 2')::text$$) AS first \gset
SELECT start_query('b', $$SELECT event_service.publish('a.b', '4', '{*}', dedup_key => 'race 2')::text$$) \g /dev/null
SELECT ok(gets_blocked('b'), 'again');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT isnt(answer_of('b'), :'first', 'if the first rolls back, the second publishes');
:advance
SELECT is(captured(), E'publish a.b - {*} 1\npublish a.b - {*} 4', 'one event each');
SELECT ask('a', $$SELECT event_service.publish('a.b', '5', '{*}', dedup_key => 'race 3')::text$$) \g /dev/null
UPDATE event_service.published_key SET at = at - interval '25 hours' WHERE dedup_key = 'race 3';
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT event_service.publish('a.b', '6', '{*}', dedup_key => 'race 3')::text$$) AS first \gset
SELECT start_query('b', $$SELECT event_service.publish('a.b', '7', '{*}', dedup_key => 'race 3')::text$$) \g /dev/null
SELECT ok(gets_blocked('b'), 'two that use a key which has become free');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), :'first', 'are one as well');
SELECT tell('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ'), ask('a', 'SELECT count(*)::text FROM event_service.published_key') \g /dev/null
SELECT event_service.publish('a.b', '8', '{*}', dedup_key => 'race 4') \g /dev/null
SELECT alike(ask('a', $$SELECT outcome($q$SELECT event_service.publish('a.b', '9', '{*}', dedup_key => 'race 4')$q$)$$), '40001:%',
    'in a snapshot that does not see the first publisher it is a serialization failure, as everywhere');
SELECT tell('a', 'ROLLBACK') \g /dev/null
:advance
SELECT captured() \g /dev/null

-- Waking -------------------------------------------------------------------------------------------

SELECT open_listener('listener', 'event_service_wake'), open_session('parked') \g /dev/null
SELECT event_service.publish('a.b', NULL, '{*}') \g /dev/null
SELECT is(heard('listener'), '', 'an awake listener is not notified');
SELECT ask('parked', 'SELECT pg_advisory_lock(1163284052, 1)::text') \g /dev/null
SELECT event_service.publish('a.b', NULL, '{*}'), event_service.publish('a.b', NULL, '{*}') \g /dev/null
SELECT is(heard('listener'), 'event_service_wake', 'a parked one is, once a transaction');
SELECT event_service.publish('a.b', NULL, '{*}', dedup_key => 'x') \g /dev/null
SELECT is(heard('listener'), '', 'for a duplicate it is not');
SELECT outcome('SELECT event_service.publish(''bad'', NULL, NULL)') \g /dev/null
SELECT is(heard('listener'), '', 'nor for what is refused');
SELECT close_session('parked') \g /dev/null
:advance
SELECT captured() \g /dev/null

-- Many at once -------------------------------------------------------------------------------------

SELECT event_service.publish_all(
    '[{"data": {"n": 1}}, {"data": null}, {}, {"data": [3], "type": "not.this", "audience": ["*"]}]',
    '[{"type": "a.b", "audience": ["user:a"]}, {"type": "a.c", "audience": ["user:b", "context:c"], "key": "k"},
      {"type": "a.d", "audience": ["*"], "key": null, "dedup_key": null}, {"type": "a.e", "audience": ["session:s"], "dedup_key": "all"}]')
    AS ids \gset
:advance
SELECT is((SELECT array_agg(event_id ORDER BY position) FROM event_service.log WHERE position > (SELECT position FROM last_look)),
    :'ids'::bigint[], 'publish_all() returns the ids in order');
SELECT is(captured(), E'publish a.b - {user:a} {"n": 1}\npublish a.c k {user:b,context:c} null\npublish a.d - {*} null\npublish a.e - {session:s} [3]',
    'data come from the bodies, all else from the envelopes');
SELECT is(cardinality(event_service.publish_all('{"data": 1}', '[{"type": "a.b", "audience": ["*"]}]')), 1, 'one body need not be an array');
SELECT is(event_service.publish_all('[]', '[]'), '{}', 'none is none');
SELECT event_service.publish_all('[{"data": 1}, {"data": 2}]', '[{"type": "a.b", "audience": ["*"], "dedup_key": "twin"},
    {"type": "a.b", "audience": ["*"], "dedup_key": "twin"}]') AS ids \gset
SELECT is(:'ids'::bigint[], ARRAY[event_id, event_id], 'a dedup_key holds within one call') FROM event_service.published_key WHERE dedup_key = 'twin';
:advance
SELECT is(captured(), E'publish a.b - {*} 1\npublish a.b - {*} 1', 'and its event is there once');

CREATE FUNCTION all_of(VARIADIC envelopes text[]) RETURNS text LANGUAGE sql AS $$
    SELECT outcome(format('SELECT event_service.publish_all(%L, %L)', '[{"data": 1}, {"data": 2}, {"data": 3}]',
                          '[' || array_to_string(envelopes, ',') || ']'))
$$;
SELECT is(all_of('{"type": "a.b", "audience": ["*"]}', bad, '{"type": "a.b", "audience": ["*"]}'), expected, 'one bad item refuses all: ' || bad)
FROM (VALUES
    ('{"type": "a", "audience": ["*"]}', '22023: item 1: event_service: ''a'' is not an event type'),
    ('{"type": "stream.open", "audience": ["*"]}', '42939: item 1: event_service: the type ''stream.open'' is reserved'),
    ('{"audience": ["*"]}', '22023: item 1: event_service: NULL is not an event type'),
    ('{"type": "a.b"}', '22023: item 1: event_service.publish: ''{}'' is not an audience'),
    ('{"type": "a.b", "audience": null}', '22023: item 1: cannot extract elements from a scalar'),
    ('{"type": "a.b", "audience": []}', '22023: item 1: event_service.publish: ''{}'' is not an audience'),
    ('{"type": "a.b", "audience": ["x"]}', '22023: item 1: event_service.publish: ''{x}'' is not an audience'),
    ('{"type": "a.b", "audience": [["*"]]}', '22023: item 1: event_service.publish: E''{"[\\"*\\"]"}'' is not an audience'),
    ('{"type": "a.b", "audience": ["*"], "dedup_key": "' || repeat('d', 1025) || '"}',
     '22023: item 1: event_service.publish: the dedup_key has 1025 bytes, more than 1024')) AS v (bad, expected);
SELECT alike(all_of('{"type": "a.b", "audience": ["*"]}', '{"type": "a.b", "audience": ["*"]}', '{"type": "", "audience": ["*"]}'),
    '22023: item 2: %', 'the index is that of the item, from 0');
SELECT alike(all_of('{}', '{"type": "a.b", "audience": ["*"]}'), '22023: item 0: %', 'from the first');
SELECT is(hint_of($$SELECT event_service.publish_all('[{}]', '[{"type": "a", "audience": ["*"]}]')$$),
    hint_of($$SELECT event_service.publish('a', NULL, '{*}')$$), 'the hint comes with it');
:advance
SELECT is(captured(), '', 'nothing of a refused call is there');
SELECT is(count(*), 0::bigint, 'nor its dedup_keys') FROM event_service.published_key WHERE dedup_key LIKE 'ddd%';

-- Rights -------------------------------------------------------------------------------------------

CREATE ROLE sql_test_publisher LOGIN IN ROLE event_service_publisher;
CREATE ROLE sql_test_stranger LOGIN;
SELECT open_session('publisher', 'sql_test_publisher'), open_session('stranger', 'sql_test_stranger') \g /dev/null
GRANT EXECUTE ON FUNCTION outcome(text) TO PUBLIC;
SELECT is(ask('publisher', $$SELECT outcome($q$SELECT event_service.publish('a.b', '1', '{*}', 'k', 'rights')$q$)$$), 'ok', 'a publisher may publish');
SELECT is(ask('stranger', $$SELECT outcome($q$SELECT event_service.publish('a.b', '1', '{*}', 'k', 'rights')$q$)$$),
    '42501: permission denied for function publish', 'others may not');
SELECT is(ask('publisher', $$SELECT outcome($q$SELECT event_service.publish_all('[]', '[]')$q$)$$),
    '42501: permission denied for function publish_all', 'publish_all() is for the service alone');
SELECT is(ask('publisher', $$SELECT outcome($q$INSERT INTO event_service.inbox (op, type, audience) VALUES ('p', 'a.b', '{*}')$q$)$$),
    '42501: permission denied for table inbox', 'nobody writes to the inbox but through the function');
SELECT is(ask('publisher', $$SELECT outcome('SELECT * FROM event_service.published_key')$$),
    '42501: permission denied for table published_key', 'or reads the keys of others');
:advance
SELECT is(captured(), 'publish a.b k {*} 1', 'one event came of that');
SELECT close_session('publisher'), close_session('stranger') \g /dev/null
DROP ROLE sql_test_publisher, sql_test_stranger;

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
