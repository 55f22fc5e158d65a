-- Capture in statement mode, which must give the events of row mode; and what writes a table in
-- other ways than plainly, in both modes: partitions, cascades, COPY, MERGE, triggers, savepoints.
\ir support/helpers.sql
SELECT plan(209);

-- The same series of statements on two tables ------------------------------------------------------

CREATE TABLE by_row (
    id int, part int, name text, n numeric, j json, users text[], session_id text, ctx text, quiet text);
CREATE TABLE by_statement (LIKE by_row);
CREATE TABLE source (id int, part int, name text);

-- One event without the table's name, for comparison.
CREATE FUNCTION event_of(i event_service.inbox) RETURNS text LANGUAGE sql AS $$
    SELECT event_line(i.op, replace(replace(i.type, 'by_row.', ''), 'by_statement.', ''), i.key,
                      sorted(i.audience), sorted(i.hidden_from), i.data) || CASE WHEN i.conflate THEN ' conflated' ELSE '' END
$$;

-- Runs a statement on both tables, written T in it, and returns the difference of the events; NULL is
-- none. Where a statement has several operations, or changes keys, the order is the mode's own: rows are
-- captured row by row, or all of an operation together.
CREATE FUNCTION compare(statement text, ordered boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    outcomes text[];
    row_events text[];
    statement_events text[];
BEGIN
    outcomes := ARRAY[outcome(regexp_replace(statement, '\mT\M', 'by_row', 'g')),
                      outcome(regexp_replace(statement, '\mT\M', 'by_statement', 'g'))];
    WITH taken AS (DELETE FROM event_service.inbox i RETURNING event_id, type, event_of(i) AS event)
    SELECT array_agg(event ORDER BY CASE WHEN ordered THEN event_id END, event) FILTER (WHERE type LIKE 'by_row.%'),
           array_agg(event ORDER BY CASE WHEN ordered THEN event_id END, event) FILTER (WHERE type LIKE 'by_statement.%')
    INTO row_events, statement_events FROM taken;
    UPDATE tally SET statements = statements + 1, events = events + coalesce(cardinality(row_events), 0);
    RETURN CASE
        WHEN outcomes <> '{ok,ok}' THEN statement || E'\n' || outcomes::text
        WHEN row_events IS DISTINCT FROM statement_events
        THEN statement || E'\n' || coalesce(array_to_string(row_events, E'\n'), 'nothing') || E'\nnot\n'
             || coalesce(array_to_string(statement_events, E'\n'), 'nothing') END;
END $$;
CREATE TABLE tally (statements int DEFAULT 0, events int DEFAULT 0);
INSERT INTO tally DEFAULT VALUES;

-- A statement at random, and whether the order of its events is fixed.
CREATE FUNCTION any_statement(OUT statement text, OUT ordered boolean) LANGUAGE plpgsql AS $$
DECLARE
    k int := 1 + floor(random() * 1000);
    m int := 1 + floor(random() * 4);
BEGIN
    ordered := true;
    CASE floor(random() * 20)::int
    WHEN 0, 1 THEN
        statement := format($s$INSERT INTO T SELECT g, g %% 3, 'n' || g * %s %% 5, g * 1.5, json_build_object('g', g),
            (ARRAY['{a}', '{a,b}', '{}', '{b,NULL,c}', NULL]::text[])[1 + g %% 5]::text[],
            (ARRAY['s1', 's2', '', NULL])[1 + g %% 4], (ARRAY['x', NULL, 'y', ''])[1 + g * %1$s %% 4], 'q'
            FROM generate_series(%1$s, %1$s + %s) g$s$, k, m);
    WHEN 2, 3 THEN
        statement := format($s$UPDATE T SET name = 'n' || id * %s %% 5 WHERE id %% %s = 0$s$, k, m);
    WHEN 4, 5 THEN
        statement := format($s$UPDATE T SET users = (ARRAY['{}', '{a}', '{a,b}', '{c,b}', '{"",a,NULL}', NULL]::text[])
            [1 + (id + %s) %% 6]::text[] WHERE id %% %s = 0$s$, k, m);
    WHEN 6 THEN
        statement := format($s$UPDATE T SET session_id = (ARRAY['s1', '', NULL, 's2'])[1 + id * %s %% 4],
            ctx = (ARRAY['x', 'y', NULL])[1 + (id + %1$s) %% 3]$s$, k);
    WHEN 7, 8 THEN
        -- Keys change places.
        ordered := false;
        statement := 'UPDATE T SET id = (SELECT min(id) + max(id) FROM T) - id';
    WHEN 9 THEN
        ordered := false;
        statement := format('UPDATE T SET id = id + 1, name = %L WHERE id > %s', 'm' || m, k);
    WHEN 10 THEN
        statement := format($s$UPDATE T SET quiet = 'q' || %s$s$, k);
    WHEN 11 THEN
        -- Equal values that are written otherwise.
        statement := format($s$UPDATE T SET n = n * 1.0, j = '{"g": 1}' WHERE id %% %s = 0$s$, m);
    WHEN 12 THEN
        statement := format($s$UPDATE T SET name = NULL, n = NULL, j = NULL, users = '{z}', session_id = 's%s',
            ctx = 'z', quiet = NULL, part = part + 1 WHERE id %% %1$s = 1$s$, m);
    WHEN 13 THEN
        statement := 'UPDATE T SET name = source.name FROM source WHERE T.id = source.id';
    WHEN 14 THEN
        statement := format('DELETE FROM T WHERE id %% 7 = %s', m);
    WHEN 15 THEN
        statement := format('DELETE FROM T USING source WHERE source.id = T.id AND T.part = %s', m - 1);
    WHEN 16 THEN
        ordered := false;
        statement := format($s$MERGE INTO T USING source ON T.id = source.id
            WHEN MATCHED AND T.part = 0 THEN DELETE
            WHEN MATCHED THEN UPDATE SET name = source.name || %s, users = '{b,d}'
            WHEN NOT MATCHED THEN INSERT (id, part, name, ctx) VALUES (source.id, source.part, source.name, 'x')$s$, k);
    WHEN 17 THEN
        ordered := false;
        statement := format($s$WITH gone AS (DELETE FROM T WHERE id %% 5 = %s RETURNING *),
            more AS (INSERT INTO T SELECT id + 2000, part, name FROM gone RETURNING *)
            UPDATE T SET name = 'cte' WHERE id %% 5 = %s$s$, m, m - 1);
    WHEN 18 THEN
        statement := CASE WHEN random() < 0.2 THEN 'TRUNCATE T' ELSE 'UPDATE T SET name = name' END;
    ELSE
        statement := format('DELETE FROM T WHERE id > 1500 OR id < -1500 OR id %% 11 = %s', m);
    END CASE;
END $$;

INSERT INTO source SELECT g, g % 3, 'src' || g FROM generate_series(1, 1000, 9) g;
SELECT event_service.watch(tbl, key => 'id', columns => '{id,name,n,j,users,ctx}', level => level,
    on_change => '{name,n,j}', types => '{"name": "named", "n": "counted"}', conflate => '{named,created}',
    user_column => 'users', session_column => 'session_id', context_columns => '{ctx,part=part}')
FROM (VALUES ('by_row'::regclass, 'row'), ('by_statement', 'statement')) AS t (tbl, level) \g /dev/null

-- Four series of 90 statements; the seed of one that fails is in its name.
CREATE FUNCTION series(seed float8) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    one record;
    found text;
BEGIN
    PERFORM setseed(seed);
    TRUNCATE by_row, by_statement;
    DELETE FROM event_service.inbox;
    FOR number IN 1 .. 90 LOOP
        one := any_statement();
        found := compare(one.statement, one.ordered);
        IF found IS NOT NULL THEN
            RETURN NEXT is(found, NULL, format('statement and row mode give the same events, seed %s', seed));
            RETURN;
        END IF;
    END LOOP;
    RETURN NEXT pass(format('statement and row mode give the same events, seed %s', seed));
END $$;
SELECT series(seed) FROM unnest('{0.1,0.2,0.3,0.4}'::float8[]) seed;
SELECT cmp_ok(events, '>', 2000, 'and the series had many events') FROM tally;
SELECT results_eq('SELECT t::text FROM by_row t ORDER BY 1', 'SELECT t::text FROM by_statement t ORDER BY 1',
    'and left the same rows');

-- One statement at a time -------------------------------------------------------------------------

-- Each of these runs in both modes: row mode says what is expected, once it was looked at.
CREATE FUNCTION both_modes(definition text, statements text[], arguments text DEFAULT 'global => true')
RETURNS TABLE (level text, events text) LANGUAGE plpgsql AS $$
DECLARE
    statement text;
BEGIN
    FOREACH level IN ARRAY ARRAY['row', 'statement'] LOOP
        events := '';
        EXECUTE replace(definition, ';;', ';');
        DELETE FROM event_service.inbox;
        EXECUTE format('SELECT event_service.watch(''t'', columns => ''{*}'', level => %L, %s)', level, arguments);
        FOREACH statement IN ARRAY statements LOOP
            events := events || CASE outcome(statement) WHEN 'ok' THEN '' ELSE outcome(statement) || E'\n' END;
        END LOOP;
        events := events || take_inbox();
        DROP TABLE IF EXISTS t, parent CASCADE;
        RETURN NEXT;
    END LOOP;
END $$;

-- A table of cases: what is there, what is done, and what comes of it in either mode.
CREATE TABLE cases (
    name text, definition text, statements text[], expected text, arguments text DEFAULT 'global => true',
    statement_expected text);

INSERT INTO cases (name, definition, statements, expected) VALUES
('an INSERT of several rows', 'CREATE TABLE t (id int PRIMARY KEY, a int)',
 '{"INSERT INTO t VALUES (2, 1), (1, 2)"}',
 $$insert t.created 2 {*} {"new":{"id":2,"a":1}}
insert t.created 1 {*} {"new":{"id":1,"a":2}}$$),
('an INSERT of no row', 'CREATE TABLE t (id int PRIMARY KEY, a int)',
 '{"INSERT INTO t SELECT 1, 1 WHERE false"}', ''),
('an UPDATE of no row', 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"UPDATE t SET a = 2 WHERE false"}', ''),
('an UPDATE that changes nothing', 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"UPDATE t SET a = a"}', ''),
('a DELETE of no row', 'CREATE TABLE t (id int PRIMARY KEY, a int)', '{"DELETE FROM t"}', ''),
('an UPDATE of which one row of three changes',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)',
 '{"UPDATE t SET a = 2"}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":2},"old":{"id":1,"a":1},"changed":["a"]}
update t.updated 3 {*} {"new":{"id":3,"a":2},"old":{"id":3,"a":3},"changed":["a"]}$$),
('a DELETE of several rows', 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2)',
 '{DELETE FROM t}', $$delete t.deleted 1 {*} {"old":{"id":1,"a":1}}
