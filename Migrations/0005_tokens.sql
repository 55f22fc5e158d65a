-- 0005  Tokens: revocations, tickets, and asking whether sessions are open
--
-- A revocation is a row. Nodes keep all of them in memory, so that a token is checked without a query:
-- they read them when they attach, on every notification, and twice a second in case one was lost. What
-- is new since the last look is told by transaction ids, not by a sequence: number 10 can become visible
-- after number 11, and whoever asks for what follows 11 would never hear of it.
--
-- A ticket is what a client that cannot send headers puts into a URL: good once, for a minute, on any
-- node. Only its hash is kept, so that nobody who reads the table, a log of statements or a backup can
-- use it.

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Revocations -------------------------------------------------------------------------------------

CREATE TABLE IF NOT EXISTS event_service.revocation (
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id    text,
    session_id text,
    token_id   text,
    CHECK (num_nonnulls(user_id, session_id, token_id) > 0)
);
CREATE INDEX IF NOT EXISTS revocation_xid ON event_service.revocation (xid);
CREATE INDEX IF NOT EXISTS revocation_at ON event_service.revocation (at);
CREATE INDEX IF NOT EXISTS revocation_user ON event_service.revocation (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS revocation_session ON event_service.revocation (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS revocation_token ON event_service.revocation (token_id) WHERE token_id IS NOT NULL;
REVOKE ALL ON event_service.revocation FROM event_service_runtime;

-- Ends the streams of tokens with this sub, sid and jti – whatever is given, all of it must match – and
-- refuses such tokens from the commit on, on every node within a second and after restarts: those that
-- were issued up to the present second or do not say when; with a token_id whatever they say. Best in a
-- transaction of its own: the second is that of the call.
CREATE OR REPLACE FUNCTION event_service.revoke(
    user_id text DEFAULT NULL, session_id text DEFAULT NULL, token_id text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF num_nonnulls(user_id, session_id, token_id) = 0 THEN
        RAISE EXCEPTION 'event_service.revoke: nothing is named'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Name a user_id, a session_id or a token_id; of several, a token must match all.';
    ELSIF '' IN (user_id, session_id, token_id) THEN
        RAISE EXCEPTION 'event_service.revoke: an empty text names nobody'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave the argument out, or give NULL.';
    ELSIF greatest(octet_length(user_id), octet_length(session_id), octet_length(token_id)) > 1024 THEN
        RAISE EXCEPTION 'event_service.revoke: a name has more than 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO event_service.revocation (user_id, session_id, token_id)
    VALUES (revoke.user_id, revoke.session_id, revoke.token_id);
    PERFORM pg_notify('event_service_revoke', '');
END $$;

-- The revocations of transactions from `since` on, each with the second that it counts from, and with
-- `next`, the `since` of the next look: whatever became visible up to now lies before it or is among
-- these. At least one row; without a revocation all but `next` is NULL.
CREATE OR REPLACE FUNCTION event_service.revocations(since xid8 DEFAULT '0')
RETURNS TABLE (second bigint, user_id text, session_id text, token_id text, next bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT floor(extract(epoch FROM r.at))::bigint, r.user_id, r.session_id, r.token_id,
           pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    FROM (VALUES (1)) one LEFT JOIN event_service.revocation r ON r.xid >= since
$$;

-- Whether a token with these claims is revoked: the rule of the nodes, for the moment in which a ticket
-- is used, when a node may not have heard yet.
CREATE OR REPLACE FUNCTION event_service.is_revoked(claims json) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM event_service.revocation r
        WHERE (r.user_id = claims ->> 'sub' OR r.session_id = claims ->> 'sid' OR r.token_id = claims ->> 'jti')
          AND (r.user_id IS NULL OR r.user_id = claims ->> 'sub')
          AND (r.session_id IS NULL OR r.session_id = claims ->> 'sid')
          AND (r.token_id IS NULL OR r.token_id = claims ->> 'jti')
          AND (r.token_id IS NOT NULL OR claims ->> 'iat' IS NULL
               OR (claims ->> 'iat')::numeric <= floor(extract(epoch FROM r.at))))
$$;

-- Tickets -----------------------------------------------------------------------------------------

-- Unlogged: a crash of the server empties it, and clients fetch new ones.
CREATE UNLOGGED TABLE IF NOT EXISTS event_service.ticket (
    hash       text PRIMARY KEY,
    owner      text        NOT NULL,
    claims     json        NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS ticket_owner ON event_service.ticket (owner, expires_at);
CREATE INDEX IF NOT EXISTS ticket_expires_at ON event_service.ticket (expires_at);
REVOKE ALL ON event_service.ticket FROM event_service_runtime;

-- Keeps a ticket by its hash, with the claims of the token that it stands for; false if whoever the
-- token names has 100 that are neither used nor expired.
CREATE OR REPLACE FUNCTION event_service.issue_ticket(hash text, claims json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bearer text := coalesce('user:' || nullif(claims ->> 'sub', ''), 'session:' || nullif(claims ->> 'sid', ''),
                            'token:' || nullif(claims ->> 'jti', ''), '');
BEGIN
    IF (SELECT count(*) FROM event_service.ticket t
        WHERE t.owner = bearer AND t.expires_at > clock_timestamp()) >= 100 THEN
        RETURN false;
    END IF;
    INSERT INTO event_service.ticket (hash, owner, claims, expires_at)
    VALUES (issue_ticket.hash, bearer, issue_ticket.claims, clock_timestamp() + interval '60 seconds');
    RETURN true;
END $$;

-- Takes a ticket and returns the claims that it stands for; NULL if it was used, has expired, was never
-- given, or its token is revoked. Of two who come at once one gets it.
CREATE OR REPLACE FUNCTION event_service.redeem_ticket(hash text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    taken event_service.ticket;
BEGIN
    DELETE FROM event_service.ticket t WHERE t.hash = redeem_ticket.hash RETURNING t.* INTO taken;
    IF taken.expires_at > clock_timestamp() AND NOT event_service.is_revoked(taken.claims) THEN
        RETURN taken.claims;
    END IF;
    RETURN NULL;
END $$;

-- Deletes revocations older than `keep`, which concern no token any more, and tickets that have expired.
CREATE OR REPLACE FUNCTION event_service.sweep_tokens(keep interval) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM event_service.revocation WHERE at < clock_timestamp() - keep;
    DELETE FROM event_service.ticket WHERE expires_at < clock_timestamp();
$$;

-- Sessions ----------------------------------------------------------------------------------------

-- Asks `checker`, a function (user_id text, session_id text, token_id text) RETURNS boolean, about many
-- at once, and returns its answers in their order: NULL where it raised an error, false where it said
-- NULL. As its caller, who needs the right to execute the function; names that the function does not
-- qualify are looked up in its own schema, then in public.
CREATE OR REPLACE FUNCTION event_service.check_sessions(
    checker text, users text[], sessions text[], tokens text[])
RETURNS SETOF boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    call   text := format('SELECT %s($1, $2, $3)', checker);
    answer boolean;
BEGIN
    -- Undone when the function, which has a search_path of its own, ends.
    PERFORM set_config('search_path', split_part(checker, '.', 1) || ', public, pg_temp', true);
    FOR number IN 1 .. cardinality(users) LOOP
        BEGIN
            EXECUTE call INTO answer USING users[number], sessions[number], tokens[number];
            RETURN NEXT coalesce(answer, false);
        EXCEPTION WHEN OTHERS THEN
            -- One whose check fails must not speak for the others.
            RETURN NEXT NULL;
        END;
    END LOOP;
END $$;

GRANT EXECUTE ON FUNCTION event_service.revoke(text, text, text) TO event_service_admin;
GRANT EXECUTE ON FUNCTION
    event_service.revocations(xid8), event_service.issue_ticket(text, json), event_service.redeem_ticket(text),
    event_service.sweep_tokens(interval), event_service.check_sessions(text, text[], text[], text[])
    TO event_service_runtime;

INSERT INTO event_service.migrations (name) VALUES ('0005_tokens.sql') ON CONFLICT DO NOTHING;
COMMIT;
