-- Attacks on the borders between tenants, by roles that have access to one of them.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;

CREATE ROLE attack_app;
CREATE ROLE attack_operator;
CREATE ROLE attack_admin;
CREATE ROLE attack_stranger;
CREATE ROLE attack_bypass BYPASSRLS;
SELECT vqueue.create_tenant('ours') AS ours, vqueue.create_tenant('theirs') AS theirs \gset
SELECT vqueue.grant_access('attack_app', 'ours', 'app'), vqueue.grant_access('attack_operator', 'ours', 'operator'),
       vqueue.grant_access('attack_admin', 'ours', 'admin') \gset ignore_
SET vqueue.tenant = 'theirs';
SELECT vqueue.create_queue('secret room', state => 'paused', description => 'nobody else knows') AS foreign_queue \gset
SELECT id AS foreign_session FROM vqueue.join('secret room', '00000000-0000-0000-0000-00000000beef', 'Ann Secret', 'ann@secret.example') \gset
SELECT vqueue.rotate_key('HS256'), vqueue.alter_tenant('theirs', max_queues => 1) \gset ignore_
SET vqueue.tenant = 'ours';
SELECT vqueue.create_queue('room', state => 'paused') AS queue \gset
SELECT id AS session FROM vqueue.join('room', '00000000-0000-0000-0000-000000000001') \gset

