-- Transactions: what is rolled back never happened, what is prepared is refused.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

-- what a command answers: ok, or its error with state, detail and hint; ids and failing rows are masked
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
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

-- waits until a query answers true; false if it does not within minutes
CREATE FUNCTION pg_temp.wait_for(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    answer bool;
BEGIN
    FOR i IN 1..18000 LOOP
        EXECUTE query INTO answer;
        IF answer THEN RETURN true; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN false;
END
$$;

-- the n-th user of this test
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- the live session, or else the last one, of that user in a queue
CREATE FUNCTION pg_temp.s(queue text, n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions
    WHERE queue_id = vqueue._queue(queue) AND user_id = pg_temp.u(n) ORDER BY left_at IS NULL DESC, ticket DESC LIMIT 1 $$;

SELECT 'made' FROM vqueue.create_queue('q', max_concurrent_users => 10, state => 'paused');
SELECT position FROM vqueue.join('q', pg_temp.u(1));
CREATE FUNCTION pg_temp.line() RETURNS text LANGUAGE sql AS $$
    SELECT format('table %s waiting %s serving, memory %s waiting %s serving; %s',
                  count(*) FILTER (WHERE s.status = 'waiting'), count(*) FILTER (WHERE s.status = 'serving'),
                  o.waiting, o.serving,
                  string_agg(format('%s %s@%s', ltrim(right(s.user_id::text, 4), '0'), s.status, s.position), ', ' ORDER BY s.ticket)
                      FILTER (WHERE s.left_at IS NULL))
      FROM vqueue.overview o LEFT JOIN vqueue.sessions s USING (queue) WHERE o.queue = 'q' GROUP BY o.waiting, o.serving
$$;

-- join, leave, release, complete, remove: each rolled back
BEGIN;
SELECT position FROM vqueue.join('q', pg_temp.u(2));
SELECT position FROM vqueue.status(pg_temp.s('q', 2));
ROLLBACK;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
BEGIN;
SELECT status, position FROM vqueue.leave(pg_temp.s('q', 1));
SELECT status, position FROM vqueue.status(pg_temp.s('q', 1));
ROLLBACK;
SELECT pg_temp.line();
BEGIN;
SELECT vqueue.release('q', 1);
SELECT status, position FROM vqueue.status(pg_temp.s('q', 1));
ROLLBACK;
SELECT pg_temp.line();
BEGIN;
SELECT status FROM vqueue.remove(pg_temp.s('q', 1), 'oops');
ROLLBACK;
SELECT pg_temp.line();
SELECT vqueue.release('q', 1);
BEGIN;
SELECT status FROM vqueue.complete(pg_temp.s('q', 1));
ROLLBACK;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- an error does as ROLLBACK does
BEGIN;
SELECT position FROM vqueue.join('q', pg_temp.u(2));
SELECT status FROM vqueue.complete(pg_temp.s('q', 1));
SELECT 1 / 0;
COMMIT;
SELECT pg_temp.line();
-- in one statement: joined, then an error
SELECT position, 1 / (position - position) FROM vqueue.join('q', pg_temp.u(2));
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3000))) AS p WHERE 1 / (p.position - 1001) IS NULL;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- who has not been committed yet cannot be let in by hand, not even by the same transaction
BEGIN;
SELECT status, position FROM vqueue.join('q', pg_temp.u(2));
SELECT vqueue.release('q', 1);
SELECT status, position FROM vqueue.poll(pg_temp.s('q', 2));
ROLLBACK;
SELECT pg_temp.line();

-- all of a visit in one transaction, kept and taken back; the slot and the token taken back are there for others
SELECT 'made' FROM vqueue.create_queue('visit', max_concurrent_users => 1, release_rate_per_minute => 1, burst => 2);
BEGIN;
SELECT status, position FROM vqueue.join('visit', pg_temp.u(3));
SELECT status, position FROM vqueue.poll(pg_temp.s('visit', 3));
SELECT status, position FROM vqueue.complete(pg_temp.s('visit', 3));
SELECT status, position FROM vqueue.join('visit', pg_temp.u(3));
COMMIT;
SELECT pg_temp.wait_for($$SELECT status = 'serving' FROM vqueue.status(pg_temp.s('visit', 3))$$);
SELECT status, ticket, served_at IS NOT NULL, left_at IS NOT NULL FROM vqueue.sessions WHERE queue = 'visit' ORDER BY ticket;
SELECT status FROM vqueue.leave(pg_temp.s('visit', 3));
SELECT * FROM vqueue.check();
BEGIN;
SELECT status FROM vqueue.join('visit', pg_temp.u(4));
SELECT status FROM vqueue.join('visit', pg_temp.u(5));
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT status FROM vqueue.join('visit', pg_temp.u(4));
ROLLBACK TO a;
SELECT status FROM vqueue.join('visit', pg_temp.u(5));
COMMIT;
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'visit';
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('visit', true);
-- whether a newcomer goes straight in is decided by what is committed
BEGIN;
SELECT vqueue.open('q');
SELECT status FROM vqueue.join('q', pg_temp.u(3));
ROLLBACK;
SELECT pg_temp.line();