delete t.deleted 2 {*} {"old":{"id":2,"a":2}}$$),
('a TRUNCATE', 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2)',
 '{TRUNCATE t}', 'truncate t.truncated - {*} -'),
('a TRUNCATE of several tables', 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE parent (id int)',
 '{"TRUNCATE parent, t"}', 'truncate t.truncated - {*} -'),
('a TRUNCATE that cascades', 'CREATE TABLE parent (id int PRIMARY KEY);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent)', '{TRUNCATE parent CASCADE}',
 'truncate t.truncated - {*} -'),
('INSERT … ON CONFLICT DO UPDATE that updates',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET a = excluded.a"}',
 'update t.updated 1 {*} {"new":{"id":1,"a":5},"old":{"id":1,"a":1},"changed":["a"]}'),
('INSERT … ON CONFLICT DO UPDATE that inserts', 'CREATE TABLE t (id int PRIMARY KEY, a int)',
 '{"INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET a = excluded.a"}',
 'insert t.created 1 {*} {"new":{"id":1,"a":5}}'),
('INSERT … ON CONFLICT DO UPDATE whose WHERE spares the row',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"INSERT INTO t VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET a = excluded.a WHERE t.a > 7"}', ''),
('INSERT … ON CONFLICT DO NOTHING',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"INSERT INTO t VALUES (1, 5), (2, 5) ON CONFLICT DO NOTHING"}',
 'insert t.created 2 {*} {"new":{"id":2,"a":5}}'),
('an UPDATE of the same row twice in one transaction',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"UPDATE t SET a = 2; UPDATE t SET a = 1"}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":2},"old":{"id":1,"a":1},"changed":["a"]}
update t.updated 1 {*} {"new":{"id":1,"a":1},"old":{"id":1,"a":2},"changed":["a"]}$$),
('a CTE that updates what the statement does not',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2)',
 '{"WITH x AS (UPDATE t SET a = 9 WHERE id = 2 RETURNING 1) UPDATE t SET a = 8 WHERE id = 1"}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":8},"old":{"id":1,"a":1},"changed":["a"]}
update t.updated 2 {*} {"new":{"id":2,"a":9},"old":{"id":2,"a":2},"changed":["a"]}$$),
('a SELECT with a CTE that writes', 'CREATE TABLE t (id int PRIMARY KEY, a int)',
 '{"WITH x AS (INSERT INTO t VALUES (1, 1) RETURNING 1) SELECT * FROM x"}',
 'insert t.created 1 {*} {"new":{"id":1,"a":1}}'),
('a MERGE that updates',
 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1), (2, 2)',
 '{"MERGE INTO t USING (VALUES (1), (2)) s (id) ON s.id = t.id WHEN MATCHED THEN UPDATE SET a = a + 1"}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":2},"old":{"id":1,"a":1},"changed":["a"]}
update t.updated 2 {*} {"new":{"id":2,"a":3},"old":{"id":2,"a":2},"changed":["a"]}$$),
('a MERGE that does nothing', 'CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t VALUES (1, 1)',
 '{"MERGE INTO t USING (VALUES (1)) s (id) ON s.id = t.id WHEN MATCHED THEN DO NOTHING"}', ''),
('a generated column', 'CREATE TABLE t (id int PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED)',
 '{"INSERT INTO t VALUES (1, 1)","UPDATE t SET a = 2"}',
 $$insert t.created 1 {*} {"new":{"id":1,"a":1,"b":2}}
update t.updated 1 {*} {"new":{"id":1,"a":2,"b":4},"old":{"id":1,"a":1,"b":2},"changed":["a","b"]}$$);

-- Triggers of the application.
CREATE FUNCTION change_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.a = 666 THEN
        RETURN NULL;
    END IF;
    NEW.a := NEW.a + 100;
    RETURN NEW;
END $$;
CREATE FUNCTION keep_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN OLD.a = 666 THEN NULL ELSE OLD END;
END $$;
CREATE FUNCTION change_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := NEW.id + 10;
    RETURN NEW;
