-- Tokens: revocations, tickets, and asking whether sessions are open.
\ir support/helpers.sql
SELECT plan(85);

CREATE ROLE an_admin LOGIN IN ROLE event_service_admin;
CREATE ROLE a_service LOGIN IN ROLE event_service_runtime;
CREATE ROLE a_publisher LOGIN IN ROLE event_service_publisher;
CREATE ROLE anybody LOGIN;
SELECT open_session('admin', 'an_admin'), open_session('service', 'a_service'),
       open_session('publisher', 'a_publisher'), open_session('anybody', 'anybody');

-- Runs a statement in a session and says how it went.
CREATE FUNCTION outcome_in(session text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    SELECT string_agg(line, E'\n') INTO answer FROM dblink(session, statement) AS t (line text);
    RETURN coalesce(answer, 'NULL');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Revoking ----------------------------------------------------------------------------------------

SELECT is(outcome('SELECT event_service.revoke()'), '22023: event_service.revoke: nothing is named', 'revoke() of nothing');
SELECT matches(hint_of('SELECT event_service.revoke()'), 'a token must match all', 'its hint');
SELECT is(outcome(format('SELECT event_service.revoke(%s)', argument)),
          '22023: event_service.revoke: an empty text names nobody', format('revoke(%s)', argument))
FROM unnest(ARRAY['''''', 'session_id => ''''', 'token_id => ''''', '''u'', ''''', 'NULL, '''', ''t''']) argument;
SELECT is(outcome($$SELECT event_service.revoke(repeat('x', 1025))$$),
          '22023: event_service.revoke: a name has more than 1024 bytes', 'an overlong name');
SELECT is(outcome($$SELECT event_service.revoke(token_id => repeat('ü', 513))$$),
          '22023: event_service.revoke: a name has more than 1024 bytes', 'bytes are counted');
SELECT is((SELECT count(*) FROM event_service.revocation), 0::bigint, 'nothing of this was kept');

SELECT open_listener('ear', 'event_service_revoke');
SELECT is(outcome_in('admin', 'SELECT event_service.revoke(''ann'')::text'), '', 'an admin may revoke');
SELECT is(heard('ear'), 'event_service_revoke', 'and the nodes are told');
SELECT is((SELECT (user_id, session_id, token_id)::text FROM event_service.revocation), '(ann,,)', 'what is kept');
SELECT is(outcome_in('admin', $$SELECT event_service.revoke(session_id => 's', token_id => 't')::text$$), '', 'by two names');
SELECT is((SELECT (user_id, session_id, token_id)::text FROM event_service.revocation ORDER BY at DESC LIMIT 1),
          '(,s,t)', 'both are kept');
SELECT is(outcome_in('admin', 'SELECT event_service.revoke(repeat(''x'', 1024))::text'), '', 'a name of 1024 bytes');
SELECT heard('ear') \g /dev/null
SELECT tell('admin', 'BEGIN'), ask('admin', 'SELECT event_service.revoke(''bob'')::text');
SELECT is(heard('ear'), '', 'nobody is told before the commit');
SELECT tell('admin', 'ROLLBACK');
SELECT is(heard('ear'), '', 'or after a rollback');
SELECT is((SELECT count(*) FROM event_service.revocation WHERE user_id = 'bob'), 0::bigint, 'which leaves nothing');

SELECT is(outcome_in(session, 'SELECT event_service.revoke(''x'')::text'),
          '42501: permission denied for function revoke', session || ' may not revoke')
FROM unnest(ARRAY['service', 'publisher', 'anybody']) session;
SELECT is(outcome_in(session, 'SELECT count(*)::text FROM event_service.' || relation),
          '42501: permission denied for table ' || relation, format('%s may not read %s', session, relation))
FROM unnest(ARRAY['admin', 'service', 'publisher', 'anybody']) session, unnest(ARRAY['revocation', 'ticket']) relation;

-- Reading revocations -----------------------------------------------------------------------------

CREATE VIEW listed AS
SELECT string_agg(concat_ws('/', user_id, session_id, token_id), ' ' ORDER BY user_id, session_id) AS names
FROM event_service.revocations();
TRUNCATE event_service.revocation;
SELECT is((SELECT (second, user_id, session_id, token_id)::text FROM event_service.revocations()), '(,,,)', 'one row when there is none');
SELECT ok((SELECT next > 0 FROM event_service.revocations()), 'that says where to go on');
SELECT event_service.revoke('a'), event_service.revoke(session_id => 'b') \g /dev/null
SELECT is((SELECT names FROM listed), 'a b', 'all of them');
SELECT is((SELECT min(second) FROM event_service.revocations()),
          (SELECT floor(extract(epoch FROM min(at)))::bigint FROM event_service.revocation), 'from the second of the call');

-- A transaction that began first and commits last: whoever asked in between must still hear of it.
SELECT tell('admin', 'BEGIN'), ask('admin', 'SELECT event_service.revoke(''early'')::text');
SELECT event_service.revoke('late') \g /dev/null
SELECT next AS since, names AS before FROM event_service.revocations(), listed LIMIT 1 \gset
SELECT is(:'before'::text, 'a late b', 'what is not committed is not seen');
SELECT tell('admin', 'COMMIT');
SELECT is((SELECT count(*) FROM event_service.revocations(:'since'::xid8) WHERE user_id = 'early'), 1::bigint,
          'what was under way then comes with the next look');
SELECT is((SELECT count(*) FROM event_service.revocations(:'since'::xid8) WHERE user_id = 'a'), 0::bigint,
          'what was seen does not come again');
SELECT next AS since FROM event_service.revocations() LIMIT 1 \gset
SELECT is((SELECT user_id FROM event_service.revocations(:'since'::xid8)), NULL::text, 'then nothing is new');

-- Tickets -----------------------------------------------------------------------------------------

TRUNCATE event_service.revocation;
SELECT is(outcome_in('service', $$SELECT event_service.issue_ticket('h1', '{"exp":1,"sub":"ann"}')::text$$), 'true', 'a ticket is kept');
SELECT is(outcome_in('service', $$SELECT event_service.redeem_ticket('h1')::text$$), '{"exp":1,"sub":"ann"}', 'and taken');
SELECT is(outcome_in('service', $$SELECT event_service.redeem_ticket('h1')::text$$), 'NULL', 'once');
SELECT is(outcome_in('service', $$SELECT event_service.redeem_ticket('none')::text$$), 'NULL', 'one that was never given');
SELECT is(outcome_in('service', $$SELECT event_service.redeem_ticket(NULL)::text$$), 'NULL', 'none at all');
SELECT is((SELECT count(*) FROM event_service.ticket), 0::bigint, 'a ticket that was taken is gone');
SELECT event_service.issue_ticket('h2', '{}') \g /dev/null
SELECT ok((SELECT expires_at BETWEEN clock_timestamp() + interval '50 s' AND clock_timestamp() + interval '60 s'
           FROM event_service.ticket), 'it is good for a minute');
UPDATE event_service.ticket SET expires_at = clock_timestamp() - interval '1 ms';
SELECT is(event_service.redeem_ticket('h2')::text, NULL, 'and no longer');
SELECT is((SELECT count(*) FROM event_service.ticket), 0::bigint, 'and then it is gone');
SELECT matches(outcome_in('service', $$SELECT event_service.issue_ticket('h', '{')::text$$), '^22P02', 'claims are JSON');
SELECT is(outcome_in(session, statement), '42501: permission denied for function ' || name, session || ': ' || name)
FROM (VALUES ('issue_ticket', $$SELECT event_service.issue_ticket('h', '{}')::text$$),
             ('redeem_ticket', $$SELECT event_service.redeem_ticket('h')::text$$),
             ('sweep_tokens', $$SELECT event_service.sweep_tokens('1 s')::text$$),
             ('revocations', $$SELECT count(*)::text FROM event_service.revocations()$$),
             ('check_sessions', $$SELECT count(*)::text FROM event_service.check_sessions('f', '{}', '{}', '{}')$$)) f (name, statement),
     unnest(ARRAY['publisher', 'anybody']) session
WHERE session = 'anybody' OR name IN ('issue_ticket', 'redeem_ticket');

-- Two at once.
SELECT event_service.issue_ticket('h3', '{"sub":"ann"}') \g /dev/null
SELECT open_session('other', 'a_service');
SELECT tell('service', 'BEGIN');
SELECT is(ask('service', $$SELECT event_service.redeem_ticket('h3')::text$$), '{"sub":"ann"}', 'the first gets it');
SELECT start_query('other', $$SELECT coalesce(event_service.redeem_ticket('h3')::text, 'nothing')$$);
SELECT ok(gets_blocked('other'), 'the second waits for the first');
SELECT tell('service', 'COMMIT');
SELECT is(answer_of('other'), 'nothing', 'and gets nothing');

-- What a revocation does to tickets: (claims, revocation, whether it is void).
CREATE TABLE void_cases (number int GENERATED ALWAYS AS IDENTITY, claims text, arguments text, is_void boolean);
INSERT INTO void_cases (claims, arguments, is_void) VALUES
('{"sub":"u","iat":1}', '''u''', true), ('{"sub":"u"}', '''u''', true), ('{"sub":"v","iat":1}', '''u''', false),
('{"sid":"u","iat":1}', '''u''', false), ('{"sub":"u","iat":NOW}', '''u''', true), ('{"sub":"u","iat":NEXT}', '''u''', false),
('{"sid":"s","iat":1}', 'session_id => ''s''', true), ('{"jti":"t","iat":NEXT}', 'token_id => ''t''', true),
('{"sub":"u","sid":"s","iat":1}', '''u'', ''s''', true), ('{"sub":"u","sid":"x","iat":1}', '''u'', ''s''', false),
('{"sub":"u","iat":1}', '''u'', ''s''', false), ('{"sub":"u","jti":"t","iat":NEXT}', '''u'', token_id => ''t''', true),
('{"iat":1}', '''u''', false), ('{"sub":"","iat":1}', '''u''', false);
CREATE FUNCTION is_void(wanted int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    c void_cases;
    second bigint;
BEGIN
    SELECT * INTO c FROM void_cases WHERE number = wanted;
    DELETE FROM event_service.revocation;
    EXECUTE format('SELECT event_service.revoke(%s)', c.arguments);
    SELECT floor(extract(epoch FROM at)) INTO second FROM event_service.revocation;
    -- The ticket is younger than the revocation: a node may not have heard when it gave it.
    PERFORM event_service.issue_ticket('v', replace(replace(c.claims, 'NOW', second::text), 'NEXT', (second + 1)::text)::json);
    RETURN event_service.redeem_ticket('v') IS NULL;
END $$;
SELECT is(is_void(number), is_void, format('%s, revoke(%s)', claims, arguments)) FROM void_cases ORDER BY number;

-- A bound for each bearer.
SELECT is((SELECT count(*) FILTER (WHERE event_service.issue_ticket('m' || i, '{"sub":"many"}')) FROM generate_series(1, 105) i),
          100::bigint, 'a bearer has up to 100 tickets');
SELECT ok(event_service.issue_ticket('n', '{"sub":"few"}'), 'another is not concerned');
UPDATE event_service.ticket SET expires_at = clock_timestamp() WHERE hash = 'm1';
SELECT ok(event_service.issue_ticket('m101', '{"sub":"many"}'), 'what has expired does not count');

-- Sweeping ----------------------------------------------------------------------------------------

TRUNCATE event_service.revocation, event_service.ticket;
SELECT event_service.revoke('old'), event_service.revoke('new'),
       event_service.issue_ticket('old', '{}'), event_service.issue_ticket('new', '{}') \g /dev/null
UPDATE event_service.revocation SET at = at - interval '1 hour' WHERE user_id = 'old';
UPDATE event_service.ticket SET expires_at = now() - interval '1 ms' WHERE hash = 'old';
SELECT is(outcome_in('service', $$SELECT event_service.sweep_tokens('3500 s')::text$$), 'NULL', 'the service sweeps');
SELECT is((SELECT string_agg(user_id, ' ') FROM event_service.revocation) || ' ' || (SELECT string_agg(hash, ' ') FROM event_service.ticket),
          'new new', 'what can matter stays');

-- Sessions ----------------------------------------------------------------------------------------

CREATE SCHEMA app;
CREATE TABLE app.sessions (id text PRIMARY KEY, is_open boolean);
INSERT INTO app.sessions VALUES ('open', true), ('closed', false), ('unsure', NULL);
-- Names are not qualified: they are found in the function's schema.
CREATE FUNCTION app.session_is_open(u text, s text, t text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    IF s = 'broken' THEN RAISE EXCEPTION 'no'; END IF;
    RETURN (SELECT is_open FROM sessions WHERE id = s) AND u = 'ann';
END $$;
GRANT USAGE ON SCHEMA app TO a_service;
CREATE FUNCTION asked(sessions text) RETURNS text LANGUAGE sql AS $$
    SELECT outcome_in('service', format(
        'SELECT string_agg(coalesce(a::text, ''?''), '' '' ORDER BY n) FROM ROWS FROM (event_service.check_sessions(%L, '
        'array_fill(''ann''::text, ARRAY[cardinality(%L::text[])]), %L, array_fill(NULL::text, ARRAY[cardinality(%L::text[])])))'
        ' WITH ORDINALITY c (a, n)', '"app"."session_is_open"', sessions, sessions, sessions))
$$;
SELECT is(asked('{open,closed,broken,unsure,none,open}'), 'true false ? false false true',
          'one answer for each: an error is no answer, NULL is no');
SELECT is(asked('{NULL}'), 'false', 'a token without a session');
SELECT is(outcome_in('service', $$SELECT count(*)::text FROM event_service.check_sessions('"app"."session_is_open"', '{}', '{}', '{}')$$),
          '0', 'nobody is asked about');
REVOKE EXECUTE ON FUNCTION app.session_is_open FROM PUBLIC;
SELECT is(asked('{open}'), '?', 'the service needs the right to ask');
GRANT EXECUTE ON FUNCTION app.session_is_open TO a_service;
SELECT is(asked('{open}'), 'true', 'and has it when it is granted');
SELECT is(outcome_in('service', $$SELECT a::text FROM event_service.check_sessions('"app"."nothing"', '{u}', '{s}', '{t}') a$$),
          'NULL', 'a function that is not there gives no answer');
SELECT is(outcome_in('service', 'SELECT current_setting(''search_path'')'), '"$user", public', 'and the session is left as it was');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
