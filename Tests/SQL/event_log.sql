-- Sequencing: what advance() makes of the inbox, in which order, and what it leaves behind.
\ir support/helpers.sql
SELECT plan(97);

SELECT use_partitions_of(10) \g /dev/null
CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS
    'SELECT last_position FROM event_service.tick ORDER BY tick DESC LIMIT 1';
CREATE FUNCTION newest_tick() RETURNS event_service.tick LANGUAGE sql AS
    'SELECT t FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1';
-- Uses up so many transaction ids.
CREATE TABLE spent ();
CREATE FUNCTION spend_xids(number int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. number LOOP
        BEGIN
            INSERT INTO spent DEFAULT VALUES;
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
    END LOOP;
END $$;
SELECT open_session(name) FROM unnest(ARRAY['a', 'b', 'c']) name \g /dev/null
SELECT open_listener('listener', 'event_service_tick') \g /dev/null

-- An empty log -----------------------------------------------------------------------------------

SELECT is(head(), 0::bigint, 'a log begins with head 0');
SELECT is(count(*), 1::bigint, 'and one tick') FROM event_service.tick;
SELECT is(sequenced(), '', 'nothing to sequence is no row');
SELECT is(count(*), 1::bigint, 'and no tick') FROM event_service.tick;
SELECT is(heard('listener'), '', 'and no notification');

-- Positions ---------------------------------------------------------------------------------------

BEGIN;
SELECT add('a'), add('b'), add('c') \g /dev/null
COMMIT;
SELECT string_agg(concat_ws('|', position, event_id, at, bytes, op, conflate, type, key, audience,
                            hidden_from, data), ' ') AS returned FROM event_service.advance() \gset
SELECT is(:'returned', (SELECT string_agg(concat_ws('|', position, event_id, at, bytes, op, conflate, type, key, audience,
                                 hidden_from, data), ' ' ORDER BY position) FROM event_service.log),
    'advance() returns the rows of the log in order of position');
SELECT is(string_agg(position || '=' || key, ' ' ORDER BY position), '1=a 2=b 3=c',
    'the first position is 1, and within a transaction they follow the writes') FROM event_service.log;
SELECT is(count(*), 0::bigint, 'what was sequenced is gone from the inbox') FROM event_service.inbox;
SELECT is(sequenced(), '', 'and is not sequenced again');

SELECT event_service.publish('test.event', '{"a": 1}', '{user:u,context:c}', 'k') AS id \gset
SELECT at AS at FROM event_service.inbox \gset
:advance
SELECT results_eq('SELECT event_id, at, bytes, op, conflate, type, key, audience, hidden_from, data::text
                   FROM event_service.log WHERE position = 4',
    format($$VALUES (%s::bigint, %L::timestamptz, 8, 'p'::"char", false, 'test.event', 'k', '{user:u,context:c}'::text[],
                     '{}'::text[], '{"a": 1}')$$, :'id', :'at'),
    'an event comes into the log as it was captured, with its id and its time');

-- Order within a batch: by event id, whatever the order of the transaction ids and of the commits.
SELECT tell('a', 'BEGIN'), tell('b', 'BEGIN') \g /dev/null
SELECT ask('a', 'SELECT pg_current_xact_id()::text')::xid8 < ask('b', 'SELECT pg_current_xact_id()::text')::xid8
    AS a_is_older \gset
SELECT ask('b', $$SELECT add('first')::text$$), ask('a', $$SELECT add('second')::text$$),
       ask('b', $$SELECT add('third')::text$$) \g /dev/null
SELECT tell('a', 'COMMIT'), tell('b', 'COMMIT') \g /dev/null
SELECT ok(:'a_is_older', 'the transaction that wrote between has the lower id and committed first');
SELECT is(sequenced(), '5=first 6=second 7=third', 'a batch is in order of the event ids');

-- Causality: b waits for the row that a holds, although b began before a.
CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL, writer text);
SELECT event_service.watch('counter', columns => '{n,writer}', global => true) \g /dev/null
INSERT INTO counter SELECT g, 0 FROM generate_series(1, 20) g;
:advance
:advance
SELECT captured() \g /dev/null
SELECT tell('b', 'BEGIN'), ask('b', 'SELECT pg_current_xact_id()::text'), tell('a', 'BEGIN'),
       ask('a', $$WITH u AS (UPDATE counter SET n = n + 1, writer = 'a' WHERE id = 1 RETURNING n) SELECT n::text FROM u$$),
       start_query('b', $$WITH u AS (UPDATE counter SET n = n + 1, writer = 'b' WHERE id = 1 RETURNING n) SELECT n::text FROM u$$)