END $$;
INSERT INTO cases (name, definition, statements, expected) VALUES
('a BEFORE trigger that changes the row', 'CREATE TABLE t (id int PRIMARY KEY, a int);'
 ' CREATE TRIGGER b BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change_row()',
 '{"INSERT INTO t VALUES (1, 1)","UPDATE t SET a = 5"}',
 $$insert t.created 1 {*} {"new":{"id":1,"a":101}}
update t.updated 1 {*} {"new":{"id":1,"a":105},"old":{"id":1,"a":101},"changed":["a"]}$$),
('a BEFORE trigger that restores the row', 'CREATE TABLE t (id int PRIMARY KEY, a int);'
 ' INSERT INTO t VALUES (1, 101);'
 ' CREATE TRIGGER b BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change_row()',
 '{"UPDATE t SET a = 1"}', ''),
('a BEFORE trigger that skips rows', 'CREATE TABLE t (id int PRIMARY KEY, a int);'
 ' INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);'
 ' CREATE TRIGGER b BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change_row()',
 '{"UPDATE t SET a = CASE id WHEN 2 THEN 666 ELSE 0 END","INSERT INTO t VALUES (4, 666), (5, 5)"}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":100},"old":{"id":1,"a":1},"changed":["a"]}
update t.updated 3 {*} {"new":{"id":3,"a":100},"old":{"id":3,"a":3},"changed":["a"]}
insert t.created 5 {*} {"new":{"id":5,"a":105}}$$),
('a BEFORE DELETE trigger that keeps a row', 'CREATE TABLE t (id int PRIMARY KEY, a int);'
 ' INSERT INTO t VALUES (1, 1), (2, 666), (3, 3);'
 ' CREATE TRIGGER b BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep_row()', '{"DELETE FROM t"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"a":1}}
delete t.deleted 3 {*} {"old":{"id":3,"a":3}}$$),
('a BEFORE trigger that changes the key', 'CREATE TABLE t (id int PRIMARY KEY, a int);'
 ' INSERT INTO t VALUES (1, 1);'
 ' CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION change_key()', '{"UPDATE t SET a = 2"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"a":1}}
insert t.created 11 {*} {"new":{"id":11,"a":2}}$$);

-- Foreign keys.
INSERT INTO cases (name, definition, statements, expected) VALUES
('ON DELETE CASCADE', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE);'
 ' INSERT INTO t VALUES (11, 1), (12, 1), (21, 2)', '{"DELETE FROM parent WHERE id = 1"}',
 $$delete t.deleted 11 {*} {"old":{"id":11,"p":1}}
delete t.deleted 12 {*} {"old":{"id":12,"p":1}}$$),
('ON DELETE CASCADE of several parents', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent ON DELETE CASCADE);'
 ' INSERT INTO t VALUES (21, 2), (11, 1), (12, 1)', '{"DELETE FROM parent"}',
 $$delete t.deleted 11 {*} {"old":{"id":11,"p":1}}
delete t.deleted 12 {*} {"old":{"id":12,"p":1}}
delete t.deleted 21 {*} {"old":{"id":21,"p":2}}$$),
('ON UPDATE CASCADE', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent ON UPDATE CASCADE);'
 ' INSERT INTO t VALUES (11, 1), (21, 2)', '{"UPDATE parent SET id = 5 WHERE id = 1"}',
 'update t.updated 11 {*} {"new":{"id":11,"p":5},"old":{"id":11,"p":1},"changed":["p"]}'),
('ON UPDATE CASCADE into the key', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);'
 ' CREATE TABLE t (p int REFERENCES parent ON UPDATE CASCADE, id int, PRIMARY KEY (p, id));'
 ' INSERT INTO t VALUES (1, 7)', '{"UPDATE parent SET id = 5"}',
 $$delete t.deleted [1, 7] {*} {"old":{"p":1,"id":7}}
insert t.created [5, 7] {*} {"new":{"p":5,"id":7}}$$),
('ON DELETE SET NULL', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent ON DELETE SET NULL);'
 ' INSERT INTO t VALUES (11, 1)', '{"DELETE FROM parent"}',
 'update t.updated 11 {*} {"new":{"id":11,"p":null},"old":{"id":11,"p":1},"changed":["p"]}'),
('ON DELETE SET DEFAULT', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int DEFAULT 2 REFERENCES parent ON DELETE SET DEFAULT);'
 ' INSERT INTO t VALUES (11, 1)', '{"DELETE FROM parent WHERE id = 1"}',
 'update t.updated 11 {*} {"new":{"id":11,"p":2},"old":{"id":11,"p":1},"changed":["p"]}'),
('a change that a foreign key forbids', 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1);'
 ' CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES parent); INSERT INTO t VALUES (11, 1)',
 '{"DO $x$ BEGIN DELETE FROM t; INSERT INTO t VALUES (12, 9); EXCEPTION WHEN foreign_key_violation THEN END $x$"}', ''),
('a watched parent and its cascade onto itself',
 'CREATE TABLE t (id int PRIMARY KEY, p int REFERENCES t ON DELETE CASCADE); INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2)',
 '{"DELETE FROM t WHERE id = 1"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"p":null}}
delete t.deleted 2 {*} {"old":{"id":2,"p":1}}
delete t.deleted 3 {*} {"old":{"id":3,"p":2}}$$);

-- Partitions.
INSERT INTO cases (name, definition, statements, expected, arguments) VALUES
('a partitioned table', 'CREATE TABLE t (id int, k int, a int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)',
 '{"INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)","UPDATE t SET a = a + 1","DELETE FROM t",TRUNCATE t}',
 $$insert t.created 1 {*} {"new":{"id":1,"k":1,"a":1}}
insert t.created 2 {*} {"new":{"id":2,"k":2,"a":2}}
update t.updated 1 {*} {"new":{"id":1,"k":1,"a":2},"old":{"id":1,"k":1,"a":1},"changed":["a"]}
update t.updated 2 {*} {"new":{"id":2,"k":2,"a":3},"old":{"id":2,"k":2,"a":2},"changed":["a"]}
delete t.deleted 1 {*} {"old":{"id":1,"k":1,"a":2}}
delete t.deleted 2 {*} {"old":{"id":2,"k":2,"a":3}}
truncate t.truncated - {*} -$$, 'global => true, key => ''id'''),
('a row that moves to another partition and changes its key',
 'CREATE TABLE t (id int, k int, a int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);'
 ' INSERT INTO t VALUES (1, 1, 1)', '{"UPDATE t SET k = 2"}',
 $$delete t.deleted [1, 1] {*} {"old":{"id":1,"k":1,"a":1}}
insert t.created [1, 2] {*} {"new":{"id":1,"k":2,"a":1}}$$, 'global => true'),
('partitions of partitions, of other layouts, and a default one',
 'CREATE TABLE t (id int, k int, a int) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 (a int, gone int, k int, id int); ALTER TABLE t1 DROP COLUMN gone;'
 ' ALTER TABLE t ATTACH PARTITION t1 FOR VALUES IN (1);'
 ' CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2) PARTITION BY RANGE (a);'
 ' CREATE TABLE t21 (k int, id int, a int); ALTER TABLE t2 ATTACH PARTITION t21 FOR VALUES FROM (0) TO (9);'
 ' CREATE TABLE t3 PARTITION OF t DEFAULT',
 '{"INSERT INTO t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)","UPDATE t SET a = a + 1"}',
 $$insert t.created 1 {*} {"new":{"id":1,"k":1,"a":1}}
insert t.created 2 {*} {"new":{"id":2,"k":2,"a":2}}
insert t.created 3 {*} {"new":{"id":3,"k":3,"a":3}}
update t.updated 1 {*} {"new":{"id":1,"k":1,"a":2},"old":{"id":1,"k":1,"a":1},"changed":["a"]}
update t.updated 2 {*} {"new":{"id":2,"k":2,"a":3},"old":{"id":2,"k":2,"a":2},"changed":["a"]}
update t.updated 3 {*} {"new":{"id":3,"k":3,"a":4},"old":{"id":3,"k":3,"a":3},"changed":["a"]}$$,
 'global => true, key => ''id'''),
