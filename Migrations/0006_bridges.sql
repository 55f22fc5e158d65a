-- 0006  Bridges: events from and to other systems, and dead letters
--
-- A batch of messages from outside is one call of take_in(), and so one transaction: the events, the
-- deduplication keys, the messages that could not be mapped, and where to go on reading. What was
-- committed there is the truth; what the other side keeps – a consumer group's offsets, the pending
-- entries of a stream – may lag behind and is told afterwards.
--
-- Two nodes may believe for a moment that a partition is theirs. So a batch says where it believes the
-- partition to stand, and is refused as a whole where it stands elsewhere: no message is taken twice,
-- however late the second comes, and none is left out.
--
--   source ──take_in()──▶ inbox ──▶ log ──sink_page()──▶ sink
--               └──▶ bridge_offset, dead_letters   └──▶ bridge_position

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Advisory locks, class 'EVNU' (1163284053): one for each bridge that one node at a time may run, by the
-- hash of its name: exclusive, for the session.

-- Messages that became no event, and events that could not be sent. Kept for 30 days.
CREATE TABLE IF NOT EXISTS event_service.dead_letters (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Where it came from, such as kafka:TOPIC:PARTITION:OFFSET.
    source  text        NOT NULL,
    reason  text        NOT NULL,
    -- As it came, up to 1 MiB; what is no text in it is replaced by U+FFFD.
    message text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS dead_letters_at ON event_service.dead_letters (at);

-- Where reading goes on.
CREATE TABLE IF NOT EXISTS event_service.bridge_offset (
    source      text   NOT NULL,
    topic       text   NOT NULL,
    partition   int    NOT NULL,
    next_offset bigint NOT NULL,
    -- The timestamp of the message before that: by it a topic that was made anew is known from the old
    -- one, whose offsets it gives again.
    stamp       bigint NOT NULL,
    PRIMARY KEY (source, topic, partition)
);

-- Up to where a sink has sent.
CREATE TABLE IF NOT EXISTS event_service.bridge_position (
    sink     text PRIMARY KEY,
    position bigint      NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Takes in a batch: `events` (type, key, audience, dedup_key), `dead` (source, reason, message) and
-- `offsets` (source, topic, partition, expected, next, stamp; `expected` NULL: there is none yet), arrays
-- of objects. `data` are those of the events, in their order; apart, since json_to_recordset() would
-- look into them and refuse half of a surrogate pair, which json does not. Returns how many events were
-- added, those left out whose dedup_key was seen within 24 hours; or, where a partition stands elsewhere,
-- nothing is done and a row for each says where (NULL: nowhere yet).
CREATE OR REPLACE FUNCTION event_service.take_in(events json, data text[], dead json, offsets json)
RETURNS TABLE (added int, topic text, partition int, next_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted int;
    moved  int;
    bad    text;
BEGIN
    IF json_array_length(events) <> cardinality(data) THEN
        RAISE EXCEPTION 'event_service.take_in: % events have % data', json_array_length(events), cardinality(data)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- In one order, so that two that hold each other's next row do not wait for ever.
    PERFORM FROM event_service.bridge_offset b
    JOIN json_to_recordset(offsets) AS o (source text, topic text, partition int) USING (source, topic, partition)
    ORDER BY b.source, b.topic, b.partition FOR UPDATE OF b;
    RETURN QUERY
        SELECT NULL::int, o.topic, o.partition, b.next_offset
        FROM json_to_recordset(offsets) AS o (source text, topic text, partition int, expected bigint)
        LEFT JOIN event_service.bridge_offset b USING (source, topic, partition)
        WHERE b.next_offset IS DISTINCT FROM o.expected;
    IF FOUND THEN
        RETURN;
    END IF;
    wanted := json_array_length(offsets);
    INSERT INTO event_service.bridge_offset AS b (source, topic, partition, next_offset, stamp)
    SELECT o.source, o.topic, o.partition, o.next, o.stamp
    FROM json_to_recordset(offsets) AS o (source text, topic text, partition int, next bigint, stamp bigint)
    ORDER BY 1, 2, 3
    ON CONFLICT ON CONSTRAINT bridge_offset_pkey DO UPDATE SET next_offset = excluded.next_offset, stamp = excluded.stamp
        WHERE b.next_offset IS NOT DISTINCT FROM (
            SELECT e.expected FROM json_to_recordset(offsets) AS e (source text, topic text, partition int, expected bigint)
            WHERE (e.source, e.topic, e.partition) = (b.source, b.topic, b.partition));
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> wanted THEN
        -- Another's first batch of a partition was committed while this one waited for it.
        RAISE EXCEPTION 'event_service.take_in: a partition was taken in meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;

    -- Types and labels repeat from event to event: each is looked at once.
    PERFORM event_service.check_type(t.type)
    FROM (SELECT DISTINCT e.type FROM json_to_recordset(events) AS e (type text)) t;
    SELECT a.label INTO bad
    FROM (SELECT DISTINCT unnest(CASE WHEN cardinality(e.audience) > 0 THEN e.audience ELSE ARRAY[NULL] END) AS label
          FROM json_to_recordset(events) AS e (audience text[])) a
    WHERE NOT event_service.is_label(a.label) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'event_service.take_in: % is no audience label', coalesce(quote_literal(left(bad, 200)), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH item AS MATERIALIZED (
        -- Numbered in the order of the batch: the order of a key's messages is that of their ids.
        SELECT nextval(pg_get_serial_sequence('event_service.inbox', 'event_id')) AS event_id, i.*
        FROM (SELECT e.type, e.key, e.audience, e.dedup_key, e.data::json AS data
              FROM ROWS FROM (json_to_recordset(events) AS (type text, key text, audience text[], dedup_key text),
                              unnest(take_in.data))
                   WITH ORDINALITY AS e (type, key, audience, dedup_key, data, number)
              ORDER BY e.number) i
    ), fresh AS (
        INSERT INTO event_service.published_key AS p (dedup_key, event_id)
        SELECT DISTINCT ON (i.dedup_key) i.dedup_key, i.event_id FROM item i
        WHERE i.dedup_key IS NOT NULL ORDER BY i.dedup_key, i.event_id
        ON CONFLICT ON CONSTRAINT published_key_pkey DO UPDATE SET event_id = excluded.event_id, at = excluded.at
            WHERE p.at < now() - interval '24 hours'
        RETURNING p.event_id
    )
    INSERT INTO event_service.inbox (event_id, op, type, key, audience, data) OVERRIDING SYSTEM VALUE
    SELECT i.event_id, 'p', i.type, i.key, i.audience,
           CASE WHEN octet_length(i.data::text) > 1048576
                THEN json_build_object('omitted_bytes', octet_length(i.data::text))
                ELSE coalesce(i.data, 'null') END
    FROM item i
    WHERE i.dedup_key IS NULL OR i.event_id IN (SELECT f.event_id FROM fresh f)
    ORDER BY i.event_id;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved > 0 AND NOT pg_try_advisory_xact_lock_shared(1163284052, 1) THEN
        PERFORM pg_notify('event_service_wake', '');
    END IF;

    IF json_array_length(dead) > 0 THEN
        INSERT INTO event_service.dead_letters (source, reason, message)
        SELECT d.source, d.reason, d.message
        FROM json_to_recordset(dead) AS d (source text, reason text, message text);
        -- Where none comes any more, none is in the way.
        DELETE FROM event_service.dead_letters d USING (
            SELECT o.id FROM event_service.dead_letters o WHERE o.at < now() - interval '30 days'
            ORDER BY o.at LIMIT 1000 FOR UPDATE SKIP LOCKED
        ) old WHERE d.id = old.id;
    END IF;
    RETURN QUERY SELECT moved, NULL::text, NULL::int, NULL::bigint;
END $$;

-- Where reading goes on, for all partitions that a source has ever read.
CREATE OR REPLACE FUNCTION event_service.taken_offsets(source text)
RETURNS TABLE (topic text, partition int, next_offset bigint, stamp bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.topic, b.partition, b.next_offset, b.stamp
    FROM event_service.bridge_offset b WHERE b.source = taken_offsets.source
$$;

-- Whether this session now runs the bridge of this name. It does until the session ends.
CREATE OR REPLACE FUNCTION event_service.claim_bridge(name text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_try_advisory_lock(1163284053, hashtext(name))
$$;

-- Up to where a sink has sent. A new one begins with what is sequenced from now on.
CREATE OR REPLACE FUNCTION event_service.sink_position(sink text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    head  bigint := (SELECT t.last_position FROM event_service.tick t ORDER BY t.tick DESC LIMIT 1);
    found bigint;
BEGIN
    INSERT INTO event_service.bridge_position AS p (sink, position) VALUES (sink, head)
    ON CONFLICT ON CONSTRAINT bridge_position_pkey DO NOTHING;
    SELECT p.position INTO found FROM event_service.bridge_position p WHERE p.sink = sink_position.sink;
    -- Ahead of the log: the positions came from elsewhere than the log did.
    RETURN least(found, head);
END $$;

-- Notes that a sink has sent everything up to `reached` (NULL: nothing to note), and returns the next
-- page of the log behind `after`, as replay() does. Neither, and no row, where the log has opened another
-- epoch since the session called attach(): what was reached may be another event there.
CREATE OR REPLACE FUNCTION event_service.sink_page(
    sink text, reached bigint, after bigint, types text[], max_rows int DEFAULT 1000, max_bytes bigint DEFAULT 8388608)
RETURNS TABLE (head bigint, floor bigint, scanned bigint, "position" bigint, event_id bigint,
               at timestamptz, bytes int, op "char", conflate boolean, type text, key text,
               audience text[], hidden_from text[], data json, traceparent text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    attached bigint := nullif(current_setting('event_service.epoch', true), '')::bigint;
BEGIN
    UPDATE event_service.bridge_position p SET position = reached, at = clock_timestamp()
    WHERE p.sink = sink_page.sink AND p.position <> reached
      AND (attached IS NULL OR attached = (SELECT event_service.newest_epoch()));
    RETURN QUERY SELECT * FROM event_service.replay(after, max_rows, NULL, types, NULL, max_bytes)
    WHERE (attached IS NULL OR attached = (SELECT event_service.newest_epoch()));
END $$;

GRANT SELECT ON event_service.dead_letters TO event_service_admin;
GRANT EXECUTE ON FUNCTION
    event_service.take_in(json, text[], json, json), event_service.taken_offsets(text), event_service.claim_bridge(text),
    event_service.sink_position(text), event_service.sink_page(text, bigint, bigint, text[], int, bigint)
    TO event_service_runtime;

INSERT INTO event_service.migrations (name) VALUES ('0006_bridges.sql') ON CONFLICT DO NOTHING;
COMMIT;
