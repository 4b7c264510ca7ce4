-- Every function, table and view by every level, in the own tenant and in another one.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;

/*
 * Roles have a level in "ours" as grant_access gives it.  Those called all_* may
 * also execute every function and do everything to every table, so that what the
 * functions and policies ask themselves is seen.
 */
CREATE ROLE matrix_none;
CREATE ROLE matrix_app;
CREATE ROLE matrix_monitor;
CREATE ROLE matrix_operator;
CREATE ROLE matrix_admin;
CREATE ROLE matrix_all_none;
CREATE ROLE matrix_all_app;
CREATE ROLE matrix_all_monitor;
CREATE ROLE matrix_all_operator;
CREATE ROLE matrix_all_admin;
CREATE TEMP TABLE levels (level text, has text[]);
INSERT INTO levels VALUES ('none', '{}'), ('app', '{any,app}'), ('monitor', '{any,monitor}'), ('operator', '{any,app,monitor,operator}'),
                          ('admin', '{any,app,monitor,operator,admin}');
SELECT vqueue.create_tenant('ours', 'ours.example') AS ours, vqueue.create_tenant('theirs') AS theirs \gset
SELECT count(vqueue.grant_access('matrix_' || level, 'ours', level)), count(vqueue.grant_access('matrix_all_' || level, 'ours', level))
  FROM levels WHERE level <> 'none' \gset ignore_
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY '{none,app,monitor,operator,admin}'::text[] LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA vqueue TO matrix_all_%s', one);
        EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vqueue TO matrix_all_%s', one);
        EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA vqueue TO matrix_all_%s', one);
    END LOOP;
END
$$;

-- the same in both: a queue with one who is in, one who waits, one who has left, and one that is paused
CREATE FUNCTION pg_temp.furnish() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM vqueue.create_queue('room', 600000, 1), vqueue.create_queue('still', state => 'paused'), vqueue.rotate_key('HS256');
    PERFORM vqueue.join('room', '00000000-0000-0000-0000-000000000001');
    PERFORM vqueue.join('room', '00000000-0000-0000-0000-000000000002');
    PERFORM vqueue.leave((vqueue.join('room', '00000000-0000-0000-0000-000000000003')).id);
END
$$;
SET vqueue.tenant = 'theirs';
SELECT pg_temp.furnish();
SET vqueue.tenant = 'ours';
SELECT pg_temp.furnish();
SELECT q.id AS queue, f.id AS foreign_queue FROM vqueue.queues q, vqueue.queues f
 WHERE q.name = 'room' AND q.tenant_id = :'ours' AND f.name = 'room' AND f.tenant_id = :'theirs' \gset
SELECT s.id AS inside, f.id AS foreign_session FROM vqueue.user_sessions s, vqueue.user_sessions f
 WHERE s.queue_id = :'queue' AND s.status = 'serving' AND f.queue_id = :'foreign_queue' AND f.status = 'serving' \gset
SELECT id AS waiting FROM vqueue.user_sessions WHERE queue_id = :'queue' AND status = 'waiting' \gset

