-- Tasks that move through their states, with progress, until this session ends.
SET client_connection_check_interval = '1s';
SET client_min_messages = warning;

-- A page that reads the last hour of the log knows all of them from here on.
UPDATE tasks SET updated_at = now();

DO $$
DECLARE
    titles   text[] := ARRAY['Import customers', 'Render report', 'Send newsletter', 'Resize images',
                             'Rebuild index', 'Transcode video', 'Reconcile payments', 'Back up volumes'];
    contexts text[] := ARRAY['billing', 'media', 'search'];
BEGIN
    LOOP
        -- At most eight tasks are open; a new one begins now and then.
        IF (SELECT count(*) FROM tasks WHERE status IN ('pending', 'running')) < 8 AND random() < 0.5 THEN
            INSERT INTO tasks (title, user_id, session_id, context)
            VALUES (titles[1 + floor(random() * cardinality(titles))],
                    'user-' || (1 + floor(random() * 3)), 'session-' || (1 + floor(random() * 5)),
                    contexts[1 + floor(random() * cardinality(contexts))]);
        END IF;
        COMMIT;
        UPDATE tasks SET status = 'running', message = 'started', updated_at = now()
        WHERE id = (SELECT id FROM tasks WHERE status = 'pending' ORDER BY id LIMIT 1) AND random() < 0.5;
        COMMIT;
        UPDATE tasks SET progress = least(100, progress + 5 + floor(random() * 15)),
                         message = 'working', updated_at = now()
        WHERE id = (SELECT id FROM tasks WHERE status = 'running' AND progress < 100 ORDER BY random() LIMIT 1);
        COMMIT;
        UPDATE tasks SET status = CASE WHEN random() < 0.15 THEN 'failed' ELSE 'succeeded' END,
                         message = 'done', updated_at = now()
        WHERE status = 'running' AND progress = 100;
        COMMIT;
        -- What is long done goes.
        DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE status IN ('succeeded', 'failed', 'cancelled') ORDER BY updated_at DESC OFFSET 12);
        COMMIT;
        PERFORM pg_sleep(0.4);
    END LOOP;
END $$;
