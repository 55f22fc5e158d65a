-- Epochs: attach() tells a history that goes on from one that forked, and loses nothing that waits.
\ir support/helpers.sql
SELECT plan(84);

CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS
    'SELECT last_position FROM event_service.tick ORDER BY tick DESC LIMIT 1';
CREATE FUNCTION newest_epoch() RETURNS bigint LANGUAGE sql AS 'SELECT max(epoch) FROM event_service.epoch';
-- The epochs as attach() returns them: epoch from its first position on, then head and floor.
CREATE FUNCTION attached() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s from %s', epoch, first_position), ', ' ORDER BY n)
           || string_agg(DISTINCT format(': floor %s, head %s', floor, head), ' and ')
    FROM event_service.attach() WITH ORDINALITY AS a (epoch, first_position, head, floor, n)
$$;
-- Has the present history look like one that went on elsewhere.
CREATE FUNCTION pretend(part int, value text) RETURNS void LANGUAGE sql AS $$
    UPDATE event_service.epoch SET identity[part] = value WHERE epoch = newest_epoch()
$$;
-- Has the inbox and the ticks look like those of a cluster whose transaction ids were far ahead, or behind.
CREATE FUNCTION from_another_world(xid bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pretend(1, '1');
    UPDATE event_service.inbox SET xid = from_another_world.xid::text::xid8;
    UPDATE event_service.tick SET snapshot = format('%1$s:%1$s:', from_another_world.xid)::pg_snapshot;
$$;

-- The same history ---------------------------------------------------------------------------------

SELECT epoch AS first FROM event_service.epoch \gset
SELECT is(count(*), 1::bigint, 'the migrations open the first epoch') FROM event_service.epoch;
SELECT ok(epoch >= floor(extract(epoch FROM opened_at)) AND opened_at > now() - interval '1 hour',
    'which is the second of its opening, or later') FROM event_service.epoch;
SELECT is(attached(), :'first' || ' from 1: floor 1, head 0', 'attach() returns it, with floor and head');
SELECT add('a'), add('b') \g /dev/null
:advance
SELECT is(attached(), :'first' || ' from 1: floor 1, head 2', 'the same history, the same epoch');
SELECT open_session('a'), open_session('b') \g /dev/null
SELECT is(ask('a', 'SELECT attached()'), :'first' || ' from 1: floor 1, head 2', 'from every session');
VACUUM FULL event_service.inbox;
REINDEX TABLE event_service.log;
SELECT is(attached(), :'first' || ' from 1: floor 1, head 2', 'also after maintenance');
SELECT is(array_length(identity, 1), 5, 'a history is told by cluster, timeline, database, table and start of the server') FROM event_service.epoch;
SELECT is(identity, ARRAY[(SELECT system_identifier::text FROM pg_control_system()), '00000001',
                          (SELECT oid::text FROM pg_database WHERE datname = current_database()),
                          'event_service.log'::regclass::oid::text,
                          extract(epoch FROM pg_postmaster_start_time())::text], 'in this order') FROM event_service.epoch;

-- attach() and advance() exclude each other.
SELECT tell('a', 'BEGIN'), ask('a', 'SELECT attached()') \g /dev/null
SELECT is(sequenced(), 'busy', 'nobody sequences while a session attaches');
SELECT start_query('b', 'SELECT attached()') \g /dev/null
SELECT ok(gets_blocked('b'), 'and who attaches waits for it');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(answer_of('b'), :'first' || ' from 1: floor 1, head 2', 'and then has the same');

-- A new timeline -----------------------------------------------------------------------------------

SELECT add('c'), tell('a', 'BEGIN'), ask('a', $$SELECT add('open')::text$$) \g /dev/null
SELECT array_agg(xid ORDER BY event_id) AS xids FROM event_service.inbox \gset
SELECT count(*) AS ticks FROM event_service.tick \gset
SELECT pretend(2, '00000000') \g /dev/null
SELECT is(attached(), format('%s from 1, %s from 3: floor 1, head 2', :'first', newest_epoch()),
    'on a new timeline a new epoch begins behind the head');
SELECT newest_epoch() AS second \gset
SELECT ok(:second > :first, 'with a greater number');
SELECT is(identity[2], '00000001', 'and remembers the timeline') FROM event_service.epoch WHERE epoch = :second;
SELECT is(attached(), format('%s from 1, %s from 3: floor 1, head 2', :'first', :'second'), 'only once');
SELECT is((SELECT array_agg(xid ORDER BY event_id) FROM event_service.inbox), :'xids'::xid8[], 'transaction ids go on, so the inbox stays as it is');
SELECT is(count(*), :ticks::bigint, 'and so do the ticks') FROM event_service.tick;
SELECT is(sequenced(), '3=c', 'what waited is sequenced');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(sequenced(), '4=open', 'and what was open');
SELECT is(string_agg(id, ' ' ORDER BY event_id), format('%s-1 %s-2 %s-3 %s-4', :'first', :'first', :'second', :'second'),
    'events before the fork keep their ids, those behind it have the new epoch') FROM event_service.events;
SELECT pretend(2, '00000000'), attached() \g /dev/null
SELECT is(event_service.cursor(), :'second' || '-4', 'the position at which it forked belongs to both histories, and keeps its id');
SELECT add('d') \g /dev/null
:advance
SELECT is(event_service.cursor(), newest_epoch() || '-5', 'the first behind it is new');

-- Nobody sequences for a history that is not the one he knows.
SELECT is(outcome($$SELECT ask('b', 'SELECT sequenced()')$$), '55000: event_service.advance: this is another history than the one that was attached to',
    'a session that attached to an earlier epoch does not sequence');
SELECT ask('b', 'SELECT attached()') \g /dev/null
SELECT is(ask('b', 'SELECT sequenced()'), '', 'before it has attached anew');
SELECT pretend(5, '0') \g /dev/null
SELECT is(outcome('SELECT sequenced()'), '55000: event_service.advance: this is another history than the one that was attached to',
    'nobody does after a start of the server');
SELECT attached() \g /dev/null
SELECT is(sequenced(), '', 'before somebody has attached');

-- Another cluster ----------------------------------------------------------------------------------

SELECT from_another_world(9000000000) \g /dev/null
SELECT add('x1'), add('x2') \g /dev/null
SELECT from_another_world(9000000000) \g /dev/null
SELECT add('new') \g /dev/null
SELECT newest_epoch() AS before \gset
SELECT alike(attached(), format('%%, %s from 6: floor 1, head 5', newest_epoch()), 'in another cluster a new epoch begins');
SELECT ok(newest_epoch() > :before, 'with a greater number');
SELECT is(sequenced(), '6=x1 7=x2 8=new', 'what came in the inbox is sequenced, though its transaction ids lie far ahead');
SELECT is(sequenced(), '', 'once');
SELECT add('y1'), add('y2') \g /dev/null
SELECT from_another_world(3) \g /dev/null
SELECT attached() \g /dev/null
SELECT is(sequenced(), '9=y1 10=y2', 'or far behind');
SELECT add('z1'), add('z2'), add('z3') \g /dev/null
SELECT from_another_world(9000000000), attached() \g /dev/null
SELECT is(sequenced(1), '11=z1', 'also in small batches');
SELECT add('z4') \g /dev/null
SELECT is(sequenced(1), '12=z2', 'with new ones between');
SELECT is(sequenced(), '13=z3 14=z4', 'in order of the event ids');

-- Who writes while the epoch opens. A trigger on the inbox stands between the two steps of attach().
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF current_setting('test.meddle') = 'on' THEN
        PERFORM tell('a', 'COMMIT'), ask('b', 'SELECT pg_current_xact_id()::text');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER meddle AFTER UPDATE ON event_service.inbox FOR EACH STATEMENT EXECUTE FUNCTION meddle();
SET test.meddle = off;
SELECT add('waits') \g /dev/null
SELECT from_another_world(9000000000) \g /dev/null
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('commits meanwhile')::text$$) \g /dev/null
SELECT open_session('c'), tell('c', 'BEGIN'), ask('c', $$SELECT add('commits later')::text$$) \g /dev/null
SET test.meddle = on;
SELECT attached() \g /dev/null
SET test.meddle = off;
SELECT is(sequenced(), '15=waits 16=commits meanwhile', 'who commits while an epoch opens loses nothing, nor does what waited');
SELECT tell('c', 'COMMIT') \g /dev/null
SELECT is(sequenced(), '17=commits later', 'nor who commits later');
DROP TRIGGER meddle ON event_service.inbox;

