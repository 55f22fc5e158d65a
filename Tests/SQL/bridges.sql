-- Bridges: batches that are taken in once, partitions that stand elsewhere, dead letters, positions of
-- sinks, and the locks by which one node at a time runs a bridge.
\ir support/helpers.sql
SELECT plan(64);

-- A batch of events, all alike but for key and number.
CREATE FUNCTION batch(VARIADIC keys text[]) RETURNS json LANGUAGE sql AS $$
    SELECT json_agg(json_build_object('type', 'test.event', 'audience', ARRAY['user:u'], 'key', k, 'dedup_key', k))
    FROM unnest(keys) k
$$;
-- What becomes of a call: added=N, or where each partition stands, or the error.
CREATE FUNCTION take(events json, data text[], offsets json DEFAULT '[]', dead json DEFAULT '[]') RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT string_agg(coalesce('added=' || added, format('%s/%s at %s', topic, partition, coalesce(next_offset::text, 'none'))),
                      ' ' ORDER BY topic, partition)
    INTO answer FROM event_service.take_in(events, data, dead, offsets);
    RETURN answer;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
-- Where a batch reads a partition of the source g: from an offset, NULL for none, up to another.
CREATE FUNCTION reads(topic text, partition int, expected bigint, next bigint, stamp bigint DEFAULT 1) RETURNS json
LANGUAGE sql AS $$
    SELECT json_build_array(json_build_object('source', 'g', 'topic', topic, 'partition', partition, 'expected', expected,
                                              'next', next, 'stamp', stamp))
$$;
CREATE FUNCTION offsets() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s/%s=%s@%s', topic, partition, next_offset, stamp), ' ' ORDER BY topic, partition)
    FROM event_service.taken_offsets('g')
$$;

-- Events --------------------------------------------------------------------------------------------

SELECT is(take(batch('a', 'b'), '{"{\"n\": 1.50}","[2]"}'), 'added=2', 'a batch is taken in');
:advance
SELECT is(captured(), E'publish test.event a {user:u} {"n": 1.50}\npublish test.event b {user:u} [2]',
    'in its order, data byte for byte');
SELECT is(take(batch('a', 'c', 'c', 'b'), '{1,2,3,4}'), 'added=1', 'what was seen within 24 hours adds nothing, nor does a second in one batch');
:advance
SELECT is(captured(), 'publish test.event c {user:u} 2', 'of two in one batch the first is taken');
UPDATE event_service.published_key SET at = now() - interval '25 hours' WHERE dedup_key = 'a';
SELECT is(take(batch('a', 'b'), '{1,2}'), 'added=1', 'after 24 hours a key is free again');
SELECT is(event_service.publish('test.event', '1', '{*}', dedup_key => 'c'), (SELECT event_id FROM event_service.published_key WHERE dedup_key = 'c'),
    'publish() knows the same keys');
DELETE FROM event_service.inbox;
SELECT is(take('[{"type": "a.b", "audience": ["*"]}, {"type": "a.b", "audience": ["*"]}]', '{1,1}'), 'added=2', 'without a key all are taken');
:advance
SELECT is(captured(), E'publish a.b - {*} 1\npublish a.b - {*} 1', 'also alike ones');
SELECT is(take('[{"type": "a.b", "audience": ["*"]}]', ARRAY['"\ud800\u0000"']), 'added=1', 'json takes what jsonb and text do not');
:advance
SELECT is(captured(), 'publish a.b - {*} "\ud800\u0000"', 'and keeps it');
SELECT is(take('[{"type": "a.b", "audience": ["*"]}]', ARRAY['"' || repeat('x', 1048576) || '"']), 'added=1', 'a value over 1 MiB fails nobody');
:advance
SELECT is(captured(), 'publish a.b - {*} {"omitted_bytes" : 1048578}', 'it is left out');
SELECT is(take('[]', '{}'), 'added=0', 'a batch may hold nothing');

-- The order of a batch is that of the ids, however many there are.
SELECT is(take((SELECT json_agg(json_build_object('type', 'a.b', 'audience', ARRAY['*'], 'key', i, 'dedup_key', md5(i::text)))
                FROM generate_series(1, 1000) i), ARRAY(SELECT i::text FROM generate_series(1, 1000) i)), 'added=1000', 'a thousand at once');
SELECT is((SELECT array_agg(key::int ORDER BY event_id) FROM event_service.inbox), ARRAY(SELECT generate_series(1, 1000)), 'keep their order');
:advance
SELECT captured() \g /dev/null