\g /dev/null
SELECT ok(gets_blocked('b'), 'a second writer of a row waits for the first');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), '2', 'and goes on from what that one left');
SELECT tell('b', 'COMMIT') \g /dev/null
:advance
SELECT is(captured(), 'update counter.updated 1 {*} {"new":{"n":1,"writer":"a"},"old":{"n":0,"writer":null},"changed":["n","writer"]}'
    || E'\n' || 'update counter.updated 1 {*} {"new":{"n":2,"writer":"b"},"old":{"n":1,"writer":"a"},"changed":["n","writer"]}',
    'its change comes second, though its transaction id is the lower one');

-- Rollbacks leave no hole.
SELECT head() AS head \gset
BEGIN;
SELECT add('lost') \g /dev/null
ROLLBACK;
SELECT add('x') \g /dev/null
BEGIN;
SELECT add('y') \g /dev/null
SAVEPOINT s;
SELECT add('lost too') \g /dev/null
ROLLBACK TO s;
SELECT add('z') \g /dev/null
SAVEPOINT t;
SELECT add('kept') \g /dev/null
RELEASE t;
COMMIT;
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('lost late')::text$$) \g /dev/null
SELECT is(sequenced(), format('%s=x %s=y %s=z %s=kept', :head + 1, :head + 2, :head + 3, :head + 4),
    'what was rolled back, wholly or to a savepoint, has no position and leaves no hole');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT is(sequenced(), '', 'nor has what rolls back later');
SELECT is(count(*), 0::bigint, 'the log is dense')
FROM (SELECT position - lag(position, 1, 0::bigint) OVER (ORDER BY position) AS step FROM event_service.log) s WHERE step <> 1;

-- Open transactions -------------------------------------------------------------------------------

SELECT head() AS head \gset
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('late')::text$$) \g /dev/null
SELECT tell('b', 'BEGIN'), ask('b', $$SELECT add('later')::text$$) \g /dev/null
SELECT add('1') \g /dev/null
SELECT is(sequenced(), :head + 1 || '=1', 'an open transaction with an event of its own holds nobody up');
SELECT ok((SELECT array_agg(x) FROM pg_snapshot_xip((newest_tick()).snapshot) x)
          @> ARRAY[ask('a', 'SELECT pg_current_xact_id()::text')::xid8, ask('b', 'SELECT pg_current_xact_id()::text')::xid8],
    'the tick remembers who was in progress');
SELECT add('2') \g /dev/null
SELECT is(sequenced(), :head + 2 || '=2', 'nor does it later');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(sequenced(), :head + 3 || '=late', 'committed after two ticks, below both, its event comes');
SELECT add('3'), add('4') \g /dev/null
SELECT is(sequenced(1), :head + 4 || '=3', 'and goes on while a batch is cut');
SELECT tell('b', 'COMMIT') \g /dev/null
SELECT is(sequenced(1), :head + 5 || '=later', 'a late one that commits then has the lower event id and comes next');
SELECT is(sequenced(1), :head + 6 || '=4', 'and what was cut off after it');
SELECT is(sequenced(), '', 'nothing comes twice');

SELECT ask('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ') \g /dev/null
SELECT ask('a', 'SELECT count(*)::text FROM event_service.log') \g /dev/null
SELECT add('under a snapshot') \g /dev/null
SELECT is(sequenced(), :head + 7 || '=under a snapshot', 'a snapshot that is held open holds nobody up');
SELECT tell('a', 'COMMIT') \g /dev/null

-- Cut batches -------------------------------------------------------------------------------------