-- Numbers ------------------------------------------------------------------------------------------

CREATE FUNCTION epoch_register() RETURNS bigint LANGUAGE sql AS $$
    SELECT substring(c FROM '^application_name=event-service epoch (\d+)$')::bigint
    FROM pg_db_role_setting, unnest(setconfig) c WHERE setrole = 'event_service_owner'::regrole AND setdatabase = 0
$$;
SELECT is(epoch_register(), newest_epoch(), 'the cluster knows the last number');
SELECT greatest(newest_epoch(), floor(extract(epoch FROM now()))::bigint) + 1000 AS ahead \gset
SELECT format('ALTER ROLE event_service_owner SET application_name = %L', 'event-service epoch ' || :ahead) \gexec
SELECT pretend(2, '00000000'), attached() \g /dev/null
SELECT is(newest_epoch(), :ahead + 1::bigint, 'a new number is greater than any in the cluster, whatever the clock says');
UPDATE event_service.epoch SET epoch = epoch + 1000 WHERE epoch = newest_epoch();
SELECT pretend(2, '00000000'), attached() \g /dev/null
SELECT is(newest_epoch(), :ahead + 1002::bigint, 'and than any in the database');
SELECT is(epoch_register(), newest_epoch(), 'which the cluster then knows');

-- Copies -------------------------------------------------------------------------------------------

