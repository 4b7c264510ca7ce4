-- What applications lean on: names, arguments and results of functions, columns of tables, types and views.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;
BEGIN;
SELECT no_plan();

-- functions: name, arguments, result, volatility
CREATE TEMP TABLE face (name name, arguments name[], result text, volatility text);
INSERT INTO face VALUES
    ('create_tenant', '{text,text}', 'uuid', 'volatile'),
    ('drop_tenant', '{text,boolean}', 'void', 'volatile'),
    ('grant_access', '{text,text,text}', 'void', 'volatile'),
    ('revoke_access', '{text,text}', 'boolean', 'volatile'),
    ('renew_access', '{}', 'integer', 'volatile'),
    ('create_queue', '{text,integer,integer,text,integer,integer,text,text,integer[],interval,interval,interval,timestamp with time zone,timestamp with time zone,timestamp with time zone,interval,interval,integer,interval}', 'uuid', 'volatile'),
    ('alter_queue', '{text,integer,integer,text,integer,integer,text,text,integer[],interval,interval,interval,timestamp with time zone,timestamp with time zone,timestamp with time zone,interval,interval,integer,interval}', 'void', 'volatile'),
    ('alter_tenant', '{text,integer,integer,text,text}', 'void', 'volatile'),
    ('forget_user', '{uuid}', 'integer', 'volatile'),
    ('drop_queue', '{text,boolean}', 'void', 'volatile'),
    ('open', '{text}', 'void', 'volatile'),
    ('pause', '{text}', 'void', 'volatile'),
    ('resume', '{text}', 'void', 'volatile'),
    ('drain', '{text}', 'void', 'volatile'),
    ('close', '{text}', 'void', 'volatile'),
    ('release', '{text,integer}', 'integer', 'volatile'),
    ('join', '{text,uuid,text,text,text,text}', 'vqueue.place', 'volatile'),
    ('join_many', '{text,uuid[],text}', 'setof vqueue.place', 'volatile'),
    ('poll', '{uuid}', 'vqueue.place', 'volatile'),
    ('status', '{uuid}', 'vqueue.place', 'stable'),
    ('heartbeat', '{uuid}', 'bigint', 'volatile'),
    ('position', '{uuid}', 'bigint', 'stable'),
    ('position', '{text,bigint}', 'bigint', 'stable'),
    ('positions', '{uuid[]}', 'bigint[]', 'stable'),
    ('leave', '{uuid}', 'vqueue.place', 'volatile'),
    ('complete', '{uuid}', 'vqueue.place', 'volatile'),
    ('remove', '{uuid,text}', 'vqueue.place', 'volatile'),
    ('claim', '{uuid}', 'vqueue.place', 'volatile'),
    ('extend', '{uuid}', 'vqueue.place', 'volatile'),
    ('readmit', '{uuid,text}', 'vqueue.place', 'volatile'),
    ('set_priority', '{uuid,text}', 'vqueue.place', 'volatile'),
    ('user_id', '{text}', 'uuid', 'stable'),
    ('schedule_state', '{text,text,text}', 'bigint', 'volatile'),
    ('schedule_purge', '{text,interval,text,integer}', 'bigint', 'volatile'),
    ('unschedule', '{bigint}', 'boolean', 'volatile'),
    ('import_sessions', '{text,boolean}', 'setof record', 'volatile'),
    ('prepare_draw', '{text}', 'text', 'volatile'),
    ('set_draw_beacon', '{text,text}', 'void', 'volatile'),
    ('draw_entrants', '{text}', 'setof record', 'stable'),
    ('explain_position', '{uuid}', 'setof record', 'stable'),
    ('verify_draw', '{text,uuid}', 'record', 'stable'),
    ('check', '{}', 'setof record', 'volatile'),
    ('rebuild', '{}', 'bigint', 'volatile'),
    ('memory', '{}', 'record', 'volatile'),
    ('health', '{}', 'setof record', 'volatile'),
    ('is_healthy', '{}', 'boolean', 'volatile'),
    ('preflight', '{}', 'setof record', 'volatile'),
    ('channel', '{text}', 'text', 'stable'),
    ('purge', '{text,interval,integer}', 'bigint', 'volatile'),
    ('events_since', '{text,bigint,integer}', 'setof record', 'stable'),
    ('event_cursor', '{text}', 'bigint', 'stable'),
    ('board', '{text}', 'json', 'stable'),
    ('board_number', '{uuid}', 'bigint', 'stable'),
    ('position_from_board', '{jsonb,bigint,text}', 'bigint', 'immutable'),
    ('pass', '{uuid,interval}', 'text', 'volatile'),
    ('verify_pass', '{text,text}', 'record', 'volatile'),
    ('jwks', '{text}', 'json', 'volatile'),
    ('canary', '{text,jsonb,double precision,double precision,interval,integer,interval,double precision}', 'uuid', 'volatile'),
    ('canary_keep', '{text,text}', 'void', 'volatile'),
    ('canary_revert', '{text,text}', 'void', 'volatile'),
    ('feature', '{text}', 'boolean', 'stable'),
    ('set_feature', '{text,boolean,text}', 'void', 'volatile'),
    ('rotate_key', '{text,interval,interval}', 'uuid', 'volatile');
SELECT has_function('vqueue', name, arguments) FROM face;
SELECT function_returns('vqueue', name, arguments, result) FROM face;
SELECT volatility_is('vqueue', name, arguments, volatility) FROM face;
SELECT isnt_definer('vqueue', name, arguments) FROM face;
SELECT set_eq($$SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'vqueue'::regnamespace AND proname NOT LIKE '\_%'$$,
              'SELECT DISTINCT name FROM face', 'there is no other function for applications');