SELECT head() AS head \gset
SELECT add(g::text) FROM generate_series(1, 5) g \g /dev/null
SELECT snapshot AS before FROM newest_tick() \gset
SELECT is(sequenced(2), format('%s=1 %s=2', :head + 1, :head + 2), 'max_rows cuts a batch');
SELECT is(snapshot::text, :'before', 'after a cut the tick keeps the old snapshot') FROM newest_tick();
SELECT is(sequenced(2), format('%s=3 %s=4', :head + 3, :head + 4), 'the rest follows in order');
SELECT is(sequenced(2), :head + 5 || '=5', 'to the last');
SELECT isnt(snapshot::text, :'before', 'with the last the tick takes the new snapshot') FROM newest_tick();
SELECT add('a'), add('b') \g /dev/null
SELECT is(sequenced(2), format('%s=a %s=b', :head + 6, :head + 7), 'a batch of just max_rows');
SELECT isnt(snapshot::text, :'before', 'is not cut') FROM newest_tick();
SELECT is(sequenced(2), '', 'and nothing is left behind it');

-- "xxxx…" has two quotes.
SELECT add(g::text, data => to_jsonb(repeat('x', 98))) FROM generate_series(1, 5) g \g /dev/null
SELECT is(sequenced(max_bytes => 201), format('%s=1 %s=2 %s=3', :head + 8, :head + 9, :head + 10),
    'max_bytes cuts behind the event that reaches it');
SELECT is(sequenced(max_bytes => 200), format('%s=4 %s=5', :head + 11, :head + 12), 'not before');
SELECT add('big', data => to_jsonb(repeat('x', 1000))), add('small') \g /dev/null
SELECT is(sequenced(max_bytes => 10), :head + 13 || '=big', 'an event larger than max_bytes comes alone');
SELECT is(sequenced(max_bytes => 10), :head + 14 || '=small', 'and stops nothing');
SELECT add('null', data => 'null'), add('none') \g /dev/null
SELECT is(sequenced(max_bytes => 5), format('%s=null %s=none', :head + 15, :head + 16), 'small ones go together');

-- Silly bounds move one event at a time, and lose none even when a cut meets many transaction ids.
SELECT add(g::text) FROM generate_series(1, 6) g \g /dev/null
SELECT spend_xids(6000) \g /dev/null
SELECT is(sequenced(0), :head + 17 || '=1', 'max_rows 0 is 1');
SELECT is(sequenced(-5), :head + 18 || '=2', 'so is a negative one');
SELECT is(sequenced(NULL), :head + 19 || '=3', 'and NULL');
SELECT is(sequenced(max_bytes => 0), :head + 20 || '=4', 'max_bytes 0 is 1');
SELECT is(sequenced(max_bytes => -5), :head + 21 || '=5', 'so is a negative one');
SELECT is(sequenced(max_bytes => NULL), :head + 22 || '=6', 'and NULL');
SELECT is(sequenced(), '', 'nothing is left');

-- Ticks -------------------------------------------------------------------------------------------

SELECT tick AS tick, snapshot AS before FROM newest_tick() \gset
SELECT add('one'), add('two') \g /dev/null
:advance
SELECT is(tick, :tick + 1::bigint, 'a batch is one tick') FROM newest_tick();
SELECT is(last_position, (SELECT max(position) FROM event_service.log), 'which holds the head') FROM newest_tick();
SELECT ok(at BETWEEN (SELECT max(l.at) FROM event_service.log l) AND clock_timestamp(),
    'and the time, not before that of its events') FROM newest_tick();
SELECT spend_xids(100) \g /dev/null
:advance
SELECT is(tick, :tick + 1::bigint, 'a few foreign transactions are no tick') FROM newest_tick();
SELECT spend_xids(6000) \g /dev/null
:advance
SELECT is(tick, :tick + 2::bigint, 'many are') FROM newest_tick();
SELECT is(last_position, head(), 'which leaves the head where it is') FROM newest_tick();
SELECT ok(pg_snapshot_xmax(snapshot)::text::bigint - pg_snapshot_xmax(:'before')::text::bigint > 6000,
    'and moves the snapshot on') FROM newest_tick();
SELECT heard('listener') \g /dev/null

-- An event id lower than one that was sequenced before, from a transaction that was open over the tick of
-- the many.
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('patient')::text$$) \g /dev/null
SELECT spend_xids(6000) \g /dev/null
:advance
SELECT spend_xids(6000) \g /dev/null
:advance
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT head() AS head \gset
SELECT is(sequenced(), :head + 1 || '=patient', 'an event is found over ticks without events');

