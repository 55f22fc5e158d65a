-- 0007  Metrics: what only the database knows of the log

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- What a node asks whenever it is asked for its metrics: the last event id that any transaction took,
-- how many committed events wait in the inbox (counted up to 100,000, so that a backlog makes nothing
-- slower), for how long the first of them has, head and floor, and what the log takes on disk.
CREATE OR REPLACE FUNCTION event_service.measures()
RETURNS TABLE (captured bigint, inbox_events bigint, inbox_seconds double precision, head bigint,
               floor bigint, log_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT s.last_value FROM pg_sequences s
                     WHERE s.schemaname = 'event_service' AND s.sequencename = 'inbox_event_id_seq'), 0),
           (SELECT count(*) FROM (SELECT FROM event_service.inbox LIMIT 100000) i),
           coalesce(extract(epoch FROM clock_timestamp() - s.waiting_since), 0),
           s.head, s.floor,
           (SELECT sum(pg_total_relation_size(p.relid))::bigint FROM pg_partition_tree('event_service.log') p)
    FROM event_service.status() s
$$;

GRANT EXECUTE ON FUNCTION event_service.measures() TO event_service_runtime;

INSERT INTO event_service.migrations (name) VALUES ('0007_metrics.sql') ON CONFLICT DO NOTHING;
COMMIT;
