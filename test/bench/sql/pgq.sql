-- An event with a user's id, as a join is for PgQ.
SELECT pgq.insert_event('bench', 'join', gen_random_uuid()::text);
