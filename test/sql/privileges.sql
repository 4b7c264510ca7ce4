-- Privileges: nobody may do anything until it is granted; the functions that are C need no right on the tables.
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

-- the n-th user of this test
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- the live session, or else the last one, of that user in a queue
CREATE FUNCTION pg_temp.s(queue text, n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions
    WHERE queue_id = vqueue._queue(queue) AND user_id = pg_temp.u(n) ORDER BY left_at IS NULL DESC, ticket DESC LIMIT 1 $$;

-- how many rows of a table or view are seen, or the state of the error
CREATE FUNCTION pg_temp.rows_of(relation text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n text;
BEGIN
    EXECUTE format('SELECT count(*) FROM vqueue.%I', relation) INTO n;
    RETURN n;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;

SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_vqueue_user;
RESET client_min_messages;
CREATE ROLE regress_vqueue_user;
SELECT 'made' FROM vqueue.create_queue('q', state => 'paused');
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(1));
SELECT pg_temp.s('q', 1) AS s \gset
-- not even the schema
SET ROLE regress_vqueue_user;
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA vqueue TO regress_vqueue_user;
-- each function, called with nulls: refused before it looks at anything (no other row)
SET ROLE regress_vqueue_user;
SELECT split_part(pg_temp.attempt(format('SELECT %s(%s)', p.oid::regproc,
           (SELECT string_agg('NULL::' || t::regtype, ', ' ORDER BY n)
              FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n)))), ':', 1) AS code, count(*) > 20
  FROM pg_proc p
 WHERE pronamespace = 'vqueue'::regnamespace AND prorettype <> 'trigger'::regtype
   AND p.proname <> 'position' AND NOT (proisstrict AND pronargs > 0) GROUP BY code;
SELECT pg_temp.attempt($$SELECT vqueue._lock_queue('00000000-0000-0000-0000-000000000000')$$);
SELECT pg_temp.attempt($$SELECT vqueue.position(NULL::uuid)$$);
SELECT pg_temp.attempt($$SELECT vqueue.position('q', 1)$$);
-- each table and view
SELECT c.relname, split_part(pg_temp.attempt(format('SELECT count(*) FROM vqueue.%I', relname)), ':', 1)
  FROM pg_class c WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
RESET ROLE;
-- who may execute all of it, and read and write each table, but has no access, sees nothing
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vqueue TO regress_vqueue_user;
GRANT ALL ON ALL TABLES IN SCHEMA vqueue TO regress_vqueue_user;
SET ROLE regress_vqueue_user;
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('mine')$$);
SELECT pg_temp.attempt($$SELECT vqueue.check()$$);
SELECT pg_temp.attempt($$SELECT vqueue.rebuild()$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_tenant('mine')$$);
SELECT pg_temp.attempt($$SELECT vqueue.grant_access('regress_vqueue_user', 'default', 'app')$$);
SELECT c.relname, pg_temp.rows_of(c.relname) FROM pg_class c
 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
RESET ROLE;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA vqueue FROM regress_vqueue_user;
REVOKE ALL ON ALL TABLES IN SCHEMA vqueue FROM regress_vqueue_user;
-- what a visitor's client needs, and no table but that of events
SELECT vqueue.grant_access('regress_vqueue_user', 'default', 'app');
SET ROLE regress_vqueue_user;
SELECT status, ticket, position FROM vqueue.join('q', pg_temp.u(2));
SELECT id AS mine FROM vqueue.join('q', pg_temp.u(2)) \gset
SELECT position FROM vqueue.poll(:'mine');
SELECT position FROM vqueue.status(:'mine');
SELECT vqueue.heartbeat(:'mine'), vqueue.position(:'mine'), vqueue.position('q', 2);
SELECT position FROM vqueue.join_many('q', ARRAY[pg_temp.u(3)]);
SELECT pg_temp.attempt($$SELECT vqueue.release('q', 1)$$);
RESET ROLE;
SELECT vqueue.release('q', 1);
SET ROLE regress_vqueue_user;
SELECT status FROM vqueue.complete(:'s');
SELECT status FROM vqueue.leave(:'mine');
-- it is itself again after each call, also after one that fails
SELECT current_user;
SELECT pg_temp.attempt($$SELECT vqueue.join('q', priority => 'x')$$);
SELECT pg_temp.attempt($$SELECT vqueue.complete((vqueue.join('q', pg_temp.u(3))).id)$$);
SELECT current_user;
SELECT pg_temp.attempt($$SELECT count(*) FROM vqueue.user_sessions$$);
SELECT pg_temp.attempt($$SELECT vqueue.drop_queue('q', true)$$);
SELECT pg_temp.attempt($$SET vqueue.memory_limit = '2GB'$$);
RESET ROLE;
-- within a function of the owner's, and with a hostile search_path: objects named like ours or the catalog's do not get in
CREATE SCHEMA regress_evil;
GRANT USAGE ON SCHEMA regress_evil TO regress_vqueue_user;
CREATE FUNCTION regress_evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.count(bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.uuid_eq(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.text_eq(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.int_eq(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE FUNCTION regress_evil.tid_eq(tid, tid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil as %', current_user; END $$;
CREATE OPERATOR regress_evil.= (leftarg = uuid, rightarg = uuid, function = regress_evil.uuid_eq);
CREATE OPERATOR regress_evil.= (leftarg = text, rightarg = text, function = regress_evil.text_eq);
CREATE OPERATOR regress_evil.= (leftarg = bigint, rightarg = bigint, function = regress_evil.int_eq);
CREATE OPERATOR regress_evil.= (leftarg = tid, rightarg = tid, function = regress_evil.tid_eq);
CREATE TABLE regress_evil.user_sessions (LIKE vqueue.user_sessions);
CREATE DOMAIN regress_evil.uuid AS text CHECK (VALUE = 'evil');
-- a new connection, so that no plan is there yet
\c -
SET search_path = regress_evil, pg_catalog;
SELECT id AS mine FROM vqueue.join('q', '00000000-0000-0000-0000-000000000021'::pg_catalog.uuid) \gset
SELECT position FROM vqueue.poll(:'mine'::pg_catalog.uuid);
SELECT pg_catalog.count(*) FROM vqueue.join_many('q', ARRAY['00000000-0000-0000-0000-000000000022', '00000000-0000-0000-0000-000000000021']::pg_catalog.uuid[]);
SELECT vqueue.release('q', 1);
SELECT status FROM vqueue.leave(:'mine'::pg_catalog.uuid);
SELECT vqueue.alter_queue('q', burst => 2);
SELECT vqueue.open('q');
SELECT vqueue.pause('q');
SELECT vqueue.channel('q');
SELECT pg_catalog.length(vqueue.create_queue('evil')::pg_catalog.text);
SELECT vqueue.drop_queue('evil');
SELECT vqueue.drop_queue('q', true);
SELECT * FROM vqueue.check();
SET client_min_messages = warning;
RESET search_path;
DROP SCHEMA regress_evil CASCADE;
DROP OWNED BY regress_vqueue_user;
DROP ROLE regress_vqueue_user;
-- access of a role that was dropped is forgotten
SELECT count(*) FROM vqueue.access;
SELECT vqueue.renew_access();
SELECT count(*) FROM vqueue.access;
