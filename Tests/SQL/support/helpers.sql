-- What the suites share: a look at what was captured, other sessions of the same database, and
-- waiting without sleeping. A suite begins with \ir support/helpers.sql.

SET client_min_messages = warning;
\set VERBOSITY terse
-- One fault of the product should not hide the others. That no statement failed is the last test of
-- every suite.
\set ON_ERROR_STOP off
\set SHOW_CONTEXT never

-- Sequences all that has committed (but no more than a partition holds). A statement of its own, so a transaction of its own: within one
-- that has written, advance() would not see what it wrote.
\set advance 'SELECT FROM event_service.advance(1000000) \\g /dev/null'

-- For programs that a suite starts.
\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGUSER :USER
\setenv PGDATABASE :DBNAME

CREATE EXTENSION dblink;

-- Events ------------------------------------------------------------------------------------------

CREATE FUNCTION op_name(op "char") RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' WHEN 'd' THEN 'delete'
                   WHEN 'l' THEN 'leave' WHEN 'e' THEN 'enter' WHEN 't' THEN 'truncate'
                   WHEN 'p' THEN 'publish' ELSE 'op ' || op::text END
$$;

-- One line: op, type, key, audience, whom it is hidden from, data exactly as stored. `-` is NULL.
CREATE FUNCTION event_line(
    op "char", type text, key text, audience text[], hidden_from text[], data json)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT concat_ws(' ', op_name(op), type, coalesce(key, '-'), audience,
                     CASE WHEN hidden_from <> '{}' THEN 'not ' || hidden_from::text END,
                     coalesce(data::text, '-'))
$$;

-- Sequences like :advance and says what advance() returned, position=key in its order: '' is nothing,
-- `busy` that another session is at it.
CREATE FUNCTION sequenced(max_rows int DEFAULT 1000, max_bytes bigint DEFAULT 8388608) RETURNS text
LANGUAGE sql AS $$
    SELECT coalesce(string_agg(CASE WHEN position IS NULL THEN 'busy' ELSE position || '=' || key END, ' '), '')
    FROM event_service.advance(max_rows, max_bytes)
$$;

