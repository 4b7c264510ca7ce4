-- The audit log: who did what, when, and how it was before and after.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
CREATE ROLE audit_boss;
CREATE ROLE audit_eve;
RESET client_min_messages;
\set VERBOSITY terse
SET timezone = 'UTC';

-- what a command answers: ok, or its error with state, detail and hint
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
    RETURN concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, ''));
END
$$;
-- entries since the last look, in order; uuids are masked, moments too
CREATE TEMP TABLE seen (id uuid);
GRANT ALL ON seen TO PUBLIC;
CREATE FUNCTION pg_temp.news() RETURNS SETOF text LANGUAGE sql AS $$
    WITH news AS (INSERT INTO seen SELECT a.id FROM vqueue.audit_log a WHERE a.id NOT IN (SELECT id FROM seen) RETURNING id)
    SELECT regexp_replace(regexp_replace(
               concat_ws(' | ', t.name, a.queue, a.action, a.object, a.before::text, '-> ' || a.after::text, 'because ' || a.reason,
                         CASE WHEN a.actor <> session_user THEN 'by ' || a.actor END,
                         CASE WHEN a.role <> session_user THEN 'as ' || a.role END),
               '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g'),
               '"20\d\d-[^"]*"', '<moment>', 'g')
      FROM news JOIN vqueue.audit_log a USING (id) LEFT JOIN vqueue.tenants t ON t.id = a.tenant_id
     ORDER BY a.at, a.queue
$$;
INSERT INTO seen SELECT id FROM vqueue.audit_log;

-- a queue's life
INSERT INTO vqueue.tenants (name, domain) VALUES ('audited', 'audited.example');
SET vqueue.tenant = 'audited';
SELECT 'made' FROM vqueue.create_queue('room', state => 'closed', description => 'for the log');
SELECT pg_temp.news();
SELECT vqueue.alter_queue('room', release_rate_per_minute => 1, burst => 1);
SELECT vqueue.alter_queue('room', description => 'still for the log');
SELECT vqueue.alter_queue('room');
SELECT vqueue.pause('room');
SELECT vqueue.pause('room');
SELECT vqueue.resume('room');
SELECT vqueue.drain('room');
SELECT vqueue.close('room');
SELECT vqueue.open('room');
SELECT vqueue.pause('room');
SELECT vqueue.alter_queue('room', lane_weights => '{8,4,2,1}', waiting_timeout => '1 hour');
SELECT pg_temp.news();
-- by plain SQL; what changes nothing is no action
UPDATE vqueue.queues SET max_concurrent_users = max_concurrent_users + 1, state = state WHERE name = 'room';
UPDATE vqueue.queues SET name = name WHERE name = 'room';
UPDATE vqueue.tenants SET domain = NULL WHERE name = 'audited';
SELECT pg_temp.news();

-- sessions: what visitors do is no operator's action
SELECT id AS one FROM vqueue.join('room', '00000000-0000-0000-0000-000000000001', 'Ann Example', 'ann@example.com') \gset
SELECT id AS two FROM vqueue.join('room', '00000000-0000-0000-0000-000000000002') \gset
SELECT id AS three FROM vqueue.join('room', '00000000-0000-0000-0000-000000000003') \gset
SELECT status FROM vqueue.poll(:'one');
SELECT status FROM vqueue.leave(:'three');
SELECT pg_temp.news();
SELECT priority FROM vqueue.set_priority(:'two', 'vip');
SELECT vqueue.release('room', 5);
SELECT vqueue.release('room', 5);
SELECT status FROM vqueue.complete(:'one');
SELECT status FROM vqueue.remove(:'two', 'pushed');
SET client_min_messages = warning;
SELECT status FROM vqueue.remove(:'two', 'again');
RESET client_min_messages;
UPDATE vqueue.user_sessions SET status = 'expired', served_at = now() WHERE id = :'two';
SELECT status FROM vqueue.readmit(:'two', 'was only late');
SELECT pg_temp.news();
SELECT pg_temp.attempt(format('SELECT vqueue.readmit(%L)', :'two')) ~ '^55000';
SELECT pg_temp.attempt($$SELECT vqueue.release('room', 0)$$) ~ '^22023';
SELECT pg_temp.news();

-- draws and keys: no seed, no secret
SELECT 'made' FROM vqueue.create_queue('drawn', state => 'paused');
SELECT length(vqueue.prepare_draw('drawn'));
SELECT vqueue.prepare_draw('drawn') IS NOT NULL;
SELECT vqueue.set_draw_beacon('drawn', '12 17 33');
SELECT count(*) FROM vqueue.join_many('drawn', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)));
SELECT vqueue.open('drawn');
SELECT vqueue.rotate_key('HS256') IS NOT NULL;
SELECT regexp_replace(n, '"(entrants_hash|key_hash|commitment)": "[0-9a-f]{64}"', '"\1": <hash>', 'g') FROM pg_temp.news() n;
SELECT count(*) FROM vqueue.audit_log a, vqueue.draws d
 WHERE concat(a.before, a.after) LIKE '%' || encode(d.seed, 'hex') || '%' OR concat(a.before, a.after) ~ 'seed|secret';
SELECT count(*) FROM vqueue.audit_log a, vqueue.pass_keys k WHERE concat(a.before, a.after) LIKE '%' || encode(k.secret, 'hex') || '%';
SELECT vqueue.rebuild() > 0;
SELECT vqueue.purge('room', '1 year', 10);
SELECT n FROM pg_temp.news() n;