-- what a role is answered: ok, or the error, with ids masked; whatever it did is undone
CREATE FUNCTION pg_temp.answer(role text, tenant text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    detail text;
    hint text;
BEGIN
    PERFORM set_config('vqueue.tenant', tenant, true), set_config('role', role, true);
    EXECUTE command INTO answer;
    RAISE EXCEPTION USING ERRCODE = 'VQ000', MESSAGE = coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS answer = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(CASE WHEN SQLSTATE = 'VQ000' THEN 'ok: ' || answer
                               ELSE concat_ws(' ', SQLSTATE, answer, detail, hint) END,
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
END
$$;
CREATE FUNCTION pg_temp.state(answer text) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN answer LIKE 'ok:%' THEN 'ok' ELSE left(answer, 5) END $$;

SELECT no_plan();

-- ---- every function is of one level, and is granted to that and those above ----
SELECT set_eq('SELECT proname FROM pg_proc WHERE pronamespace = ''vqueue''::regnamespace',
              'SELECT name FROM vqueue._rights() WHERE kind = ''function''', 'every function is classed');
SELECT is_empty($$SELECT name FROM vqueue._rights() WHERE kind = 'function' GROUP BY name HAVING count(*) > 1$$, 'and only once');
SELECT is(has_function_privilege('matrix_' || l.level, p.oid, 'EXECUTE'), r.level = ANY (l.has),
          format('%s by %s', p.oid::regprocedure, l.level))
  FROM levels l, pg_proc p JOIN vqueue._rights() r ON r.kind = 'function' AND r.name = p.proname
 WHERE p.pronamespace = 'vqueue'::regnamespace
 ORDER BY p.oid::regprocedure::text, l.level;
SELECT is(has_function_privilege('pg_monitor', p.oid, 'EXECUTE'),
          r.level = 'server' OR p.proname IN ('is_healthy', '_tenant', '_may', '_may_queue') OR r.level = 'monitor',
          format('%s by pg_monitor', p.oid::regprocedure))
  FROM pg_proc p JOIN vqueue._rights() r ON r.kind = 'function' AND r.name = p.proname
 WHERE p.pronamespace = 'vqueue'::regnamespace;
SELECT is(has_table_privilege('matrix_' || l.level, c.oid, 'SELECT'),
          EXISTS (SELECT FROM vqueue._rights() r WHERE r.kind = 'table' AND r.name = c.relname AND r.privilege = 'SELECT' AND r.level = ANY (l.has)),
          format('SELECT of %s by %s', c.relname, l.level))
  FROM levels l, pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind IN ('r', 'v');
SELECT is(has_table_privilege('matrix_' || l.level, c.oid, 'DELETE, UPDATE, INSERT, TRUNCATE, REFERENCES, TRIGGER'), false, format('no more of %s by %s', c.relname, l.level))
  FROM levels l, pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind IN ('r', 'v');
SELECT is_empty($$SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind = 'r' AND NOT c.relrowsecurity$$,
                'every table has row-level security');
SELECT is_empty($$SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind = 'v'
                     AND NOT 'security_barrier=true' = ANY (coalesce(c.reloptions, '{}'))$$, 'every view is a barrier');

/*
 * What functions ask themselves.  Each call has the level that it takes and what
 * is answered then; %1$L is a queue, %2$L a session that is in.
 */
CREATE TEMP TABLE calls (name text, level text, answer text, call text);
INSERT INTO calls VALUES
    ('join', 'app', 'ok', 'vqueue.join(%1$L)'),
    ('join_many', 'app', 'ok', 'vqueue.join_many(%1$L, ARRAY[gen_random_uuid()])'),
    ('poll', 'app', 'ok', 'vqueue.poll(%2$L)'),
    ('status', 'app', 'ok', 'vqueue.status(%2$L)'),
    ('heartbeat', 'app', 'ok', 'vqueue.heartbeat(%2$L)'),
    ('position', 'app', 'ok', 'vqueue.position(%2$L::uuid)'),
    ('position', 'app monitor', 'ok', 'vqueue.position(%1$L, 1)'),
    ('positions', 'app', 'ok', 'vqueue.positions(ARRAY[%2$L]::uuid[])'),
    ('leave', 'app', 'ok', 'vqueue.leave(%2$L)'),
    ('complete', 'app', 'ok', 'vqueue.complete(%2$L)'),
    ('claim', 'app', 'ok', 'vqueue.claim(%2$L)'),
    ('extend', 'app', 'ok', 'vqueue.extend(%2$L)'),
    ('pass', 'app', 'ok', 'vqueue.pass(%2$L)'),
    ('verify_pass', 'app', 'ok', 'vqueue.verify_pass(''x'', %1$L)'),
    ('jwks', 'any', 'ok', 'vqueue.jwks()'),
    ('user_id', 'any', 'ok', 'vqueue.user_id(''x'')'),
    ('board', 'app monitor', 'ok', 'vqueue.board(%1$L)'),
    ('board_number', 'app', 'ok', 'vqueue.board_number(%2$L)'),
    ('channel', 'any', 'ok', 'vqueue.channel(%1$L)'),
    ('events_since', 'app', 'ok', 'count(*) FROM vqueue.events_since(%1$L)'),
    ('event_cursor', 'app', 'ok', 'vqueue.event_cursor(%1$L)'),
    ('_tenant', 'any', 'ok', 'vqueue._tenant()'),
    ('_queue', 'any', 'ok', 'vqueue._queue(%1$L)'),
    ('memory', 'monitor', 'ok', 'vqueue.memory()'),
    ('_worker', 'monitor', 'ok', 'vqueue._worker()'),
    ('_sample', 'monitor', 'ok', 'vqueue._sample()'),
    ('create_queue', 'operator', 'ok', 'vqueue.create_queue(''new'')'),
    ('alter_queue', 'operator', 'ok', 'vqueue.alter_queue(%1$L, burst => 3)'),
    ('drop_queue', 'operator', '55006', 'vqueue.drop_queue(%1$L)'),
    ('drop_queue', 'operator', 'ok', 'vqueue.drop_queue(%1$L, true)'),
    ('open', 'operator', 'ok', 'vqueue.open(%1$L)'),
    ('pause', 'operator', 'ok', 'vqueue.pause(%1$L)'),
    ('resume', 'operator', 'ok', 'vqueue.resume(%1$L)'),
    ('drain', 'operator', 'ok', 'vqueue.drain(%1$L)'),
    ('close', 'operator', 'ok', 'vqueue.close(%1$L)'),
    ('release', 'operator', 'ok', 'vqueue.release(%1$L, 1)'),
    ('remove', 'operator', 'ok', 'vqueue.remove(%2$L)'),
    ('readmit', 'operator', '55000', 'vqueue.readmit(%2$L)'),
    ('set_priority', 'operator', '55000', 'vqueue.set_priority(%2$L, ''vip'')'),
    ('forget_user', 'operator', 'ok', 'vqueue.forget_user(''00000000-0000-0000-0000-000000000002'')'),
    ('_audit', 'operator', 'ok', 'vqueue._audit(''purge'', %1$L, NULL, NULL)'),
    ('purge', 'operator', 'ok', 'vqueue.purge(%1$L, ''0'')'),
    ('prepare_draw', 'operator', '55000', 'vqueue.prepare_draw(%1$L)'),
    ('set_draw_beacon', 'operator', '55000', 'vqueue.set_draw_beacon(%1$L, ''x'')'),
    ('draw_entrants', 'operator', '55000', 'vqueue.draw_entrants(%1$L)'),
    ('verify_draw', 'operator', '55000', 'vqueue.verify_draw(%1$L)'),
    ('explain_position', 'operator', 'ok', 'count(*) FROM vqueue.explain_position(%2$L)'),
    ('schedule_state', 'operator', '55000', 'vqueue.schedule_state(%1$L, ''@daily'', ''open'')'),
    ('schedule_purge', 'operator', '55000', 'vqueue.schedule_purge(''@daily'', ''1 day'', %1$L)'),
    ('canary', 'operator', 'ok', 'vqueue.canary(%1$L, ''{"burst": 3}'', 0.5)'),
    ('canary_keep', 'operator', '55000', 'vqueue.canary_keep(%1$L)'),
    ('canary_revert', 'operator', '55000', 'vqueue.canary_revert(%1$L)'),
    ('feature', 'any', 'ok', 'vqueue.feature(''board'')'),
    ('_need_feature', 'any', 'ok', 'vqueue._need_feature(''board'')'),
    ('rotate_key', 'admin', 'ok', 'vqueue.rotate_key()'),
    ('grant_access', 'admin', 'ok', 'vqueue.grant_access(''matrix_none'', ''ours'', ''app'')'),
    ('revoke_access', 'admin', 'ok', 'vqueue.revoke_access(''matrix_app'', ''ours'')'),
    ('check', 'owner', 'ok', 'vqueue.check()'),
    ('rebuild', 'owner', 'ok', 'vqueue.rebuild()'),
    ('_count_now', 'owner', 'ok', 'vqueue._count_now()'),
    ('alter_tenant', 'owner', 'ok', 'vqueue.alter_tenant(''ours'', 5)'),
    ('create_tenant', 'owner', 'ok', 'vqueue.create_tenant(''new'')'),
    ('drop_tenant', 'owner', 'ok', 'vqueue.drop_tenant(''ours'')'),
    ('renew_access', 'owner', 'ok', 'vqueue.renew_access()');
-- those that answer nothing instead of an error, and those that concern nothing of a tenant
CREATE TEMP TABLE quiet (name text, call text);
INSERT INTO quiet VALUES
    ('_position', 'vqueue._position(%1$L, 2)'), ('_untold', 'vqueue._untold(%1$L, 1, now())'), ('_lock_queue', 'vqueue._lock_queue(%1$L)'),
    ('_delete_queue', 'vqueue._delete_queue(%1$L)'), ('_admit_queue', 'vqueue._admit_queue(%1$L)'), ('_delete_ended', 'vqueue._delete_ended(%1$L, ''-infinity'', ''infinity'', 10)'),
    ('_draw_tickets', 'vqueue._draw_tickets(%1$L)'), ('_order_key', 'vqueue._order_key(%1$L, 2, 7)'),
    ('_may_queue', 'vqueue._may_queue(%1$L, ''any'')'), ('_next_ticket', 'vqueue._next_ticket(%1$L)'), ('_scheduled_state', 'vqueue._scheduled_state(%1$L, ''paused'')'),
    ('_scheduled_purge', 'vqueue._scheduled_purge(NULL, %1$L, ''0'', NULL)');
SELECT is_empty($$SELECT r.name FROM vqueue._rights() r WHERE r.kind = 'function' AND r.level IN ('any', 'app', 'monitor', 'operator', 'admin')
                     AND r.name NOT IN (SELECT name FROM calls UNION ALL SELECT name FROM quiet)
                     AND r.name <> ALL ('{_refuse,_may,is_healthy,position_from_board,_wait_bounds,_replay_delay,_counters,_figures,
                                          unschedule,_uuidv7,_check_queue,_check_texts,_check_number,_check_timeout,_check_age,_check_schedule,
                                          _moment,_weights,_set_state,_draw,_draw_key,_draw_place,_draw_places,_has_cron,_refuse_cron,_schedule,
                                          _schedules,_unschedule_queue,_canary_now,_canary_apply,_canary_end,_canary_decide}')$$,
                'each function is called below, or concerns no tenant, or is a part of one that is called');

SELECT is(pg_temp.state(pg_temp.answer(mode || l.level, 'ours', 'SELECT ' || format(c.call, :'queue', :'inside'))),
          CASE WHEN l.has && string_to_array(c.level, ' ') THEN c.answer
               WHEN l.level = 'none' AND mode = 'matrix_all_' AND c.level <> 'owner' THEN '42704'
               ELSE '42501' END,
          format('%s by %s%s', format(c.call, 'queue', 'session'), mode, l.level))
  FROM calls c, levels l, unnest('{matrix_,matrix_all_}'::text[]) AS mode
 ORDER BY c.name, mode, l.level;
SELECT is(pg_temp.state(pg_temp.answer('postgres', 'ours', 'SELECT ' || format(c.call, :'queue', :'inside'))),
          CASE c.name WHEN 'drop_tenant' THEN '55006' ELSE c.answer END, format('%s by a superuser', c.call))
  FROM calls c;

-- another tenant's queue or session, by its id: the answer is that to an id that never was, word for word
SELECT is(pg_temp.answer(mode || l.level, 'ours', 'SELECT ' || format(c.call, :'foreign_queue', :'foreign_session')),
          pg_temp.answer(mode || l.level, 'ours', 'SELECT ' || format(c.call, '01a21111-1111-7111-8111-111111111111', '01a21111-1111-7111-8111-111111111112')),
          format('%s of another tenant by %s%s', format(c.call, 'queue', 'session'), mode, l.level))
  FROM (SELECT * FROM calls UNION ALL SELECT name, NULL, NULL, call FROM quiet) c, levels l, unnest('{matrix_,matrix_all_}'::text[]) AS mode
 WHERE c.call LIKE '%$L%'
 ORDER BY c.name, mode, l.level;

-- and with the other tenant as the current one there is no tenant
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'theirs', 'SELECT ' || format(c.call, :'foreign_queue', :'foreign_session')),
          replace(pg_temp.answer('matrix_all_' || l.level, 'nobody', 'SELECT ' || format(c.call, :'foreign_queue', :'foreign_session')), 'nobody', 'theirs'),
          format('%s in another tenant by %s', format(c.call, 'queue', 'session'), l.level))
  FROM calls c, levels l WHERE c.level <> 'owner' AND c.name NOT IN ('grant_access', 'revoke_access');