('a partition that is added later',
 'CREATE TABLE t (id int, k int) PARTITION BY LIST (k)',
 '{"CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)","CREATE TABLE t2 (k int, id int)",'
 '"ALTER TABLE t ATTACH PARTITION t2 FOR VALUES IN (2)","INSERT INTO t VALUES (1, 1), (2, 2)"}',
 $$insert t.created 1 {*} {"new":{"id":1,"k":1}}
insert t.created 2 {*} {"new":{"id":2,"k":2}}$$, 'global => true, key => ''id'''),
('a partition that was detached',
 'CREATE TABLE t (id int, k int) PARTITION BY LIST (k); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)',
 '{"ALTER TABLE t DETACH PARTITION t1","INSERT INTO t1 VALUES (1, 1)","DROP TABLE t1"}',
 '', 'global => true, key => ''id''');

-- A statement's triggers are those of the table that it names.
INSERT INTO cases (name, definition, statements, expected, arguments, statement_expected) VALUES
('a partition that is written directly',
 'CREATE TABLE t (id int, k int) PARTITION BY LIST (k); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)',
 '{"INSERT INTO t1 VALUES (1, 1)","UPDATE t1 SET id = 2","DELETE FROM t1"}',
 $$insert t.created 1 {*} {"new":{"id":1,"k":1}}
delete t.deleted 1 {*} {"old":{"id":1,"k":1}}
insert t.created 2 {*} {"new":{"id":2,"k":1}}
delete t.deleted 2 {*} {"old":{"id":2,"k":1}}$$, 'global => true, key => ''id''', '');

-- A move is a DELETE and an INSERT to row triggers, an UPDATE to those of a statement.
INSERT INTO cases (name, definition, statements, expected, arguments, statement_expected) VALUES
('a row that moves to another partition and keeps its key',
 'CREATE TABLE t (id int, k int, a int) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);'
 ' INSERT INTO t VALUES (1, 1, 1), (2, 2, 2)', '{"UPDATE t SET k = 2, a = a + 1"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"k":1,"a":1}}
insert t.created 1 {*} {"new":{"id":1,"k":2,"a":2}}
update t.updated 2 {*} {"new":{"id":2,"k":2,"a":3},"old":{"id":2,"k":2,"a":2},"changed":["a"]}$$,
 'global => true, key => ''id''',
 $$update t.updated 1 {*} {"new":{"id":1,"k":2,"a":2},"old":{"id":1,"k":1,"a":1},"changed":["k","a"]}
update t.updated 2 {*} {"new":{"id":2,"k":2,"a":3},"old":{"id":2,"k":2,"a":2},"changed":["a"]}$$),
('rows of which one is lost on its way to another partition',
 'CREATE TABLE t (id int, k int, a int) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);'
 ' INSERT INTO t VALUES (1, 1, 1), (2, 1, 666), (3, 1, 3);'
 ' CREATE TRIGGER b BEFORE INSERT ON t2 FOR EACH ROW EXECUTE FUNCTION change_row()', '{"UPDATE t SET k = 2"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"k":1,"a":1}}
insert t.created 1 {*} {"new":{"id":1,"k":2,"a":101}}
delete t.deleted 2 {*} {"old":{"id":2,"k":1,"a":666}}
delete t.deleted 3 {*} {"old":{"id":3,"k":1,"a":3}}
insert t.created 3 {*} {"new":{"id":3,"k":2,"a":103}}$$, 'global => true, key => ''id''',
 $$delete t.deleted 1 {*} {"old":{"id":1,"k":1,"a":1}}
delete t.deleted 2 {*} {"old":{"id":2,"k":1,"a":666}}
delete t.deleted 3 {*} {"old":{"id":3,"k":1,"a":3}}
insert t.created 1 {*} {"new":{"id":1,"k":2,"a":101}}
insert t.created 3 {*} {"new":{"id":3,"k":2,"a":103}}$$);

-- Transition tables do not have what a MERGE moves, and statement triggers fire when all is done.
INSERT INTO cases (name, definition, statements, expected, arguments, statement_expected) VALUES
('a MERGE that moves a row to another partition',
 'CREATE TABLE t (id int, k int) PARTITION BY LIST (k);'
 ' CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);'
 ' INSERT INTO t VALUES (1, 1)',
 '{"MERGE INTO t USING (VALUES (1)) s (id) ON s.id = t.id WHEN MATCHED THEN UPDATE SET k = 2"}',
 $$delete t.deleted 1 {*} {"old":{"id":1,"k":1}}
insert t.created 1 {*} {"new":{"id":1,"k":2}}$$, 'global => true, key => ''id''', ''),
('a row of which a DELETE of two parents sets a column and then takes the whole',
 'CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2);'
 ' CREATE TABLE t (id int PRIMARY KEY, owner int REFERENCES parent ON DELETE CASCADE, a int REFERENCES parent ON DELETE SET NULL);'
 ' INSERT INTO t VALUES (7, 2, 1)', '{DELETE FROM parent}',
 $$update t.updated 7 {*} {"new":{"id":7,"owner":2,"a":null},"old":{"id":7,"owner":2,"a":1},"changed":["a"]}
delete t.deleted 7 {*} {"old":{"id":7,"owner":2,"a":null}}$$, 'global => true',
 $$update t.updated 7 {*} {"new":{"id":7,"owner":2,"a":null},"old":{"id":7,"owner":2,"a":1},"changed":["a"]}
delete t.deleted 7 {*} {"old":{"id":7,"owner":2,"a":null}}$$);

-- Audiences, keys and names, which the two templates build each in its own way.
INSERT INTO cases (name, definition, statements, expected, arguments) VALUES
('an UPDATE that moves rows between audiences',
 'CREATE TABLE t (id int PRIMARY KEY, u text, c text); INSERT INTO t VALUES (1, ''a'', ''x''), (2, ''b'', ''x''), (3, ''c'', ''y'')',
 '{"UPDATE t SET u = ''c''"}',
 $$leave t.left 1 {user:a,context:x} not {user:c,context:x} -
update t.updated 1 {context:x} {"new":{"id":1,"u":"c","c":"x"},"old":{"id":1,"u":"a","c":"x"},"changed":["u"]}
enter t.entered 1 {user:c,context:x} not {context:x} {"new":{"id":1,"u":"c","c":"x"}}
leave t.left 2 {user:b,context:x} not {user:c,context:x} -
update t.updated 2 {context:x} {"new":{"id":2,"u":"c","c":"x"},"old":{"id":2,"u":"b","c":"x"},"changed":["u"]}
enter t.entered 2 {user:c,context:x} not {context:x} {"new":{"id":2,"u":"c","c":"x"}}$$,
 'user_column => ''u'', context_columns => ''{c}'''),
