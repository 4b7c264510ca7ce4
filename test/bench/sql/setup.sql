--
-- A queue in which :waiting sessions wait, a copy of its table without
-- triggers, and the naive design; run once in each database.
--
CREATE EXTENSION vqueue;
SELECT vqueue.create_queue('bench', release_rate_per_minute => 1, max_concurrent_users => 1);

-- The first one holds the only slot, all others wait.
SELECT status FROM vqueue.join('bench');
SELECT count(*) FROM vqueue.join_many('bench', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, :waiting)));

CREATE SCHEMA bench;

--
-- Same columns, defaults, storage and indexes; no triggers and no foreign key.
-- Indexes that are built of all rows are made as full as those that grew: 90
-- percent where entries come in order, as tickets do, and some 70 percent where
-- they do not: users, and ids, which are in order by the millisecond only.
--
CREATE TABLE bench.copy (LIKE vqueue.user_sessions INCLUDING ALL EXCLUDING INDEXES);
ALTER TABLE bench.copy SET (fillfactor = 85);
INSERT INTO bench.copy SELECT * FROM vqueue.user_sessions ORDER BY ticket;
SELECT format('CREATE %s INDEX ON bench.copy %s %s %s', CASE WHEN i.indisunique THEN 'UNIQUE' END,
              substring(pg_get_indexdef(i.indexrelid) FROM 'USING \w+ \([^)]*\)'),
              CASE WHEN pg_get_indexdef(i.indexrelid) !~ 'ticket' THEN 'WITH (fillfactor = 70)' END,
              'WHERE ' || pg_get_expr(i.indpred, i.indrelid))
  FROM pg_index AS i WHERE i.indrelid = 'vqueue.user_sessions'::regclass \gexec

-- Tickets of bare inserts: cached in the backend, so that they cost next to nothing.
CREATE SEQUENCE bench.tickets START 1000000000 CACHE 1000;

-- The naive design: a counter row a queue.  Its table begins empty, which favours it.
CREATE TABLE bench.naive_queues (id uuid PRIMARY KEY, last_ticket bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO bench.naive_queues SELECT id, 0 FROM vqueue.queues;
CREATE TABLE bench.naive_sessions (LIKE vqueue.user_sessions INCLUDING ALL);

-- How far the release of 10,000 at a time has come in the copy.
CREATE TABLE bench.released AS SELECT 1::bigint AS up_to;

-- Time since a given moment, in seconds.
CREATE FUNCTION bench.since(start timestamptz) RETURNS float8
    LANGUAGE sql VOLATILE AS $$ SELECT extract(epoch FROM clock_timestamp() - start) $$;

VACUUM (ANALYZE) vqueue.user_sessions;
VACUUM (ANALYZE) bench.copy;
CHECKPOINT;