-- what a role is answered: ok, or the error with all its parts; whatever it did is undone
CREATE FUNCTION pg_temp.answer(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    detail text;
    hint text;
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE command INTO answer;
    RAISE EXCEPTION USING ERRCODE = 'VQ000', MESSAGE = coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN CASE WHEN SQLSTATE OPERATOR(pg_catalog.=) 'VQ000' THEN 'ok: ' || answer ELSE concat_ws(' ', SQLSTATE, answer, detail, hint) END;
END
$$;
SELECT no_plan();

-- ---- names of functions, operators, types and tables that shadow ours and the catalog's ----
CREATE SCHEMA attack;
GRANT USAGE, CREATE ON SCHEMA attack TO PUBLIC;
CREATE TABLE attack.caught (who text);
GRANT INSERT, SELECT ON attack.caught TO PUBLIC;
SET ROLE attack_operator;
CREATE FUNCTION attack.caught() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'caught %', current_user; END $$;
CREATE FUNCTION attack._may(uuid, text) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE FUNCTION attack._may_queue(uuid, text) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE FUNCTION attack._tenant(text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::pg_catalog.uuid FROM attack.caught()';
CREATE FUNCTION attack._queue(text, text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::pg_catalog.uuid FROM attack.caught()';
CREATE FUNCTION attack.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz FROM attack.caught()';
CREATE FUNCTION attack.unnest(text[]) RETURNS SETOF text LANGUAGE sql AS 'SELECT NULL::text FROM attack.caught()';
CREATE FUNCTION attack.octet_length(text) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM attack.caught()';
CREATE FUNCTION attack.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE FUNCTION attack.same(uuid, uuid) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE FUNCTION attack.same(name, text) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE FUNCTION attack.same(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
CREATE OPERATOR attack.= (leftarg = text, rightarg = text, function = attack.same);
CREATE OPERATOR attack.= (leftarg = uuid, rightarg = uuid, function = attack.same);
CREATE OPERATOR attack.= (leftarg = name, rightarg = text, function = attack.same);
CREATE OPERATOR attack.= (leftarg = oid, rightarg = oid, function = attack.same);
CREATE TABLE attack.access (role regrole, tenant_id uuid, level text);
CREATE TABLE attack.tenants (LIKE vqueue.tenants);
CREATE TABLE attack.pg_roles (oid oid, rolname name);
INSERT INTO attack.pg_roles SELECT oid, 'attack_app' FROM pg_catalog.pg_roles WHERE rolname = 'attack_stranger';
CREATE TYPE attack.regrole AS (x int);
RESET ROLE;
-- what an admin of the owner's own, and others of theirs, call with that in front
CREATE FUNCTION pg_temp.with_path(role text, command text) RETURNS text LANGUAGE plpgsql SET search_path = attack, pg_catalog, pg_temp AS $$
BEGIN
    RETURN pg_temp.answer(role, command);
END
$$;
SELECT matches(pg_temp.with_path('postgres', $$SELECT now()$$), 'caught postgres', 'what is in front catches who does not qualify');
SELECT matches(pg_temp.with_path('postgres', $$SELECT 'a'::text = 'a'::text$$), 'caught postgres', 'operators too');
SELECT matches(pg_temp.with_path('attack_admin', command), '^ok', 'with a hostile search_path: ' || left(command, 60))
  FROM unnest(ARRAY[$$SELECT vqueue.grant_access('attack_app', 'ours', 'operator')$$, $$SELECT vqueue.revoke_access('attack_app', 'ours')$$,
                    $$SELECT vqueue.create_queue('new')$$, $$SELECT vqueue.alter_queue('room', burst => 3)$$, $$SELECT vqueue.open('room')$$,
                    $$SELECT vqueue.drop_queue('room', true)$$, $$SELECT vqueue.purge(older_than => '0')$$, $$SELECT vqueue.prepare_draw('room')$$,
                    $$SELECT pg_catalog.count(*) FROM vqueue.events_since('room')$$, $$SELECT pg_catalog.count(*) FROM vqueue.sessions$$,
                    $$SELECT pg_catalog.count(*) FROM vqueue.overview$$, $$SELECT pg_catalog.count(*) FROM vqueue.user_sessions$$,
                    $$SELECT vqueue.release('room', 1)$$, $$SELECT vqueue.join('room')$$]) AS command;
SELECT matches(pg_temp.with_path('postgres', command), '^ok', 'by a superuser: ' || left(command, 60))
  FROM unnest(ARRAY[$$SELECT vqueue.grant_access('attack_stranger', 'ours', 'app')$$, $$SELECT vqueue.renew_access()$$, $$SELECT vqueue.create_tenant('new')$$,
                    $$SELECT vqueue.drop_tenant('theirs', true)$$, $$SELECT pg_catalog.count(*) FROM vqueue.check()$$, $$SELECT vqueue.rebuild()$$,
                    $$SELECT pg_catalog.count(*) FROM vqueue.health()$$, $$SELECT pg_catalog.count(*) FROM vqueue.metrics$$]) AS command;
-- and as temporary objects
SET ROLE attack_operator;
CREATE TEMP TABLE access (role regrole, tenant_id uuid, level text);
CREATE TEMP TABLE pg_roles AS TABLE attack.pg_roles;
CREATE FUNCTION pg_temp._may(uuid, text) RETURNS bool LANGUAGE sql AS 'SELECT attack.caught()';
RESET ROLE;
SELECT matches(pg_temp.answer('attack_admin', $$SELECT vqueue.grant_access('attack_app', 'ours', 'operator')$$), '^ok', 'with temporary tables of these names');
SELECT is((SELECT level FROM vqueue.access a JOIN pg_catalog.pg_roles r ON r.oid = a.role WHERE r.rolname = 'attack_app'), 'app', 'which is undone');

-- ---- roles ----
\set ON_ERROR_STOP off
SET SESSION AUTHORIZATION attack_app;
SET ROLE postgres;
\set superuser :SQLSTATE
SET ROLE attack_admin;
\set admin :SQLSTATE
RESET SESSION AUTHORIZATION;
\set ON_ERROR_STOP on
SELECT is(ARRAY[:'superuser', :'admin'], '{42501,42501}'::text[], 'an app becomes neither a superuser nor an admin by SET ROLE');
SELECT matches(pg_temp.answer('attack_app', $$SELECT set_config('vqueue.tenant', 'theirs', true), vqueue.poll('$$ || :'foreign_session' || $$')$$), '^42704 tenant "theirs" does not exist',
               'whose tenant is set is asked of the role');
-- one session, several users: what one may is not remembered for the next
SELECT matches(pg_temp.answer(r, $$SELECT vqueue.release('room', 1)$$), a, 'release by ' || r)
  FROM (VALUES (1, 'attack_operator', '^ok'), (2, 'attack_stranger', '^42501'), (3, 'attack_app', '^42501'), (4, 'attack_operator', '^ok'), (5, 'postgres', '^ok'),
               (6, 'attack_stranger', '^42501')) AS t (n, r, a) ORDER BY n;
GRANT USAGE ON SCHEMA vqueue TO attack_stranger;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vqueue TO attack_stranger;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA vqueue TO attack_stranger;
SELECT matches(pg_temp.answer(r, $$SELECT vqueue.poll('$$ || :'session' || $$')$$), a, 'poll by ' || r)
  FROM (VALUES (1, 'attack_app', '^ok'), (2, 'attack_stranger', '^42704'), (3, 'postgres', '^ok'), (4, 'attack_stranger', '^42704'), (5, 'attack_app', '^ok')) AS t (n, r, a)
 ORDER BY n;
-- a prepared statement, a cursor and a security definer function are each of whom they are
PREPARE look AS SELECT count(*) FROM vqueue.queues;
EXECUTE look \gset before_
SET ROLE attack_stranger;
EXECUTE look \gset stranger_
SET ROLE attack_operator;
EXECUTE look \gset operator_
RESET ROLE;
EXECUTE look \gset after_
SELECT is(ARRAY[:before_count, :stranger_count, :operator_count, :after_count], '{2,0,1,2}'::int[], 'a prepared statement sees what who executes it may');
SET ROLE attack_operator;
CREATE FUNCTION attack.lend() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT pg_catalog.count(*) FROM vqueue.queues';
RESET ROLE;
SELECT is(pg_temp.answer('attack_stranger', 'SELECT attack.lend()'), 'ok: 1', 'a function of an operator''s sees what the operator may');
-- an admin reaches no further than the tenant
SELECT matches(pg_temp.answer('attack_admin', command), '^(42501|42704)', 'an admin: ' || left(command, 70))
  FROM unnest(ARRAY[$$SELECT vqueue.grant_access('attack_admin', 'theirs', 'app')$$, $$SELECT vqueue.create_tenant('new')$$, $$SELECT vqueue.drop_tenant('ours', true)$$,
                    $$SELECT vqueue.renew_access()$$, $$INSERT INTO vqueue.access VALUES ('attack_admin', (SELECT id FROM vqueue.tenants), 'admin')$$,
                    $$SELECT vqueue._grant_access('attack_admin', '$$ || :'theirs' || $$', 'admin', 10)$$, $$SELECT vqueue._grant_rights('attack_admin', '{owner,server}', true)$$,
                    $$SELECT * FROM vqueue.pass_keys$$, $$SELECT value FROM vqueue.secrets$$, $$SELECT vqueue.check()$$, $$SELECT vqueue.rebuild()$$,
                    $$SELECT vqueue.import_sessions('public')$$, $$TRUNCATE vqueue.queues CASCADE$$, $$ALTER TABLE vqueue.queues DISABLE ROW LEVEL SECURITY$$,
                    $$CREATE POLICY vqueue_all ON vqueue.queues USING (true)$$, $$CREATE TRIGGER t BEFORE INSERT ON vqueue.user_sessions EXECUTE FUNCTION attack.caught()$$]) AS command;
SELECT matches(pg_temp.answer('attack_admin', $$SELECT vqueue.grant_access('public', 'ours', 'app')$$), '^42704 role "public" does not exist', 'nothing is given to PUBLIC');
-- a policy of ours is not replaced by making it anew
SELECT lives_ok('CREATE POLICY vqueue_read ON vqueue.queues USING (true)', 'a dump may bring a policy that is there');
SELECT is(pg_temp.answer('attack_operator', 'SELECT count(*) FROM vqueue.queues'), 'ok: 1', 'and it changes nothing');

-- ---- views: conditions that tell what they are shown ----
SET ROLE attack_operator;
CREATE FUNCTION attack.leak(anyelement) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS $$
BEGIN
    IF $1::text ~ 'secret|Secret|beef' THEN INSERT INTO attack.caught VALUES ($1::text); END IF;
    RETURN true;
END
$$;
CREATE FUNCTION attack.leak_by_error(anyelement) RETURNS bool COST 0.0000001 LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'saw %', $1; END $$;
CREATE OPERATOR attack.<<< (leftarg = text, rightarg = text, function = pg_catalog.text_lt);
RESET ROLE;
SELECT unalike(pg_temp.answer('attack_admin', format('SELECT count(*) FROM vqueue.%I v WHERE attack.leak_by_error(v.%I) OR true', relation, col)),
               '%ecret%', format('a condition that raises what it sees, on %s.%s', relation, col))
  FROM (VALUES ('queues', 'name'), ('queues', 'description'), ('user_sessions', 'user_name'), ('user_sessions', 'user_email'), ('tenants', 'name'), ('overview', 'queue'),
               ('sessions', 'queue'), ('sessions', 'user_email'), ('stats', 'queue'), ('metrics', 'labels'), ('draw_results', 'queue'), ('schedules', 'queue'), ('events', 'payload'),
               ('access', 'level')) AS t (relation, col);
SELECT unalike(pg_temp.answer('attack_admin', format('SELECT count(*) FROM vqueue.%I v WHERE attack.leak(v.%I)', relation, col)), '42883%', format('and one that notes it: %s.%s', relation, col))
  FROM (VALUES ('queues', 'name'), ('user_sessions', 'user_name'), ('sessions', 'user_email'), ('overview', 'queue'), ('metrics', 'labels')) AS t (relation, col);
CREATE FUNCTION pg_temp.noted(command text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM set_config('role', 'attack_admin', true);
    EXECUTE command;
    PERFORM set_config('role', 'none', true);
    SELECT count(*) INTO n FROM attack.caught;
    RETURN n;
END
$$;
SELECT is(pg_temp.noted(format('SELECT count(*) FROM vqueue.%I v WHERE attack.leak(v.%I)', relation, col)), 0::bigint, format('nothing is noted of %s.%s', relation, col))
  FROM (VALUES ('queues', 'name'), ('queues', 'description'), ('user_sessions', 'user_name'), ('user_sessions', 'user_id'), ('sessions', 'user_email'), ('overview', 'queue'),
               ('metrics', 'labels'), ('tenants', 'name'), ('events', 'payload'), ('draw_results', 'queue')) AS t (relation, col);
-- errors of casts and divisions by what is not to be seen
SELECT is(pg_temp.answer('attack_admin', command), 'ok: 0', left(command, 90))
  FROM unnest(ARRAY[$$SELECT count(*) FROM vqueue.queues WHERE name = 'secret room' AND 1 / (CASE name WHEN 'secret room' THEN 0 ELSE 1 END) = 1$$,
                    $$SELECT count(*) FROM vqueue.sessions WHERE queue LIKE 'secret%' AND user_email::int = 1$$,
                    $$SELECT count(*) FROM vqueue.user_sessions WHERE user_name LIKE 'Ann%' AND user_name::int = 1$$]) AS command;
-- neither what the planner expects nor its statistics
ANALYZE vqueue.queues, vqueue.user_sessions;
SELECT is(pg_temp.answer('attack_operator', $$SELECT count(*) FROM pg_stats WHERE schemaname = 'vqueue'$$), 'ok: 0', 'statistics of the tables are not shown');

-- ---- names ----
CREATE FUNCTION pg_temp.in_turn(role text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('CREATE ROLE %I', role);
    PERFORM vqueue.create_tenant(name);
    PERFORM vqueue.grant_access(role, name, 'operator');
    PERFORM set_config('vqueue.tenant', name, true), set_config('role', role, true);
    PERFORM vqueue.create_queue(name), vqueue.join(name), vqueue.release(name, 1);
    SELECT count(*) || ' ' || (SELECT count(*) FROM vqueue.queues) INTO answer FROM vqueue.sessions WHERE queue = name;
    PERFORM vqueue.drop_queue(name, true);
    PERFORM set_config('role', 'none', true);
    PERFORM vqueue.grant_access(role, name, 'app'), vqueue.renew_access(), vqueue.revoke_access(role, name), vqueue.drop_tenant(name);
    EXECUTE format('DROP ROLE %I', role);
    RETURN answer;
END
$$;
SELECT is(pg_temp.in_turn(role, role), '1 1', format('a role and a tenant called %s', left(role, 30)))
  FROM unnest(ARRAY['"', '''', $$x'; DROP TABLE vqueue.queues; --$$, '"; GRANT postgres TO attack_app; --', 'a"b''c\d%s$$e', 'attack ünï ☃ 😀', 'TO PUBLIC', 'Public',
                    'user', 'current_user', repeat('x', 63), repeat('é', 31), 'a,b', '{a,b}', 'x WITH GRANT OPTION', '-- x', '%I', E'\\']) AS role;
SELECT has_table('vqueue'::name, 'queues'::name);
SELECT is(pg_has_role('attack_app', 'postgres', 'MEMBER'), false, 'nobody became a superuser');
CREATE ROLE xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;
SELECT matches(pg_temp.answer('postgres', format('SELECT vqueue.grant_access(%L, ''ours'', ''app'')', repeat('x', 64))), '^42704', 'a name too long by a byte is not the one cut off');
DROP ROLE xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;
SELECT matches(pg_temp.answer('postgres', command), '^(22023|22004|42710|42704)', left(command, 60))
  FROM unnest(ARRAY[$$SELECT vqueue.create_tenant(NULL)$$, $$SELECT vqueue.create_tenant('')$$, $$SELECT vqueue.create_tenant(repeat('x', 201))$$,
                    $$SELECT vqueue.create_tenant(E'a\nb')$$, $$SELECT vqueue.create_tenant('ours')$$, $$SELECT vqueue.create_tenant('x', repeat('x', 254))$$,
                    $$SELECT vqueue.drop_tenant(NULL)$$, $$SELECT vqueue.drop_tenant('nobody')$$, $$SELECT vqueue.grant_access(NULL, 'ours', 'app')$$,
                    $$SELECT vqueue.grant_access('attack_app', NULL, 'app')$$, $$SELECT vqueue.grant_access('attack_app', 'ours', NULL)$$,
                    $$SELECT vqueue.grant_access('attack_app', 'ours', 'owner')$$, $$SELECT vqueue.grant_access('attack_app', 'ours', 'any')$$,
                    $$SELECT vqueue.grant_access('attack_app', 'ours', 'APP')$$, $$SELECT vqueue.grant_access('nobody''s', 'ours', 'app')$$,
                    $$SELECT vqueue.revoke_access(NULL, 'ours')$$, $$SELECT vqueue.revoke_access('attack_app', NULL)$$]) AS command;
SELECT is(vqueue.revoke_access('nobody at all', 'ours'), false, 'access of a role that is not there is not there');

-- ---- past the policies ----
SELECT is(pg_temp.answer('attack_operator', $$SELECT count(*) FROM vqueue.user_sessions$$), 'ok: 1', 'a table shows the rows of the tenant');
GRANT INSERT, DELETE ON vqueue.user_sessions, vqueue.queues TO attack_operator;
SELECT matches(pg_temp.answer('attack_operator', 'SET row_security = off; SELECT count(*) FROM vqueue.queues'), '^42501', 'row_security = off is an error');
SELECT matches(pg_temp.answer('attack_bypass', 'SELECT count(*) FROM vqueue.queues'), '^42501', 'BYPASSRLS alone is no right on a table');
CREATE FUNCTION pg_temp.copied(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT is(pg_temp.copied('attack_operator', format('COPY vqueue.%I TO PROGRAM ''cat''', t)), '42501', 'COPY of ' || t || ' to a program') FROM unnest('{queues,user_sessions}'::text[]) AS t;
GRANT pg_read_server_files, pg_write_server_files TO attack_operator;
SELECT is(pg_temp.copied('attack_operator', 'COPY vqueue.queues FROM ''/dev/null'''), '0A000', 'COPY into a table with policies');
REVOKE pg_read_server_files, pg_write_server_files FROM attack_operator;
SET ROLE attack_operator;
\copy vqueue.user_sessions (id) TO '/dev/null'
\set copied :ROW_COUNT
RESET ROLE;
SELECT is(:copied, 1, 'COPY of a table has the rows that may be seen');
-- nobody is locked out of a table that is everybody's
SELECT matches(pg_temp.answer('attack_admin', format($$DO 'BEGIN LOCK TABLE vqueue.%I IN %s MODE; END'$$, c.relname, m)), '^(42501|42809)', format('LOCK of %s in %s', c.relname, m))
  FROM pg_class c, unnest('{ROW EXCLUSIVE,SHARE UPDATE EXCLUSIVE,SHARE,ACCESS EXCLUSIVE}'::text[]) AS m
 WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind IN ('r', 'v');
-- constraints tell nothing: a foreign queue is as unknown as none, before any trigger or key looks at it
SELECT is(replace(pg_temp.answer('attack_operator', format('INSERT INTO vqueue.user_sessions (queue_id, user_id%s) VALUES (%L, gen_random_uuid()%s)', c, :'foreign_queue', v)), :'foreign_queue', 'X'),
          replace(pg_temp.answer('attack_operator', format('INSERT INTO vqueue.user_sessions (queue_id, user_id%s) VALUES (%L, gen_random_uuid()%s)', c, u, v)), u, 'X'),
          'a session in a queue of others' || c)
  FROM (VALUES ('', ''), (', ticket', ', 1'), (', ticket, priority', ', 2, ''strange'''), (', priority', ', ''strange''')) AS t (c, v), unnest(ARRAY['01a21111-1111-7111-8111-111111111111']) AS u;
SELECT is(replace(pg_temp.answer('attack_operator', format('INSERT INTO vqueue.queues (tenant_id, name) VALUES (%L, ''secret room'')', :'theirs')), :'theirs', 'X'),
          replace(pg_temp.answer('attack_operator', $$INSERT INTO vqueue.queues (tenant_id, name) VALUES ('01a21111-1111-7111-8111-111111111111', 'secret room')$$), '', 'X'),
          'a queue of a name taken in another tenant');
SELECT is(pg_temp.answer('attack_operator', format('SELECT vqueue._admit_queue(%L)', :'theirs')), 'ok: ', 'nor is told that another tenant has all the queues that it may have');
CREATE FUNCTION pg_temp.logged(queue_id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    PERFORM set_config('role', 'attack_admin', true);
    PERFORM vqueue._audit('purge', queue_id, NULL, NULL);
    SELECT concat_ws(' ', a.action, a.queue) INTO answer FROM vqueue.audit a ORDER BY a.at DESC, a.id DESC LIMIT 1;
    PERFORM set_config('role', 'none', true);
    RETURN answer;
END
$$;
SELECT is(pg_temp.logged(:'queue'), 'purge room', 'what an operator logs has the name of the queue');
SELECT is(pg_temp.logged(:'foreign_queue'), 'purge', 'but none of others');
SELECT matches(pg_temp.answer('attack_operator', 'CREATE TABLE attack.probe (queue uuid REFERENCES vqueue.queues)'), '^42501', 'a foreign key of one''s own needs the right to it');
SELECT matches(pg_temp.answer('attack_operator', format('UPDATE vqueue.queues SET id = %L', :'foreign_queue')), '^42501', 'ids of queues are not an operator''s to write');
SELECT is(pg_temp.answer('attack_operator', format('WITH w AS (DELETE FROM vqueue.queues WHERE id = %L RETURNING 1) SELECT count(*) FROM w', :'foreign_queue')), 'ok: 0', 'another''s queue is not deleted');
SELECT is(pg_temp.answer('attack_operator', format('WITH w AS (UPDATE vqueue.user_sessions SET status = ''removed'' WHERE id = %L RETURNING 1) SELECT count(*) FROM w', :'foreign_session')), 'ok: 0', 'nor another''s session ended');
-- the seed of a draw is not an operator's to know or choose
SELECT matches(pg_temp.answer('attack_operator', command), '^42501 permission denied for table draws', left(command, 70))
  FROM unnest(ARRAY['SELECT seed FROM vqueue.draws', 'SELECT * FROM vqueue.draws', format('INSERT INTO vqueue.draws (queue_id, seed, commitment) VALUES (%L, sha256(''x''), ''x'')', :'queue'),
                    'UPDATE vqueue.draws SET seed = sha256(''x'')', 'UPDATE vqueue.draws SET drawn_at = now()']) AS command;
SELECT matches(pg_temp.answer('attack_operator', $$SELECT length(vqueue.prepare_draw('room'))$$), '^ok: 64', 'who prepares it sees the commitment');

SELECT is_empty('SELECT * FROM attack.caught', 'nothing was caught in all of this');
SELECT is_empty('SELECT * FROM vqueue.check()', 'memory is right');
SELECT * FROM finish();
DROP SCHEMA attack CASCADE;
DROP OWNED BY attack_app, attack_operator, attack_admin, attack_stranger, attack_bypass CASCADE;
DROP ROLE attack_app, attack_operator, attack_admin, attack_stranger, attack_bypass;