SELECT is(pg_temp.state(pg_temp.answer('matrix_all_' || l.level, 'theirs', 'SELECT ' || format(c.call, :'foreign_queue', :'foreign_session'))), '42704',
          format('%s in another tenant by %s is refused', format(c.call, 'queue', 'session'), l.level))
  FROM calls c, levels l WHERE c.level <> 'owner' AND c.name NOT IN ('grant_access', 'revoke_access');
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'ours', format(call, 'theirs')),
          replace(pg_temp.answer('matrix_all_' || l.level, 'ours', format(call, 'nobody')), 'nobody', 'theirs'), format('%s by %s', call, l.level))
  FROM levels l, unnest(ARRAY['SELECT vqueue.grant_access(''matrix_none'', %L, ''app'')', 'SELECT vqueue.revoke_access(''matrix_app'', %L)',
                              'SELECT vqueue.jwks(%L)']) AS call;

-- ---- tables and views: how many rows each sees, and that none is of the other tenant ----
CREATE TEMP TABLE shown (relation text, level text, rows int);
INSERT INTO shown VALUES ('tenants', 'any', 1), ('queues', 'any', 2), ('user_sessions', 'operator', 3), ('access', 'admin', 8), ('event_log', 'none any', 1),
    ('event_marks', 'app', 2), ('ticket_ceilings', 'nobody', 0), ('secrets', 'nobody', 0), ('pass_keys', 'nobody', 0), ('draws', 'operator', 1);
