--
-- Functions that answer with a place in FROM: a scan of their own, which gives what a function scan gives
--
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse
SET search_path = pg_catalog;
SELECT vqueue.create_queue('scan', release_rate_per_minute => 60, max_concurrent_users => 1) IS NOT NULL AS created;
SELECT vqueue.pause('scan');
SELECT count(*) FROM vqueue.join_many('scan', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)));
CREATE TABLE public.visit AS SELECT s.id, s.ticket FROM vqueue.sessions s WHERE s.queue = 'scan';

CREATE FUNCTION public.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;

-- where it is used
SELECT public.plan_of($$ SELECT * FROM vqueue.poll('00000000-0000-0000-0000-000000000000') $$);
SELECT public.plan_of($$ SELECT p.position FROM vqueue.status('00000000-0000-0000-0000-000000000000') p WHERE p.status = 'waiting' $$);
SELECT public.plan_of($$ SELECT * FROM vqueue.join('scan') $$);
SELECT public.plan_of($$ SELECT f.status FROM vqueue.claim('00000000-0000-0000-0000-000000000000') f $$);
SELECT public.plan_of($$ SELECT status FROM vqueue.complete('00000000-0000-0000-0000-000000000000') $$);
SELECT public.plan_of($$ SELECT status FROM vqueue.leave('00000000-0000-0000-0000-000000000000') $$);

-- and where it is not: laterals, ordinality, the row as a whole, several functions, the others
SELECT public.plan_of($$ SELECT p.position FROM public.visit v, vqueue.poll(v.id) p $$);
SELECT public.plan_of($$ SELECT * FROM vqueue.poll('00000000-0000-0000-0000-000000000000') WITH ORDINALITY $$);
SELECT public.plan_of($$ SELECT p FROM vqueue.poll('00000000-0000-0000-0000-000000000000') p $$);
SELECT public.plan_of($$ SELECT p.position FROM vqueue.poll('00000000-0000-0000-0000-000000000000') p WHERE p IS NOT NULL $$);
SELECT public.plan_of($$ SELECT * FROM ROWS FROM (vqueue.poll('00000000-0000-0000-0000-000000000000'), generate_series(1, 2)) $$);
SELECT public.plan_of($$ SELECT * FROM vqueue.remove('00000000-0000-0000-0000-000000000000') $$);
SELECT public.plan_of($$ SELECT * FROM vqueue.join_many('scan', '{}') $$);

-- the same answers
CREATE VIEW public.differs AS
    SELECT v.ticket
      FROM public.visit v, LATERAL (SELECT (vqueue.status(v.id)).*) a
     WHERE (a.id, a.queue, a.user_id, a.status, a.priority, a.ticket, a.position, a.joined_at) IS DISTINCT FROM
           (SELECT (b.id, b.queue, b.user_id, b.status, b.priority, b.ticket, b.position, b.joined_at)
              FROM vqueue.status((SELECT w.id FROM public.visit w WHERE w.ticket = v.ticket)) b);
SELECT * FROM public.differs;
PREPARE poll(uuid) AS SELECT queue, ticket, status, priority, position, next_poll_after, served_at, left_at FROM vqueue.poll($1);
SET plan_cache_mode = force_generic_plan;
SELECT id AS first FROM public.visit WHERE ticket = 1 \gset
SELECT id AS second FROM public.visit WHERE ticket = 2 \gset
SELECT id AS third FROM public.visit WHERE ticket = 3 \gset
EXECUTE poll(:'first');
EXECUTE poll(:'second');
EXECUTE poll(:'third');
RESET plan_cache_mode;

-- a question that depends on an outer row is asked anew for each; one that does not, once
SELECT v.ticket, (SELECT p.position FROM vqueue.poll(v.id) p) FROM public.visit v ORDER BY v.ticket;
SELECT ticket, position FROM vqueue.status((SELECT v.id FROM public.visit v WHERE v.ticket = 2));
BEGIN;
SET LOCAL track_functions = 'all';
SET LOCAL enable_material = off;
SELECT v.ticket, p.ticket AS asked, p.position
  FROM public.visit v LEFT JOIN vqueue.poll(:'third') p ON p.ticket >= v.ticket ORDER BY v.ticket;
SELECT pg_stat_get_xact_function_calls('vqueue.poll(uuid)'::regprocedure);
COMMIT;

-- no column, a condition that fails, a limit, a cursor that goes back, a row lock beside it
SELECT count(*) FROM vqueue.poll(:'third');
SELECT ticket FROM vqueue.poll(:'third') WHERE status = 'serving';
SELECT ticket FROM vqueue.poll(:'third') LIMIT 0;
BEGIN;
DECLARE back SCROLL CURSOR FOR SELECT ticket, position FROM vqueue.poll(:'third');
FETCH ALL FROM back;
FETCH BACKWARD ALL FROM back;
SELECT v.ticket, p.position FROM public.visit v JOIN vqueue.poll(:'third') p ON p.id = v.id FOR UPDATE OF v;
COMMIT;

