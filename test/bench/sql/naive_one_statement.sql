-- The naive design at its best: one statement, one round trip.
WITH counter AS (
    UPDATE bench.naive_queues SET last_ticket = last_ticket + 1 RETURNING id, last_ticket
)
INSERT INTO bench.naive_sessions (queue_id, user_id, ticket)
SELECT id, gen_random_uuid(), last_ticket FROM counter;
