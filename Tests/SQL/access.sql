-- Access: what each role may do, object by object, and that nobody can make our functions do otherwise.
\ir support/helpers.sql
SELECT plan(229);

CREATE ROLE sql_test_stranger LOGIN;
CREATE ROLE sql_test_app LOGIN;
CREATE ROLE sql_test_admin LOGIN IN ROLE event_service_admin;
CREATE ROLE sql_test_other_admin LOGIN IN ROLE event_service_admin;
CREATE ROLE sql_test_publisher LOGIN IN ROLE event_service_publisher;
CREATE ROLE sql_test_runtime LOGIN IN ROLE event_service_runtime;

-- The roles -----------------------------------------------------------------------------------------

SELECT is((rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls)::text, '(f,f,f,f,f,f)',
    rolname || ' cannot log in, and has no right on the cluster')
FROM pg_roles WHERE rolname LIKE 'event\_service\_%' ORDER BY rolname;
SELECT is(count(*), 4::bigint, 'there are four') FROM pg_roles WHERE rolname LIKE 'event\_service\_%';
SELECT is(count(*), 0::bigint, 'none of which is a member of another') FROM pg_auth_members
WHERE member IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'event\_service\_%');

-- Every object --------------------------------------------------------------------------------------

-- Who may use it: everyone, or the roles by the last part of their name; the owner always may.
CREATE FUNCTION holders(acl aclitem[], kind "char", owner oid, privilege text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(CASE WHEN a.grantee = 0 THEN 'everyone' ELSE replace(a.grantee::regrole::text, 'event_service_', '') END, ' '
                               ORDER BY a.grantee::regrole::text), '-')
    FROM aclexplode(coalesce(acl, acldefault(kind, owner))) a
    WHERE a.grantee <> owner AND a.privilege_type = privilege
$$;

SELECT is(nspowner::regrole::text || ' ' || holders(nspacl, 'n', nspowner, 'USAGE') || ' ' || holders(nspacl, 'n', nspowner, 'CREATE'),
    'event_service_owner everyone -', 'the schema is the owner''s, everyone may look into it, nobody may create in it')
FROM pg_namespace WHERE nspname = 'event_service';