-- Another database of this cluster.
CREATE FUNCTION numbers(database text) RETURNS text LANGUAGE sql AS $$
    SELECT ask(database, 'SELECT attached()')
$$;
CREATE TABLE fact (id int PRIMARY KEY, n int);
SELECT event_service.watch('fact', columns => '{n}', global => true) \g /dev/null
INSERT INTO fact VALUES (1, 1);
:advance
INSERT INTO fact VALUES (2, 2);
SELECT event_service.publish('test.event', '1', '{*}', 'deduplicated', 'dedup') AS published \gset
SELECT newest_epoch() AS original, attached() AS attached \gset
SELECT close_session(name) FROM sessions \g /dev/null
CREATE DATABASE epochs_copy1 TEMPLATE epochs;
CREATE DATABASE epochs_copy2 TEMPLATE epochs;
SELECT open_session('copy1', database => 'epochs_copy1'), open_session('copy2', database => 'epochs_copy2') \g /dev/null

-- Both at the same moment, and as if they were the first of the cluster.
ALTER ROLE event_service_owner RESET application_name;
SELECT tell('copy1', 'BEGIN') \g /dev/null
SELECT is(numbers('copy1'), regexp_replace(:'attached', ': ', format(', %s from 19: ', ask('copy1', 'SELECT newest_epoch()::text'))),
    'a copy by CREATE DATABASE … TEMPLATE opens an epoch behind its head');
SELECT start_query('copy2', 'SELECT newest_epoch() || '' '' || attached()') \g /dev/null
SELECT ok(gets_blocked('copy2'), 'a second copy that attaches at the same moment waits for the number');
SELECT tell('copy1', 'COMMIT') \g /dev/null
SELECT alike(answer_of('copy2'), '%: floor 1, head 18', 'and gets one');
SELECT ask('copy1', 'SELECT newest_epoch()::text') AS copy1, ask('copy2', 'SELECT newest_epoch()::text') AS copy2 \gset
SELECT ok(:copy1 > :original AND :copy2 > :copy1, format('original, first and second copy have three numbers: %s, %s, %s', :'original', :'copy1', :'copy2'));
SELECT is(epoch_register(), :copy2::bigint, 'of which the cluster knows the last');
ALTER ROLE event_service_owner RESET application_name;
SELECT tell('copy2', $$DO 'BEGIN PERFORM pretend(2, ''00000000''); END'$$), tell('copy2', 'BEGIN'), numbers('copy2') \g /dev/null
SELECT tell('copy1', $$DO 'BEGIN PERFORM pretend(2, ''00000000''); END'$$), start_query('copy1', 'SELECT attached()') \g /dev/null
SELECT ok(gets_blocked('copy1'), 'again, the other way round');
SELECT tell('copy2', 'COMMIT') \g /dev/null
SELECT alike(answer_of('copy1'), '%: floor 1, head 18', 'again both get one');
SELECT isnt(ask('copy1', 'SELECT newest_epoch()::text'), ask('copy2', 'SELECT newest_epoch()::text'), 'and not the same');