-- The clock is set back: by a failover to a machine whose clock is behind, by NTP. `since` a time must
-- still find every event of that time or later.
UPDATE event_service.tick SET at = at + interval '1 hour' WHERE tick = (newest_tick()).tick;
SELECT at AS ahead FROM newest_tick() \gset
SELECT add('after the step') \g /dev/null
:advance
SELECT is(at, :'ahead', 'the time of ticks never goes back') FROM newest_tick();
UPDATE event_service.tick SET at = now() - interval '1 minute' WHERE at > now();
SELECT add('stamped before the step') \g /dev/null
UPDATE event_service.inbox SET at = at + interval '1 hour';
:advance
SELECT is(t.at, l.at, 'nor does a tick lie before one of its events')
FROM newest_tick() t JOIN event_service.log l ON l.position = t.last_position;
UPDATE event_service.tick SET at = now() WHERE at > now();
UPDATE event_service.log SET at = now() WHERE at > now();

-- Two at once -------------------------------------------------------------------------------------

SELECT head() AS head \gset
SELECT add('shared') \g /dev/null
SELECT tell('a', 'BEGIN') \g /dev/null
SELECT is(ask('a', 'SELECT sequenced()'), :head + 1 || '=shared', 'one session sequences');
SELECT is((SELECT array_agg(a::text) FROM event_service.advance() a), '{"(,,,,,,,,,,,)"}',
    'to another meanwhile advance() returns one row of NULLs, and does not wait');
SELECT is(head(), :head::bigint, 'the head has not moved for others before that one has committed');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT is(sequenced(), :head + 1 || '=shared', 'when that one rolls back, the position is given to the same event again');
SELECT add('next') \g /dev/null
SELECT tell('a', 'BEGIN'), ask('a', 'SELECT sequenced()'), tell('a', 'COMMIT') \g /dev/null
SELECT is(sequenced(), '', 'when it commits, nothing is left');

-- Alone in its transaction: a snapshot from before, or writes of its own, could cost events.
SELECT tell('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ'), ask('a', 'SELECT count(*)::text FROM event_service.log') \g /dev/null
SELECT add('stale') \g /dev/null
SELECT is(ask('a', 'SELECT sequenced()'), '', 'a snapshot from before sees no event');
SELECT tell('a', 'COMMIT'), add('stale too') \g /dev/null
SELECT tell('a', 'BEGIN ISOLATION LEVEL REPEATABLE READ'), ask('a', 'SELECT count(*)::text FROM event_service.log') \g /dev/null
:advance
SELECT alike(ask('a', $$SELECT outcome('SELECT sequenced()')$$), '40001:%',
    'and can give no position twice');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('own')::text$$) \g /dev/null
SELECT is(ask('a', $$SELECT outcome('SELECT sequenced()')$$),
    '55000: event_service.advance: this transaction has written; sequencing needs one of its own',
    'advance() refuses to run behind writes of the same transaction');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT head() AS head \gset
SELECT is(sequenced(), :head + 1 || '=own', 'whose events come when it has committed');

-- Durability --------------------------------------------------------------------------------------

