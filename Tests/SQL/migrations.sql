-- The migrations: applied twice, in order, by whom they say, and beside what is there already.
\ir support/helpers.sql
SELECT plan(40);

\setenv scratch :scratch

-- Names ---------------------------------------------------------------------------------------------

\set files `ls Migrations | tr '\n' ' ' | sed 's/ $//'`
SELECT is(string_agg(name, ' ' ORDER BY name), :'files', 'every file has written its name') FROM event_service.migrations;
SELECT is(count(checksum), 0::bigint, 'psql knows no checksums') FROM event_service.migrations;

-- One by one: after each the list has one name more.
CREATE DATABASE migrations_stepwise;
\set steps `for file in Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" migrations_stepwise || echo failed; psql -X -qAt -d migrations_stepwise -c "SELECT string_agg(name, ' ' ORDER BY name) FROM event_service.migrations"; done`
SELECT is(:'steps'::text, (SELECT string_agg((SELECT string_agg(f, ' ' ORDER BY f) FROM unnest(string_to_array(:'files', ' ')) f WHERE f <= file), E'\n' ORDER BY file)
                     FROM unnest(string_to_array(:'files', ' ')) file), 'each file writes its own, and no other');
DROP DATABASE migrations_stepwise;

-- Out of order, or broken off, a file leaves nothing.
CREATE DATABASE migrations_partly;
\set first `psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f Migrations/0002_capture.sql migrations_partly 2>&1 | grep -o 'ERROR.*'`
SELECT is(:'first'::text, 'ERROR:  schema "event_service" does not exist', 'the second file before the first is an error');
\! { head -n -2 Migrations/0001_event_log.sql; echo 'SELECT 1/0;'; } | psql -X -q -v ON_ERROR_STOP=1 -o /dev/null migrations_partly > /dev/null 2>&1
\set left `psql -X -qAt -d migrations_partly -c "SELECT to_regnamespace('event_service') IS NULL"`
SELECT is(:'left'::text, 't', 'a file that fails leaves nothing behind');
DROP DATABASE migrations_partly;

-- Twice ---------------------------------------------------------------------------------------------

-- A database in use: events in the log and in the inbox, a watched table, a floor, keys, rights given and
-- taken by hand, the example's table changed.
CREATE TABLE pets (id int PRIMARY KEY, name text);
SELECT event_service.watch('pets', columns => '{*}', global => true) \g /dev/null
INSERT INTO pets VALUES (1, 'rex'), (2, 'max');
SELECT event_service.publish('a.b', NULL, '{*}', dedup_key => 'd') \g /dev/null
:advance
INSERT INTO pets VALUES (3, 'ivy');
UPDATE event_service.floor SET position = 2;
ALTER TABLE tasks ADD due date;
INSERT INTO tasks (title) VALUES ('t');
CREATE ROLE sql_test_runtime LOGIN IN ROLE event_service_runtime;
UPDATE event_service.migrations SET checksum = 'c';

-- The schema and the contents of every table of ours. pg_dump writes a random key around each dump.
\! for part in "--schema-only" "--data-only -n event_service"; do pg_dump $part; done | grep -v -E '^.(un)?restrict ' > "$scratch/before.sql"
\! for file in Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" || echo "$file failed"; done > "$scratch/twice.log" 2>&1
\! for part in "--schema-only" "--data-only -n event_service"; do pg_dump $part; done | grep -v -E '^.(un)?restrict ' > "$scratch/after.sql"
\set said `cat "$scratch/twice.log"`
SELECT is(:'said'::text, '', 'applying every file again says nothing');
\set difference `[ $(wc -l < "$scratch/before.sql") -gt 1000 ] || echo "not a dump"; diff "$scratch/before.sql" "$scratch/after.sql" 2>&1 | head -n 20`
SELECT is(:'difference'::text, '', 'and changes nothing: not the schema, not a row');
SELECT is((SELECT count(*) FROM event_service.watched WHERE NOT drifted AND tbl = 'pets'::regclass), 1::bigint, 'watched tables stay watched');
\set said `for file in Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" & done 2>&1; wait`
SELECT is(:'said'::text, '', 'all at once they wait for each other');
\! for part in "--schema-only" "--data-only -n event_service"; do pg_dump $part; done | grep -v -E '^.(un)?restrict ' > "$scratch/after.sql"
\set difference `diff "$scratch/before.sql" "$scratch/after.sql" 2>&1 | head -n 20`
SELECT is(:'difference'::text, '', 'and change nothing either');
INSERT INTO pets VALUES (4, 'tom');
SELECT is(sequenced(), '4=3 5=1 6=4', 'and all goes on');
DROP ROLE sql_test_runtime;