-- an import: what it makes, and that it was one
CREATE SCHEMA old_rooms;
CREATE TABLE old_rooms.queues AS SELECT gen_random_uuid() AS id, 'imported' AS name;
SELECT count(*) FROM vqueue.import_sessions('old_rooms', dry_run => true);
SELECT pg_temp.news();
SELECT count(*) > 0 FROM vqueue.import_sessions('old_rooms', dry_run => false);
SELECT regexp_replace(n, '"created_at".*', '...') FROM pg_temp.news() n;
SET client_min_messages = warning;
DROP SCHEMA old_rooms CASCADE;
RESET client_min_messages;

-- rolled back, it was never done
BEGIN;
SELECT vqueue.pause('drawn');
ROLLBACK;
SELECT pg_temp.news();
BEGIN;
SAVEPOINT a;
SELECT vqueue.pause('drawn');
ROLLBACK TO a;
SELECT vqueue.drain('drawn');
RELEASE a;
SELECT vqueue.close('drawn');
COMMIT;
SELECT pg_temp.news();

-- who: the user who is there and the role that was set, whoever's rights a function has
SELECT vqueue.grant_access('audit_boss', 'audited', 'operator'), vqueue.grant_access('audit_eve', 'audited', 'admin');
SELECT regexp_replace(n, '"granted_by": "[^"]*"', '...') FROM pg_temp.news() n;
CREATE FUNCTION pg_temp.close_as_owner() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT vqueue.close('drawn') $$;
SET ROLE audit_boss;
SELECT vqueue.open('drawn');
SELECT pg_temp.close_as_owner();
SELECT status FROM vqueue.remove(:'two', 'by the boss');
RESET ROLE;
SELECT pg_temp.news();
SELECT DISTINCT application, client FROM vqueue.audit WHERE queue = 'drawn';

-- with all rights on the table nobody but its owner changes what is in it, or adds to it
GRANT ALL ON ALL TABLES IN SCHEMA vqueue TO audit_eve;
SET ROLE audit_eve;
SELECT count(*) > 10 FROM vqueue.audit_log;
SELECT pg_temp.attempt('UPDATE vqueue.audit_log SET actor = ''nobody''');
SELECT pg_temp.attempt('DELETE FROM vqueue.audit_log');
SELECT pg_temp.attempt('TRUNCATE vqueue.audit_log');
SELECT pg_temp.attempt('INSERT INTO vqueue.audit_log (id, actor, role, action) VALUES (gen_random_uuid(), ''a'', ''b'', ''c'')');
SELECT pg_temp.attempt('ALTER TABLE vqueue.audit_log DISABLE TRIGGER ALL') ~ '^42501';
SELECT pg_temp.attempt('SET session_replication_role = replica') ~ '^42501';
UPDATE vqueue.queues SET description = 'by eve' WHERE name = 'drawn';
RESET ROLE;
SELECT pg_temp.news();
REVOKE ALL ON ALL TABLES IN SCHEMA vqueue FROM audit_eve;
-- who may log what SQL functions do may log nothing else
SET ROLE audit_boss;
SELECT pg_temp.attempt($$SELECT vqueue._audit('drop_queue', NULL, NULL, NULL)$$);
SELECT pg_temp.attempt($$SELECT vqueue._audit(NULL, NULL, NULL, NULL)$$) ~ '^22004';
SELECT pg_temp.attempt($$SELECT vqueue._audit_change('queues', 'DELETE', NULL, NULL, 'me', 'me')$$) ~ '^42501';
RESET ROLE;
SELECT pg_temp.attempt($$SELECT vqueue._audit_changed()$$);

-- the view has what is the tenant's
SELECT count(*) = 0 FROM vqueue.audit a WHERE a.tenant_id <> vqueue._tenant();
RESET vqueue.tenant;
SELECT count(*) FROM vqueue.audit WHERE queue IN ('room', 'drawn');
-- a queue that goes to another tenant is in the logs of both
UPDATE vqueue.queues SET tenant_id = vqueue._tenant() WHERE name = 'imported';
SELECT pg_temp.news();
SELECT count(*) FROM vqueue.audit WHERE queue = 'imported' AND after ? 'tenant_id';

-- a key of the extension is no word in it, and a table that was emptied is
INSERT INTO vqueue.secrets (name, value) VALUES ('audit test', 'not to be read');
UPDATE vqueue.secrets SET value = 'nor this' WHERE name = 'audit test';
DELETE FROM vqueue.secrets WHERE name = 'audit test';
BEGIN;
TRUNCATE vqueue.user_sessions;
SELECT pg_temp.news();
ROLLBACK;
SELECT pg_temp.news();

-- replicated rows were logged where they come from
SET session_replication_role = replica;
UPDATE vqueue.queues SET description = 'replicated' WHERE name = 'drawn';
RESET session_replication_role;
SELECT pg_temp.news();

-- names and texts of visitors are not in it
SELECT count(*) FROM vqueue.audit_log a WHERE a::text ~* 'ann.?(example|@)';

-- a dropped one leaves its traces
SET vqueue.tenant = 'audited';
SELECT vqueue.drop_queue('room', force => true);
SELECT vqueue.drop_queue('drawn', force => true);
SELECT regexp_replace(n, '"created_at".*', '...') FROM pg_temp.news() n;
RESET vqueue.tenant;
SELECT vqueue.drop_queue('imported');
DELETE FROM vqueue.tenants WHERE name = 'audited';
SELECT regexp_replace(n, '"(created_at|granted_by)".*', '...') FROM pg_temp.news() n;
SELECT * FROM vqueue.check();
SELECT vqueue.renew_access();
DROP OWNED BY audit_boss, audit_eve;
DROP ROLE audit_boss, audit_eve;
