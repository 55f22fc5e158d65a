-- The tables that the chaos run writes to, and their watches. Run as a superuser in a migrated database.

CREATE TABLE item (id bigint PRIMARY KEY, n int NOT NULL, tx text NOT NULL, ctx text NOT NULL, pad text);
CREATE TABLE bulk (LIKE item INCLUDING ALL);
CREATE TABLE scratch (LIKE item INCLUDING ALL);

-- Cascades on delete and on update.
CREATE TABLE parent (id bigint PRIMARY KEY, n int NOT NULL, tx text NOT NULL);
CREATE TABLE child (
    id        bigint PRIMARY KEY,
    n         int    NOT NULL,
    tx        text   NOT NULL,
    parent_id bigint NOT NULL REFERENCES parent ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX ON child (parent_id);

-- A row that changes its region moves from one partition to another.
CREATE TABLE part (
    id     bigint NOT NULL,
    region int    NOT NULL,
    n      int    NOT NULL,
    tx     text   NOT NULL,
    PRIMARY KEY (id, region)
) PARTITION BY LIST (region);
CREATE TABLE part_0 PARTITION OF part FOR VALUES IN (0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part DEFAULT;

-- What each writer committed last: what it asks when it cannot know.
CREATE TABLE outcome (writer text PRIMARY KEY, seq bigint NOT NULL);

SELECT event_service.watch('item', columns => '{*}', context_columns => '{ctx}');
SELECT event_service.watch('bulk', columns => '{*}', context_columns => '{ctx}', level => 'statement');
SELECT event_service.watch('scratch', columns => '{*}', context_columns => '{ctx}');
SELECT event_service.watch('parent', columns => '{*}', global => true);
SELECT event_service.watch('child', columns => '{*}', global => true);
SELECT event_service.watch('part', columns => '{*}', global => true);

-- Rows that many writers fight for.
INSERT INTO item SELECT i, 0, 'start', 'c' || i % 4 FROM generate_series(1, 40) i;

GRANT ALL ON ALL TABLES IN SCHEMA public TO chaos_writer;
GRANT event_service_publisher TO chaos_writer;
GRANT event_service_runtime TO chaos_service;
