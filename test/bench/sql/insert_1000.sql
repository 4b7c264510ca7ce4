INSERT INTO bench.copy (queue_id, user_id, ticket)
SELECT '00000000-0000-7000-8000-000000000001', gen_random_uuid(), nextval('bench.tickets')
  FROM generate_series(1, 1000);