('a key and an audience that change together', 'CREATE TABLE t (id int PRIMARY KEY, u text); INSERT INTO t VALUES (1, ''a'')',
 '{"UPDATE t SET id = 2, u = ''b''"}',
 $$delete t.deleted 1 {user:a} {"old":{"id":1,"u":"a"}}
insert t.created 2 {user:b} {"new":{"id":2,"u":"b"}}$$, 'user_column => ''u'''),
('a row without an audience', 'CREATE TABLE t (id int PRIMARY KEY, u text, a int)',
 '{"INSERT INTO t VALUES (1, NULL, 1)","UPDATE t SET a = 2","DELETE FROM t"}',
 $$insert t.created 1 {} {"new":{"id":1,"u":null,"a":1}}
update t.updated 1 {} {"new":{"id":1,"u":null,"a":2},"old":{"id":1,"u":null,"a":1},"changed":["a"]}
delete t.deleted 1 {} {"old":{"id":1,"u":null,"a":2}}$$, 'user_column => ''u'''),
('a composite key with a NULL', 'CREATE TABLE t (a int, b text, c int)',
 '{"INSERT INTO t VALUES (NULL, ''x'', 1)","UPDATE t SET c = 2","UPDATE t SET a = 1"}',
 $$insert t.created [null, "x"] {*} {"new":{"a":null,"b":"x","c":1}}
update t.updated [null, "x"] {*} {"new":{"a":null,"b":"x","c":2},"old":{"a":null,"b":"x","c":1},"changed":["c"]}
delete t.deleted [null, "x"] {*} {"old":{"a":null,"b":"x","c":2}}
insert t.created [1, "x"] {*} {"new":{"a":1,"b":"x","c":2}}$$, 'global => true, key => ''a, b'''),
('operations that are not watched', 'CREATE TABLE t (id int PRIMARY KEY, a int)',
 '{"INSERT INTO t VALUES (1, 1)","UPDATE t SET a = 2","UPDATE t SET id = 2","DELETE FROM t",TRUNCATE t}',
 $$update t.updated 1 {*} {"new":{"id":1,"a":2},"old":{"id":1,"a":1},"changed":["a"]}
delete t.deleted 1 {*} {"old":{"id":1,"a":2}}
insert t.created 2 {*} {"new":{"id":2,"a":2}}$$, 'global => true, ops => ''update'''),
('of two mapped columns the first of the table',
 'CREATE TABLE t (id int PRIMARY KEY, b int, a int); INSERT INTO t VALUES (1, 1, 1), (2, 1, 2)',
 '{"UPDATE t SET a = 2, b = 2"}',
 $$update t.b-changed 1 {*} {"new":{"id":1,"b":2,"a":2},"old":{"id":1,"b":1,"a":1},"changed":["b","a"]}
update t.b-changed 2 {*} {"new":{"id":2,"b":2,"a":2},"old":{"id":2,"b":1,"a":2},"changed":["b"]}$$,
 'global => true, types => ''{"a": "a-changed", "b": "b-changed"}''');

CREATE TABLE results AS SELECT c.*, r.level, r.events FROM cases c, both_modes(definition, statements, arguments) r;
-- Where the modes differ, statement mode may choose the order.
UPDATE results SET events = (SELECT string_agg(line, E'\n' ORDER BY line) FROM regexp_split_to_table(events, E'\n') line),
    statement_expected = (SELECT string_agg(line, E'\n' ORDER BY line) FROM regexp_split_to_table(statement_expected, E'\n') line)
WHERE level = 'statement' AND statement_expected IS NOT NULL;
SELECT is(events, CASE WHEN level = 'statement' THEN coalesce(statement_expected, expected) ELSE expected END,
          format('%s, %s mode', name, level)) FROM results;

-- Whoever keeps rows by their key would lose one that was inserted before another's delete.
SELECT is(events, CASE level WHEN 'row' THEN 'delete t.deleted 1 {*} {"old":{"id":1,"a":"one"}}
insert t.created 2 {*} {"new":{"id":2,"a":"one"}}
delete t.deleted 2 {*} {"old":{"id":2,"a":"two"}}
insert t.created 3 {*} {"new":{"id":3,"a":"two"}}
delete t.deleted 3 {*} {"old":{"id":3,"a":"three"}}
insert t.created 1 {*} {"new":{"id":1,"a":"three"}}' ELSE 'delete t.deleted 1 {*} {"old":{"id":1,"a":"one"}}
delete t.deleted 2 {*} {"old":{"id":2,"a":"two"}}
delete t.deleted 3 {*} {"old":{"id":3,"a":"three"}}
insert t.created 2 {*} {"new":{"id":2,"a":"one"}}
insert t.created 3 {*} {"new":{"id":3,"a":"two"}}
insert t.created 1 {*} {"new":{"id":1,"a":"three"}}' END,
    format('keys that change places, each with its own row; by statement the deletes come first, %s mode', level))
FROM both_modes('CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a text);'
    ' INSERT INTO t VALUES (1, ''one''), (2, ''two''), (3, ''three'')', '{"UPDATE t SET id = 1 + id % 3"}');

-- Column names in statement mode; those of row mode stand in capture_rows.
CREATE FUNCTION column_called(name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE named (pk int PRIMARY KEY, %I text)', name);
    PERFORM event_service.watch('named', columns => ARRAY[name], user_column => name, level => 'statement');
    EXECUTE 'INSERT INTO named VALUES (1, ''a'')';
    EXECUTE format('UPDATE named SET %I = ''b''', name);
    DELETE FROM named;
    DROP TABLE named;
    RETURN replace(take_inbox('named.%'), '{' || to_json(name) || ':"', '{"C":"');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT is(column_called(name), 'insert named.created 1 {user:a} {"new":{"C":"a"}}' || E'\n' ||
    'leave named.left 1 {user:a} not {user:b} -' || E'\n' ||
    'enter named.entered 1 {user:b} {"new":{"C":"b"}}' || E'\n' ||
    'delete named.deleted 1 {user:b} {"old":{"C":"b"}}',
    format('a column may be called %s', name))
FROM unnest(ARRAY['i', 'd', 'n', 'o', 'p', 'e', 's', 'x', 'r', 'new', 'old', 'old_key', 'new_key',
    'old_audience', 'new_audience', 'shared', 'changed', 'type', 'nulls', 'found', 'tg_op', 'tg_relid',
    'tg_name', 'tg_argv', 'by', 'if', 'loop', 'while', 'execute', 'event_id', 'audience', 'hidden_from',
    'conflate', 'key', 'data', 'number', 'part', 'position', 'user', 'op', 'old_rows', 'new_rows', 'pair',
    'Weird "Name"', 'a''b', E'a\nb', '<type>', '<changed>', '<column list>', '<new image>']) AS t (name);

-- COPY, whose rows stand in this file -------------------------------------------------------------

CREATE TABLE copied_row (id int PRIMARY KEY, a text, u text);
CREATE TABLE copied_statement (LIKE copied_row INCLUDING ALL);
SELECT event_service.watch('copied_row', 'copied', columns => '{*}', user_column => 'u'),
       event_service.watch('copied_statement', 'copied', columns => '{*}', user_column => 'u', level => 'statement') \g /dev/null
SELECT captured() \g /dev/null
COPY copied_row FROM STDIN;
1	a\tb	u1
2	\N	\N
\.
:advance
SELECT is(captured(), 'insert copied.created 1 {user:u1} {"new":{"id":1,"a":"a\tb","u":"u1"}}' || E'\n' ||
    'insert copied.created 2 {} {"new":{"id":2,"a":null,"u":null}}', 'COPY in row mode gives an event a row');
COPY copied_statement FROM STDIN;
1	a\tb	u1
2	\N	\N
\.
:advance
SELECT is(captured(), 'insert copied.created 1 {user:u1} {"new":{"id":1,"a":"a\tb","u":"u1"}}' || E'\n' ||
    'insert copied.created 2 {} {"new":{"id":2,"a":null,"u":null}}', 'COPY in statement mode gives the same');
COPY copied_statement FROM STDIN WHERE id > 5;
3	a	a
\.
:advance
SELECT is(captured(), '', 'a COPY whose WHERE takes no row gives nothing');
COPY copied_row FROM STDIN;
4	a	a
4	b	b
\.
:advance
SELECT is(captured(), '', 'a COPY that fails gives nothing');
SELECT is(count(*)::int, 2, 'and leaves nothing') FROM copied_row;

-- A statement that does several things at once: the operations come one after the other.
CREATE TABLE mixed (id int PRIMARY KEY, a int);
INSERT INTO mixed VALUES (1, 1), (2, 2), (3, 3);
SELECT event_service.watch('mixed', columns => '{a}', global => true, level => 'statement') \g /dev/null
INSERT INTO mixed VALUES (5, 5), (1, 6), (6, 6), (2, 7) ON CONFLICT (id) DO UPDATE SET a = excluded.a;
:advance
SELECT bag_eq(format('SELECT regexp_split_to_table(%L, %L)', captured(), E'\n'), ARRAY[
    'insert mixed.created 5 {*} {"new":{"a":5}}', 'insert mixed.created 6 {*} {"new":{"a":6}}',
    'update mixed.updated 1 {*} {"new":{"a":6},"old":{"a":1},"changed":["a"]}',
    'update mixed.updated 2 {*} {"new":{"a":7},"old":{"a":2},"changed":["a"]}'],
    'an upsert of new and old rows in statement mode gives an event for each');
MERGE INTO mixed USING (VALUES (1), (2), (7)) s (id) ON s.id = mixed.id
    WHEN MATCHED AND s.id = 1 THEN DELETE WHEN MATCHED THEN UPDATE SET a = 0
    WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0);