SET vqueue.tenant = 'theirs';
SELECT vqueue.prepare_draw('still') \gset ignore_
SET vqueue.tenant = 'ours';
SELECT vqueue.prepare_draw('still') \gset ignore_
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'ours', format('SELECT count(*) FROM vqueue.%I', s.relation)),
          'ok: ' || CASE WHEN l.has || l.level && string_to_array(s.level, ' ') THEN s.rows ELSE 0 END,
          format('rows of %s that %s sees', s.relation, l.level))
  FROM shown s, levels l;
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'ours', format('SELECT count(*) FROM vqueue.%I s WHERE s::text LIKE %L', relation, '%' || id || '%')), 'ok: 0',
          format('nothing of the other tenant in %s for %s', relation, l.level))
  FROM levels l, unnest('{tenants,access,queues,user_sessions,events,event_marks,queue_stats,draws,ticket_ceilings,pass_keys,secrets,audit_log,client_joins}'::text[]) AS relation,
       unnest(ARRAY[:'theirs', :'foreign_queue', :'foreign_session']) AS id;
SELECT is(pg_temp.state(pg_temp.answer('matrix_all_' || l.level, 'ours', format('SELECT count(*) FROM vqueue.%I', v.relation))),
          CASE WHEN v.level = ANY (l.has) THEN 'ok' WHEN l.level = 'none' THEN '42704' ELSE '42501' END, format('view %s by %s', v.relation, l.level))
  FROM levels l, (VALUES ('overview', 'monitor'), ('stats', 'monitor'), ('metrics', 'monitor'), ('usage', 'monitor'), ('audit', 'admin'), ('sessions', 'operator'), ('draw_results', 'operator')) AS v (relation, level);
