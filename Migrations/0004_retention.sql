-- 0004  Retention: the floor rises, then what lies below it goes
--
-- Two steps in two transactions, some seconds apart. A page of replay reads the floor in the same
-- snapshot as its events; if the floor rose in the transaction that drops a partition, a page that
-- began just before would find neither the events nor the floor that tells of their loss.
--
-- Dropping a partition costs next to nothing where DELETE and VACUUM of its rows cost as much as
-- writing them did. So rows are deleted only from a partition that is not full yet, and only when they
-- have been below the floor for most of an hour: a quiet database would keep them for ever.

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Raises the floor over everything that was sequenced longer than `keep` ago, and returns it.
CREATE OR REPLACE FUNCTION event_service.raise_floor(keep interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted bigint := event_service.position_before(now() - keep) + 1;
    raised bigint;
BEGIN
    UPDATE event_service.floor SET position = wanted WHERE position < wanted;
    SELECT f.position INTO raised FROM event_service.floor f;
    RETURN raised;
END $$;

-- Frees what an earlier raise_floor() left below `reached`, the floor that it returned, and tidies the
-- small tables. Does nothing while another node is at it. Returns whether there is more to do.
--
-- The partitions go last: until the end of the transaction that drops one, nobody can read the log.
CREATE OR REPLACE FUNCTION event_service.sweep(reached bigint, keep interval) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    below   bigint := least(reached, (SELECT f.position FROM event_service.floor f));
    -- What has no tick before it is not overdue.
    overdue bigint := coalesce(event_service.position_before(now() - keep - interval '50 minutes'), 0) + 1;
    size    bigint := event_service.partition_size();
    full_one text;
    deleted bigint;
BEGIN
    IF reached IS NULL OR keep IS NULL OR NOT pg_try_advisory_xact_lock(1163284052, 5) THEN
        RETURN false;
    END IF;
    -- Below the first partition that stays all are dropped whole.
    DELETE FROM event_service.log l USING (
        SELECT position FROM event_service.log
        WHERE position >= below / size * size AND position < least(below, overdue) ORDER BY position LIMIT 10000
    ) old WHERE l.position = old.position;
    GET DIAGNOSTICS deleted = ROW_COUNT;

    -- Of the ticks that are older than a minute the last of each second stays, to tell which position
    -- stands for a time; the newest is the head.
    DELETE FROM event_service.tick t
    WHERE t.at < now() - interval '1 minute' AND t.at > now() - interval '1 hour'
      AND EXISTS (SELECT FROM event_service.tick n
                  WHERE n.tick = t.tick + 1 AND date_trunc('second', n.at) = date_trunc('second', t.at));
    -- The last of those that are too old stays: it stands for the times up to the next.
    DELETE FROM event_service.tick t
    WHERE t.tick < (SELECT o.tick FROM event_service.tick o WHERE o.at < now() - keep - interval '1 hour'
                    ORDER BY o.at DESC, o.tick DESC LIMIT 1);
    DELETE FROM event_service.published_key p WHERE p.at < now() - interval '24 hours';
    IF deleted = 10000 THEN
        RETURN true;
    END IF;

    PERFORM set_config('lock_timeout', '200ms', true);
    PERFORM event_service.ensure_partitions();
    BEGIN
        FOR full_one IN
            SELECT c.relname FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
            WHERE h.inhparent = 'event_service.log'::regclass
              AND (substr(c.relname, length('log_p') + 1)::bigint + 1) * size <= below
        LOOP
            EXECUTE format('DROP TABLE event_service.%I', full_one);
        END LOOP;
    EXCEPTION WHEN lock_not_available THEN
        -- Somebody reads for long. Rather try again in a minute than have all others queue behind this
        -- one's wait.
        NULL;
    END;
    RETURN false;
END $$;

GRANT EXECUTE ON FUNCTION event_service.raise_floor(interval), event_service.sweep(bigint, interval)
    TO event_service_runtime;

INSERT INTO event_service.migrations (name) VALUES ('0004_retention.sql') ON CONFLICT DO NOTHING;
COMMIT;