-- What synchronous_commit is at the commit of a batch in a session that has it set so.
CREATE FUNCTION commit_mode(setting text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    mode text;
BEGIN
    PERFORM tell('c', format('SET synchronous_commit = %s', setting)), tell('c', 'BEGIN'),
            ask('c', 'SELECT sequenced()');
    mode := ask('c', $q$SELECT current_setting('synchronous_commit')$q$);
    PERFORM tell('c', 'COMMIT');
    RETURN mode || ', then ' || ask('c', $q$SELECT current_setting('synchronous_commit')$q$);
END $$;
CREATE FUNCTION commit_mode_with_event(setting text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell('b', $q$DO 'BEGIN PERFORM add(''d''); END'$q$);
    RETURN commit_mode(setting);
END $$;
SELECT is(commit_mode_with_event(setting), expected || ', then ' || setting,
    format('synchronous_commit %s is %s for a batch, and nothing else', setting, expected))
FROM (VALUES ('off', 'on'), ('local', 'on'), ('on', 'on'), ('remote_write', 'remote_write'),
             ('remote_apply', 'remote_apply')) AS v (setting, expected);
SELECT is(commit_mode('off'), 'off, then off', 'without events nothing is flushed');

-- Notifications -----------------------------------------------------------------------------------

SELECT heard('listener') \g /dev/null
SELECT head() AS head \gset
SELECT add('a'), add('b'), add('c') \g /dev/null
:advance
SELECT is(heard('listener'), 'event_service_tick=' || :head + 3, 'a batch is announced once, by the head');
SELECT add(g::text) FROM generate_series(1, 3) g \g /dev/null
SELECT sequenced(2) \g /dev/null
SELECT sequenced(2) \g /dev/null
SELECT is(heard('listener'), format('event_service_tick=%s event_service_tick=%s', :head + 5, :head + 6),
    'so is each batch of several');
SELECT add('x'), tell('a', 'BEGIN') \g /dev/null
SELECT ask('a', 'SELECT sequenced()'), tell('a', 'ROLLBACK') \g /dev/null
SELECT is(heard('listener'), '', 'one that is rolled back is not');
:advance
:advance
SELECT is(heard('listener'), 'event_service_tick=' || :head + 7, 'nor is none');

-- Partitions --------------------------------------------------------------------------------------

-- Partitions and how many rows each holds.
CREATE FUNCTION filling(above bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(c.relname || '=' || (SELECT count(*) FROM event_service.log l WHERE l.tableoid = c.oid), ' '
                      ORDER BY substr(c.relname, 6)::bigint)
    FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE i.inhparent = 'event_service.log'::regclass AND substr(c.relname, 6)::bigint >= above
$$;

-- On to a boundary.
SELECT add('f') FROM generate_series(1, 9 - head() % 10) \g /dev/null
:advance
SELECT head() AS head, head() / 10 AS p \gset
SELECT is(filling(:p), format('log_p%s=10 log_p%s=0', :p, :p + 1), 'the next partition is there before it is needed');
SELECT add(g::text) FROM generate_series(1, 5) g \g /dev/null
:advance
SELECT is(filling(:p), format('log_p%s=10 log_p%s=5 log_p%s=0', :p, :p + 1, :p + 2), 'with its first event comes the next');
SELECT add(g::text) FROM generate_series(1, 37) g \g /dev/null
SELECT is(sequenced(), string_agg(:head + 5 + g || '=' || g, ' ' ORDER BY g), 'a batch may cross a boundary, and is not larger than a partition')
FROM generate_series(1, 10) g;
SELECT is(filling(:p), format('log_p%s=10 log_p%s=10 log_p%s=5 log_p%s=0', :p, :p + 1, :p + 2, :p + 3), 'it fills both sides');
SELECT is(sequenced(), string_agg(:head + 5 + g || '=' || g, ' ' ORDER BY g), 'the rest follows in order') FROM generate_series(11, 20) g;
:advance
:advance
SELECT is(filling(:p), format('log_p%s=10 log_p%s=10 log_p%s=10 log_p%s=10 log_p%s=10 log_p%s=2 log_p%s=0',
    :p, :p + 1, :p + 2, :p + 3, :p + 4, :p + 5, :p + 6), 'to the last');
SELECT is(array_agg(position), array_agg(ordinality), 'no position is left out')
FROM (SELECT position, row_number() OVER (ORDER BY position) AS ordinality FROM event_service.log) l;
SELECT is((SELECT count(*) FROM pg_index i WHERE i.indrelid = ('event_service.log_p' || :p + 5)::regclass), 2::bigint,
    'a partition has the indexes of the log');

-- Two that make partitions at once: one waits for the other, and neither fails.
SELECT tell('a', 'BEGIN'), ask('a', 'SELECT event_service.ensure_partitions(50)::text') \g /dev/null
SELECT start_query('b', 'SELECT event_service.ensure_partitions(60)::text') \g /dev/null
SELECT ok(gets_blocked('b'), 'a second that makes partitions waits for the first');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), '', 'and makes those that are missing');
SELECT isnt(to_regclass('event_service.log_p' || (head() + 60) / 10), NULL, 'all that were asked for');

-- A race ------------------------------------------------------------------------------------------

-- Writers that wait, roll back, use savepoints and fight for rows; one that sequences in small batches;
-- one that reads along. Rows have a count that each update raises by one, so that their events must come
-- as 1, 2, 3, …
UPDATE counter SET n = 0, writer = NULL;
:advance
:advance
SELECT head() AS start \gset
CREATE TABLE seen (number int GENERATED ALWAYS AS IDENTITY, position bigint, key text, n int);
CREATE PROCEDURE write_at_random(seed double precision, rounds int) LANGUAGE plpgsql AS $$
DECLARE
    chosen int;
BEGIN
    PERFORM setseed(seed);
    FOR round IN 1 .. rounds LOOP
        -- In order of the id, so that no two wait for each other.
        chosen := 1 + floor(random() * 10);
        UPDATE counter SET n = n + 1 WHERE id = chosen;
        IF random() < 0.3 THEN
            BEGIN
                chosen := 11 + floor(random() * 10);
                UPDATE counter SET n = n + 1 WHERE id = chosen;
                PERFORM pg_sleep(random() * 0.004);
                IF random() < 0.5 THEN
                    RAISE division_by_zero;
                END IF;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
        END IF;
        IF random() < 0.1 THEN
            PERFORM pg_sleep(random() * 0.05);
        END IF;
        IF random() < 0.15 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
    END LOOP;
END $$;
CREATE PROCEDURE read_along(after bigint) LANGUAGE plpgsql AS $$
DECLARE
    page record;
    last boolean := false;
BEGIN
    LOOP
        last := last OR pg_try_advisory_lock(1);
        FOR page IN SELECT * FROM event_service.replay(after, 7) LOOP
            INSERT INTO seen (position, key, n) SELECT page.position, page.key, (page.data -> 'new' ->> 'n')::int
            WHERE page.position IS NOT NULL;
        END LOOP;
        after := page.scanned;
        COMMIT;
        EXIT WHEN last AND page.scanned = page.head;
    END LOOP;
END $$;
SELECT pg_advisory_lock(1) \g /dev/null
SELECT open_session('writer ' || g) FROM generate_series(1, 8) g \g /dev/null
SELECT start_query('c', format('CALL read_along(%s)', :start)) \g /dev/null
SELECT start_query('writer ' || g, format('CALL write_at_random(%s, 60)', g / 10.0)) FROM generate_series(1, 8) g \g /dev/null
CREATE PROCEDURE sequence_until_done() LANGUAGE plpgsql AS $$
DECLARE
    busy boolean;
BEGIN
    LOOP
        busy := (SELECT bool_or(dblink_is_busy(name) = 1) FROM sessions WHERE name LIKE 'writer %');
        COMMIT;
        PERFORM FROM event_service.advance(5);
        EXIT WHEN NOT FOUND AND NOT busy;
        COMMIT;
        PERFORM pg_sleep(0.001);
    END LOOP;
END $$;
CALL sequence_until_done();
SELECT is(string_agg(answer_of('writer ' || g), ' '), repeat('CALL ', 7) || 'CALL', 'no writer failed') FROM generate_series(1, 8) g;
SELECT pg_advisory_unlock(1) \g /dev/null
SELECT is(answer_of('c'), 'CALL', 'nor did the reader');
SELECT ok(count(*) > 300, 'there was a race: ' || count(*) || ' events') FROM event_service.log WHERE position > :start;
SELECT is((SELECT count(*) FROM event_service.log WHERE position > :start), (SELECT sum(n) FROM counter),
    'each committed change has one event');
SELECT is(head() - :start, (SELECT sum(n) FROM counter), 'positions are dense');
SELECT is(count(*), 0::bigint, 'no batch wrote to a partition that it had made, of which a reader might not know yet')
FROM event_service.log l JOIN pg_class c ON c.oid = l.tableoid WHERE c.xmin = l.xmin;
SELECT is(count(*), 0::bigint, 'the events of each row come in the order of its changes')
FROM (SELECT (data -> 'new' ->> 'n')::int - row_number() OVER (PARTITION BY key ORDER BY position) AS off
      FROM event_service.log WHERE position > :start) o WHERE off <> 0;
SELECT ok(count(*) > 0, 'batches held late committers: ' || count(*) || ' events stand behind one of a later id')
FROM (SELECT event_id < max(event_id) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) AS late
      FROM event_service.log WHERE position > :start) l WHERE late;
SELECT results_eq('SELECT position, key, n FROM seen ORDER BY number',
    format($$SELECT position, key, (data -> 'new' ->> 'n')::int FROM event_service.log WHERE position > %s ORDER BY position$$, :start),
    'who reads along sees each event once, and in the order of the log');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