SELECT is(attached(), :'attached', 'the original goes on as it was');
SELECT is(ask('copy1', 'SELECT sequenced()'), '19=2 20=deduplicated', 'what waited in the inbox is sequenced in the copy');
SELECT is(sequenced(), '19=2 20=deduplicated', 'and in the original');
SELECT is(ask('copy1', 'SELECT event_service.stream_id(18)'), event_service.stream_id(18), 'ids of before are the same in both');
SELECT isnt(ask('copy1', 'SELECT event_service.stream_id(19)'), event_service.stream_id(19), 'ids of after are not');
SELECT close_session('copy1'), close_session('copy2') \g /dev/null
DROP DATABASE epochs_copy1;
DROP DATABASE epochs_copy2;

-- A dump, restored into another database of this cluster, with a floor, with events that wait, and with a
-- transaction that was open.
UPDATE event_service.floor SET position = 3;
INSERT INTO fact VALUES (3, 3), (4, 4);
SELECT open_session('a'), tell('a', 'BEGIN'), ask('a', $$SELECT add('open')::text$$) \g /dev/null
CREATE DATABASE epochs_restored;
\setenv scratch :scratch
\! pg_dump -f "$scratch/dump.sql" && psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -d epochs_restored -f "$scratch/dump.sql"
SELECT open_session('restored', database => 'epochs_restored') \g /dev/null
SELECT is(numbers('restored'), regexp_replace(:'attached', ': .*', format(', %s from 21: floor 3, head 20', ask('restored', 'SELECT newest_epoch()::text'))),
    'a dump that is restored in another database opens an epoch behind its head');
SELECT ok(ask('restored', 'SELECT newest_epoch()::text')::bigint > greatest(:original, :copy1, :copy2), 'with a number that no copy had');
SELECT is(ask('restored', 'SELECT sequenced()'), '21=3 22=4', 'what waited in the dump is sequenced, what was open is not there');
SELECT is(ask('restored', 'SELECT sequenced()'), '', 'nothing comes twice');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(sequenced(), '21=3 22=4 23=open', 'the original goes on with all of it');
SELECT is(ask('restored', $$SELECT string_agg(md5(l::text), ' ' ORDER BY position) FROM event_service.log l WHERE position <= 20$$),
    string_agg(md5(l::text), ' ' ORDER BY position), 'the log is the same up to there') FROM event_service.log l WHERE position <= 20;
SELECT is(ask('restored', 'SELECT drift FROM event_service.watched WHERE tbl = ''fact''::regclass'), NULL, 'the table is watched as before');
SELECT tell('restored', 'UPDATE fact SET n = 5 WHERE id = 1') \g /dev/null
SELECT is(ask('restored', 'SELECT sequenced()'), '23=1', 'and its changes are captured');
SELECT is(ask('restored', $$SELECT count(*) || ' ' || count(DISTINCT event_id) FROM event_service.log$$), '23 23', 'with event ids of their own');
SELECT is(ask('restored', $$SELECT event_service.publish('test.event', '1', '{*}', 'again', 'dedup')::text$$), :'published',
    'deduplication keys are remembered');
SELECT is(ask('restored', $$SELECT event_service.cursor()$$), ask('restored', 'SELECT newest_epoch()::text') || '-23', 'its cursor has the new epoch');

-- The same dump, restored where it came from: the schema is gone and comes back as it was.
SELECT ask('restored', 'SELECT attached()') AS restored_attached, ask('restored', 'SELECT newest_epoch()::text') AS restored \gset
SELECT tell('restored', 'DROP SCHEMA event_service CASCADE') \g /dev/null
\! pg_dump -n event_service -d epochs -f "$scratch/schema.sql" && psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -d epochs_restored -f "$scratch/schema.sql"
SELECT is(numbers('restored'), regexp_replace(:'attached', ': .*', format(', %s from 24: floor 3, head 23', ask('restored', 'SELECT newest_epoch()::text'))),
    'a schema that was dropped and restored in the same database opens an epoch');
