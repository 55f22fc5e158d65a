-- 0003  Access: the log for people, and who may do what
--
-- event_service_owner      owns everything, has no right on any application table, never logs in
-- event_service_admin      watches tables and reads the log: for those who write migrations
-- event_service_publisher  publishes: for applications that publish events of their own
-- event_service_runtime    all that the service's login needs; it cannot write inbox or log itself
-- everyone                 cursor(); and nothing at all is needed for the triggers to work

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- jsonb cannot hold all that json can (U+0000, half a surrogate pair, 1e200000): such data are shown as
-- one string.
CREATE OR REPLACE FUNCTION event_service.as_jsonb(data json) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN data::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN to_jsonb(data::text);
END $$;

-- The event log as people read it, narrowed to what is kept. `id` is the id on the stream.
CREATE OR REPLACE VIEW event_service.events AS
SELECT event_service.stream_id(l.position) AS id,
       l.event_id, l.type, left(l.type, -strpos(reverse(l.type), '.')) AS topic, l.key,
       CASE l.op WHEN 'i' THEN 'insert' WHEN 'u' THEN 'update' WHEN 'd' THEN 'delete' WHEN 'e' THEN 'enter'
                 WHEN 'l' THEN 'leave' WHEN 't' THEN 'truncate' ELSE 'publish' END AS op,
       l.audience, l.hidden_from,
       event_service.as_jsonb(l.data) AS data,
       l.at, l.traceparent
FROM event_service.log l
WHERE l.position >= (SELECT f.position FROM event_service.floor f);

GRANT USAGE ON SCHEMA event_service TO PUBLIC;
GRANT EXECUTE ON FUNCTION event_service.cursor() TO PUBLIC;

GRANT EXECUTE ON FUNCTION event_service.publish(text, jsonb, text[], text, text)
    TO event_service_publisher, event_service_runtime;
GRANT EXECUTE ON FUNCTION event_service.publish_all(jsonb, jsonb), event_service.canary()
    TO event_service_runtime;

-- watch() runs as its caller, so the caller needs what it calls.
GRANT EXECUTE ON FUNCTION
    event_service.watch(regclass, text, text, text[], text[], jsonb, text, text, text[], boolean, text, text, text[]),
    event_service.unwatch(regclass), event_service.check_watchable(regclass),
    event_service.check_settings(regclass, jsonb), event_service.check_readable(regclass, jsonb),
    event_service.check_partition_tree(regclass, text), event_service.captured_twice(oid, text),
    event_service.inheritance(oid), event_service.notice_limits(regclass, jsonb),
    event_service.check_type(text),
    event_service.label_settings(regclass, text, text, text[]), event_service.named_columns(jsonb),
    event_service.missing_columns(oid, text[]), event_service.wanted_triggers(jsonb),
    event_service.trigger_fault(oid, jsonb), event_service.capture_function(oid),
    event_service.write_capture(oid, jsonb), event_service.drop_capture(oid)
    TO event_service_admin;
GRANT SELECT ON event_service.events TO event_service_admin;
GRANT EXECUTE ON FUNCTION event_service.stream_id(bigint), event_service.as_jsonb(json) TO event_service_admin;

GRANT SELECT ON event_service.watched TO event_service_admin, event_service_runtime;
GRANT EXECUTE ON FUNCTION event_service.watched_tables() TO event_service_admin, event_service_runtime;

GRANT SELECT ON event_service.migrations TO event_service_runtime;
GRANT EXECUTE ON FUNCTION
    event_service.attach(), event_service.bounds(), event_service.newest_epoch(), event_service.history_name(),
    event_service.advance(int, bigint, boolean), event_service.status(),
    event_service.replay(bigint, int, text[], text[], text[], bigint), event_service.event_at(bigint),
    event_service.position_before(timestamptz)
    TO event_service_runtime;

INSERT INTO event_service.migrations (name) VALUES ('0003_access.sql') ON CONFLICT DO NOTHING;
COMMIT;