SELECT is(pg_temp.answer('matrix_' || l.level, 'ours', 'SELECT string_agg(DISTINCT labels ->> ''tenant'', '' '') FROM vqueue.metrics'), 'ok: ours',
          format('the tenant in metrics for %s', l.level))
  FROM levels l WHERE 'monitor' = ANY (l.has);
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'ours', format('SELECT count(*) FROM vqueue.%I()', f)), 'ok: ' || CASE WHEN 'monitor' = ANY (l.has) THEN 2 ELSE 0 END,
          format('queues of %s for %s', f, l.level))
  FROM levels l, unnest('{_counters,_figures}'::text[]) AS f;

-- ---- writing tables: the rows of the own tenant, and never another's ----
SELECT is(pg_temp.answer('matrix_all_' || l.level, 'ours', format('WITH w AS (%s RETURNING 1) SELECT count(*) FROM w', w.command)),
          'ok: ' || CASE WHEN 'operator' = ANY (l.has) THEN w.n ELSE 0 END, format('%s by %s', w.command, l.level))
  FROM levels l, (VALUES ('UPDATE vqueue.queues SET description = ''x''', 2), ('DELETE FROM vqueue.queues WHERE name = ''still''', 1),
                         ('UPDATE vqueue.user_sessions SET reason = ''x''', 3), ('DELETE FROM vqueue.user_sessions', 3),
                         ('UPDATE vqueue.tenants SET domain = ''x''', 0), ('DELETE FROM vqueue.access', 0),
                         ('UPDATE vqueue.access SET level = ''admin''', 0), ('DELETE FROM vqueue.events', 0), ('DELETE FROM vqueue.event_marks', 0),
                         ('UPDATE vqueue.ticket_ceilings SET ceiling = 1000000', 0), ('DELETE FROM vqueue.pass_keys', 0),
                         ('UPDATE vqueue.secrets SET value = ''x''', 0), ('DELETE FROM vqueue.queue_stats', 0)) AS w (command, n);