-- Publishes an event that is told from others by its key.
CREATE FUNCTION add(key text, audience text[] DEFAULT '{*}', data jsonb DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$ SELECT event_service.publish('test.event', data, audience, key) $$;

-- Partitions of so few positions that a test can cross them; for a log that is empty still.
CREATE FUNCTION use_partitions_of(size bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    partition regclass;
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION event_service.partition_size() RETURNS bigint'
                   ' LANGUAGE sql IMMUTABLE AS ''SELECT %s::bigint''', size);
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'event_service.log'::regclass LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
    PERFORM event_service.ensure_partitions();
END $$;

-- Where the order of labels is free.
CREATE FUNCTION sorted(text[]) RETURNS text[] LANGUAGE sql IMMUTABLE AS
    'SELECT ARRAY(SELECT unnest($1) ORDER BY 1)';

CREATE TABLE last_look (position bigint NOT NULL);
INSERT INTO last_look VALUES (0);

-- The events that were sequenced since the last look, a line each; '' is none.
CREATE FUNCTION captured() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    lines text;
BEGIN
    SELECT string_agg(event_line(l.op, l.type, l.key, l.audience, l.hidden_from, l.data), E'\n'
                      ORDER BY l.position)
    INTO lines
    FROM event_service.log l WHERE l.position > (SELECT position FROM last_look);
    UPDATE last_look SET position = coalesce((SELECT max(l.position) FROM event_service.log l), 0);
    RETURN coalesce(lines, '');
END $$;

-- The same of what waits in the inbox, which is emptied: for a look from within one transaction.
CREATE FUNCTION take_inbox(like_type text DEFAULT '%') RETURNS text LANGUAGE sql AS $$
    WITH taken AS (DELETE FROM event_service.inbox WHERE type LIKE like_type RETURNING *)
    SELECT coalesce(string_agg(event_line(op, type, key, audience, hidden_from, data), E'\n'
                               ORDER BY event_id), '')
    FROM taken
$$;

-- Runs a statement and says how it went: 'ok', or the SQLSTATE and the message.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN query_canceled OR OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- The hint of the error that a statement raises.
CREATE FUNCTION hint_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    hint text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN hint;
END $$;

-- Sessions ----------------------------------------------------------------------------------------

CREATE TABLE sessions (name text PRIMARY KEY, pid int NOT NULL);

CREATE FUNCTION open_session(name text, login text DEFAULT 'postgres', database text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dblink_connect(name, format('host=127.0.0.1 port=%s dbname=%s user=%s',
        current_setting('port'), coalesce(database, current_database()), login));
    INSERT INTO sessions SELECT open_session.name, pid
    FROM dblink(open_session.name, 'SELECT pg_backend_pid()') AS t (pid int);
END $$;

CREATE FUNCTION close_session(name text) RETURNS void LANGUAGE sql AS $$
    SELECT dblink_disconnect(name);
    DELETE FROM sessions s WHERE s.name = close_session.name
$$;

-- Has a session run a command that returns nothing.
CREATE FUNCTION tell(name text, command text) RETURNS void LANGUAGE sql AS $$
    SELECT dblink_exec(name, command)
$$;

-- Has a session run a query of one column of text and returns its rows, a line each.
CREATE FUNCTION ask(name text, query text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(line, E'\n') FROM dblink(name, query) AS t (line text)
$$;

-- Has a session begin a query of one column of text, without waiting for it; answer_of() waits.
CREATE FUNCTION start_query(name text, query text) RETURNS void LANGUAGE sql AS $$
    SELECT dblink_send_query(name, query)
$$;

CREATE FUNCTION answer_of(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    BEGIN
        SELECT string_agg(line, E'\n') INTO answer FROM dblink_get_result(name) AS t (line text);
    EXCEPTION WHEN OTHERS THEN
        answer := SQLSTATE || ': ' || SQLERRM;
    END;
    -- The connection is free again once an empty result was read.
    PERFORM FROM dblink_get_result(name) AS t (line text);
    RETURN answer;
END $$;

-- Waits until a condition holds; false after ten seconds.
CREATE FUNCTION comes_true(condition text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    holds boolean;
BEGIN
    FOR attempt IN 1 .. 2000 LOOP
        EXECUTE 'SELECT ' || condition INTO holds;
        IF holds THEN
            RETURN true;
        END IF;
        PERFORM pg_sleep(0.005);
    END LOOP;
    RETURN false;
END $$;

-- Waits until a session waits for a lock.
CREATE FUNCTION gets_blocked(name text) RETURNS boolean LANGUAGE sql AS $$
    SELECT comes_true(format('EXISTS (SELECT FROM pg_locks l JOIN sessions s USING (pid)'
                             ' WHERE s.name = %L AND NOT l.granted)', name))
$$;

-- Notifications -----------------------------------------------------------------------------------

CREATE FUNCTION open_listener(name text, VARIADIC channels text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    channel text;
BEGIN
    PERFORM open_session(name);
    FOREACH channel IN ARRAY channels || '{barrier}' LOOP
        PERFORM tell(name, format('LISTEN %I', channel));
    END LOOP;
    IF NOT EXISTS (SELECT FROM sessions s WHERE s.name = 'bell') THEN
        PERFORM open_session('bell');
    END IF;
END $$;

-- What a listener heard since the last call, as channel or channel=payload, in order; '' is nothing.
-- All notifications go through one queue, so that what was sent before the bell rings has come when
-- the bell is heard: no sleeping, and no hoping, when nothing is expected.
CREATE FUNCTION heard(name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    notes text[] := '{}';
    note  record;
BEGIN
    PERFORM tell('bell', 'NOTIFY barrier');
    FOR attempt IN 1 .. 5000 LOOP
        FOR note IN SELECT * FROM dblink_get_notify(name) LOOP
            IF note.notify_name = 'barrier' THEN
                RETURN array_to_string(notes, ' ');
            END IF;
            notes := notes || concat_ws('=', note.notify_name, nullif(note.extra, ''));
        END LOOP;
        PERFORM pg_sleep(0.002);
    END LOOP;
    RETURN 'the bell was never heard';
END $$;
