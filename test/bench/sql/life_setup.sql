-- A queue whose rate never holds anybody up, and a copy of the table for the floor.
CREATE EXTENSION vqueue;
SELECT vqueue.create_queue('life', release_rate_per_minute => 10000000, max_concurrent_users => :cap, burst => 1000000);

-- The rooms in plain SQL begin empty, when a planner may well think an index not worth while.
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database());
    EXECUTE format('ALTER DATABASE %I SET enable_bitmapscan = off', current_database());
    EXECUTE format('ALTER DATABASE %I SET jit = off', current_database());
END
$$;

CREATE SCHEMA bench;
CREATE TABLE bench.life_copy (LIKE vqueue.user_sessions INCLUDING ALL);
ALTER TABLE bench.life_copy SET (fillfactor = 85);

-- Tickets of the rooms in plain SQL: a counter row, or a sequence.
CREATE TABLE bench.counter (id int PRIMARY KEY, last_ticket bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO bench.counter VALUES (1, 0);
CREATE SEQUENCE bench.life_tickets;
