-- Tasks that move through their states, with progress, until this session ends. Other rows, such as those
-- of somebody who tries the service, are left alone; so is a table `tasks` that is not the example.
\set ON_ERROR_STOP on
SET client_connection_check_interval = '1s';
SET client_min_messages = warning;

SELECT EXISTS (SELECT FROM event_service.watched WHERE tbl = to_regclass('tasks') AND topic = 'task')
    AS has_example \gset
\if :has_example
\else
    \warn 'no sample tasks: tasks is not the example table here'
    \quit
\endif
CREATE TEMPORARY VIEW sample AS SELECT * FROM tasks WHERE user_id LIKE 'user-_' AND session_id LIKE 'session-_';

-- A page that reads the last hour of the log knows all of them from here on.
UPDATE sample SET updated_at = now();

DO $$
DECLARE
    titles   text[] := ARRAY['Import customers', 'Render report', 'Send newsletter', 'Resize images',
                             'Rebuild index', 'Transcode video', 'Reconcile payments', 'Back up volumes'];
    contexts text[] := ARRAY['billing', 'media', 'search'];
BEGIN
    LOOP
        -- At most eight tasks are open; a new one begins now and then.
        IF (SELECT count(*) FROM sample WHERE status IN ('pending', 'running')) < 8 AND random() < 0.5 THEN
            INSERT INTO sample (title, user_id, session_id, context)
            VALUES (titles[1 + floor(random() * cardinality(titles))],
                    'user-' || (1 + floor(random() * 3)), 'session-' || (1 + floor(random() * 5)),
                    contexts[1 + floor(random() * cardinality(contexts))]);
        END IF;
        COMMIT;
        UPDATE sample SET status = 'running', message = 'started', updated_at = now()
        WHERE id = (SELECT id FROM sample WHERE status = 'pending' ORDER BY id LIMIT 1) AND random() < 0.5;
        COMMIT;
        UPDATE sample SET progress = least(100, progress + 5 + floor(random() * 15)),
                         message = 'working', updated_at = now()
        WHERE id = (SELECT id FROM sample WHERE status = 'running' AND progress < 100 ORDER BY random() LIMIT 1);
        COMMIT;
        UPDATE sample SET status = CASE WHEN random() < 0.15 THEN 'failed' ELSE 'succeeded' END,
                         message = 'done', updated_at = now()
        WHERE status = 'running' AND progress = 100;
        COMMIT;
        -- What is long done goes.
        DELETE FROM sample WHERE id IN (
            SELECT id FROM sample WHERE status IN ('succeeded', 'failed', 'cancelled') ORDER BY updated_at DESC OFFSET 12);
        COMMIT;
        PERFORM pg_sleep(0.4);
    END LOOP;
END $$;
