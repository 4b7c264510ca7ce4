-- The view metrics: names and types by Prometheus's conventions, what is counted, and what is not.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;
SELECT plan(32);

CREATE FUNCTION pg_temp.figure(metric text, label text = NULL, of text = 'q') RETURNS float8 LANGUAGE sql AS $$
    SELECT value FROM vqueue.metrics
     WHERE name = metric AND coalesce(labels->>'queue' = of, true)
       AND (label IS NULL OR label IN (labels->>'status', labels->>'le', labels->>'result')) $$;
CREATE FUNCTION pg_temp.await(condition text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    so bool;
BEGIN
    FOR i IN 1..18000 LOOP
        EXECUTE 'SELECT ' || condition INTO so;
        EXIT WHEN so;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN so;
END $$;

SELECT vqueue.create_queue('q', 600000, 3, burst => 10, state => 'paused') IS NOT NULL AS made \gset
SELECT count(*) AS joined FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10))) \gset

-- conventions
SELECT is_empty($$SELECT name FROM vqueue.metrics WHERE name !~ '^vqueue_[a-z_]+$'$$, 'names are of small letters');
SELECT is_empty($$SELECT name FROM vqueue.metrics WHERE (type = 'counter') <> (name ~ '_total$')$$, 'counters end in _total, and nothing else does');
SELECT is_empty($$SELECT name FROM vqueue.metrics WHERE type = 'histogram' AND name !~ '_(bucket|sum|count)$'$$, 'histograms have their parts');
SELECT is_empty($$SELECT name FROM vqueue.metrics WHERE type NOT IN ('gauge', 'counter', 'histogram', 'summary') OR help = '' OR value IS NULL OR labels IS NULL$$, 'each has type, help, labels and value');
SELECT is_empty($$SELECT name, labels FROM vqueue.metrics GROUP BY 1, 2 HAVING count(*) > 1$$, 'no series comes twice');
SELECT is_empty($$SELECT name FROM vqueue.metrics GROUP BY 1 HAVING count(DISTINCT type || help) > 1$$, 'all series of a metric are described alike');
SELECT is_empty($$SELECT labels FROM vqueue.metrics WHERE name ~ '_bucket$' AND labels->>'le' <> '+Inf' AND (labels->>'le')::float8 IS NULL$$, 'bounds are numbers');

-- counting
SELECT is(pg_temp.figure('vqueue_waiting'), 10::float8, 'ten wait');
SELECT is(pg_temp.figure('vqueue_release_lag_seconds'), 0::float8, 'a paused queue does not lag');
SELECT is(pg_temp.figure('vqueue_released_total'), 0::float8, 'nobody was let in');
SELECT is(vqueue.release('q', 2), 2, 'two are, by hand');
SELECT is(pg_temp.figure('vqueue_released_total'), 2::float8, 'two are counted');
SELECT is(pg_temp.figure('vqueue_wait_seconds_count'), 2::float8, 'and have waited');
SELECT is(pg_temp.figure('vqueue_wait_seconds_sum')::numeric(12, 3),
          (SELECT sum(extract(epoch FROM served_at - joined_at)) FROM vqueue.user_sessions)::numeric(12, 3), 'as long as their rows say');
BEGIN;
SELECT vqueue.release('q', 1) AS released \gset
SAVEPOINT s;
SELECT (vqueue.leave(id)).status AS gone FROM vqueue.sessions WHERE position = 1 \gset
ROLLBACK TO s;
SELECT is(pg_temp.figure('vqueue_released_total'), 2::float8, 'what has not committed is not counted');
ROLLBACK;
SELECT is(pg_temp.figure('vqueue_released_total'), 2::float8, 'nor what was rolled back');
BEGIN;
SAVEPOINT s;
SELECT (vqueue.leave(id)).status AS gone FROM vqueue.sessions WHERE position = 1 \gset
ROLLBACK TO s;
SELECT (vqueue.remove(id)).status AS gone FROM vqueue.sessions WHERE position = 2 \gset
COMMIT;
SELECT is(pg_temp.figure('vqueue_ended_total', 'left'), 0::float8, 'nor what a savepoint took back');
SELECT is(pg_temp.figure('vqueue_ended_total', 'removed'), 1::float8, 'the rest of the transaction is');
UPDATE vqueue.user_sessions SET status = 'completed' WHERE status = 'serving';
SELECT is(pg_temp.figure('vqueue_ended_total', 'completed'), 2::float8, 'what is done by hand is counted');
UPDATE vqueue.user_sessions SET joined_at = now() - interval '1 hour' WHERE status = 'waiting';
SELECT is(vqueue.release('q', 1), 1, 'somebody comes in who has waited for an hour');
SELECT is(pg_temp.figure('vqueue_wait_seconds_bucket', '1800'), 2::float8, 'more than half an hour,');
SELECT is(pg_temp.figure('vqueue_wait_seconds_bucket', '7200'), 3::float8, 'less than two,');
SELECT is(pg_temp.figure('vqueue_wait_seconds_bucket', '+Inf'), 3::float8, 'and in any case');
DELETE FROM vqueue.user_sessions WHERE status = 'waiting';
SELECT is(pg_temp.figure('vqueue_waiting'), 0::float8, 'deleted ones do not wait');
SELECT vqueue.resume('q') \gset
SELECT (vqueue.join('q')).status AS served \gset
SELECT is(:'served'::text, 'serving', 'a newcomer is served at once');
SELECT ok(served_at = joined_at, 'and has waited 0') FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket DESC LIMIT 1;
SELECT is(pg_temp.figure('vqueue_wait_seconds_bucket', '0.1'),
          (SELECT count(*)::float8 FROM vqueue.user_sessions WHERE served_at - joined_at <= '0.1 s'), 'as is counted');
SELECT vqueue.rebuild() \gset
SELECT is(pg_temp.figure('vqueue_released_total'), 4::float8, 'a rebuild keeps the counts');
SELECT ok(pg_temp.figure('vqueue_sample_sessions', 'looked_at') > 0, 'sessions are looked at');
SELECT is(pg_temp.figure('vqueue_sample_sessions', 'differing'), 0::float8, 'and agree');
SELECT vqueue.drop_queue('q', force => true) \gset
SELECT ok(pg_temp.await($$pg_temp.figure('vqueue_waiting') IS NULL AND pg_temp.figure('vqueue_released_total') IS NULL$$), 'a queue that is dropped has no figures');
SELECT ok(pg_temp.await('vqueue.is_healthy()'), 'the server is healthy');

SELECT * FROM finish();
