-- Strange rows and strange uses: each once crashed the server, or left memory and tables apart.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY sqlstate

SELECT 'made' FROM vqueue.create_queue('strange', max_concurrent_users => 1, state => 'paused');
SELECT status FROM vqueue.join('strange', '00000000-0000-0000-0000-000000000001');

-- a queue without an id
UPDATE vqueue.queues SET id = NULL WHERE name = 'strange';

-- trigger functions on a table, and at a time, that they are not for
CREATE TABLE strange (a int, b int, c int, d int);
CREATE FUNCTION pg_temp.misuse(function text, timing text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER misuse %s ON strange FOR EACH ROW EXECUTE FUNCTION vqueue.%I()', timing, function);
    INSERT INTO strange VALUES (1, 2, 3, 4);
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT f, pg_temp.misuse(f, t)
  FROM (VALUES ('_session_before', 'BEFORE INSERT'), ('_session_after', 'AFTER INSERT'), ('_queue_before', 'BEFORE INSERT'),
               ('_queue_after', 'AFTER INSERT'), ('_ceiling_after', 'AFTER INSERT')) AS v (f, t);
CREATE TRIGGER misuse AFTER UPDATE ON vqueue.user_sessions FOR EACH STATEMENT EXECUTE FUNCTION vqueue._session_after();
UPDATE vqueue.user_sessions SET reason = 'none' WHERE user_id = '00000000-0000-0000-0000-000000000001';
DROP TRIGGER misuse ON vqueue.user_sessions;
DROP TABLE strange;

-- what only the script of the extension may do
SELECT vqueue._extension_created();

-- numbers that cannot be counted on from
UPDATE vqueue.ticket_ceilings SET ceiling = 9223372036854775807;
INSERT INTO vqueue.queues (name, version) VALUES ('late', 9223372036854775807);

-- the moment that PostgreSQL counts time from
UPDATE vqueue.user_sessions SET left_at = '2000-01-01 00:00:00+00' WHERE user_id = '00000000-0000-0000-0000-000000000001';
UPDATE vqueue.user_sessions SET status = 'serving', served_at = '2000-01-01 00:00:00+00' WHERE user_id = '00000000-0000-0000-0000-000000000001';
SELECT status, position, served_at AT TIME ZONE 'UTC', left_at FROM vqueue.sessions WHERE queue = 'strange';
UPDATE vqueue.user_sessions SET status = 'left', left_at = '2000-01-01 00:00:00+00' WHERE user_id = '00000000-0000-0000-0000-000000000001';
SELECT status, position FROM vqueue.sessions WHERE queue = 'strange';

SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('strange');