-- While the application and the service work: writers and readers are not waited for, a batch is.
SELECT open_session('a'), tell('a', 'BEGIN'), ask('a', $$SELECT add('open', data => '1')::text$$), ask('a', $$SELECT event_service.publish('a.b', NULL, '{*}', dedup_key => 'open')::text$$),
       ask('a', 'SELECT count(*)::text FROM event_service.replay(0)') \g /dev/null
\set said `for file in Migrations/*.sql; do PGOPTIONS='-c lock_timeout=3s' psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" 2>&1; done`
SELECT is(:'said'::text, '', 'applying them again waits for no writer and no reader');
SELECT tell('a', 'ROLLBACK') \g /dev/null
SELECT add('x') \g /dev/null
SELECT tell('a', 'BEGIN'), ask('a', 'SELECT sequenced()') \g /dev/null
\! rm -f "$scratch/done"; (psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f Migrations/0001_event_log.sql > "$scratch/late.log" 2>&1; echo "exit $?" > "$scratch/done") &
SELECT ok(comes_true('EXISTS (SELECT FROM pg_locks WHERE NOT granted)'), 'a migration waits for a batch that is under way');
SELECT tell('a', 'COMMIT') \g /dev/null
\! for i in $(seq 200); do [ ! -s "$scratch/done" ] || break; sleep 0.05; done
\set said `cat "$scratch/late.log" "$scratch/done"`
SELECT is(:'said'::text, 'exit 0', 'and then goes through');

-- The example ---------------------------------------------------------------------------------------

-- Its types and its settings, as the contract names them.
SELECT is((SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) FROM pg_attribute a
           WHERE a.attrelid = 'tasks'::regclass AND a.attnum > 0 AND a.attname <> 'due'),
    'id bigint, title text, status text, progress integer, message text, user_id text, session_id text, context text, '
    'created_at timestamp with time zone, updated_at timestamp with time zone', 'the columns of the example');
SELECT results_eq($$SELECT topic, key, types, labels, global, drifted FROM event_service.watched WHERE tbl = 'tasks'::regclass$$,
    $$VALUES ('task', '{id}'::text[], '{"status": "status-changed", "progress": "progress-updated"}'::jsonb,
              '[{"column": "user_id", "prefix": "user:"}, {"column": "session_id", "prefix": "session:"}, {"column": "context", "prefix": "context:"}]'::jsonb,
              false, false)$$, 'and how it is watched');
SELECT is(outcome(format('INSERT INTO tasks (title, status, progress) VALUES (''t'', %L, %s)', status, progress)), expected, format('a task that is %s at %s', status, progress))
FROM (VALUES ('pending', 0, 'ok'), ('running', 50, 'ok'), ('succeeded', 100, 'ok'), ('failed', 1, 'ok'), ('cancelled', 99, 'ok'),
    ('done', 1, '23514: new row for relation "tasks" violates check constraint "tasks_status_check"'),
    ('running', 101, '23514: new row for relation "tasks" violates check constraint "tasks_progress_check"'),
    ('running', -1, '23514: new row for relation "tasks" violates check constraint "tasks_progress_check"')) AS v (status, progress, expected);
SELECT take_inbox() \g /dev/null

-- Dropped by hand it does not come back.
DROP TABLE tasks;
\set said `psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f Migrations/0010_tasks.sql 2>&1`
SELECT is(:'said' || to_regclass('tasks'), NULL, 'the example that was dropped does not come back');

-- Beside a relation of the name nothing is changed, which is said.
CREATE DATABASE migrations_beside;
\! psql -X -q -d migrations_beside -c 'CREATE VIEW tasks AS SELECT 1 AS mine'
\set said `for file in Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" migrations_beside; done 2>&1 | sed 's/^psql:[^ ]* //'`
SELECT is(:'said'::text, 'NOTICE:  event_service: there is a relation tasks already, the example is left out', 'beside a relation tasks the example is left out, which is said');
\set found `psql -X -qAt -d migrations_beside -c "SELECT (SELECT mine FROM tasks), (SELECT count(*) FROM event_service.watched), (SELECT count(*) FROM event_service.migrations)"`
SELECT is(:'found'::text, '1|0|' || (SELECT count(*) FROM event_service.migrations), 'nothing is changed, and the file counts as applied');
\set said `psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f Migrations/0010_tasks.sql migrations_beside 2>&1`
SELECT is(:'said'::text, '', 'the second time it says nothing');
DROP DATABASE migrations_beside;

-- By a role that is no superuser ----------------------------------------------------------------------

-- A cluster without our roles; a login that may create roles and create in this database.
\set port `Tests/SQL/support/other-cluster fresh "$scratch/fresh"`
\setenv PGPORT :port
\! psql -X -q -d postgres -c 'CREATE ROLE migrator LOGIN CREATEROLE' -c 'CREATE ROLE app LOGIN' -c 'CREATE ROLE service LOGIN' -c 'CREATE DATABASE one' -c 'CREATE DATABASE two' -c 'GRANT CREATE ON DATABASE one, two TO migrator'
SELECT dblink_connect('fresh', format('host=127.0.0.1 port=%s dbname=one user=postgres', :'port')) \g /dev/null