SELECT ok(ask('restored', 'SELECT newest_epoch()::text')::bigint > :restored, 'with a number that the dropped one had not');
SELECT close_session('restored') \g /dev/null
DROP DATABASE epochs_restored;

-- A dump, restored in another cluster, whose transaction ids have hardly begun.
INSERT INTO fact VALUES (5, 5), (6, 6);
\set port `Tests/SQL/support/other-cluster roles "$scratch/restored"`
\setenv port :port
\! pg_dump -f "$scratch/dump.sql" && createdb -p "$port" epochs && psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -p "$port" -f "$scratch/dump.sql"
SELECT dblink_connect('elsewhere', format('host=127.0.0.1 port=%s dbname=epochs user=postgres', :'port')) \g /dev/null
SELECT ok(ask('elsewhere', 'SELECT min(xid)::text FROM event_service.inbox')::bigint
          > ask('elsewhere', 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text')::bigint,
    'in another cluster the transaction ids of the inbox lie in the future');
SELECT is(numbers('elsewhere'), regexp_replace(:'attached', ': .*', format(', %s from 24: floor 3, head 23', ask('elsewhere', 'SELECT newest_epoch()::text'))),
    'a dump that is restored in another cluster opens an epoch behind its head');
SELECT is(ask('elsewhere', 'SELECT sequenced()'), '24=5 25=6', 'what waited in the dump is sequenced there');
SELECT is(ask('elsewhere', 'SELECT sequenced()'), '', 'once');
SELECT tell('elsewhere', 'INSERT INTO fact VALUES (7, 7)') \g /dev/null
SELECT is(ask('elsewhere', 'SELECT sequenced()'), '26=7', 'and what is written there follows');
SELECT is(ask('elsewhere', 'SELECT event_service.stream_id(23)'), event_service.stream_id(23), 'ids of before are the same');
SELECT dblink_disconnect('elsewhere') \g /dev/null

-- Failover -----------------------------------------------------------------------------------------

-- A standby that is promoted while the primary goes on: two histories with one past.
SELECT add('waits') \g /dev/null
SELECT tell('a', 'BEGIN'), ask('a', $$SELECT add('open')::text$$) \g /dev/null
\set port `Tests/SQL/support/other-cluster standby "$scratch/standby"`
SELECT dblink_connect('standby', format('host=127.0.0.1 port=%s dbname=epochs user=postgres', :'port')) \g /dev/null
SELECT add('waits too') \g /dev/null
SELECT pg_current_wal_lsn() AS lsn \gset
SELECT ok(comes_true(format($$ask('standby', 'SELECT pg_last_wal_replay_lsn()::text')::pg_lsn >= %L$$, :'lsn')), 'a standby follows');
SELECT is(ask('standby', 'SELECT event_service.cursor()'), event_service.cursor(), 'and answers cursor()');
SELECT is(ask('standby', 'SELECT count(*)::text FROM event_service.replay(22)'), '1', 'and replay()');
SELECT ask('standby', 'SELECT pg_promote()::text') \g /dev/null
SELECT is(sequenced(), '24=5 25=6 26=waits 27=waits too', 'the primary has not heard of it and goes on');
SELECT tell('a', 'COMMIT') \g /dev/null
SELECT is(sequenced(), '28=open', 'with all');
SELECT is(numbers('standby'), regexp_replace(:'attached', ': .*', format(', %s from 24: floor 3, head 23', ask('standby', 'SELECT newest_epoch()::text'))),
    'the promoted standby opens an epoch behind its head');
SELECT is(ask('standby', 'SELECT sequenced()'), '24=5 25=6 26=waits 27=waits too', 'and sequences what waited');
SELECT is(ask('standby', 'SELECT sequenced()'), '', 'what was open when it was promoted never happened there');
SELECT is(ask('standby', 'SELECT event_service.stream_id(23)'), event_service.stream_id(23), 'ids of their common past are the same');
SELECT isnt(ask('standby', 'SELECT event_service.stream_id(24)'), event_service.stream_id(24), 'ids of what came then are not');
SELECT is(ask('standby', $$SELECT left(identity[2], 8) FROM event_service.epoch ORDER BY epoch DESC LIMIT 1$$), '00000002', 'it is the timeline that told') ;
SELECT dblink_disconnect('standby') \g /dev/null

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
