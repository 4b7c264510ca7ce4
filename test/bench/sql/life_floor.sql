-- The least that a life writes: the row with the same indexes, and its two changes by key.
INSERT INTO bench.life_copy (queue_id, user_id, ticket)
VALUES ('00000000-0000-7000-8000-000000000001', gen_random_uuid(), nextval('bench.life_tickets')) RETURNING id AS session \gset
UPDATE bench.life_copy SET status = 'serving', served_at = clock_timestamp() WHERE id = :session;
UPDATE bench.life_copy SET status = 'completed', left_at = clock_timestamp() WHERE id = :session;