-- arguments that may be left out
SELECT is(pg_get_function_arguments('vqueue.join'::regproc),
          'queue text, user_id uuid DEFAULT gen_random_uuid(), user_name text DEFAULT NULL::text, '
          'user_email text DEFAULT NULL::text, priority text DEFAULT ''normal''::text, client_key text DEFAULT NULL::text', 'join: names and defaults');
SELECT is(pg_get_function_arguments('vqueue.create_queue'::regproc),
          'name text, release_rate_per_minute integer DEFAULT 10, max_concurrent_users integer DEFAULT 100, '
          'description text DEFAULT NULL::text, burst integer DEFAULT 0, max_waiting integer DEFAULT 0, '
          'state text DEFAULT NULL::text, method text DEFAULT ''fifo''::text, lane_weights integer[] DEFAULT NULL::integer[], '
          'waiting_timeout interval DEFAULT ''00:00:00''::interval, serving_timeout interval DEFAULT ''00:00:00''::interval, '
          'claim_timeout interval DEFAULT ''00:00:00''::interval, prequeue_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
          'opens_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
          'closes_at timestamp with time zone DEFAULT NULL::timestamp with time zone, '
          'session_retention interval DEFAULT ''00:00:00''::interval, '
          'pass_lifetime interval DEFAULT ''00:15:00''::interval, client_limit integer DEFAULT 0, '
          'client_window interval DEFAULT ''00:10:00''::interval', 'create_queue: names and defaults');

-- the type place
SELECT columns_are('vqueue', 'place', '{id,queue,user_id,status,priority,ticket,position,estimated_wait,estimated_wait_p90,next_poll_after,joined_at,served_at,left_at}'::name[]);

SELECT columns_are('vqueue', 'metrics', '{name,type,help,labels,value}'::name[]);

-- tables: what people migrate from
SELECT has_table('vqueue'::name, t) FROM unnest('{tenants,queues,ticket_ceilings,user_sessions,events,queue_stats}'::name[]) AS t;
SELECT has_view('vqueue'::name, v) FROM unnest('{overview,sessions,stats,schedules}'::name[]) AS v;
SELECT has_table('vqueue'::name, t) FROM unnest('{tenants,queues,ticket_ceilings,user_sessions,draws}'::name[]) AS t;
SELECT has_view('vqueue'::name, v) FROM unnest('{overview,sessions,draw_results}'::name[]) AS v;
SELECT has_table('vqueue'::name, t) FROM unnest('{tenants,queues,ticket_ceilings,user_sessions,events}'::name[]) AS t;
SELECT has_view('vqueue'::name, v) FROM unnest('{overview,sessions,schedules}'::name[]) AS v;
SELECT has_table('vqueue'::name, t) FROM unnest('{tenants,queues,ticket_ceilings,user_sessions,pass_keys}'::name[]) AS t;
SELECT has_view('vqueue'::name, v) FROM unnest('{overview,sessions}'::name[]) AS v;
SELECT has_table('vqueue'::name, t) FROM unnest('{tenants,queues,ticket_ceilings,user_sessions}'::name[]) AS t;
SELECT has_view('vqueue'::name, v) FROM unnest('{overview,sessions,metrics}'::name[]) AS v;
SELECT col_is_pk('vqueue'::name, t, 'id'::name, t || ' has its id as key') FROM unnest('{tenants,queues,user_sessions}'::name[]) AS t;
SELECT col_type_is('vqueue', 'user_sessions', c, 'uuid', c || ' is a uuid') FROM unnest('{id,queue_id,user_id}'::name[]) AS c;
SELECT col_type_is('vqueue', 'user_sessions', 'ticket', 'bigint', 'a ticket is a bigint');
SELECT col_type_is('vqueue', 'user_sessions', c, 'timestamp with time zone', c || ' is a timestamptz') FROM unnest('{joined_at,served_at,left_at}'::name[]) AS c;
SELECT col_not_null('vqueue', 'user_sessions', c, c || ' is there') FROM unnest('{id,queue_id,user_id,ticket,joined_at,status,priority}'::name[]) AS c;
SELECT col_default_is('vqueue', 'user_sessions', 'status', 'waiting', 'a session begins waiting');
SELECT col_default_is('vqueue', 'user_sessions', 'priority', 'normal', 'in the normal lane');
SELECT col_default_is('vqueue', 'queues', 'max_concurrent_users', '100', 'the default cap');
SELECT col_default_is('vqueue', 'queues', 'release_rate_per_minute', '10', 'the default rate');
SELECT col_is_unique('vqueue', 'queues', '{tenant_id,name}'::name[]);
SELECT index_is_unique('vqueue', 'user_sessions', i) FROM unnest('{user_sessions_live_key,user_sessions_queue_id_ticket_key}'::name[]) AS i;

-- nothing for PUBLIC
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   WHERE p.pronamespace = 'vqueue'::regnamespace AND a.grantee = 0$$, 'no function is granted to PUBLIC');
SELECT is_empty($$SELECT c.oid::regclass FROM pg_class c, aclexplode(c.relacl) a
                   WHERE c.relnamespace = 'vqueue'::regnamespace AND a.grantee = 0$$, 'nor a table or view');

SELECT * FROM finish();
ROLLBACK;
