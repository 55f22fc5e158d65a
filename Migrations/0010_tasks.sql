-- 0010  Example: tasks
--
-- A table of tasks that move through their states, watched: the events are task.created,
-- task.status-changed, task.progress-updated, task.updated, task.deleted, task.entered, task.left.
-- The service is ready without it; `event-service migrate --no-example` leaves it out. Where a relation
-- of the name is there already, nothing is changed.

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);

DO $$
BEGIN
    IF EXISTS (SELECT FROM event_service.migrations WHERE name = '0010_tasks.sql') THEN
        RETURN;
    ELSIF to_regclass('tasks') IS NOT NULL THEN
        RAISE NOTICE 'event_service: there is a relation % already, the example is left out', to_regclass('tasks')::oid::regclass;
        RETURN;
    END IF;

    CREATE TABLE tasks (
        id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        title      text        NOT NULL,
        status     text        NOT NULL DEFAULT 'pending'
                   CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
        progress   int         NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
        message    text,
        user_id    text,
        session_id text,
        context    text,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    );
    PERFORM event_service.watch('tasks',
        topic           => 'task',
        columns         => '{*}',
        types           => '{"status": "status-changed", "progress": "progress-updated"}',
        user_column     => 'user_id',
        session_column  => 'session_id',
        context_columns => '{context}');
END $$;

-- As the owner of the schema, whatever role applies this file.
SET LOCAL ROLE event_service_owner;
INSERT INTO event_service.migrations (name) VALUES ('0010_tasks.sql') ON CONFLICT DO NOTHING;
COMMIT;