-- What is bad in it ---------------------------------------------------------------------------------

SELECT is(take(events::json, data), expected, expected)
FROM (VALUES
    ('[{"type": "a", "audience": ["*"]}]', '{1}'::text[], '22023: event_service: ''a'' is not an event type'),
    ('[{"audience": ["*"]}]', '{1}', '22023: event_service: NULL is not an event type'),
    ('[{"type": "stream.open", "audience": ["*"]}]', '{1}', '42939: event_service: the type ''stream.open'' is reserved'),
    ('[{"type": "a.b", "audience": ["*", "nobody"]}]', '{1}', '22023: event_service.take_in: ''nobody'' is no audience label'),
    ('[{"type": "a.b", "audience": []}]', '{1}', '22023: event_service.take_in: NULL is no audience label'),
    ('[{"type": "a.b"}]', '{1}', '22023: event_service.take_in: NULL is no audience label'),
    ('[{"type": "a.b", "audience": [null]}]', '{1}', '22023: event_service.take_in: NULL is no audience label'),
    ('[{"type": "a.b", "audience": ["*"]}]', '{nope}', '22P02: invalid input syntax for type json'),
    ('[{"type": "a.b", "audience": ["*"]}]', '{}', '22023: event_service.take_in: 1 events have 0 data'),
    ('[{"type": "a.b", "audience": ["*"]}]', '{1,2}', '22023: event_service.take_in: 1 events have 2 data')) AS v (events, data, expected);
SELECT is(take(batch('good'), '{1}', reads('t', 9, NULL, 5), '[{"source": "s", "reason": "r"}]'),
    '23502: null value in column "message" of relation "dead_letters" violates not-null constraint', 'a bad dead letter');
:advance
SELECT is(captured(), '', 'nothing of a batch that is bad is there');
SELECT is(offsets(), NULL, 'no offset either');
SELECT is(take(batch('good'), '{1}'), 'added=1', 'nor its keys');

-- Partitions ----------------------------------------------------------------------------------------

SELECT is(take(batch('p1'), '{1}', reads('t', 0, NULL, 10, 77)), 'added=1', 'a partition that was never read');
SELECT is(offsets(), 't/0=10@77', 'stands where the batch ended');
SELECT is(take(batch('p2'), '{1}', reads('t', 0, 10, 11, 78)), 'added=1', 'and goes on from there');
SELECT is(offsets(), 't/0=11@78', 'to the end of the next');
SELECT is(take(batch('p3'), '{1}', reads('t', 0, 10, 12)), 't/0 at 11', 'a batch from elsewhere is refused');
SELECT is(take(batch('p3'), '{1}', reads('t', 0, NULL, 12)), 't/0 at 11', 'also one that believes it the first');
SELECT is(take(batch('p3'), '{1}', reads('t', 1, 5, 6)), 't/1 at none', 'also one that knows of what was lost here');
SELECT is(take('[]', '{}', reads('t', 0, 10, 12), '[{"source": "s", "reason": "r", "message": "m"}]'), 't/0 at 11', 'with its dead letters');
SELECT is((SELECT count(*) FROM event_service.dead_letters), 0::bigint, 'of which none is there');
SELECT is(take(batch('p3'), '{1}', (SELECT json_agg(o) FROM (SELECT json_array_elements(reads('t', 0, 11, 12)) UNION ALL SELECT json_array_elements(reads('u', 3, 4, 5))
                                                            UNION ALL SELECT json_array_elements(reads('t', 7, NULL, 1))) AS x (o))),
    'u/3 at none', 'of several, those are named that stand elsewhere');
SELECT is(offsets(), 't/0=11@78', 'and none has moved');
SELECT is(take(batch('p3'), '{1}', reads('t', 0, 11, 3, 5)), 'added=1', 'a topic that was made anew counts from the beginning');
SELECT is(offsets(), 't/0=3@5', 'that is where it stands');
SELECT is((SELECT count(*) FROM event_service.taken_offsets('other')), 0::bigint, 'another source has partitions of its own');

