-- A queue whose rate never holds anybody up, and a copy of the table for the floor.
CREATE EXTENSION vqueue;
SELECT vqueue.create_queue('life', release_rate_per_minute => 10000000, max_concurrent_users => :cap, burst => 1000000);
CREATE SCHEMA bench;
CREATE TABLE bench.life_copy (LIKE vqueue.user_sessions INCLUDING ALL);
ALTER TABLE bench.life_copy SET (fillfactor = 85);

-- Tickets of the rooms in plain SQL: a counter row, or a sequence.
CREATE TABLE bench.counter (last_ticket bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO bench.counter VALUES (0);
CREATE SEQUENCE bench.life_tickets;
