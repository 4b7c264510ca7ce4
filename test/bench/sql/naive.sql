-- The naive design: the counter row stays locked until the commit is on disk.
BEGIN;
UPDATE bench.naive_queues SET last_ticket = last_ticket + 1 RETURNING id AS queue, last_ticket AS ticket \gset
INSERT INTO bench.naive_sessions (queue_id, user_id, ticket) VALUES (:queue, gen_random_uuid(), :ticket);
COMMIT;