-- The first role is being created in another database.
SELECT tell('fresh', 'BEGIN'), tell('fresh', 'CREATE ROLE event_service_owner NOLOGIN'), tell('fresh', 'GRANT event_service_owner TO migrator') \g /dev/null
\! rm -f "$scratch/done"; (for file in Migrations/000*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" -U migrator two || exit; done > "$scratch/two.log" 2>&1; echo "exit $?" > "$scratch/done") &
SELECT dblink_connect('watcher', format('host=127.0.0.1 port=%s dbname=one user=postgres', :'port')) \g /dev/null
SELECT ok(comes_true($$ask('watcher', 'SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)::text')::boolean$$), 'two databases of a new cluster are migrated at once');
SELECT tell('fresh', 'COMMIT') \g /dev/null
\! for i in $(seq 200); do [ ! -s "$scratch/done" ] || break; sleep 0.05; done
\set said `cat "$scratch/two.log" "$scratch/done"`
SELECT is(:'said'::text, 'exit 0', 'and both go through');

\set said `for file in Migrations/000*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" -U migrator one; done 2>&1`
SELECT is(:'said'::text, '', 'a role with CREATEROLE and CREATE on the database applies all files but the example');
\set said `psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f Migrations/0010_tasks.sql -U migrator one 2>&1 | grep -o 'ERROR.*'`
SELECT is(:'said'::text, 'ERROR:  permission denied for schema public', 'which needs a schema in which to create its table');
\! psql -X -q -d one -c 'GRANT CREATE ON SCHEMA public TO migrator'
\set said `for file in Migrations/*.sql Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" -U migrator one; done 2>&1`
SELECT is(:'said'::text, '', 'with one it installs that, too, and all files twice');
\set roles `psql -X -qAt -d one -c "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'event\_service\_%' AND NOT rolcanlogin AND NOT rolsuper"`
SELECT is(:'roles'::text, '4', 'it creates the four roles');
-- The same schema as a superuser's, but for the number in the name of the example's function.
\! psql -X -q -d postgres -c 'CREATE DATABASE reference' && for file in Migrations/*.sql; do psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -f "$file" reference; done
\set difference `for database in one reference; do pg_dump --schema-only -n event_service "$database" | grep -v -E '^.(un)?restrict ' | sed -E 's/capture_[0-9]+_/capture_/g' > "$scratch/$database.sql"; done; diff "$scratch/one.sql" "$scratch/reference.sql" | head -n 20`
SELECT is(:'difference'::text, '', 'the schema is that which a superuser makes');

-- And it works: watch by the migrator, write by the application, sequence and read by the service.
\! psql -X -q -d one -c 'GRANT event_service_runtime TO service' -c 'GRANT INSERT ON tasks TO app' -U migrator
SELECT dblink_connect('service', format('host=127.0.0.1 port=%s dbname=one user=service', :'port')),
       dblink_connect('app', format('host=127.0.0.1 port=%s dbname=one user=app', :'port')),
       dblink_connect('migrator', format('host=127.0.0.1 port=%s dbname=one user=migrator', :'port')) \g /dev/null
SELECT is(ask('migrator', $$SELECT event_service.watch('tasks', columns => '{title}', user_column => 'user_id')::text$$), '', 'the migrator watches its table');
SELECT ask('service', 'SELECT count(*)::text FROM event_service.attach()') \g /dev/null
SELECT tell('app', $$INSERT INTO tasks (title, user_id) VALUES ('t', 'ann')$$) \g /dev/null
SELECT is(ask('service', 'SELECT type || '' '' || audience::text || '' '' || data::text FROM event_service.advance()'),
    'tasks.created {user:ann} {"new":{"title":"t"}}', 'what the application writes, the service sequences');
SELECT is(ask('service', 'SELECT position || '' of '' || head FROM event_service.replay(0)'), '1 of 1', 'and reads');
-- A fork, which only the owner's own rights can note for the cluster.
SELECT dblink_disconnect('fresh'), dblink_connect('fresh', format('host=127.0.0.1 port=%s dbname=one user=postgres', :'port')) \g /dev/null
SELECT tell('fresh', $$UPDATE event_service.epoch SET identity[2] = '00000000'$$) \g /dev/null
SELECT is(ask('service', 'SELECT count(*)::text FROM event_service.attach()'), '2', 'and opens an epoch when the history has forked');
SELECT dblink_disconnect(name) FROM unnest(ARRAY['fresh', 'watcher', 'service', 'app', 'migrator']) name \g /dev/null

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
