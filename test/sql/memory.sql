-- Out of vqueue's shared memory: said, and the tables stay right.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

-- functions in a schema of their own, as they must survive reconnecting
CREATE SCHEMA regress_vqueue;
-- what a command answers: ok, or its error with state, detail and hint; ids and failing rows are masked
CREATE FUNCTION regress_vqueue.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(regexp_replace(detail, '(Failing row) contains.*', '\1'), ''),
                                    '  hint: ' || nullif(hint, '')),
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
END
$$;

SELECT 'made' FROM vqueue.create_queue('q', state => 'paused');
SELECT ticket, position FROM vqueue.join('q', '00000000-0000-0000-0000-000000000001');
SELECT used > 0, memory_limit, queues > 0, databases > 0 FROM vqueue.memory();
ALTER SYSTEM SET vqueue.memory_limit = '1MB';
SELECT pg_reload_conf();
\c -
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        EXIT WHEN (SELECT memory_limit FROM vqueue.memory()) = 1024 * 1024;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT memory_limit FROM vqueue.memory();
-- a join of very many
SELECT regress_vqueue.attempt($$SELECT vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 300000)))$$);
SELECT count(*) FROM vqueue.user_sessions;
SELECT waiting FROM vqueue.overview WHERE queue = 'q';
SELECT * FROM vqueue.check();
-- what it took comes back by itself, so that small things fit
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        EXIT WHEN (SELECT used FROM vqueue.memory()) < 200000;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT used < 200000 FROM vqueue.memory();
SELECT position FROM vqueue.join('q', '00000000-0000-0000-0000-000000000001');
SELECT position FROM vqueue.join('q', '00000000-0000-0000-0000-000000000002');
-- rows by hand with tickets far apart, each of which takes much room
SELECT regress_vqueue.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket)
    SELECT vqueue._queue('q'), gen_random_uuid(), 10000000 + n * 100000 FROM generate_series(1, 200) AS n$$);
SELECT count(*) FROM vqueue.user_sessions;
SELECT * FROM vqueue.check();
-- the same, kept up to where it goes no further
CREATE PROCEDURE regress_vqueue.fill() LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1..200 LOOP
        INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (vqueue._queue('q'), gen_random_uuid(), 100000000 + n * 100000);
        COMMIT;
    END LOOP;
END
$$;
CALL regress_vqueue.fill();
SELECT count(*) BETWEEN 5 AND 199 FROM vqueue.user_sessions;
SELECT "check", status, hint FROM vqueue.health() WHERE "check" = 'memory';
SELECT waiting = (SELECT count(*) FROM vqueue.user_sessions) FROM vqueue.overview WHERE queue = 'q';
SELECT * FROM vqueue.check();
SELECT count(*) = max(position) AND count(DISTINCT position) = count(*) FROM vqueue.sessions;
-- leaving, letting in and completing need none
SELECT vqueue.release('q', 3);
SELECT count((vqueue.leave(id)).id) FROM vqueue.user_sessions WHERE status = 'serving';
SELECT * FROM vqueue.check();
-- with room again, it goes on
ALTER SYSTEM RESET vqueue.memory_limit;
SELECT pg_reload_conf();
\c -
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        EXIT WHEN (SELECT memory_limit FROM vqueue.memory()) > 1024 * 1024;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 30000)));
SELECT * FROM vqueue.check();
-- what has ended gives its memory back
SELECT used AS before FROM vqueue.memory() \gset
SELECT vqueue.drop_queue('q', true);
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        EXIT WHEN (SELECT count(*) FROM vqueue.memory() WHERE queues = 0) = 1;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT used < :before / 5 FROM vqueue.memory();
SET client_min_messages = warning;
DROP SCHEMA regress_vqueue CASCADE;