-- savepoints three deep, taken back in part
BEGIN;
SELECT position FROM vqueue.join('q', pg_temp.u(11));
SAVEPOINT a;
SELECT position FROM vqueue.join('q', pg_temp.u(12));
SAVEPOINT b;
SELECT position FROM vqueue.join('q', pg_temp.u(13));
SAVEPOINT c;
SELECT position FROM vqueue.join('q', pg_temp.u(14));
SELECT status FROM vqueue.leave(pg_temp.s('q', 11));
ROLLBACK TO c;
SELECT position FROM vqueue.join('q', pg_temp.u(15));
RELEASE c;
ROLLBACK TO b;
SELECT position FROM vqueue.join('q', pg_temp.u(16));
RELEASE b;
SELECT position FROM vqueue.join('q', pg_temp.u(17));
RELEASE a;
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- released as a whole, then taken back from outside
BEGIN;
SAVEPOINT a;
SELECT status FROM vqueue.leave(pg_temp.s('q', 11));
SAVEPOINT b;
SELECT status FROM vqueue.leave(pg_temp.s('q', 12));
SAVEPOINT c;
SELECT vqueue.release('q', 1);
SELECT position FROM vqueue.join('q', pg_temp.u(18));
RELEASE c;
RELEASE b;
SELECT pg_temp.s('q', 18) IS NOT NULL;
ROLLBACK TO a;
SELECT pg_temp.line();
SELECT status FROM vqueue.leave(pg_temp.s('q', 12));
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- the same session there and back
BEGIN;
SELECT vqueue.release('q', 2);
SAVEPOINT a;
SELECT status FROM vqueue.complete(pg_temp.s('q', 11));
ROLLBACK TO a;
SELECT status FROM vqueue.leave(pg_temp.s('q', 11));
SAVEPOINT a;
SELECT status, position FROM vqueue.join('q', pg_temp.u(11));
ROLLBACK TO a;
SELECT status, position FROM vqueue.join('q', pg_temp.u(11));
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- the same user joins, is taken back, joins: one session
BEGIN;
SAVEPOINT a;
SELECT position FROM vqueue.join('q', pg_temp.u(20));
ROLLBACK TO a;
SELECT position FROM vqueue.join('q', pg_temp.u(20));
SAVEPOINT b;
SELECT position FROM vqueue.join('q', pg_temp.u(20));
ROLLBACK TO b;
SELECT position FROM vqueue.join('q', pg_temp.u(20));
COMMIT;
SELECT count(*) FROM vqueue.sessions WHERE user_id = pg_temp.u(20);
SELECT pg_temp.line();

-- exceptions caught in PL/pgSQL, a hundred of them; every third is kept
DO $$
BEGIN
    FOR n IN 101..200 LOOP
        BEGIN
            PERFORM vqueue.join('q', pg_temp.u(n));
            BEGIN
                PERFORM vqueue.leave(pg_temp.s('q', n));
                RAISE EXCEPTION 'inner';
            EXCEPTION WHEN raise_exception THEN NULL;
            END;
            IF n % 3 <> 0 THEN RAISE EXCEPTION 'outer'; END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END
$$;
SELECT count(*), count(*) FILTER (WHERE status = 'waiting') FROM vqueue.sessions WHERE user_id BETWEEN pg_temp.u(101) AND pg_temp.u(200);
SELECT * FROM vqueue.check();
-- a procedure that commits as it goes
CREATE PROCEDURE pg_temp.go() LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 201..206 LOOP
        PERFORM vqueue.join('q', pg_temp.u(n));
        IF n % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END
$$;
CALL pg_temp.go();
SELECT count(*), count(*) FILTER (WHERE status = 'waiting') FROM vqueue.sessions WHERE user_id BETWEEN pg_temp.u(201) AND pg_temp.u(210);
SELECT * FROM vqueue.check();