SELECT is(pg_temp.state(pg_temp.answer('matrix_all_' || l.level, 'ours', command)), '42501', format('%s by %s', left(command, 60), l.level))
  FROM levels l, unnest(ARRAY[
    format('INSERT INTO vqueue.queues (tenant_id, name) VALUES (%L, ''new'')', :'theirs'),
    format('UPDATE vqueue.queues SET tenant_id = %L WHERE name = ''still''', :'theirs'),
    format('INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (%L, gen_random_uuid())', :'foreign_queue'),
    format('INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (%L, gen_random_uuid(), 99)', :'foreign_queue'),
    'INSERT INTO vqueue.tenants (name) VALUES (''new'')',
    format('INSERT INTO vqueue.access (role, tenant_id, level) VALUES (''matrix_app'', %L, ''admin'')', :'theirs'),
    'INSERT INTO vqueue.secrets (name, value) VALUES (''ids'', ''x'')']) AS command
 WHERE NOT (command LIKE 'UPDATE%' AND NOT 'operator' = ANY (l.has));

-- ---- a level is changed and taken back, with its rights ----
SELECT vqueue.grant_access('matrix_operator', 'ours', 'monitor') \gset ignore_
SELECT is(has_function_privilege('matrix_operator', 'vqueue.release(text, int)', 'EXECUTE'), false, 'an operator who becomes a monitor may not release');
SELECT is(has_function_privilege('matrix_operator', 'vqueue.memory()', 'EXECUTE'), true, 'and may watch');
SELECT vqueue.grant_access('matrix_operator', 'theirs', 'app') \gset ignore_
SELECT is(vqueue.revoke_access('matrix_operator', 'ours'), true, 'it is taken away');
SELECT is(vqueue.revoke_access('matrix_operator', 'ours'), false, 'once');
SELECT is(has_function_privilege('matrix_operator', 'vqueue.join(text, uuid, text, text, text, text)', 'EXECUTE'), true, 'what the other tenant takes stays');
SELECT is(has_function_privilege('matrix_operator', 'vqueue.memory()', 'EXECUTE'), false, 'the rest goes');
SELECT is(vqueue.revoke_access('matrix_operator', 'theirs'), true, 'and the last');
SELECT is(has_schema_privilege('matrix_operator', 'vqueue', 'USAGE'), false, 'with the schema');