-- Two nodes that believe a partition theirs: one waits for the other, and is refused.
SELECT open_session('one'), open_session('two') \g /dev/null
SELECT tell('one', 'BEGIN'), ask('one', $$SELECT take(batch('q1'), '{1}', reads('t', 0, 3, 4))$$) \g /dev/null
SELECT start_query('two', $$SELECT take(batch('q2'), '{1}', reads('t', 0, 3, 5))$$) \g /dev/null
SELECT ok(gets_blocked('two'), 'the second of two waits for the first');
SELECT tell('one', 'COMMIT') \g /dev/null
SELECT is(answer_of('two'), 't/0 at 4', 'and is told where the partition stands now');
SELECT tell('one', 'BEGIN'), ask('one', $$SELECT take(batch('q3'), '{1}', reads('new', 0, NULL, 4))$$) \g /dev/null
SELECT start_query('two', $$SELECT take(batch('q4'), '{1}', reads('new', 0, NULL, 5))$$) \g /dev/null
SELECT ok(gets_blocked('two'), 'also where neither has read it before');
SELECT tell('one', 'COMMIT') \g /dev/null
SELECT is(answer_of('two'), '40001: event_service.take_in: a partition was taken in meanwhile', 'it is to try again');
SELECT is(ask('two', $$SELECT take(batch('q4'), '{1}', reads('new', 0, NULL, 5))$$), 'new/0 at 4', 'and then is told');

-- Dead letters --------------------------------------------------------------------------------------

SELECT is(take('[]', '{}', dead => '[{"source": "kafka:t:0:1", "reason": "not JSON", "message": "{"}]'), 'added=0', 'dead letters are kept');
SELECT is((SELECT (source, reason, message, at > now() - interval '1 minute')::text FROM event_service.dead_letters), '(kafka:t:0:1,"not JSON",{,t)',
    'with where they came from, why, and what they were');
UPDATE event_service.dead_letters SET at = now() - interval '31 days';
SELECT take('[]', '{}', dead => '[{"source": "s", "reason": "r", "message": "new"}]') \g /dev/null
SELECT is((SELECT string_agg(message, ' ') FROM event_service.dead_letters), 'new', 'for thirty days');

-- Sinks ---------------------------------------------------------------------------------------------

:advance
SELECT is(event_service.sink_position('s'), (SELECT max(position) FROM event_service.log), 'a new sink begins at the head');
SELECT add('one'), add('two') \g /dev/null
:advance
SELECT is((SELECT string_agg(key, ' ' ORDER BY position) FROM event_service.sink_page('s', NULL, event_service.sink_position('s'), NULL)), 'one two', 'and reads on from there');
SELECT is((SELECT count(*) FROM event_service.sink_page('s', (SELECT max(position) - 1 FROM event_service.log), (SELECT max(position) FROM event_service.log), NULL) WHERE position IS NOT NULL),
    0::bigint, 'a page may be empty');
SELECT is(event_service.sink_position('s'), (SELECT max(position) - 1 FROM event_service.log), 'and notes how far was sent');
UPDATE event_service.bridge_position SET position = 1000000;
SELECT is(event_service.sink_position('s'), (SELECT max(position) FROM event_service.log), 'ahead of the log, it goes on at the head');
SELECT add('three') \g /dev/null
:advance
SELECT is((SELECT string_agg(key, ' ') FROM event_service.sink_page('s', NULL, 0, '{no.\%}')), NULL, 'types narrow the page');
SELECT set_config('event_service.epoch', event_service.newest_epoch()::text, false) \g /dev/null
SELECT is((SELECT count(*) FROM event_service.sink_page('s', 1, 1, NULL) WHERE position IS NOT NULL) > 0, true, 'of the epoch that the session attached to there is a page');
SELECT set_config('event_service.epoch', (event_service.newest_epoch() - 1)::text, false) \g /dev/null
SELECT is((SELECT count(*) FROM event_service.sink_page('s', 2, 1, NULL)), 0::bigint, 'of a later one there is none');
SELECT is((SELECT position FROM event_service.bridge_position), 1::bigint, 'and nothing is noted');
SELECT set_config('event_service.epoch', '', false) \g /dev/null

-- One node at a time --------------------------------------------------------------------------------

SELECT is(ask('one', $$SELECT event_service.claim_bridge('b')::text$$), 'true', 'the first has it');
SELECT is(ask('two', $$SELECT event_service.claim_bridge('b')::text$$), 'false', 'the second has not');
SELECT close_session('one') \g /dev/null
SELECT ok(comes_true($$ask('two', 'SELECT event_service.claim_bridge(''b'')::text')::boolean$$), 'until the first is gone');
SELECT close_session('two') \g /dev/null

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