-- A new function must be decided on here.
CREATE TABLE expected_function (signature text PRIMARY KEY, security text, holders text);
INSERT INTO expected_function VALUES
-- for all
('cursor()', 'definer', 'everyone'),
-- for those who publish
('publish(text,jsonb,text[],text,text)', 'definer', 'publisher runtime'),
('publish_all(jsonb,jsonb)', 'definer', 'runtime'),
('canary()', 'definer', 'runtime'),
-- for those who watch; as the caller, but for the two that write and drop functions of ours
('watch(regclass,text,text,text[],text[],jsonb,text,text,text[],boolean,text,text,text[])', 'invoker', 'admin'),
('unwatch(regclass)', 'invoker', 'admin'),
('write_capture(oid,jsonb)', 'definer', 'admin'),
('drop_capture(oid)', 'definer', 'admin'),
('check_watchable(regclass)', 'invoker', 'admin'),
('check_settings(regclass,jsonb)', 'invoker', 'admin'),
('check_readable(regclass,jsonb)', 'invoker', 'admin'),
('check_partition_tree(regclass,text)', 'invoker', 'admin'),
('captured_twice(oid,text)', 'invoker', 'admin'),
('inheritance(oid)', 'invoker', 'admin'),
('notice_limits(regclass,jsonb)', 'invoker', 'admin'),
('check_type(text)', 'invoker', 'admin'),
('label_settings(regclass,text,text,text[])', 'invoker', 'admin'),
('named_columns(jsonb)', 'invoker', 'admin'),
('missing_columns(oid,text[])', 'invoker', 'admin'),
('wanted_triggers(jsonb)', 'invoker', 'admin'),
('trigger_fault(oid,jsonb)', 'invoker', 'admin'),
('capture_function(oid)', 'invoker', 'admin'),
('watched_tables()', 'definer', 'admin runtime'),
-- for those who read the log
('stream_id(bigint)', 'definer', 'admin'),
('as_jsonb(json)', 'invoker', 'admin'),
-- for the service
('attach()', 'definer', 'runtime'),
('bounds()', 'definer', 'runtime'),
('newest_epoch()', 'definer', 'runtime'),
('history_name()', 'definer', 'runtime'),
('advance(integer,bigint,boolean)', 'definer', 'runtime'),
('replay(bigint,integer,text[],text[],text[],bigint)', 'definer', 'runtime'),
('event_at(bigint)', 'definer', 'runtime'),
('position_before(timestamp with time zone)', 'definer', 'runtime'),
('status()', 'definer', 'runtime'),
('measures()', 'definer', 'runtime'),
('raise_floor(interval)', 'definer', 'runtime'),
('sweep(bigint,interval)', 'definer', 'runtime'),
-- tokens: for who revokes, and for the service; a session is asked about as the caller
('revoke(text,text,text)', 'definer', 'admin'),
('revocations(xid8)', 'definer', 'runtime'),
('issue_ticket(text,json)', 'definer', 'runtime'),
('redeem_ticket(text)', 'definer', 'runtime'),
('sweep_tokens(interval)', 'definer', 'runtime'),
('check_sessions(text,text[],text[],text[])', 'invoker', 'runtime'),
('take_in(json,text[],json,json)', 'definer', 'runtime'),
('taken_offsets(text)', 'definer', 'runtime'),
('claim_bridge(text)', 'definer', 'runtime'),
('sink_position(text)', 'definer', 'runtime'),
('sink_page(text,bigint,bigint,text[],integer,bigint)', 'definer', 'runtime'),
-- for our own functions
('partition_size()', 'invoker', '-'),
('wake()', 'invoker', '-'),
('ensure_partitions(bigint)', 'definer', '-'),
('history_identity()', 'definer', '-'),
('open_epoch(text[])', 'definer', '-'),
('is_revoked(json)', 'invoker', '-'),
('check_not_dropped(bigint,bigint)', 'invoker', '-'),
('check_caller(oid)', 'invoker', '-'),
('is_label(text)', 'invoker', '-'),
('column_of(text,text)', 'invoker', '-'),
('key_expression(jsonb,text)', 'invoker', '-'),
('audience_expression(oid,jsonb,text)', 'invoker', '-'),
('image_expression(oid,jsonb,text)', 'invoker', '-'),
('large_value(anyelement,integer,integer)', 'invoker', '-'),
('differs_expression(pg_attribute,text,text)', 'invoker', '-'),
('update_expressions(oid,jsonb,text,text)', 'invoker', '-'),
('nulls_expression(text[],text)', 'invoker', '-'),
('capture_template(text)', 'invoker', '-'),
('capture_source(oid,jsonb)', 'invoker', '-'),
('capture_options(oid,jsonb)', 'invoker', '-'),
('element_type(oid)', 'invoker', '-'),
-- the trigger of the example: whoever makes a trigger needs EXECUTE, whoever fires it does not
('capture_tasks()', 'definer', 'admin');
CREATE VIEW present_function AS
SELECT regexp_replace(replace(p.oid::regprocedure::text, 'event_service.', ''), '^capture_\d+_', 'capture_') AS signature,
       CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END AS security, holders(p.proacl, 'f', p.proowner, 'EXECUTE') AS holders
FROM pg_proc p WHERE p.pronamespace = 'event_service'::regnamespace;
SELECT set_eq('SELECT signature FROM present_function', 'SELECT signature FROM expected_function', 'the schema has these functions and no others');
SELECT is(p.security || ', for ' || p.holders, e.security || ', for ' || e.holders, e.signature || ' runs as ' || e.security || ', for ' || e.holders)
FROM expected_function e LEFT JOIN present_function p USING (signature) ORDER BY e.ctid;
SELECT is(string_agg(oid::regprocedure::text, ', '), NULL, 'all functions belong to the owner')
FROM pg_proc WHERE pronamespace = 'event_service'::regnamespace AND proowner <> 'event_service_owner'::regrole;
SELECT is(string_agg(oid::regprocedure::text, ', '), 'event_service.partition_size()',
    'all have a fixed search_path, but the one that is to be inlined and names nothing')
FROM pg_proc WHERE pronamespace = 'event_service'::regnamespace
  AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (proconfig), false);