-- a queue made, joined and taken back with its transaction
BEGIN;
SELECT 'made' FROM vqueue.create_queue('new', max_concurrent_users => 1, burst => 5);
SELECT status, position FROM vqueue.join('new', pg_temp.u(1));
SELECT status, position FROM vqueue.join('new', pg_temp.u(2));
SELECT count(*) FROM vqueue.join_many('new', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20000)));
SELECT position FROM vqueue.join('new', pg_temp.u(3));
ROLLBACK;
SELECT pg_temp.attempt($$SELECT vqueue.join('new')$$);
SELECT count(*) FROM vqueue.overview WHERE queue = 'new';
-- and kept
BEGIN;
SELECT 'made' FROM vqueue.create_queue('new', max_concurrent_users => 1, burst => 5, state => 'paused');
SELECT status, position FROM vqueue.join('new', pg_temp.u(1));
SELECT count(*) FROM vqueue.join_many('new', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20000)));
SELECT vqueue.release('new', 5);
SELECT position FROM vqueue.join('new', pg_temp.u(3));
COMMIT;
SELECT state, waiting, serving FROM vqueue.overview WHERE queue = 'new';
SELECT * FROM vqueue.check();
-- made within a savepoint that is taken back, then made again
SELECT vqueue.drop_queue('new', true);
BEGIN;
SAVEPOINT a;
SELECT 'made' FROM vqueue.create_queue('new', state => 'paused');
SELECT position FROM vqueue.join('new', pg_temp.u(1));
ROLLBACK TO a;
SELECT pg_temp.attempt($$SELECT vqueue.join('new')$$);
SELECT 'made' FROM vqueue.create_queue('new', max_waiting => 1, state => 'paused');
SELECT ticket, position FROM vqueue.join('new', pg_temp.u(1));
SELECT pg_temp.attempt($$SELECT vqueue.join('new')$$);
-- its settings are in force for its own transaction, and go with a savepoint
SAVEPOINT b;
SELECT vqueue.alter_queue('new', max_waiting => 2);
SELECT pg_temp.attempt($$SELECT vqueue.join('new', pg_temp.u(2))$$);
ROLLBACK TO b;
SELECT pg_temp.attempt($$SELECT vqueue.join('new', pg_temp.u(2))$$);
SELECT vqueue.close('new');
SELECT pg_temp.attempt($$SELECT vqueue.join('new', pg_temp.u(2))$$);
SELECT vqueue.pause('new');
SELECT vqueue.alter_queue('new', name => 'newer');
SELECT pg_temp.attempt($$SELECT vqueue.position('new', 1)$$);
SELECT vqueue.position('newer', 1);
COMMIT;
SELECT queue, state, waiting FROM vqueue.overview WHERE queue LIKE 'new%';
SELECT * FROM vqueue.check();
-- dropped and taken back: everything is as before, by name and in memory
SELECT pg_temp.s('newer', 1) AS s \gset
BEGIN;
SELECT vqueue.drop_queue('newer', true);
SELECT pg_temp.attempt($$SELECT vqueue.join('newer')$$);
SELECT pg_temp.attempt(format('SELECT vqueue.poll(%L)', :'s'));
ROLLBACK;
SELECT position FROM vqueue.status(pg_temp.s('newer', 1));
SELECT * FROM vqueue.check();
-- dropped and made anew under the same name
BEGIN;
SELECT vqueue.drop_queue('newer', true);
SELECT 'made' FROM vqueue.create_queue('newer', state => 'paused');
SELECT ticket, position FROM vqueue.join('newer', pg_temp.u(9));
COMMIT;
SELECT queue, user_id FROM vqueue.sessions WHERE queue = 'newer';
SELECT * FROM vqueue.check();
-- made, joined and dropped, all in one
BEGIN;
SELECT 'made' FROM vqueue.create_queue('fleeting');
SELECT status FROM vqueue.join('fleeting', pg_temp.u(1));
SELECT status FROM vqueue.join('fleeting', pg_temp.u(2));
SELECT vqueue.drop_queue('fleeting', true);
COMMIT;
SELECT count(*) FROM vqueue.overview WHERE queue = 'fleeting';
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('newer', true);

-- check and rebuild speak of what is committed
BEGIN;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(30));
SELECT pg_temp.attempt($$SELECT vqueue.check()$$);
SELECT pg_temp.attempt($$SELECT vqueue.rebuild()$$);
ROLLBACK;
SELECT vqueue.rebuild() = (SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NULL);
SELECT * FROM vqueue.check();

-- two-phase commit is refused once vqueue's tables were written, not otherwise
BEGIN;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(31));
PREPARE TRANSACTION 'vq1';
SELECT count(*) FROM vqueue.sessions WHERE user_id = pg_temp.u(31);
BEGIN;
SELECT status FROM vqueue.leave(pg_temp.s('q', 1));
\set VERBOSITY default
PREPARE TRANSACTION 'vq2';
\set VERBOSITY terse
BEGIN;
SELECT vqueue.alter_queue('q', burst => 3);
PREPARE TRANSACTION 'vq3';
BEGIN;
INSERT INTO vqueue.tenants (name) VALUES ('t');
PREPARE TRANSACTION 'vq4';
BEGIN;
SAVEPOINT a;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(32));
RELEASE a;
PREPARE TRANSACTION 'vq5';
BEGIN;
TRUNCATE vqueue.user_sessions;
PREPARE TRANSACTION 'vq6';
SELECT count(*) FROM pg_prepared_xacts;
SELECT * FROM vqueue.check();
-- reading is no obstacle, nor is what was taken back
BEGIN;
CREATE TABLE prepared_with_vqueue (i int);
SELECT status FROM vqueue.poll(pg_temp.s('q', 1)) \g /dev/null
SAVEPOINT a;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(33));
ROLLBACK TO a;
PREPARE TRANSACTION 'vq7';
SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'vq7';
COMMIT PREPARED 'vq7';
DROP TABLE prepared_with_vqueue;
SELECT * FROM vqueue.check();

-- one snapshot for all: the functions tell of now, and join sees its own
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, position > 0 FROM vqueue.join('q', pg_temp.u(34));
SELECT status, position > 0 FROM vqueue.join('q', pg_temp.u(34));
SELECT status FROM vqueue.leave(pg_temp.s('q', 34));
COMMIT;
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('q', true);
SELECT count(*) FROM vqueue.user_sessions;
