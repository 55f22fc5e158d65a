-- 0002  Capture: watching a table, publishing an event
--
-- watch() writes a trigger function for one table, with the table's own columns in its text: it is
-- faster than a generic one that goes through to_jsonb(NEW), and what it captures can be read in it.
-- The function runs as event_service_owner, so that whoever writes to the table needs no right on
-- this schema, and with a fixed search_path, so that they cannot change what it calls.
--
-- The settings of a watch stand as JSON in the comment on its function, and nowhere else. From them
-- capture_source() gives the function's text again; that is how `watched` knows of drift.
--
-- The gate. NOTIFY takes a lock on the whole cluster until its transaction is durable, which ends
-- group commit. So writers notify only when the listener is parked, which it shows by holding the
-- gate exclusively; while it is awake they take the gate shared, and it cannot park before they are
-- done. Nobody ever waits here: both sides only try.

BEGIN;
SELECT pg_advisory_xact_lock(1163284052, 4);
SET LOCAL client_min_messages = warning;
SET LOCAL ROLE event_service_owner;
SET LOCAL search_path = pg_catalog, pg_temp;

-- Names -------------------------------------------------------------------------------------------

-- Raises unless `type` is an event type: two or more parts of [A-Za-z0-9_-] joined by dots, at most
-- 128 bytes, the first part not one of ours.
CREATE OR REPLACE FUNCTION event_service.check_type(type text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF type IS NULL OR type !~ '^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+$' OR octet_length(type) > 128 THEN
        RAISE EXCEPTION 'event_service: % is not an event type', coalesce(quote_literal(type), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'A type is two or more parts of [A-Za-z0-9_-] joined by dots, at most 128 bytes,'
                ' for example ''invoice.paid''.';
    ELSIF split_part(type, '.', 1) IN ('stream', 'event_service') THEN
        RAISE EXCEPTION 'event_service: the type % is reserved', quote_literal(type)
            USING ERRCODE = 'reserved_name', HINT = 'Let it begin with another word.';
    END IF;
END $$;

-- An audience label, of at most 1024 bytes; a longer one could not be indexed.
CREATE OR REPLACE FUNCTION event_service.is_label(label text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(label = '*' OR label ~ '^(user|session|context):.' AND octet_length(label) <= 1024, false)
$$;

-- Pieces of a capture function --------------------------------------------------------------------
-- Each of these returns a piece of SQL. `r` is the row's variable or alias in it: NEW, OLD, n, o.

-- A column of a row. Always quoted: PL/pgSQL has keywords (by, loop, if) that SQL has not.
CREATE OR REPLACE FUNCTION event_service.column_of(r text, name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r || '."' || replace(name, '"', '""') || '"'
$$;

-- The key of a row: the column as text, or a JSON array of several.
CREATE OR REPLACE FUNCTION event_service.key_expression(settings jsonb, r text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN count(*) = 1 THEN string_agg(event_service.column_of(r, c) || '::text', '')
                ELSE 'jsonb_build_array(' || string_agg(event_service.column_of(r, c), ', ' ORDER BY n) || ')::text' END
    FROM jsonb_array_elements_text(settings -> 'key') WITH ORDINALITY AS k (c, n)
$$;

-- The audience of a row: an array of labels. NULL, '' and what is too long for a label give none; an
-- array gives one for each element.
CREATE OR REPLACE FUNCTION event_service.audience_expression(tbl oid, settings jsonb, r text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH part AS (
        SELECT event_service.column_of(r, a.attname) AS value, l ->> 'prefix' AS prefix,
               1024 - octet_length(l ->> 'prefix') AS room, n,
               (SELECT t.typcategory = 'A' FROM pg_type t WHERE t.oid = a.atttypid) AS many
        FROM jsonb_array_elements(settings -> 'labels') WITH ORDINALITY AS labels (l, n)
        JOIN pg_attribute a ON a.attrelid = tbl AND a.attname = l ->> 'column'
    )
    SELECT CASE WHEN (settings -> 'global')::boolean THEN 'ARRAY[''*''] || ' ELSE '' END
        || coalesce('array_remove(ARRAY[' || string_agg(
               format('CASE WHEN octet_length(%1$s::text) BETWEEN 1 AND %3$s THEN %2$L || %1$s::text END',
                      value, prefix, room), ', ' ORDER BY n) FILTER (WHERE NOT many) || '], NULL)', '''{}''::text[]')
        || coalesce(string_agg(
               format(' || ARRAY(SELECT DISTINCT %2$L || x FROM unnest(%1$s::text[]) x'
                      ' WHERE octet_length(x) BETWEEN 1 AND %3$s ORDER BY 1)',
                      value, prefix, room), '' ORDER BY n) FILTER (WHERE many), '')
    FROM part
$$;

-- A value of over 8 KiB as stored, as an image has it: JSON, or its size where it has more than 1 MiB as
-- stored, or more than `room` bytes when it is decompressed or written as JSON. That is looked at first:
-- 1 MiB can be 255 MiB, and each byte of it six of JSON, which no session has memory for.
CREATE OR REPLACE FUNCTION event_service.large_value(value anyelement, stored int, room int) RETURNS json
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written json;
BEGIN
    -- A record holds what it is made of decompressed.
    IF stored <= 1048576 AND pg_column_size(ROW(value)) <= room THEN
        written := to_json(value);
        IF pg_column_size(written) <= room THEN
            RETURN written;
        END IF;
    END IF;
    RETURN json_build_object('omitted_bytes', stored);
EXCEPTION WHEN program_limit_exceeded OR out_of_memory THEN
    -- Eight bytes of a jsonb can be a number of 131,072 digits.
    RETURN json_build_object('omitted_bytes', stored);
END $$;

-- The image of a row: a JSON object of the chosen columns, in the table's order. Values that are too large
-- give way to their sizes, so that no write fails because of them; together they have 64 MiB at most. Of
-- those that have up to 8 KiB as stored, nothing else is asked.
CREATE OR REPLACE FUNCTION event_service.image_expression(tbl oid, settings jsonb, r text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH col AS (
        SELECT a.attname AS name, a.attnum AS n, event_service.column_of(r, a.attname) AS value,
               t.typlen = -1 AND t.typname NOT IN ('numeric', 'inet', 'cidr') AS is_unbounded
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = tbl AND a.attnum > 0 AND settings -> 'columns' ? a.attname
    ), share AS (
        SELECT least(8388608, 67108864 / nullif(count(*), 0)) AS room FROM col WHERE is_unbounded
    )
    -- The alias is none that a column could have.
    SELECT '(SELECT row_to_json("event_service image") FROM (SELECT ' || string_agg(
        CASE WHEN is_unbounded
             THEN format('CASE WHEN pg_column_size(%1$s) > 8192'
                         ' THEN event_service.large_value(%1$s, pg_column_size(%1$s), %2$s) ELSE to_json(%1$s) END',
                         value, room)
             ELSE value END || format(' AS %I', name), ', ' ORDER BY n)
        || ') "event_service image")'
    FROM col, share
$$;

-- True where the column differs. Types whose equality is identity are compared by it; all others
-- (numeric: 1.0 = 1.00; citext; json, which has none) by their bytes.
CREATE OR REPLACE FUNCTION event_service.differs_expression(a pg_attribute, old_row text, new_row text)
RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format(
        CASE WHEN a.atttypid IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype,
                                 'uuid'::regtype, 'date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
               OR a.atttypid IN ('text'::regtype, 'varchar'::regtype)
                  AND (SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = a.attcollation)
             THEN '%s IS DISTINCT FROM %s'
             -- The casts keep the parser from comparing the columns themselves.
             ELSE 'ROW(%s)::record *<> ROW(%s)::record' END,
        event_service.column_of(old_row, a.attname), event_service.column_of(new_row, a.attname))
$$;

-- What is asked of the two rows of an UPDATE: is it an event at all, which of the columns sent have
-- changed, and the type, named by the first mapped column that changed.
CREATE OR REPLACE FUNCTION event_service.update_expressions(
    tbl oid, settings jsonb, old_row text, new_row text, OUT condition text, OUT changed text, OUT type text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH col AS (
        SELECT a.attname AS name, a.attnum AS n, event_service.differs_expression(a, old_row, new_row) AS differs
        FROM pg_attribute a WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped
    )
    SELECT string_agg(differs, ' OR ' ORDER BY n)
               FILTER (WHERE settings -> 'on_change' ? name OR settings -> 'key' ? name
                          OR settings -> 'labels' @> jsonb_build_array(jsonb_build_object('column', name))),
           'array_remove(ARRAY[' || string_agg(format('CASE WHEN %s THEN %L END', differs, name), ', ' ORDER BY n)
               FILTER (WHERE settings -> 'columns' ? name) || '], NULL)',
           'CASE ' || string_agg(format('WHEN %s THEN %L ', differs,
                                        (settings ->> 'topic') || '.' || (settings -> 'types' ->> name)), '' ORDER BY n)
               FILTER (WHERE settings -> 'types' ? name)
               || format('ELSE %L END', (settings ->> 'topic') || '.updated')
    FROM col
$$;

-- Every column that a capture function names, and of those the ones that the table lacks.
CREATE OR REPLACE FUNCTION event_service.named_columns(settings jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(c ORDER BY c) FROM (
        SELECT jsonb_array_elements_text((settings -> 'columns') || (settings -> 'on_change') || (settings -> 'key'))
        UNION SELECT jsonb_object_keys(settings -> 'types')
        UNION SELECT l ->> 'column' FROM jsonb_array_elements(settings -> 'labels') l
    ) AS named (c)
$$;

CREATE OR REPLACE FUNCTION event_service.missing_columns(tbl oid, names text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(c ORDER BY n) FROM unnest(names) WITH ORDINALITY AS named (c, n)
    WHERE NOT EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = tbl AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped)
$$;

-- An expression that reads every one of the columns; a function takes at most 100 arguments.
CREATE OR REPLACE FUNCTION event_service.nulls_expression(names text[], r text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg('num_nulls(' || list || ')', ' + ')
    FROM (SELECT string_agg(event_service.column_of(r, c), ', ' ORDER BY n) AS list
          FROM unnest(names) WITH ORDINALITY AS named (c, n) GROUP BY (n - 1) / 100) g
$$;

-- The text of a capture function ------------------------------------------------------------------

-- The body of every capture function, with <pieces> to fill in.
CREATE OR REPLACE FUNCTION event_service.capture_template(level text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $outer$
SELECT CASE level WHEN 'row' THEN $body$
-- Written by event_service.watch(); do not edit: call watch() again.
DECLARE
    old_key      text;
    new_key      text;
    old_audience text[];
    new_audience text[];
    shared       text[];
    changed      text[];
    type         text;
    nulls        int;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO event_service.inbox (op, type, audience) VALUES ('t', <truncated>, '{*}');
    ELSE
        -- Every column is read once in this block, which writes nothing and so costs no transaction id.
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                IF NOT (<condition>) THEN
                    RETURN NULL;
                END IF;
                changed := <changed>;
                type := <type>;
            END IF;
            IF TG_OP <> 'INSERT' THEN
                old_key := <old key>;
                old_audience := <old audience>;
            END IF;
            IF TG_OP <> 'DELETE' THEN
                new_key := <new key>;
                new_audience := <new audience>;
                nulls := <new nulls>;
            ELSE
                nulls := <old nulls>;
            END IF;
        EXCEPTION WHEN <changed table> THEN
            RAISE EXCEPTION '%', SQLERRM USING ERRCODE = SQLSTATE,
                HINT = 'A watched column was renamed, dropped or changed its type: call event_service.watch() on '
                    || coalesce(pg_partition_root(TG_RELID), TG_RELID)::regclass || ' again, or event_service.unwatch().';
        END;
        IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND old_key IS DISTINCT FROM new_key THEN
            INSERT INTO event_service.inbox (op, type, conflate, key, audience, data)
            SELECT 'd', <deleted>, <deleted conflates>, old_key, old_audience, row_to_json(d)
            FROM (SELECT <old image> AS old) d;
        END IF;
        IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND old_key IS DISTINCT FROM new_key THEN
            INSERT INTO event_service.inbox (op, type, conflate, key, audience, data)
            SELECT 'i', <created>, <created conflates>, new_key, new_audience, row_to_json(d)
            FROM (SELECT <new image> AS new) d;
        ELSIF TG_OP = 'UPDATE' THEN
            shared := new_audience;
            IF old_audience <> new_audience THEN
                shared := ARRAY(SELECT unnest(old_audience) INTERSECT SELECT unnest(new_audience));
                IF NOT old_audience <@ new_audience THEN
                    INSERT INTO event_service.inbox (op, type, key, audience, hidden_from)
                    VALUES ('l', <left>, new_key, old_audience, new_audience);
                END IF;
            END IF;
            IF shared <> '{}' OR old_audience = new_audience THEN
                INSERT INTO event_service.inbox (op, type, conflate, key, audience, data)
                SELECT 'u', type, <conflates>, new_key, shared, row_to_json(d)
                FROM (SELECT <new image> AS new, <old image> AS old, changed) d;
            END IF;
            IF NOT new_audience <@ old_audience THEN
                INSERT INTO event_service.inbox (op, type, key, audience, hidden_from, data)
                SELECT 'e', <entered>, new_key, new_audience, shared, row_to_json(d)
                FROM (SELECT <new image> AS new) d;
            END IF;
        END IF;
    END IF;
    -- Only a parked listener needs waking.
    IF NOT pg_try_advisory_xact_lock_shared(1163284052, 1) THEN
        PERFORM pg_notify('event_service_wake', '');
    END IF;
    RETURN NULL;
END $body$ ELSE $body$
-- Written by event_service.watch(); do not edit: call watch() again.
DECLARE
    unpaired boolean := false;
BEGIN
    -- A first look at every column and at what is asked of them, in a block that writes nothing and so
    -- costs no transaction id.
    BEGIN
        IF TG_OP = 'DELETE' THEN
            PERFORM <old nulls>, <old audience> FROM old_rows o LIMIT 0;
        ELSIF TG_OP = 'INSERT' THEN
            PERFORM <new nulls>, <new audience> FROM new_rows n LIMIT 0;
        ELSIF TG_OP = 'UPDATE' THEN
            PERFORM <old nulls>, <new nulls>, <old audience>, <new audience>, <condition>, <changed>, <type>
            FROM old_rows o, new_rows n LIMIT 0;
        END IF;
    EXCEPTION WHEN <changed table> THEN
        RAISE EXCEPTION '%', SQLERRM USING ERRCODE = SQLSTATE,
            HINT = 'A watched column was renamed, dropped or changed its type: call event_service.watch() on '
                || coalesce(pg_partition_root(TG_RELID), TG_RELID)::regclass || ' again, or event_service.unwatch().';
    END;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO event_service.inbox (op, type, audience) VALUES ('t', <truncated>, '{*}');
    ELSIF TG_OP = 'UPDATE' THEN
        -- A trigger of the partition to which a row moved may have refused it. Then it is not known
        -- which new row was which old one, and all of them are told as deleted and inserted.
        unpaired := (SELECT count(*) FROM old_rows) <> (SELECT count(*) FROM new_rows);
    END IF;
    IF TG_OP = 'DELETE' OR unpaired THEN
        INSERT INTO event_service.inbox (op, type, conflate, key, audience, data)
        SELECT 'd', <deleted>, <deleted conflates>, <old key>, <old audience>,
               (SELECT row_to_json("event_service data") FROM (SELECT <old image> AS old) "event_service data")
        FROM old_rows o;
    END IF;
    IF TG_OP = 'INSERT' OR unpaired THEN
        INSERT INTO event_service.inbox (op, type, conflate, key, audience, data)
        SELECT 'i', <created>, <created conflates>, <new key>, <new audience>,
               (SELECT row_to_json("event_service data") FROM (SELECT <new image> AS new) "event_service data")
        FROM new_rows n;
    ELSIF TG_OP = 'UPDATE' THEN
        -- Both transition tables hold the rows of the update in the same order: each row is appended
        -- to the two as it is written.
        WITH o AS NOT MATERIALIZED (
            SELECT row_number() OVER () AS "event_service row", <old columns> FROM old_rows o
        ), n AS NOT MATERIALIZED (
            SELECT row_number() OVER () AS "event_service row", <new columns> FROM new_rows n
        ), pair AS NOT MATERIALIZED (
            SELECT "event_service row" AS number, <old key> AS old_key, <new key> AS new_key,
                   <old audience> AS old_audience, <new audience> AS new_audience,
                   <old image> AS old, <new image> AS new, <changed> AS changed, <type> AS type
            FROM o JOIN n USING ("event_service row")
            WHERE <condition>
            OFFSET 0 -- keeps these expressions here, where each is evaluated once a row
        )
        INSERT INTO event_service.inbox (op, type, conflate, key, audience, hidden_from, data)
        SELECT e.op, e.type, e.conflate, e.key, e.audience, e.hidden_from, e.data
        FROM pair p
        CROSS JOIN LATERAL (
            SELECT CASE WHEN p.old_audience = p.new_audience THEN p.new_audience
                        ELSE ARRAY(SELECT unnest(p.old_audience) INTERSECT SELECT unnest(p.new_audience)) END AS shared
        ) s
        CROSS JOIN LATERAL (
            -- The deletes come before all else: a row may have been given the key that another had.
            SELECT 0::bigint AS place, p.number AS part, 'd'::"char" AS op, <deleted> AS type,
                   <deleted conflates> AS conflate, p.old_key AS key, p.old_audience AS audience,
                   '{}'::text[] AS hidden_from,
                   (SELECT row_to_json(d) FROM (SELECT p.old) d) AS data
            WHERE p.old_key IS DISTINCT FROM p.new_key
            UNION ALL
            SELECT p.number, 1, 'i', <created>, <created conflates>, p.new_key, p.new_audience, '{}',
                   (SELECT row_to_json(d) FROM (SELECT p.new) d)
            WHERE p.old_key IS DISTINCT FROM p.new_key
            UNION ALL
            SELECT p.number, 2, 'l', <left>, false, p.new_key, p.old_audience, p.new_audience, NULL
            WHERE p.old_key IS NOT DISTINCT FROM p.new_key AND NOT p.old_audience <@ p.new_audience
            UNION ALL
            SELECT p.number, 3, 'u', p.type, <conflates>, p.new_key, s.shared, '{}',
                   (SELECT row_to_json(d) FROM (SELECT p.new, p.old, p.changed) d)
            WHERE p.old_key IS NOT DISTINCT FROM p.new_key AND (s.shared <> '{}' OR p.old_audience = p.new_audience)
            UNION ALL
            SELECT p.number, 4, 'e', <entered>, false, p.new_key, p.new_audience, s.shared,
                   (SELECT row_to_json(d) FROM (SELECT p.new) d)
            WHERE p.old_key IS NOT DISTINCT FROM p.new_key AND NOT p.new_audience <@ p.old_audience
        ) e
        ORDER BY e.place, e.part;
    END IF;
    -- Only a parked listener needs waking.
    IF (FOUND OR unpaired) AND NOT pg_try_advisory_xact_lock_shared(1163284052, 1) THEN
        PERFORM pg_notify('event_service_wake', '');
    END IF;
    RETURN NULL;
END $body$ END
$outer$;

-- The body of the capture function of `tbl`; NULL if one of its columns is gone.
CREATE OR REPLACE FUNCTION event_service.capture_source(tbl oid, settings jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    by_row  boolean := settings ->> 'level' = 'row';
    old_row text := CASE WHEN by_row THEN 'OLD' ELSE 'o' END;
    new_row text := CASE WHEN by_row THEN 'NEW' ELSE 'n' END;
    topic   text := settings ->> 'topic';
    named   text[] := event_service.named_columns(settings);
    compare record;
    pieces  jsonb;
BEGIN
    IF event_service.missing_columns(tbl, named) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    compare := event_service.update_expressions(tbl, settings, old_row, new_row);
    SELECT jsonb_object_agg(name, text) INTO pieces FROM (
        SELECT suffix AS name, quote_literal(topic || '.' || suffix) AS text
        FROM unnest(ARRAY['created', 'deleted', 'entered', 'left', 'truncated']) suffix
        UNION ALL
        SELECT suffix || ' conflates', (settings -> 'conflate' ? suffix)::text
        FROM unnest(ARRAY['created', 'deleted']) suffix
        UNION ALL VALUES
            -- What PostgreSQL says when the columns are not those for which this was written. The last is
            -- a text that is read as an array.
            ('changed table', 'undefined_column OR undefined_function OR datatype_mismatch OR cannot_coerce'
                              ' OR invalid_text_representation'),
            ('condition', compare.condition),
            ('changed', compare.changed),
            ('type', coalesce(compare.type, quote_literal(topic || '.updated'))),
            ('conflates', (SELECT coalesce(format('%s = ANY (ARRAY[%s])', CASE WHEN by_row THEN 'type' ELSE 'p.type' END,
                                                  string_agg(quote_literal(topic || '.' || c), ', ')), 'false')
                           FROM jsonb_array_elements_text(settings -> 'conflate') c HAVING count(*) > 0)),
            ('old key', event_service.key_expression(settings, old_row)),
            ('new key', event_service.key_expression(settings, new_row)),
            ('old audience', event_service.audience_expression(tbl, settings, old_row)),
            ('new audience', event_service.audience_expression(tbl, settings, new_row)),
            ('old image', event_service.image_expression(tbl, settings, old_row)),
            ('new image', event_service.image_expression(tbl, settings, new_row)),
            ('old nulls', event_service.nulls_expression(named, old_row)),
            ('new nulls', event_service.nulls_expression(named, new_row)),
            ('old columns', (SELECT string_agg(event_service.column_of(old_row, c), ', ') FROM unnest(named) c)),
            ('new columns', (SELECT string_agg(event_service.column_of(new_row, c), ', ') FROM unnest(named) c))
    ) filled;
    -- All pieces at once, so that a column called <type> is not taken for one.
    RETURN (SELECT string_agg(CASE WHEN p.part[2] IS NULL THEN p.part[1] ELSE coalesce(pieces ->> p.part[2], 'false') END,
                              '' ORDER BY p.n)
            FROM regexp_matches(event_service.capture_template(settings ->> 'level'), '(<([a-z ]+)>|[^<]+|<)', 'g')
                 WITH ORDINALITY AS p (part, n));
END $$;

-- Watching ----------------------------------------------------------------------------------------

-- The capture function that the triggers of `tbl` call.
CREATE OR REPLACE FUNCTION event_service.capture_function(tbl oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tgfoid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid = tbl AND t.tgname LIKE '0\_event\_service\_%' AND t.tgparentid = 0
      AND p.pronamespace = 'event_service'::regnamespace
    LIMIT 1
$$;

-- The triggers that a watch needs: name, event, what follows the table's name, and pg_trigger.tgtype.
-- Triggers fire by name. Ours come first, so that what the application's own triggers write to the
-- same row has the later event.
CREATE OR REPLACE FUNCTION event_service.wanted_triggers(settings jsonb)
RETURNS TABLE (name text, event text, scope text, tgtype int2)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '0_event_service_' || o.event, upper(o.event),
           CASE WHEN o.event = 'truncate' THEN 'FOR EACH STATEMENT'
                WHEN settings ->> 'level' = 'row' THEN 'FOR EACH ROW'
                ELSE 'REFERENCING ' || o.tables || ' FOR EACH STATEMENT' END,
           (o.bit + CASE WHEN o.event <> 'truncate' AND settings ->> 'level' = 'row' THEN 1 ELSE 0 END)::int2
    FROM (VALUES ('insert', 'NEW TABLE AS new_rows', 4),
                 ('delete', 'OLD TABLE AS old_rows', 8),
                 ('update', 'OLD TABLE AS old_rows NEW TABLE AS new_rows', 16),
                 ('truncate', '', 32)) AS o (event, tables, bit)
    -- To truncate is to delete.
    WHERE settings -> 'ops' ? o.event OR o.event = 'truncate' AND settings -> 'ops' ? 'delete'
$$;

-- In what the triggers of `tbl` are not those that the settings want; NULL: they are.
CREATE OR REPLACE FUNCTION event_service.trigger_fault(tbl oid, settings jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(fault, ', ' ORDER BY fault) FROM (
        SELECT CASE WHEN t.oid IS NULL THEN format('trigger %s is missing', w.name)
                    WHEN w.name IS NULL THEN format('trigger %s is not wanted', t.tgname)
                    WHEN t.tgenabled NOT IN ('O', 'A') THEN format('trigger %s is disabled', w.name)
                    WHEN t.tgtype <> w.tgtype THEN format('trigger %s is of another kind', w.name) END AS fault
        FROM event_service.wanted_triggers(settings) w
        FULL JOIN (SELECT * FROM pg_trigger t
                   WHERE t.tgrelid = tbl AND t.tgfoid = event_service.capture_function(tbl)) t ON t.tgname = w.name
    ) f
$$;

-- What a type is made of: the element of an array, the base of a domain, however deep.
CREATE OR REPLACE FUNCTION event_service.element_type(type oid) RETURNS oid
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE step AS (
        SELECT t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen, 1 AS depth FROM pg_type t WHERE t.oid = type
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype, t.typelem, t.typlen, s.depth + 1
        FROM step s JOIN pg_type t ON t.oid = CASE WHEN s.typtype = 'd' THEN s.typbasetype
                                                   WHEN s.typlen = -1 THEN nullif(s.typelem, 0) END
    )
    SELECT oid FROM step ORDER BY depth DESC LIMIT 1
$$;

-- The settings of a capture function. How a value is written as text must not depend on the writer's
-- session, but each setting costs something on every call: only those that the columns' types ask for.
CREATE OR REPLACE FUNCTION event_service.capture_options(tbl oid, settings jsonb) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH named AS (
        SELECT DISTINCT e.oid::regtype::text AS type, e.typtype,
               settings -> 'key' ? a.attname
                   OR settings -> 'labels' @> jsonb_build_array(jsonb_build_object('column', a.attname)) AS as_text
        FROM pg_attribute a
        JOIN pg_type e ON e.oid = event_service.element_type(a.atttypid)
        WHERE a.attrelid = tbl AND a.attname = ANY (event_service.named_columns(settings))
    ), kind AS (
        SELECT as_text, CASE
            WHEN typtype = 'e' OR type IN ('boolean', 'smallint', 'integer', 'bigint', 'numeric', 'text',
                'character varying', 'character', 'name', 'uuid', 'json', 'jsonb', 'inet', 'cidr') THEN 'plain'
            WHEN type IN ('timestamp with time zone', 'time with time zone') THEN 'zoned'
            WHEN type IN ('date', 'timestamp without time zone', 'time without time zone') THEN 'dated'
            WHEN type IN ('real', 'double precision') THEN 'float'
            ELSE 'other' END AS kind
        FROM named
    )
    SELECT ARRAY['search_path=pg_catalog, pg_temp']
        || CASE WHEN bool_or(kind IN ('zoned', 'other')) THEN ARRAY['TimeZone=UTC'] ELSE '{}' END
        || CASE WHEN bool_or(kind = 'other' OR kind IN ('zoned', 'dated') AND as_text)
                THEN ARRAY['DateStyle=ISO, MDY'] ELSE '{}' END
        || CASE WHEN bool_or(kind IN ('float', 'other')) THEN ARRAY['extra_float_digits=1'] ELSE '{}' END
        || CASE WHEN bool_or(kind = 'other') THEN ARRAY['IntervalStyle=postgres', 'bytea_output=hex'] ELSE '{}' END
        || CASE settings ->> 'level'
           -- A plan made for one call's values holds them decompressed, and so their sizes.
           WHEN 'row' THEN ARRAY['plan_cache_mode=force_generic_plan']
           -- The plan outlives the statement, perhaps of one row, for which it was made.
           ELSE ARRAY['enable_nestloop=off', 'jit=off'] END
    FROM kind
$$;

-- Raises unless the caller of a SECURITY DEFINER function, the role that is logged in or SET, may create
-- triggers on `tbl` and on every other table whose triggers call the capture function of `tbl`. What
-- watch() has the owner do, an admin can also call by itself.
CREATE OR REPLACE FUNCTION event_service.check_caller(tbl oid) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    closed regclass;
BEGIN
    SELECT r.relid INTO closed
    FROM (SELECT tbl AS relid UNION
          SELECT t.tgrelid FROM pg_trigger t WHERE t.tgfoid = event_service.capture_function(tbl) AND t.tgparentid = 0) r
    WHERE NOT has_table_privilege(caller, r.relid, 'TRIGGER');
    IF FOUND THEN
        RAISE EXCEPTION 'event_service: % may not create triggers on %', caller, closed
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT TRIGGER ON %s TO %I.', closed, caller);
    END IF;
END $$;

-- Writes the capture function of `tbl` and returns it: what watch() has the owner do.
CREATE OR REPLACE FUNCTION event_service.write_capture(tbl oid, settings jsonb) RETURNS regprocedure
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written text := coalesce(
        (SELECT p.proname FROM pg_proc p WHERE p.oid = event_service.capture_function(tbl)),
        -- As long as a name can be: the number first, since the end is cut off.
        format('capture_%s_%s', tbl, (SELECT c.relname FROM pg_class c WHERE c.oid = tbl))::name);
BEGIN
    PERFORM event_service.check_caller(tbl), event_service.check_settings(tbl, settings);
    EXECUTE format('CREATE OR REPLACE FUNCTION event_service.%I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER %s AS %L',
        written,
        (SELECT string_agg(format('SET %s = %s', split_part(o, '=', 1),
                                  CASE WHEN o LIKE 'search_path=%' THEN split_part(o, '=', 2)
                                       ELSE quote_literal(split_part(o, '=', 2)) END), ' ' ORDER BY n)
         FROM unnest(event_service.capture_options(tbl, settings)) WITH ORDINALITY AS options (o, n)),
        event_service.capture_source(tbl, settings));
    EXECUTE format('COMMENT ON FUNCTION event_service.%I() IS %L', written, settings);
    EXECUTE format('GRANT EXECUTE ON FUNCTION event_service.%I() TO event_service_admin', written);
    RETURN format('event_service.%I()', written)::regprocedure;
END $$;

-- Drops the capture function of `tbl`, and with it its triggers, and the functions that dropped tables
-- have left behind.
CREATE OR REPLACE FUNCTION event_service.drop_capture(tbl oid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning AS $$
DECLARE
    dropped regprocedure;
BEGIN
    PERFORM event_service.check_caller(tbl);
    FOR dropped IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'event_service'::regnamespace AND p.prorettype = 'trigger'::regtype
          AND p.proname LIKE 'capture\_%'
          AND (p.oid = event_service.capture_function(tbl)
               OR NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid))
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', dropped);
    END LOOP;
END $$;

-- Raises unless `tbl` is a table that can have triggers, and the caller may put them there.
CREATE OR REPLACE FUNCTION event_service.check_watchable(tbl regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    relation record;
BEGIN
    SELECT c.relkind, c.relnamespace::regnamespace::text AS schema INTO relation FROM pg_class c WHERE c.oid = tbl;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'event_service: there is no such table: %', coalesce(tbl::text, 'NULL')
            USING ERRCODE = 'undefined_table';
    ELSIF relation.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION 'event_service: % is not a table', tbl
            USING ERRCODE = 'wrong_object_type', HINT = 'Watch the tables that it is made from.';
    ELSIF relation.schema IN ('event_service', 'pg_catalog', 'information_schema') THEN
        RAISE EXCEPTION 'event_service: % belongs to the system and cannot be watched', tbl
            USING ERRCODE = 'wrong_object_type';
    ELSIF NOT has_table_privilege(tbl, 'TRIGGER') THEN
        RAISE EXCEPTION 'event_service: % may not create triggers on %', current_user, tbl
            USING ERRCODE = 'insufficient_privilege', HINT = format('GRANT TRIGGER ON %s TO %I.', tbl, current_user);
    ELSIF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = tbl AND t.tgparentid <> 0 AND t.tgname LIKE '0\_event\_service\_%') THEN
        RAISE EXCEPTION 'event_service: % is a partition of a table that is watched', tbl
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Its changes are captured through that table.';
    END IF;
END $$;

-- The tables that `tbl` inherits from or is a partition of, and those below it, however far.
CREATE OR REPLACE FUNCTION event_service.inheritance(tbl oid) RETURNS TABLE (relid oid, is_above boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE above AS (
        SELECT i.inhparent FROM pg_inherits i WHERE i.inhrelid = tbl
        UNION SELECT i.inhparent FROM above a JOIN pg_inherits i ON i.inhrelid = a.inhparent
    ), below AS (
        SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = tbl
        UNION SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.inhrelid
    )
    SELECT inhparent, true FROM above UNION ALL SELECT inhrelid, false FROM below
$$;

-- A watched table above or below `tbl` with which it would capture a row twice, were it watched at `level`;
-- NULL: none. Statement triggers fire for the table that is named, and see the rows of those below it,
-- whose row triggers fire as well; row triggers of a partitioned table are also those of its partitions.
CREATE OR REPLACE FUNCTION event_service.captured_twice(tbl oid, level text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT pair.other FROM (
        SELECT i.relid AS other, CASE WHEN i.is_above THEN i.relid ELSE tbl END AS upper,
               CASE WHEN i.is_above THEN o.level ELSE captured_twice.level END AS upper_level,
               CASE WHEN i.is_above THEN captured_twice.level ELSE o.level END AS lower_level
        FROM event_service.inheritance(tbl) i
        CROSS JOIN LATERAL (
            SELECT obj_description(event_service.capture_function(i.relid), 'pg_proc')::jsonb ->> 'level' AS level
        ) o
    ) pair
    JOIN pg_class c ON c.oid = pair.upper
    WHERE pair.upper_level = 'statement' AND pair.lower_level = 'row'
       OR pair.upper_level = 'row' AND pair.lower_level IS NOT NULL AND c.relkind = 'p'
    ORDER BY pair.other LIMIT 1
$$;

-- Raises if a row of `tbl` would be captured twice.
CREATE OR REPLACE FUNCTION event_service.check_partition_tree(tbl regclass, level text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other regclass := event_service.captured_twice(tbl, level);
BEGIN
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'event_service: one of % and % is below the other; rows would be captured by both', tbl, other
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Call event_service.unwatch(%L), or watch both with level => ''statement''.', other);
    END IF;
END $$;

-- Says what of `tbl` can bring its events into another order than its writes, or give none. PostgreSQL calls
-- triggers when the statement is done: of a row that it wrote twice they cannot tell which came first.
CREATE OR REPLACE FUNCTION event_service.notice_limits(tbl regclass, settings jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    by_row    boolean := settings ->> 'level' = 'row';
    -- Whether a unique index tells rows apart by the key even while a statement runs; NULL: there is none.
    immediate boolean := (
        SELECT bool_or(i.indimmediate) FROM pg_index i
        WHERE i.indrelid = tbl AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (SELECT FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
                          JOIN pg_attribute a ON a.attrelid = tbl AND a.attnum = k.attnum
                          WHERE k.n <= i.indnkeyatts AND NOT settings -> 'key' ? a.attname));
    writers   text;
BEGIN
    IF immediate IS NULL THEN
        RAISE NOTICE 'event_service.watch: the key of % is not unique; events do not tell rows that share one apart', tbl
            USING HINT = 'Name columns that a unique index has, or make one.';
    ELSIF by_row AND NOT immediate THEN
        RAISE NOTICE 'event_service.watch: the key of % is DEFERRABLE; if rows take over keys from each other,'
            ' a key''s delete may come after its insert', tbl
            USING HINT = 'level => ''statement'' puts the deletes of a statement first.';
    END IF;
    IF by_row THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT quote_ident(t.tgname), ', ') INTO writers
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE t.tgrelid IN (SELECT tbl UNION SELECT i.relid FROM event_service.inheritance(tbl) i WHERE NOT i.is_above)
      AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND NOT t.tginitdeferred
      AND t.tgtype & (1 | 2 | 64) = 1 -- for each row, neither BEFORE nor INSTEAD OF
      AND p.pronamespace <> 'event_service'::regnamespace;
    IF writers IS NOT NULL THEN
        RAISE NOTICE 'event_service.watch: what the trigger % writes to rows of % comes before the events of the'
            ' statement that fired it', writers, tbl USING HINT = 'Use level => ''row'' if it writes there.';
    END IF;
    IF EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = tbl AND c.contype = 'f' AND c.confdeltype = 'c')
       AND EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = tbl AND c.contype = 'f' AND c.confdeltype IN ('n', 'd')) THEN
        RAISE NOTICE 'event_service.watch: foreign keys of % delete rows and set columns; if one statement does both to'
            ' a row, the update may come after the delete', tbl USING HINT = 'Use level => ''row''.';
    END IF;
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = tbl AND c.relkind = 'p') THEN
        RAISE NOTICE 'event_service.watch: what is written to a partition of % by its own name, and what a MERGE moves'
            ' to another, is not captured', tbl USING HINT = 'Use level => ''row'' if that is done.';
    END IF;
END $$;

-- Raises unless the settings can be what they say.
CREATE OR REPLACE FUNCTION event_service.check_settings(tbl regclass, settings jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    topic    text := settings ->> 'topic';
    missing  text[] := event_service.missing_columns(tbl, event_service.named_columns(settings));
    suffixes text[] := ARRAY['created', 'updated', 'deleted', 'entered', 'left', 'truncated'];
    unknown  text;
BEGIN
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'event_service.watch: % has no column %', tbl, array_to_string(missing, ', ')
            USING ERRCODE = 'undefined_column';
    END IF;
    IF jsonb_typeof(settings -> 'types') <> 'object' OR EXISTS (
        SELECT FROM jsonb_each(settings -> 'types') t
        WHERE jsonb_typeof(t.value) <> 'string' OR (t.value #>> '{}') !~ '^[A-Za-z0-9_-]+$') THEN
        RAISE EXCEPTION 'event_service.watch: types is not a map of columns to suffixes: %', settings -> 'types'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'For example types => ''{"status": "status-changed"}''; a suffix is one part of [A-Za-z0-9_-].';
    END IF;
    suffixes := suffixes || ARRAY(SELECT t.value FROM jsonb_each_text(settings -> 'types') t);
    PERFORM event_service.check_type(topic || '.' || s) FROM unnest(suffixes) s;
    SELECT c INTO unknown FROM jsonb_array_elements_text(settings -> 'conflate') c WHERE c <> ALL (suffixes);
    IF FOUND THEN
        RAISE EXCEPTION 'event_service.watch: no event of % has the suffix %', tbl, quote_literal(unknown)
            USING ERRCODE = 'invalid_parameter_value', HINT = format('Its suffixes are %s.', array_to_string(suffixes, ', '));
    END IF;
    SELECT o INTO unknown FROM jsonb_array_elements_text(settings -> 'ops') o
    WHERE o NOT IN ('insert', 'update', 'delete', 'truncate');
    IF FOUND OR settings -> 'ops' = '[]' THEN
        RAISE EXCEPTION 'event_service.watch: % is not an operation', coalesce(quote_literal(unknown), 'nothing')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'ops is a comma-separated list of insert, update, delete, truncate.';
    END IF;
    IF settings ->> 'level' IS NULL OR settings ->> 'level' NOT IN ('row', 'statement') THEN
        RAISE EXCEPTION 'event_service.watch: % is not a level', coalesce(quote_literal(settings ->> 'level'), 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'level is ''row'' or ''statement''.';
    END IF;
END $$;

-- Raises unless the caller may read every column that goes out with an event.
CREATE OR REPLACE FUNCTION event_service.check_readable(tbl regclass, settings jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hidden text;
BEGIN
    SELECT c INTO hidden FROM unnest(event_service.named_columns(settings)) c
    WHERE NOT has_column_privilege(tbl, c, 'SELECT');
    IF FOUND THEN
        RAISE EXCEPTION 'event_service.watch: % may not read the column % of %', current_user, hidden, tbl
            USING ERRCODE = 'insufficient_privilege',
            HINT = format('GRANT SELECT (%I) ON %s TO %I.', hidden, tbl, current_user);
    END IF;
END $$;

-- Columns and prefixes of the labels: [{"column": …, "prefix": "user:"}, …].
CREATE OR REPLACE FUNCTION event_service.label_settings(
    tbl regclass, user_column text, session_column text, context_columns text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    labels jsonb := '[]';
    bare   text;
    entry  text;
BEGIN
    IF user_column IS NOT NULL THEN
        labels := labels || jsonb_build_object('column', user_column, 'prefix', 'user:');
    END IF;
    IF session_column IS NOT NULL THEN
        labels := labels || jsonb_build_object('column', session_column, 'prefix', 'session:');
    END IF;
    FOREACH entry IN ARRAY coalesce(context_columns, '{}') LOOP
        IF strpos(entry, '=') = 0 OR event_service.missing_columns(tbl, ARRAY[entry]) IS NULL THEN
            IF bare IS NOT NULL THEN
                RAISE EXCEPTION 'event_service.watch: 7 of % and 7 of % would both be context:7', bare, entry
                    USING ERRCODE = 'invalid_parameter_value',
                    HINT = format('Name one of them: ''%1$s=%1$s'' gives labels context:%1$s:VALUE.', entry);
            END IF;
            bare := entry;
            labels := labels || jsonb_build_object('column', entry, 'prefix', 'context:');
        ELSIF split_part(entry, '=', 1) !~ '^[A-Za-z0-9_.-]{1,64}$' THEN
            RAISE EXCEPTION 'event_service.watch: % does not name a context', quote_literal(entry)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Write COLUMN, or NAME=COLUMN with NAME of [A-Za-z0-9_.-].';
        ELSE
            labels := labels || jsonb_build_object('column', substr(entry, strpos(entry, '=') + 1),
                                                   'prefix', 'context:' || split_part(entry, '=', 1) || ':');
        END IF;
    END LOOP;
    RETURN labels;
END $$;

-- Captures the changes of one table from the end of this transaction on. Called again it replaces the
-- settings. What each of them means stands in docs/watching-tables.md.
--
-- SECURITY INVOKER: triggers are created, and the right to read the columns is checked, as the caller.
CREATE OR REPLACE FUNCTION event_service.watch(
    tbl             regclass,
    topic           text    DEFAULT NULL,
    key             text    DEFAULT NULL,
    columns         text[]  DEFAULT NULL,
    on_change       text[]  DEFAULT NULL,
    types           jsonb   DEFAULT '{}',
    user_column     text    DEFAULT NULL,
    session_column  text    DEFAULT NULL,
    context_columns text[]  DEFAULT NULL,
    global          boolean DEFAULT false,
    ops             text    DEFAULT 'insert,update,delete',
    level           text    DEFAULT 'row',
    conflate        text[]  DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    key_columns text[];
    settings    jsonb;
    capture     regprocedure;
    renew       boolean;
    wanted      record;
BEGIN
    PERFORM event_service.check_watchable(tbl);
    IF key IS NOT NULL THEN
        key_columns := ARRAY(SELECT btrim(k) FROM unnest(string_to_array(key, ',')) k);
    ELSE
        key_columns := ARRAY(SELECT a.attname::text FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n)
                             JOIN pg_attribute a USING (attnum)
                             WHERE i.indrelid = tbl AND i.indisprimary AND a.attrelid = tbl AND k.n <= i.indnkeyatts
                             ORDER BY k.n);
    END IF;
    IF key_columns = '{}' THEN
        RAISE EXCEPTION 'event_service.watch: % has no primary key', tbl
            USING ERRCODE = 'invalid_table_definition',
            HINT = 'Name the column, or the comma-separated columns, that identify a row: key => ''id''.';
    END IF;
    IF columns IS NULL THEN
        RAISE NOTICE 'event_service.watch: events of % will carry the key alone', tbl
            USING HINT = 'Name the columns to send, or all that there are now with columns => ''{*}''.';
        columns := key_columns;
    ELSIF columns = '{}' THEN
        RAISE EXCEPTION 'event_service.watch: columns is empty'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out to send the key alone.';
    ELSIF columns = '{*}' THEN
        columns := ARRAY(SELECT a.attname::text FROM pg_attribute a
                         WHERE a.attrelid = tbl AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum);
    END IF;
    settings := jsonb_build_object(
        'topic', coalesce(topic, (SELECT c.relname FROM pg_class c WHERE c.oid = tbl)),
        'key', key_columns, 'columns', columns, 'on_change', coalesce(on_change, columns),
        'types', coalesce(types, '{}'), 'global', coalesce(global, false),
        'labels', event_service.label_settings(tbl, user_column, session_column, context_columns),
        'ops', ARRAY(SELECT lower(btrim(o)) FROM unnest(string_to_array(coalesce(ops, ''), ',')) o),
        'level', level, 'conflate', coalesce(conflate, '{}'));
    PERFORM event_service.check_settings(tbl, settings);
    PERFORM event_service.check_readable(tbl, settings);
    PERFORM event_service.check_partition_tree(tbl, level);
    PERFORM event_service.notice_limits(tbl, settings);
    IF settings -> 'labels' = '[]' AND settings -> 'global' = 'false' THEN
        RAISE NOTICE 'event_service.watch: events of % have no audience; only auth=none will see them', tbl
            USING HINT = 'Name user_column, session_column or context_columns, or say global => true.';
    END IF;

    -- The same triggers as before just call the new text of their function, without a lock on the
    -- table; others are made anew.
    renew := event_service.trigger_fault(tbl, settings) IS NOT NULL;
    IF renew THEN
        PERFORM event_service.drop_capture(tbl);
    END IF;
    capture := event_service.write_capture(tbl, settings);
    FOR wanted IN SELECT w.* FROM event_service.wanted_triggers(settings) w WHERE renew LOOP
        EXECUTE format('CREATE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION %s',
                       wanted.name, wanted.event, tbl, wanted.scope, capture);
    END LOOP;
END $$;

-- Ends the capture of one table and leaves nothing of it behind. The log keeps what it has.
CREATE OR REPLACE FUNCTION event_service.unwatch(tbl regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM event_service.check_watchable(tbl);
    PERFORM event_service.drop_capture(tbl);
END $$;

-- What `watched` shows: a function, because whoever reads the view has no right on what it calls.
CREATE OR REPLACE FUNCTION event_service.watched_tables()
RETURNS TABLE (tbl regclass, topic text, key text[], columns text[], on_change text[], types jsonb,
               labels jsonb, global boolean, ops text[], level text, conflate text[],
               drifted boolean, drift text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT w.tbl, s.topic, s.key, s.columns, s.on_change, s.types, s.labels, s.global, s.ops, s.level, s.conflate,
           d.drift <> '', nullif(d.drift, '')
    FROM (
        -- A function without a trigger watched a table that was dropped, or its triggers were.
        SELECT DISTINCT p.oid AS capture, p.prosrc, p.proconfig, p.prosecdef, p.proowner, t.tgrelid::regclass AS tbl,
               obj_description(p.oid, 'pg_proc')::jsonb AS settings
        FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND t.tgparentid = 0
        WHERE p.pronamespace = 'event_service'::regnamespace AND p.prorettype = 'trigger'::regtype
          AND p.proname LIKE 'capture\_%'
    ) w
    CROSS JOIN LATERAL jsonb_to_record(w.settings) AS s (
        topic text, key text[], columns text[], on_change text[], types jsonb, labels jsonb, global boolean,
        ops text[], level text, conflate text[])
    CROSS JOIN LATERAL (
        SELECT CASE WHEN w.tbl IS NULL THEN format('the table, or its triggers, are gone: %s', w.capture::regprocedure)
               ELSE concat_ws('; ',
                   'column ' || array_to_string(event_service.missing_columns(w.tbl, event_service.named_columns(w.settings)), ', ') || ' is gone',
                   event_service.trigger_fault(w.tbl, w.settings),
                   'rows are also captured by ' || event_service.captured_twice(w.tbl, w.settings ->> 'level'),
                   CASE WHEN event_service.capture_source(w.tbl, w.settings) <> w.prosrc
                          OR event_service.capture_options(w.tbl, w.settings) IS DISTINCT FROM w.proconfig
                          OR NOT w.prosecdef OR w.proowner <> 'event_service_owner'::regrole
                        THEN 'the capture function is not what watch() would write now' END) END AS drift
    ) d
$$;
CREATE OR REPLACE VIEW event_service.watched AS SELECT * FROM event_service.watched_tables();

-- Publishing --------------------------------------------------------------------------------------

-- Event ids by deduplication key, for 24 hours.
CREATE TABLE IF NOT EXISTS event_service.published_key (
    dedup_key text PRIMARY KEY,
    event_id  bigint      NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
DO $$
BEGIN
    IF to_regclass('event_service.published_key_at') IS NULL THEN
        CREATE INDEX published_key_at ON event_service.published_key (at);
    END IF;
END $$;

-- Wakes the listener at the end of the caller's transaction, if it is parked; what the capture functions
-- do in their own text.
CREATE OR REPLACE FUNCTION event_service.wake() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock_shared(1163284052, 1) THEN
        PERFORM pg_notify('event_service_wake', '');
    END IF;
END $$;

-- Adds an event to the caller's transaction and returns its id. The audience is said aloud: there is
-- no default, and '{*}' is everyone. A `dedup_key` seen within 24 hours returns the id of the event
-- that was given it and adds nothing; while another transaction is publishing it, this one waits for
-- that one's end.
CREATE OR REPLACE FUNCTION event_service.publish(
    type text, data jsonb, audience text[], key text DEFAULT NULL, dedup_key text DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    added  bigint;
    stored bigint;
BEGIN
    PERFORM event_service.check_type(type);
    IF coalesce(cardinality(audience), 0) = 0 OR EXISTS (SELECT FROM unnest(audience) l WHERE NOT event_service.is_label(l)) THEN
        RAISE EXCEPTION 'event_service.publish: % is not an audience', coalesce(quote_literal(audience), 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'An audience is one or more of user:ID, session:ID, context:NAME, or * for everyone, each of at most 1024 bytes.';
    ELSIF octet_length(dedup_key) > 1024 THEN
        RAISE EXCEPTION 'event_service.publish: the dedup_key has % bytes, more than 1024', octet_length(dedup_key)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    added := nextval(pg_get_serial_sequence('event_service.inbox', 'event_id'));
    IF dedup_key IS NOT NULL THEN
        INSERT INTO event_service.published_key AS p (dedup_key, event_id) VALUES (dedup_key, added)
        ON CONFLICT ON CONSTRAINT published_key_pkey DO UPDATE SET event_id = excluded.event_id, at = excluded.at
            WHERE p.at < now() - interval '24 hours'
        RETURNING p.event_id INTO stored;
        IF stored IS NULL THEN
            SELECT p.event_id INTO stored FROM event_service.published_key p WHERE p.dedup_key = publish.dedup_key;
            RETURN stored;
        END IF;
    END IF;
    INSERT INTO event_service.inbox (event_id, op, type, key, audience, data) OVERRIDING SYSTEM VALUE
    -- A plain list, whatever dimensions the array had.
    VALUES (added, 'p', type, key, ARRAY(SELECT unnest(audience)),
            CASE WHEN pg_column_size(data) > 1048576 THEN json_build_object('omitted_bytes', pg_column_size(data))
                 ELSE coalesce(data::json, 'null') END);
    PERFORM event_service.wake();
    RETURN added;
END $$;

-- Adds the event with which `event-service doctor` follows the way from commit to log, and returns its
-- id. It takes a position like any other, but no service sends it.
CREATE OR REPLACE FUNCTION event_service.canary() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO event_service.inbox AS i (op, type, audience, data)
    VALUES ('p', 'event_service.canary', '{}', 'null') RETURNING i.event_id INTO added;
    PERFORM event_service.wake();
    RETURN added;
END $$;

-- Publishes what came by HTTP, all or none. `bodies` is what the client sent, an object or an array of
-- them, of which only `data` is taken; all else comes from `envelopes`, in which the service has put
-- what it checked, so that a body with two members of one name cannot be read in two ways.
CREATE OR REPLACE FUNCTION event_service.publish_all(bodies jsonb, envelopes jsonb) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    items     jsonb := CASE jsonb_typeof(bodies) WHEN 'array' THEN bodies ELSE jsonb_build_array(bodies) END;
    envelope  jsonb;
    published bigint[] := '{}';
    number    int := 0;
    hint      text;
BEGIN
    FOR envelope IN SELECT * FROM jsonb_array_elements(envelopes) LOOP
        PERFORM set_config('event_service.traceparent', coalesce(envelope ->> 'traceparent', ''), true);
        published := published || event_service.publish(
            envelope ->> 'type', items -> number -> 'data',
            ARRAY(SELECT jsonb_array_elements_text(envelope -> 'audience')),
            envelope ->> 'key', envelope ->> 'dedup_key');
        number := number + 1;
    END LOOP;
    RETURN published;
EXCEPTION WHEN data_exception OR reserved_name THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RAISE EXCEPTION 'item %: %', number, SQLERRM USING ERRCODE = SQLSTATE, HINT = hint;
END $$;

INSERT INTO event_service.migrations (name) VALUES ('0002_capture.sql') ON CONFLICT DO NOTHING;
COMMIT;