-- an argument may be a constant, a parameter or a variable, or be made of these
CREATE FUNCTION pg_temp.of_parameter(session uuid) RETURNS bigint LANGUAGE sql AS
    $$ SELECT ticket FROM vqueue.status(session) WHERE status <> 'left' $$;
CREATE FUNCTION pg_temp.of_variable(session uuid) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN RETURN (SELECT p.ticket FROM vqueue.status(session) p) + (SELECT p.ticket FROM vqueue.status((session::text)::uuid) p); END $$;
SET plan_cache_mode = force_generic_plan;
SELECT v.ticket, pg_temp.of_parameter(v.id), pg_temp.of_variable(v.id) FROM public.visit v ORDER BY v.ticket;
PREPARE made(text) AS SELECT ticket FROM vqueue.status(($1)::uuid);
EXECUTE made(:'second');
EXECUTE made('nobody');
EXECUTE poll(NULL);
RESET plan_cache_mode;

-- errors are the function's
SELECT * FROM vqueue.poll(NULL);
SELECT * FROM vqueue.poll('00000000-0000-0000-0000-000000000000');

-- who may not execute may not scan, in a plan made by another as well
CREATE ROLE regress_vqueue_scanner;
GRANT USAGE ON SCHEMA vqueue TO regress_vqueue_scanner;
SET ROLE regress_vqueue_scanner;
SELECT * FROM vqueue.poll(:'third');
EXECUTE poll(:'third');
RESET ROLE;
SELECT vqueue.grant_access('regress_vqueue_scanner', 'default', 'app');
SET ROLE regress_vqueue_scanner;
EXECUTE poll(:'third');
RESET ROLE;
-- nor what an argument is made by
BEGIN;
REVOKE EXECUTE ON FUNCTION pg_catalog.gen_random_uuid() FROM PUBLIC;
SET LOCAL ROLE regress_vqueue_scanner;
SELECT ticket FROM vqueue.join('scan');
ROLLBACK;
SELECT vqueue.revoke_access('regress_vqueue_scanner', 'default');
DROP ROLE regress_vqueue_scanner;

-- a function with settings, or another's rights, is called as these ask
BEGIN;
ALTER FUNCTION vqueue.status SET work_mem = '1MB';
SELECT public.plan_of($$ SELECT * FROM vqueue.status('00000000-0000-0000-0000-000000000000') $$);
ROLLBACK;

-- what this transaction has done shows
BEGIN;
SELECT status FROM vqueue.leave(:'third');
SELECT status, position, left_at IS NOT NULL AS has_left FROM vqueue.status(:'third');
ROLLBACK;
SELECT status, position FROM vqueue.status(:'third');

-- joins happen once a scan, and not at all where no row is asked for
SELECT user_id = '00000000-0000-0000-0000-0000000000aa' AS same, status, priority, position
  FROM vqueue.join('scan', '00000000-0000-0000-0000-0000000000aa', user_name => 'Ann', priority => 'high');
SELECT ticket FROM vqueue.join('scan') LIMIT 0;
SELECT count(*), count(DISTINCT j.id) FROM public.visit v, vqueue.join('scan') j;
SELECT count(*) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id WHERE q.name = 'scan';
-- not where the condition can never hold, and once though a condition depends on an outer row
SELECT ticket FROM vqueue.join('scan') WHERE false;
SELECT v.ticket, (SELECT count(*) FROM vqueue.join('scan') j WHERE j.ticket > v.ticket) AS later FROM public.visit v ORDER BY v.ticket;
SELECT v.ticket, (SELECT count(*) FROM vqueue.join('scan') WITH ORDINALITY j WHERE j.ticket > v.ticket) AS later FROM public.visit v ORDER BY v.ticket;
SELECT count(*) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id WHERE q.name = 'scan';
SELECT user_name FROM vqueue.user_sessions WHERE user_id = '00000000-0000-0000-0000-0000000000aa';
SELECT count(*) FROM vqueue.check();

-- a record whose field is of another type than when the statement was planned is refused as by the server
DO $$
DECLARE
    r record;
    p record;
BEGIN
    FOR i IN 1..2 LOOP
        IF i = 1 THEN
            SELECT j.id AS f INTO r FROM vqueue.join('scan') j;
        ELSE
            SELECT 'scan'::text AS f INTO r;
        END IF;
        SELECT * INTO p FROM vqueue.status(r.f);
        RAISE NOTICE '%', p.status;
    END LOOP;
EXCEPTION WHEN datatype_mismatch THEN
    RAISE NOTICE '%', regexp_replace(SQLERRM, '\d+', 'N');
END
$$;

DROP VIEW public.differs;
DROP TABLE public.visit;
DROP FUNCTION public.plan_of;
SELECT vqueue.drop_queue('scan', force => true);
