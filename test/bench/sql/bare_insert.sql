-- What join writes, without a line: id and time by the column's default.
INSERT INTO bench.copy (queue_id, user_id, ticket)
VALUES ('00000000-0000-7000-8000-000000000001', gen_random_uuid(), nextval('bench.tickets'));