-- membership counts as far as it is inherited, at once, and a role that is renamed keeps what it has
CREATE ROLE matrix_member NOINHERIT;
GRANT matrix_all_app TO matrix_member;
GRANT USAGE ON SCHEMA vqueue TO matrix_member;
GRANT EXECUTE ON FUNCTION vqueue.join TO matrix_member;
SELECT is(pg_temp.state(pg_temp.answer('matrix_member', 'ours', $$SELECT vqueue.join('room')$$)), '42704', 'who does not inherit has no level');
-- from 16 on that is of each membership, and of new ones as the role is
ALTER ROLE matrix_member INHERIT;
REVOKE matrix_all_app FROM matrix_member;
GRANT matrix_all_app TO matrix_member;
SELECT is(pg_temp.state(pg_temp.answer('matrix_member', 'ours', $$SELECT vqueue.join('room')$$)), 'ok', 'who inherits has');
REVOKE matrix_all_app FROM matrix_member;
SELECT is(pg_temp.state(pg_temp.answer('matrix_member', 'ours', $$SELECT vqueue.join('room')$$)), '42704', 'and has not any more');
ALTER ROLE matrix_app RENAME TO "matrix ""app"" ' é";
SELECT is(pg_temp.state(pg_temp.answer('matrix "app" '' é', 'ours', $$SELECT vqueue.join('room')$$)), 'ok', 'a renamed role');
SELECT is(vqueue.renew_access() > 0, true, 'renew_access has no trouble with its name');
SELECT is(vqueue.revoke_access('matrix "app" '' é', 'ours'), true, 'nor has revoke_access');

-- ---- dropping tenants ----
SELECT throws_ok($$SELECT vqueue.drop_tenant('theirs')$$, '55006', 'tenant "theirs" is in use');
SELECT lives_ok($$SELECT vqueue.drop_tenant('theirs', true)$$, 'unless forced');
SELECT lives_ok($$SELECT vqueue.drop_tenant('ours', force => true)$$, 'a tenant with access goes');
SELECT is_empty('SELECT * FROM vqueue.access', 'and the access with it');
SELECT is(has_schema_privilege('matrix_admin', 'vqueue', 'USAGE'), false, 'and the rights');
SELECT throws_ok($$SELECT vqueue.drop_tenant('default')$$, '55000');
SELECT is_empty('SELECT * FROM vqueue.check()', 'memory is right');

SELECT * FROM finish();
DROP OWNED BY matrix_none, matrix_monitor, matrix_operator, matrix_admin, matrix_all_none, matrix_all_app, matrix_all_monitor, matrix_all_operator,
    matrix_all_admin, matrix_member, "matrix ""app"" ' é";
DROP ROLE matrix_none, matrix_monitor, matrix_operator, matrix_admin, matrix_all_none, matrix_all_app, matrix_all_monitor, matrix_all_operator,
    matrix_all_admin, matrix_member, "matrix ""app"" ' é";