CREATE TABLE expected_relation (name text PRIMARY KEY, kind "char", readers text);
INSERT INTO expected_relation VALUES
('events', 'v', 'admin'), ('watched', 'v', 'admin runtime'), ('migrations', 'r', 'runtime'),
('inbox', 'r', '-'), ('inbox_event_id_seq', 'S', '-'), ('log', 'p', '-'), ('log_p0', 'r', '-'), ('log_p1', 'r', '-'),
('tick', 'r', '-'), ('epoch', 'r', '-'), ('floor', 'r', '-'), ('published_key', 'r', '-'),
('revocation', 'r', '-'), ('ticket', 'r', '-'),
('dead_letters', 'r', 'admin'), ('dead_letters_id_seq', 'S', '-'), ('bridge_offset', 'r', '-'), ('bridge_position', 'r', '-');
CREATE VIEW present_relation AS
SELECT c.relname AS name, c.relkind AS kind, holders(c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner, 'SELECT') AS readers,
       (SELECT string_agg(DISTINCT privilege_type || ' to ' || grantee::regrole, ', ') FROM aclexplode(c.relacl)
        WHERE grantee <> c.relowner AND privilege_type <> 'SELECT') AS more,
       c.relowner::regrole::text AS owner
FROM pg_class c WHERE c.relnamespace = 'event_service'::regnamespace AND c.relkind NOT IN ('i', 'I');
SELECT set_eq('SELECT name, kind FROM present_relation', 'SELECT name, kind FROM expected_relation', 'the schema has these relations and no others');
SELECT is(p.readers, e.readers, format('%s can be read by %s', e.name, e.readers))
FROM expected_relation e LEFT JOIN present_relation p USING (name) ORDER BY e.ctid;
SELECT is(string_agg(name || ': ' || more, '; '), NULL, 'none can be written by anybody') FROM present_relation;
SELECT is(string_agg(name, ', '), NULL, 'all belong to the owner') FROM present_relation WHERE owner <> 'event_service_owner';
SELECT is(count(*), 0::bigint, 'no column has rights of its own')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'event_service'::regnamespace AND a.attacl IS NOT NULL;
SELECT is(string_agg(format('%s %s', coalesce(defaclnamespace::regnamespace::text, 'everywhere'), defaclobjtype), ', '), '- f',
    'what the owner creates later begins without rights, functions too')
FROM pg_default_acl WHERE defaclrole = 'event_service_owner'::regrole;

-- In action -----------------------------------------------------------------------------------------

SELECT open_session(name, 'sql_test_' || name) FROM unnest(ARRAY['admin', 'other_admin', 'publisher', 'runtime', 'stranger']) name \g /dev/null
GRANT EXECUTE ON FUNCTION outcome(text), hint_of(text) TO PUBLIC;
CREATE FUNCTION outcome_of(session text, statement text) RETURNS text LANGUAGE sql AS
    'SELECT ask(session, format(''SELECT public.outcome(%L)'', statement))';
CREATE FUNCTION hint_to(session text, statement text) RETURNS text LANGUAGE sql AS
    'SELECT ask(session, format(''SELECT public.hint_of(%L)'', statement))';

