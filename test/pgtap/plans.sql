-- Plans: what is asked for by its id is found by its id, whatever the statistics say.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;

-- When the statistics are made all have left, and so that few are live is what plans go by.
SELECT count(vqueue.create_queue('q', state => 'paused')) AS made \gset
SELECT count(*) AS joined FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 2000))) \gset
SELECT count(vqueue.leave(id)) AS gone FROM vqueue.user_sessions \gset
VACUUM ANALYZE vqueue.user_sessions;
SELECT count(*) AS joined FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000))) \gset

BEGIN;
SELECT plan(3);
SELECT is(count(vqueue.leave(id)), 1000::bigint, 'a thousand leave') FROM vqueue.user_sessions WHERE status = 'waiting';
SELECT cmp_ok(pg_stat_get_xact_tuples_returned('vqueue.user_sessions_live_key'::regclass), '<', 5000::bigint,
              'without reading the index of the live ones a thousand times');
SELECT cmp_ok(pg_stat_get_xact_numscans('vqueue.user_sessions_pkey'::regclass), '>=', 1000::bigint,
              'but each by its id');
SELECT * FROM finish();
ROLLBACK;