:advance
SELECT bag_eq(format('SELECT regexp_split_to_table(%L, %L)', captured(), E'\n'), ARRAY[
    'delete mixed.deleted 1 {*} {"old":{"a":6}}', 'insert mixed.created 7 {*} {"new":{"a":0}}',
    'update mixed.updated 2 {*} {"new":{"a":0},"old":{"a":7},"changed":["a"]}'],
    'and so does a MERGE that deletes, updates and inserts');
INSERT INTO mixed SELECT g, 1 FROM generate_series(1000, 3999) g;
:advance
SELECT captured() \g /dev/null
UPDATE mixed SET a = id WHERE id >= 1000;
:advance
SELECT is((SELECT count(*)::int FROM event_service.log
           WHERE position > (SELECT position FROM last_look) AND key = data #>> '{new,a}'
             AND data #>> '{old,a}' = '1'), 3000, 'of 3000 rows each old one is put to its own new one');
SELECT captured() \g /dev/null

-- The function's plan outlives the statement for which it was made.
CREATE TABLE bulk (id int PRIMARY KEY, a int);
INSERT INTO bulk SELECT g, 0 FROM generate_series(1, 12000) g;
SELECT event_service.watch('bulk', columns => '{a}', global => true, level => 'statement') \g /dev/null
UPDATE bulk SET a = 1 WHERE id = 1;
-- It takes a quarter of a second, or twelve seconds where each row is compared with each.
SET statement_timeout = '5s';
SELECT is(outcome('UPDATE bulk SET a = 2'), 'ok',
    'an UPDATE of many rows is not slow because one of a single row went before it in the session');
RESET statement_timeout;
:advance
SELECT captured() \g /dev/null

-- A query gives at most 1664 columns, and an UPDATE has those of two rows.
SELECT format('CREATE TABLE wide (id int PRIMARY KEY, %s)', string_agg(format('c%s int', n), ', '))
FROM generate_series(2, 900) n \gexec
SELECT event_service.watch('wide', columns => '{*}', global => true, level => 'statement') \g /dev/null
SELECT is(outcome(statement), 'ok', format('%s goes through in a table of 900 columns', statement))
FROM unnest(ARRAY['INSERT INTO wide VALUES (1)', 'UPDATE wide SET c900 = 5', 'DELETE FROM wide']) statement;
:advance
SELECT results_eq($$SELECT op_name(op), (SELECT count(*)::int FROM json_object_keys(coalesce(data -> 'new', data -> 'old'))),
                        data ->> 'changed'
                    FROM event_service.log WHERE position > (SELECT position FROM last_look) ORDER BY position$$,
    $$VALUES ('insert', 900, NULL), ('update', 900, '["c900"]'), ('delete', 900, NULL)$$, 'and its events have them all');
SELECT captured() \g /dev/null

-- The size of a value is that of the stored one; what a statement has just made is in memory, as it is.
CREATE TABLE size_row (id int PRIMARY KEY, t text);
CREATE TABLE size_statement (LIKE size_row INCLUDING ALL);
SELECT event_service.watch('size_row', 'size', columns => '{*}', global => true),
       event_service.watch('size_statement', 'size', columns => '{*}', global => true, level => 'statement') \g /dev/null
INSERT INTO size_statement VALUES (1, repeat('a', 2000000));
:advance
SELECT is(captured(), 'insert size.created 1 {*} {"new":{"id":1,"t":{"omitted_bytes" : 2000004}}}',
    'statement mode: of a new value the size before compression counts');
UPDATE size_statement SET id = 2;
:advance
SELECT is(length(captured()), 4000000
    + length('delete size.deleted 1 {*} {"old":{"id":1,"t":""}}' || E'\n' || 'insert size.created 2 {*} {"new":{"id":2,"t":""}}'),
    'of an old value, or one that does not change, that of what is stored');
INSERT INTO size_row SELECT 1, string_agg(md5(random()::text), '') FROM generate_series(1, 40000);
INSERT INTO size_statement SELECT 1, string_agg(md5(random()::text), '') FROM generate_series(1, 40000);
:advance
SELECT matches(captured(), '^(insert size.created 1 \{\*\} \{"new":\{"id":1,"t":\{"omitted_bytes" : 128000\d\}\}\}\n?){2}$',
    'a value of more than 1 MiB as stored is omitted in either mode');

-- Partitions and their own watches ----------------------------------------------------------------

CREATE TABLE p (id int, k int, a int) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY LIST (a);
CREATE TABLE p21 PARTITION OF p2 FOR VALUES IN (1);
SELECT event_service.watch('p', key => 'id', columns => '{*}', global => true) \g /dev/null
SELECT throws_ok(format('SELECT event_service.watch(%L, key => ''id'', columns => ''{*}'')', t), '55000', NULL,
    format('%s, a partition of a table that is watched in row mode, cannot be watched', t))
FROM unnest('{p1,p2,p21}'::text[]) t;
SELECT matches(hint_of($$SELECT event_service.watch('p1', key => 'id', columns => '{*}')$$),
    'captured through that table', 'the hint says why');
SELECT throws_ok($$SELECT event_service.unwatch('p1')$$, '55000', NULL, 'nor can its watch be ended');
SELECT is((SELECT count(*)::int FROM event_service.watched WHERE tbl::text LIKE 'p%'), 1,
    'watched shows the table, not its partitions');
SELECT is((SELECT drift FROM event_service.watched WHERE tbl = 'p'::regclass), NULL, 'without drift');
INSERT INTO p1 VALUES (1, 1, 1);
:advance
SELECT is(captured(), 'insert p.created 1 {*} {"new":{"id":1,"k":1,"a":1}}',
    'a row that is written to the partition itself is an event of the table');
SELECT event_service.unwatch('p') \g /dev/null
SELECT is((SELECT count(*)::int FROM pg_trigger WHERE tgrelid::regclass::text ~ '^p\d*$'), 0,
    'unwatch() takes the triggers of the partitions too');
SELECT lives_ok($$SELECT event_service.watch('p1', key => 'id', columns => '{*}', global => true)$$,
    'a partition of a table that is not watched can be watched');
INSERT INTO p VALUES (2, 1, 1), (3, 2, 1);
:advance
SELECT is(captured(), 'insert p1.created 2 {*} {"new":{"id":2,"k":1,"a":1}}', 'and gives its rows alone');
SELECT event_service.unwatch('p1') \g /dev/null
SELECT event_service.watch('p', key => 'id', columns => '{*}', global => true, level => 'statement') \g /dev/null
SELECT throws_ok(format('SELECT event_service.watch(%L, key => ''id'', columns => ''{*}'')', t), '55000', NULL,
    format('%s, a partition of a table that is watched in statement mode, cannot be watched by row', t))
FROM unnest('{p1,p21}'::text[]) t;
SELECT event_service.watch('p1', topic => 'p', key => 'id', columns => '{*}', global => true, level => 'statement') \g /dev/null
INSERT INTO p VALUES (5, 1, 1);
INSERT INTO p1 VALUES (6, 1, 1);
:advance
SELECT is(captured(), 'insert p.created 5 {*} {"new":{"id":5,"k":1,"a":1}}' || E'\n' ||
    'insert p.created 6 {*} {"new":{"id":6,"k":1,"a":1}}',
    'but by statement it can: then what is written by its own name is captured as well, and nothing twice');
SELECT throws_ok($$SELECT event_service.watch('p', key => 'id', columns => '{*}')$$, '55000', NULL,
    'nor can the table then be watched by row');
SELECT event_service.unwatch('p1'), event_service.unwatch('p') \g /dev/null
SELECT event_service.watch('p', key => 'id', columns => '{*}', global => true) \g /dev/null
SELECT event_service.watch('p', key => 'id', columns => '{*}', global => true) \g /dev/null

-- A partition that comes with a watch of its own.
CREATE TABLE q (id int, k int) PARTITION BY LIST (k);
CREATE TABLE q1 (id int, k int);
SELECT event_service.watch('q', key => 'id', columns => '{*}', global => true, level => 'statement'),
       event_service.watch('q1', key => 'id', columns => '{*}', global => true) \g /dev/null
ALTER TABLE q ATTACH PARTITION q1 FOR VALUES IN (1);
SELECT results_eq($$SELECT tbl::text, drift FROM event_service.watched WHERE tbl::text LIKE 'q%' ORDER BY 1$$,
    $$VALUES ('q', 'rows are also captured by public.q1'), ('q1', 'rows are also captured by public.q')$$,
    'a partition watched by row that comes to a table watched by statement is drift of both');
SELECT event_service.watch('q1', topic => 'q', key => 'id', columns => '{*}', global => true, level => 'statement') \g /dev/null
INSERT INTO q VALUES (1, 1);
INSERT INTO q1 VALUES (2, 1);
:advance
SELECT is(captured(), 'insert q.created 1 {*} {"new":{"id":1,"k":1}}' || E'\n' || 'insert q.created 2 {*} {"new":{"id":2,"k":1}}',
    'by statement each of its rows is captured once');
SELECT is(string_agg(drift, ', '), NULL, 'and neither has drifted') FROM event_service.watched WHERE tbl::text LIKE 'q%';

-- Tables that inherit. Row triggers are those of the table in which the row lies, statement triggers those of
-- the table that is named.
CREATE TABLE elder (id int PRIMARY KEY, n int);
CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (elder);
CREATE TABLE grandheir (PRIMARY KEY (id)) INHERITS (heir);
INSERT INTO grandheir VALUES (1, 0);
SELECT event_service.watch(t, topic => 'elder', columns => '{*}', global => true)
FROM unnest('{elder,heir,grandheir}'::regclass[]) t \g /dev/null
UPDATE elder SET n = 1;
UPDATE grandheir SET n = 2;
:advance
SELECT is(captured(), 'update elder.updated 1 {*} {"new":{"id":1,"n":1},"old":{"id":1,"n":0},"changed":["n"]}' || E'\n' ||
    'update elder.updated 1 {*} {"new":{"id":1,"n":2},"old":{"id":1,"n":1},"changed":["n"]}',
    'tables that inherit, watched one by one by row, capture each change once');
SELECT is(string_agg(drift, ', '), NULL, 'and have not drifted') FROM event_service.watched WHERE topic = 'elder';
SELECT throws_ok($$SELECT event_service.watch('elder', columns => '{*}', level => 'statement')$$, '55000', NULL,
    'one from which others that are watched by row inherit cannot be watched by statement');
SELECT event_service.unwatch(t) FROM unnest('{heir,grandheir}'::regclass[]) t \g /dev/null
SELECT event_service.watch('elder', columns => '{*}', global => true, level => 'statement') \g /dev/null
SELECT throws_ok($$SELECT event_service.watch('grandheir', columns => '{*}')$$, '55000', NULL,
    'nor can one by row that inherits from one that is watched by statement');
SELECT matches(hint_of($$SELECT event_service.watch('grandheir', columns => '{*}')$$),
    'unwatch\(.*elder.*\), or watch both with level => ''statement''', 'the hint says what can be done');
SELECT event_service.watch(t, topic => 'elder', columns => '{*}', global => true, level => 'statement')
FROM unnest('{heir,grandheir}'::regclass[]) t \g /dev/null
UPDATE elder SET n = 3;
UPDATE grandheir SET n = 4;
:advance
SELECT is(captured(), 'update elder.updated 1 {*} {"new":{"id":1,"n":3},"old":{"id":1,"n":2},"changed":["n"]}' || E'\n' ||
    'update elder.updated 1 {*} {"new":{"id":1,"n":4},"old":{"id":1,"n":3},"changed":["n"]}',
    'all of them by statement capture each change once');
CREATE TABLE stranger (id int PRIMARY KEY, n int);
SELECT event_service.watch('stranger', columns => '{*}', global => true) \g /dev/null
ALTER TABLE stranger INHERIT heir;
SELECT results_eq($$SELECT tbl::text, drift FROM event_service.watched WHERE drifted AND tbl::text ~ 'elder|heir|stranger' ORDER BY 1$$,
    $$VALUES ('elder', 'rows are also captured by public.stranger'), ('heir', 'rows are also captured by public.stranger'),
             ('stranger', 'rows are also captured by public.elder')$$,
    'a table watched by row that begins to inherit from one watched by statement is drift of both');
DROP TABLE elder, heir, grandheir, stranger;

-- A column that is gone makes writing a partition fail; the hint names what can be watched again.
ALTER TABLE p RENAME COLUMN a TO b;
SELECT matches(hint_of('INSERT INTO p VALUES (4, 1, 1)'), 'event_service\.watch\(\) on (public\.)?p again',
    'the hint of the error names the table that is watched, not its partition');
SELECT event_service.unwatch('p') \g /dev/null

-- Transactions ------------------------------------------------------------------------------------

CREATE TABLE saved_row (id int PRIMARY KEY, a int);
CREATE TABLE saved_statement (id int PRIMARY KEY, a int);
SELECT event_service.watch('saved_row', columns => '{a}', global => true),
       event_service.watch('saved_statement', columns => '{a}', global => true, level => 'statement') \g /dev/null
SELECT format($$BEGIN;
    INSERT INTO %1$s VALUES (1, 1);
    SAVEPOINT one;
    INSERT INTO %1$s VALUES (2, 2);
    SAVEPOINT two;
    UPDATE %1$s SET a = 9;
    ROLLBACK TO one;
    INSERT INTO %1$s VALUES (3, 3);
    SAVEPOINT three;
    UPDATE %1$s SET a = 4 WHERE id = 3;
    RELEASE three;
    COMMIT;$$, t) FROM unnest('{saved_row,saved_statement}'::text[]) t \gexec
:advance
SELECT is(captured(), string_agg(format('insert %1$s.created 1 {*} {"new":{"a":1}}' || E'\n' ||
    'insert %1$s.created 3 {*} {"new":{"a":3}}' || E'\n' ||
    'update %1$s.updated 3 {*} {"new":{"a":4},"old":{"a":3},"changed":["a"]}', t), E'\n'),
    'what was rolled back to a savepoint gives no event, all else does')
FROM unnest('{saved_row,saved_statement}'::text[]) t;
DO $$ BEGIN
    BEGIN
        INSERT INTO saved_row VALUES (4, 4), (1, 1);
    EXCEPTION WHEN unique_violation THEN
        INSERT INTO saved_row VALUES (5, 5);
    END;
END $$;
:advance
SELECT is(captured(), 'insert saved_row.created 5 {*} {"new":{"a":5}}',
    'a statement that failed within a function gives none of its events');
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE saved_row SET a = 0 WHERE id = 5;
COMMIT;
:advance
SELECT is(captured(), 'update saved_row.updated 5 {*} {"new":{"a":0},"old":{"a":5},"changed":["a"]}',
    'a SERIALIZABLE transaction is captured');
SET session_replication_role = replica;
UPDATE saved_row SET a = 1 WHERE id = 5;
RESET session_replication_role;
:advance
SELECT is(captured(), '', 'what is replayed by replication is not: its origin captured it');

-- A trigger of the application that writes the row again: the later change has the later event.
CREATE TABLE chain (id int PRIMARY KEY, a int);
CREATE FUNCTION write_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE chain SET a = a + 1 WHERE id = NEW.id AND a < 3;
    RETURN NULL;
END $$;
CREATE TRIGGER zz_after AFTER INSERT ON chain FOR EACH ROW EXECUTE FUNCTION write_again();
SELECT event_service.watch('chain', columns => '{a}', global => true) \g /dev/null
INSERT INTO chain VALUES (1, 1);
:advance
SELECT is(captured(), 'insert chain.created 1 {*} {"new":{"a":1}}' || E'\n' ||
    'update chain.updated 1 {*} {"new":{"a":2},"old":{"a":1},"changed":["a"]}',
    'the change by an AFTER trigger whose name sorts behind comes after the one that fired it');
ALTER TRIGGER zz_after ON chain RENAME TO after_insert;
INSERT INTO chain VALUES (2, 1);
:advance
SELECT is(captured(), 'insert chain.created 2 {*} {"new":{"a":1}}' || E'\n' ||
    'update chain.updated 2 {*} {"new":{"a":2},"old":{"a":1},"changed":["a"]}',
    'and so does that by one whose name sorts before');

-- Of what is not promised, watch() says where it can happen.
CREATE TABLE n_unique (id int UNIQUE, k int PRIMARY KEY DEFERRABLE);
CREATE TABLE n_bare (id int);
CREATE TABLE n_partial (id int, k int, UNIQUE (id, k));
CREATE UNIQUE INDEX ON n_partial (id) WHERE id > 0;
CREATE TABLE n_deferrable (id int PRIMARY KEY DEFERRABLE);
CREATE TABLE n_written (id int PRIMARY KEY);
CREATE TRIGGER "After it" AFTER UPDATE ON n_written FOR EACH ROW EXECUTE FUNCTION write_again();
CREATE TABLE n_calm (id int PRIMARY KEY);
CREATE TRIGGER before_it BEFORE UPDATE ON n_calm FOR EACH ROW EXECUTE FUNCTION write_again();
CREATE TRIGGER all_of_it AFTER UPDATE ON n_calm EXECUTE FUNCTION write_again();
CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON n_calm INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION write_again();
CREATE TRIGGER disabled AFTER UPDATE ON n_calm FOR EACH ROW EXECUTE FUNCTION write_again();
ALTER TABLE n_calm DISABLE TRIGGER disabled;
CREATE TABLE n_led (id int PRIMARY KEY, a int REFERENCES n_calm ON DELETE CASCADE, b int REFERENCES n_calm ON DELETE SET DEFAULT);
CREATE TABLE n_following (id int PRIMARY KEY, a int REFERENCES n_calm ON DELETE CASCADE, b int REFERENCES n_calm);
CREATE TABLE n_split (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE n_piece PARTITION OF n_split DEFAULT;
CREATE TRIGGER piece AFTER INSERT ON n_piece FOR EACH ROW EXECUTE FUNCTION write_again();
CREATE TABLE said (line text);
\setenv QUERY 'SELECT event_service.watch(c.oid, key => $$id$$, columns => $${id}$$, global => true, level => l) FROM unnest($${row,statement}$$::text[]) l, pg_class c WHERE relname ~ $$^n_.*$$ AND relkind IN ($$r$$, $$p$$) AND relname <> $$n_piece$$'
\copy said FROM PROGRAM 'psql -X -qAt -c "$QUERY" 2>&1 | sed -n "s/^[A-Z]*:  event_service.watch: //p"'
SELECT bag_eq('SELECT line FROM said', ARRAY[
    'the key of public.n_bare is not unique; events do not tell rows that share one apart',
    'the key of public.n_bare is not unique; events do not tell rows that share one apart',
    'the key of public.n_partial is not unique; events do not tell rows that share one apart',
    'the key of public.n_partial is not unique; events do not tell rows that share one apart',
    'the key of public.n_deferrable is DEFERRABLE; if rows take over keys from each other, a key''s delete may come after its insert',
    'what the trigger "After it" writes to rows of public.n_written comes before the events of the statement that fired it',
    'what the trigger piece writes to rows of public.n_split comes before the events of the statement that fired it',
    'foreign keys of public.n_led delete rows and set columns; if one statement does both to a row, the update may come after the delete',
    'what is written to a partition of public.n_split by its own name, and what a MERGE moves to another, is not captured'],
    'watch() says in NOTICEs what of a table can bring its events out of order');

-- What does not change a watched row wakes nobody --------------------------------------------------

SELECT open_listener('listener', 'event_service_wake') \g /dev/null
SELECT open_session('parked') \g /dev/null
SELECT ask('parked', 'SELECT pg_advisory_lock(1163284052, 1)::text') \g /dev/null
UPDATE mixed SET a = 1 WHERE false;
DELETE FROM mixed WHERE false;
INSERT INTO mixed SELECT 1, 1 WHERE false;
SELECT is(heard('listener'), '', 'a statement of no rows does not notify in statement mode');
UPDATE mixed SET a = a;
SELECT is(heard('listener'), '', 'nor does one that changes nothing');
UPDATE mixed SET a = a + 1;
SELECT is(heard('listener'), 'event_service_wake', 'one that changes 3000 rows notifies once');

SELECT is(:'LAST_ERROR_MESSAGE'::text, '', 'no statement of this file failed');
SELECT * FROM finish();