CREATE TABLE expected_action (statement text, owner text, admin text, publisher text, runtime text, stranger text);
INSERT INTO expected_action VALUES
-- statement, and who may: x
('SELECT event_service.cursor()',                                        'x', 'x', 'x', 'x', 'x'),
('SELECT * FROM event_service.events',                                   'x', 'x', '',  '',  ''),
('SELECT * FROM event_service.watched',                                  'x', 'x', '',  'x', ''),
('SELECT event_service.publish(''a.b'', NULL, ''{*}'')',                 'x', '',  'x', 'x', ''),
('SELECT event_service.publish_all(''[]'', ''[]'')',                     'x', '',  '',  'x', ''),
('SELECT * FROM event_service.attach()',                                 'x', '',  '',  'x', ''),
('SELECT * FROM event_service.bounds()',                                 'x', '',  '',  'x', ''),
('SELECT * FROM event_service.advance()',                                'x', '',  '',  'x', ''),
('SELECT * FROM event_service.replay(0)',                                'x', '',  '',  'x', ''),
('SELECT * FROM event_service.event_at(1)',                              'x', '',  '',  'x', ''),
('SELECT event_service.position_before(now())',                          'x', '',  '',  'x', ''),
('SELECT * FROM event_service.status()',                                 'x', '',  '',  'x', ''),
('SELECT event_service.raise_floor(''7 days'')',                         'x', '',  '',  'x', ''),
('SELECT event_service.sweep(1, ''7 days'')',                            'x', '',  '',  'x', ''),
('SELECT event_service.revoke(''ann'')',                                 'x', 'x', '',  '',  ''),
('SELECT * FROM event_service.revocations()',                            'x', '',  '',  'x', ''),
('SELECT event_service.issue_ticket(gen_random_uuid()::text, ''{}'')',   'x', '',  '',  'x', ''),
('SELECT event_service.redeem_ticket(''none'')',                         'x', '',  '',  'x', ''),
('SELECT event_service.sweep_tokens(''30 days'')',                       'x', '',  '',  'x', ''),
('SELECT event_service.is_revoked(''{}'')',                              'x', '',  '',  '',  ''),
('SELECT event_service.check_sessions(''f'', ''{}'', ''{}'', ''{}'')',   'x', '',  '',  'x', ''),
('SELECT * FROM event_service.revocation',                               'x', '',  '',  '',  ''),
('SELECT * FROM event_service.ticket',                                   'x', '',  '',  '',  ''),
('INSERT INTO event_service.revocation (user_id) VALUES (''ann'')',      'x', '',  '',  '',  ''),
('SELECT event_service.take_in(''[]'', ''{}'', ''[]'', ''[]'')',           'x', '',  '',  'x', ''),
('SELECT event_service.taken_offsets(''g'')',                            'x', '',  '',  'x', ''),
('SELECT event_service.claim_bridge(''b'' || pg_backend_pid())',         'x', '',  '',  'x', ''),
('SELECT event_service.sink_position(''s'')',                            'x', '',  '',  'x', ''),
('SELECT event_service.sink_page(''s'', NULL, 0, NULL)',                 'x', '',  '',  'x', ''),
('UPDATE event_service.bridge_position SET position = 0',                'x', '',  '',  '',  ''),
('SELECT * FROM event_service.dead_letters',                             'x', 'x', '',  '',  ''),
('DELETE FROM event_service.dead_letters',                               'x', '',  '',  '',  ''),
('SELECT * FROM event_service.bridge_offset',                            'x', '',  '',  '',  ''),
('SELECT * FROM event_service.migrations',                               'x', '',  '',  'x', ''),
('SELECT * FROM event_service.log',                                      'x', '',  '',  '',  ''),
('SELECT * FROM event_service.inbox',                                    'x', '',  '',  '',  ''),
('SELECT * FROM event_service.tick',                                     'x', '',  '',  '',  ''),
('DELETE FROM event_service.log WHERE false',                            'x', '',  '',  '',  ''),
('INSERT INTO event_service.inbox (op, type, audience) VALUES (''p'', ''a.b'', ''{*}'')', 'x', '', '', '', ''),
('UPDATE event_service.floor SET position = position',                   'x', '',  '',  '',  ''),
('SELECT event_service.open_epoch(''{}'')',                              'x', '',  '',  '',  ''),
('SELECT event_service.ensure_partitions()',                             'x', '',  '',  '',  ''),
('CREATE TABLE event_service.mine ()',                                   'x', '',  '',  '',  ''),
('LISTEN event_service_tick',                                            'x', 'x', 'x', 'x', 'x');
-- The owner cannot log in: its part is played by SET ROLE.
SELECT open_session('owner'), tell('owner', 'SET ROLE event_service_owner') \g /dev/null
-- x, nothing, or what went wrong.
CREATE FUNCTION allowed(session text, statement text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN went = 'ok' THEN 'x' WHEN went LIKE '42501: permission denied for %' THEN '' ELSE went END
    FROM outcome_of(session, statement) went
$$;
SELECT is(concat_ws(', ', 'owner ' || allowed('owner', statement), 'admin ' || allowed('admin', statement), 'publisher ' || allowed('publisher', statement),
                    'runtime ' || allowed('runtime', statement), 'stranger ' || allowed('stranger', statement)),
    format('owner %s, admin %s, publisher %s, runtime %s, stranger %s', owner, admin, publisher, runtime, stranger),
    format('%s: owner %s, admin %s, publisher %s, runtime %s, stranger %s', left(statement, 45), owner, admin, publisher, runtime, stranger))
FROM expected_action;
DROP TABLE event_service.mine;
SELECT is(outcome_of('admin', statement), expected, statement)
FROM (VALUES ('SELECT event_service.watch(''tasks'', columns => ''{*}'')', '42501: event_service: sql_test_admin may not create triggers on public.tasks'),
             ('SELECT event_service.unwatch(''tasks'')', '42501: event_service: sql_test_admin may not create triggers on public.tasks')) AS v (statement, expected);
SELECT is(outcome_of(session, statement), '42501: permission denied for function ' || function, format('%s may not %s', session, function))
FROM unnest(ARRAY['publisher', 'runtime', 'stranger']) session,
     (VALUES ('watch', 'SELECT event_service.watch(''tasks'', columns => ''{*}'')'), ('unwatch', 'SELECT event_service.unwatch(''tasks'')'),
             ('write_capture', 'SELECT event_service.write_capture(''tasks''::regclass, ''{}'')'),
             ('drop_capture', 'SELECT event_service.drop_capture(''tasks''::regclass)')) AS v (function, statement);

-- Watching, by an admin that is no superuser ----------------------------------------------------------

-- The application has its table in a schema of its own, and no right on ours.
CREATE SCHEMA app AUTHORIZATION sql_test_app;
SELECT open_session('app', 'sql_test_app'), tell('app', 'SET search_path = app') \g /dev/null
SELECT tell('app', 'CREATE TABLE account (id int PRIMARY KEY, name text, secret text)') \g /dev/null
GRANT USAGE ON SCHEMA app TO sql_test_admin, sql_test_other_admin, sql_test_stranger;
DELETE FROM event_service.inbox;
\set watch_names 'SELECT event_service.watch(''app.account'', columns => ''{name}'', user_column => ''name'')'
SELECT is(outcome_of('admin', :'watch_names'), '42501: event_service: sql_test_admin may not create triggers on app.account', 'who watches needs TRIGGER');
SELECT is(hint_to('admin', :'watch_names'), 'GRANT TRIGGER ON app.account TO sql_test_admin.', 'the hint says how to grant it');
GRANT TRIGGER ON app.account TO sql_test_admin;
SELECT is(outcome_of('admin', :'watch_names'), '42501: event_service.watch: sql_test_admin may not read the column id of app.account', 'and SELECT');
SELECT is(hint_to('admin', :'watch_names'), 'GRANT SELECT (id) ON app.account TO sql_test_admin.', 'also with a hint');
GRANT SELECT (id, name) ON app.account TO sql_test_admin;
SELECT is(outcome_of('admin', $$SELECT event_service.watch('app.account', columns => '{*}')$$),
    '42501: event_service.watch: sql_test_admin may not read the column secret of app.account', 'on all that goes out');
SELECT is(outcome_of('admin', $$SELECT event_service.watch('app.account', columns => '{name}', on_change => '{secret}')$$),
    '42501: event_service.watch: sql_test_admin may not read the column secret of app.account', 'or decides whether something does');
SELECT is(outcome_of('admin', :'watch_names'), 'ok', 'with both it watches');
SELECT is(outcome_of('app', 'INSERT INTO account VALUES (1, ''ann'', ''s3cret'')'), 'ok', 'the application writes as before');
SELECT is(outcome_of('app', 'UPDATE account SET name = ''bob'''), 'ok', 'without a right');
SELECT is(outcome_of('app', 'DELETE FROM account'), 'ok', 'of any kind');
SELECT is(outcome_of('app', 'TRUNCATE account'), 'ok', 'on our schema');
SELECT is(take_inbox(), E'insert account.created 1 {user:ann} {"new":{"name":"ann"}}\nleave account.left 1 {user:ann} not {user:bob} -\n'
    'enter account.entered 1 {user:bob} {"new":{"name":"bob"}}\ndelete account.deleted 1 {user:bob} {"old":{"name":"bob"}}\ntruncate account.truncated - {*} -',
    'and its changes are captured');
GRANT INSERT ON app.account TO sql_test_stranger;
SELECT is(outcome_of('stranger', 'INSERT INTO app.account VALUES (1, ''eve'', '''')'), 'ok', 'so are those of whoever may write to the table');
SELECT is(take_inbox(), 'insert account.created 1 {user:eve} {"new":{"name":"eve"}}', 'as they are');
SELECT is(outcome_of('admin', $$SELECT event_service.watch('app.account', columns => '{name}', user_column => 'name', level => 'statement')$$), 'ok', 'it watches anew');
SELECT is((SELECT drift FROM event_service.watched WHERE tbl = 'app.account'::regclass), NULL, 'as its settings say');
SELECT is(outcome_of('app', $$SELECT event_service.watch('account', columns => '{*}')$$), '42501: permission denied for function watch',
    'the table''s owner may not watch it without the role');
SELECT is(outcome_of('app', 'SELECT event_service.unwatch(''account'')'), '42501: permission denied for function unwatch', 'nor end it');
SELECT matches(outcome_of('app', 'CREATE TRIGGER t AFTER INSERT ON account EXECUTE FUNCTION ' || event_service.capture_function('app.account'::regclass)::regproc || '()'),
    '^42501: permission denied for function', 'nor use its function');

-- Another admin, without a right on that table, through the functions that watch() calls.
\set leak '{"key":["id"],"ops":["insert"],"level":"row","topic":"x","types":{},"global":true,"labels":[],"columns":["secret"],"conflate":[],"on_change":["secret"]}'
SELECT is(outcome_of('other_admin', format('SELECT event_service.write_capture(''app.account''::regclass, %L)', :'leak')),
    '42501: event_service: sql_test_other_admin may not create triggers on app.account', 'another admin cannot have more of the table sent');
SELECT is(outcome_of('other_admin', 'SELECT event_service.drop_capture(''app.account''::regclass)'),
    '42501: event_service: sql_test_other_admin may not create triggers on app.account', 'or end its capture');
GRANT CREATE ON SCHEMA app TO sql_test_other_admin;
SELECT is(outcome_of('other_admin', 'CREATE TABLE app.bait (id int PRIMARY KEY, name text, secret text)'), 'ok', 'not even by a table of its own');
SELECT is(outcome_of('other_admin', format('CREATE TRIGGER "0_event_service_insert" AFTER INSERT ON app.bait REFERENCING NEW TABLE AS new_rows EXECUTE FUNCTION %s()',
                                           event_service.capture_function('app.account'::regclass)::regproc)), 'ok', 'whose trigger calls the same function');
SELECT is(outcome_of('other_admin', format('SELECT event_service.write_capture(''app.bait''::regclass, %L)', :'leak')),
    '42501: event_service: sql_test_other_admin may not create triggers on app.account', 'because that function is the other''s too');
SELECT is(outcome_of('other_admin', 'SELECT event_service.unwatch(''app.bait'')'),
    '42501: event_service: sql_test_other_admin may not create triggers on app.account', 'and stays');
SELECT is(outcome_of('other_admin', 'DROP TABLE app.bait'), 'ok', 'the table may go');
SELECT is((SELECT drift FROM event_service.watched WHERE tbl = 'app.account'::regclass), NULL, 'and the capture is what it was');
SELECT is(outcome_of('admin', format('SELECT event_service.write_capture(''app.account''::regclass, %L)', replace(:'leak', '"x"', '"stream"'))),
    '42939: event_service: the type ''stream.created'' is reserved', 'nor can types be reserved ones that way');

-- A group, of which one SETs the role.
CREATE ROLE sql_test_group IN ROLE event_service_admin;
ALTER ROLE sql_test_stranger NOINHERIT;
GRANT sql_test_group TO sql_test_stranger;
GRANT USAGE ON SCHEMA app TO sql_test_group;
GRANT TRIGGER, SELECT ON app.account TO sql_test_group;
SELECT is(outcome_of('stranger', :'watch_names'), '42501: permission denied for function watch', 'a member that does not inherit may nothing');
SELECT tell('stranger', 'SET ROLE sql_test_group') \g /dev/null
SELECT is(outcome_of('stranger', :'watch_names'), 'ok', 'until it SETs the role');
SELECT is(outcome_of('stranger', 'SELECT event_service.unwatch(''app.account'')'), 'ok', 'then it may end it, too');
SELECT is((SELECT count(*) FROM event_service.watched WHERE topic = 'account'), 0::bigint, 'and it is over');
SELECT tell('stranger', 'RESET ROLE') \g /dev/null

-- Objects of the same names ---------------------------------------------------------------------------

-- Whoever calls functions that run as the owner can put tables, types, operators and functions in the way of
-- theirs. Each of these would say so.
CREATE FUNCTION trap() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped, as %', current_user; END $$;
CREATE SCHEMA trap;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
SELECT format('CREATE FUNCTION trap.%s RETURNS %s LANGUAGE plpgsql AS $q$ BEGIN RETURN public.trap(); END $q$', signature, type)
FROM (VALUES ('now()', 'timestamptz'), ('clock_timestamp()', 'timestamptz'), ('pg_notify(text, text)', 'text'), ('octet_length(text)', 'int'),
    ('pg_try_advisory_xact_lock_shared(int, int)', 'boolean'), ('pg_try_advisory_xact_lock(int, int)', 'boolean'), ('pg_current_xact_id()', 'xid8'),
    ('pg_advisory_xact_lock(int, int)', 'text'), ('pg_current_snapshot()', 'pg_snapshot'), ('row_to_json(record)', 'json'), ('to_json(text)', 'json'),
    ('to_json(int)', 'json'), ('unnest(text[])', 'text'), ('array_remove(text[], text)', 'text[]'), ('set_config(text, text, boolean)', 'text'),
    ('nextval(regclass)', 'bigint'), ('pg_get_serial_sequence(text, text)', 'text'), ('cardinality(text[])', 'int'), ('to_regclass(text)', 'regclass'),
    ('split_part(text, text, int)', 'text'), ('reverse(text)', 'text'), ('format(text, text)', 'text'), ('pg_column_size(jsonb)', 'int'),
    ('has_table_privilege(regclass, text)', 'boolean'), ('has_table_privilege(name, oid, text)', 'boolean'), ('current_setting(text)', 'text'),
    ('pg_snapshot_xmax(pg_snapshot)', 'xid8'), ('pg_snapshot_xmin(pg_snapshot)', 'xid8'), ('pg_visible_in_snapshot(xid8, pg_snapshot)', 'boolean'), ('quote_literal(text)', 'text')) AS f (signature, type)
\gexec
SELECT format('CREATE FUNCTION trap.operate(%1$s, %2$s) RETURNS %3$s LANGUAGE plpgsql AS $q$ BEGIN RETURN public.trap(); END $q$;'
              'CREATE OPERATOR trap.%4$s (LEFTARG = %1$s, RIGHTARG = %2$s, FUNCTION = trap.operate)', l, r, type, operator)
FROM (VALUES ('text', 'text', 'boolean', '='), ('text', 'text[]', 'boolean', '<>'), ('text[]', 'text[]', 'boolean', '&&'), ('bigint', 'bigint', 'bigint', '+'),
    ('bigint', 'int', 'boolean', '<'), ('text[]', 'text', 'text[]', '||'), ('timestamptz', 'interval', 'timestamptz', '-'), ('xid8', 'xid8', 'boolean', '>=')) AS o (l, r, type, operator)
\gexec
CREATE TABLE pets (id int PRIMARY KEY, name text, born timestamptz);
CREATE TABLE plants (id int PRIMARY KEY, name text, born timestamptz);
GRANT ALL ON pets, plants TO PUBLIC;
SELECT event_service.watch(t, columns => '{*}', user_column => 'name', level => level)
FROM (VALUES ('pets'::regclass, 'row'), ('plants', 'statement')) AS v (t, level) \g /dev/null
-- Springs every trap: what is not ours falls into it.
CREATE FUNCTION set_traps(session text) RETURNS void LANGUAGE sql AS $$
    SELECT tell(session, 'SET search_path = pg_temp, trap, public, pg_catalog'),
           tell(session, 'CREATE TEMP TABLE ' || name || ' (position int)') FROM unnest(ARRAY['inbox', 'log', 'tick', 'floor', 'epoch', 'pg_class', 'pg_trigger', 'pg_proc',
                                                                                              'pg_attribute', 'published_key', 'revocation', 'ticket']) name
    UNION ALL SELECT NULL, tell(session, format('CREATE DOMAIN pg_temp.%I AS pg_catalog.int4 CHECK (VALUE < 0)', name)) FROM unnest(ARRAY['text', 'int8', 'json', 'xid8', 'pg_snapshot']) name
$$;
GRANT TEMPORARY ON DATABASE access TO PUBLIC;
-- An epoch was opened above that is of no history.
SELECT count(*) FROM event_service.attach() \g /dev/null
:advance
SELECT captured() \g /dev/null
SELECT set_traps(session) FROM unnest(ARRAY['app', 'publisher', 'runtime', 'admin']) session \g /dev/null
SELECT is(outcome_of('app', 'SELECT now()'), 'P0001: trapped, as sql_test_app', 'a function of the same name comes first');
SELECT is(outcome_of('app', 'SELECT 1::pg_catalog.int8 + 1::pg_catalog.int8'), 'P0001: trapped, as sql_test_app', 'so does an operator');
SELECT is(outcome_of('app', 'SELECT 1::text'), '23514: value for domain text violates check constraint "text_check"', 'and a type');
SELECT is(outcome_of('app', statement), 'ok', left(statement, 40) || ': does not fall into it')
FROM unnest(ARRAY['INSERT INTO public.pets VALUES (1, ''rex'', pg_catalog.now())', 'UPDATE public.pets SET name = ''max''', 'DELETE FROM public.pets',
                  'INSERT INTO public.plants VALUES (1, ''ivy'', pg_catalog.now())', 'UPDATE public.plants SET name = ''fern''', 'DELETE FROM public.plants',
                  'TRUNCATE public.pets', 'SELECT event_service.cursor()']) statement;
SELECT is(outcome_of('publisher', $$SELECT event_service.publish('a.b', '{"a": 1}', '{user:a}', 'k', 'd')$$), 'ok', 'nor does publish()');
SELECT is(outcome_of('runtime', statement), 'ok', left(statement, 60) || ' neither')
FROM unnest(ARRAY['SELECT * FROM event_service.attach()', 'SELECT * FROM event_service.advance()', 'SELECT * FROM event_service.replay(0)',
                  'SELECT * FROM event_service.replay(0, 10, ''{user:a}'', ''{a.%}'', ''{k}'')', 'SELECT * FROM event_service.event_at(1)',
                  'SELECT event_service.position_before(pg_catalog.now())', 'SELECT * FROM event_service.status()', 'SELECT * FROM event_service.bounds()',
                  'SELECT event_service.raise_floor(''7 days'')', 'SELECT event_service.sweep(1, ''7 days'')',
                  'SELECT * FROM event_service.revocations()', 'SELECT event_service.issue_ticket(''hash'', ''{"sub": "ann", "iat": 1}'')',
                  'SELECT event_service.redeem_ticket(''hash'')', 'SELECT event_service.sweep_tokens(''30 days'')',
                  'SELECT * FROM event_service.check_sessions(''public.ask_nobody'', ''{ann}'', ''{s}'', ''{t}'')',
                  'SELECT event_service.publish_all(''[{"data": 1}]'', ''[{"type": "a.b", "audience": ["*"]}]'')', 'SELECT * FROM event_service.watched']) statement;
GRANT TRIGGER, SELECT ON app.account TO sql_test_admin;
SELECT is(outcome_of('admin', statement), 'ok', left(statement, 60) || ' neither')
FROM unnest(ARRAY[$$SELECT event_service.watch('app.account', columns => '{*}', user_column => 'name')$$, $$SELECT event_service.watch('app.account', columns => '{*}', level => 'statement')$$,
                  $$SELECT event_service.unwatch('app.account')$$, 'SELECT * FROM event_service.events', $$SELECT event_service.revoke('ann', 's', 't')$$]) statement;
:advance
SELECT is(string_agg(type, ' ' ORDER BY event_id), 'pets.created pets.left pets.entered pets.deleted plants.created plants.left plants.entered plants.deleted'
    ' pets.truncated a.b a.b', 'and all that happened is in the log')
FROM event_service.log WHERE position > (SELECT position FROM last_look);

SELECT close_session(name) FROM sessions \g /dev/null
DROP OWNED BY sql_test_stranger, sql_test_app, sql_test_admin, sql_test_other_admin, sql_test_publisher, sql_test_runtime, sql_test_group CASCADE;
DROP ROLE sql_test_stranger, sql_test_app, sql_test_admin, sql_test_other_admin, sql_test_publisher, sql_test_runtime, sql_test_group;

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
