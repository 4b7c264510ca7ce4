-- What becomes of sessions that have ended: purged by hand and by the worker.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

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
    RETURN concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(regexp_replace(detail, '(Failing row) contains.*', '\1'), ''), '  hint: ' || nullif(hint, ''));
END
$$;
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
-- waits until the worker has told and counted everything: nothing is purged before that
CREATE FUNCTION pg_temp.count_all() RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
BEGIN
    IF NOT pg_temp.wait_for('SELECT NOT bool_or(vqueue._untold(queue_id, ticket, ''-infinity'')) FROM vqueue.user_sessions') THEN
        RETURN false;
    END IF;
    began := clock_timestamp();
    PERFORM vqueue._count_now();
    RETURN pg_temp.wait_for(format('SELECT counted_at >= %L FROM vqueue.event_log', began));
END
$$;
-- sessions of a queue by status
CREATE FUNCTION pg_temp.left_in(queue text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(status || ':' || n, ' ' ORDER BY status)
     FROM (SELECT status, count(*) AS n FROM vqueue.user_sessions WHERE queue_id = vqueue._queue(queue) GROUP BY status) s $$;

-- two queues with sessions that ended 1 to 20 days ago, some that wait, and one inside
INSERT INTO vqueue.tenants (name) VALUES ('history'), ('neighbour');
SET vqueue.tenant = 'history';
SELECT 'made' FROM vqueue.create_queue('old', 10000000, 1000, state => 'paused');
SELECT 'made' FROM vqueue.create_queue('older', 10000000, 1000, state => 'paused');
ALTER TABLE vqueue.user_sessions DISABLE TRIGGER session_before;
INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket, joined_at, served_at, left_at, status)
SELECT vqueue._queue(q), gen_random_uuid(), i, now() - interval '30 days', now() - interval '29 days',
       now() - interval '1 day' * i, 'completed'
  FROM generate_series(1, 20) i, unnest('{old,older}'::text[]) q;
ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_before;
SELECT count(*) FROM vqueue.join_many('old', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5)));
SELECT vqueue.release('old', 1);

-- the worker does it where a queue has a retention, when it has counted them
SELECT pg_temp.count_all();
SELECT 'set' FROM vqueue.alter_queue('older', session_retention => '10 days');
SELECT pg_temp.wait_for($$SELECT count(*) = 9 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('older')$$);
SELECT pg_temp.left_in('old'), pg_temp.left_in('older');
SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('older') AND left_at < now() - interval '10 days';

-- by hand: the oldest first, no more than asked for, of one queue
SELECT vqueue.purge('old', '15 days', 2);
SELECT max(ticket) FILTER (WHERE status = 'completed') FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('old');
SELECT vqueue.purge('old', '15 days');
SELECT vqueue.purge('old', '15 days');
SELECT pg_temp.left_in('old'), pg_temp.left_in('older');
-- its own retention counts where no age is given, and of all queues those that have one
SELECT vqueue.purge('older');
SELECT 'set' FROM vqueue.alter_queue('older', session_retention => '100 years');
SELECT vqueue.purge();
SELECT vqueue.purge(older_than => '8 days', max_rows => 10);
SELECT pg_temp.left_in('old'), pg_temp.left_in('older');
-- rolled back, nothing has gone
BEGIN;
SELECT vqueue.purge('old', '1 day 1 hour');
ROLLBACK;
SELECT pg_temp.left_in('old');
-- an altered retention is followed at once
SELECT 'set' FROM vqueue.alter_queue('older', session_retention => '3 days 12:00');
SELECT pg_temp.wait_for($$SELECT count(*) = 3 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('older')$$);
SELECT vqueue.purge(older_than => '0');
SELECT pg_temp.left_in('old'), pg_temp.left_in('older');

-- what refers to a session keeps it; the worker tells, and goes on when it can
CREATE TABLE keeps (session uuid REFERENCES vqueue.user_sessions);
SELECT 'ended' FROM vqueue.complete((SELECT id FROM vqueue.user_sessions WHERE status = 'serving' AND queue_id = vqueue._queue('old')));
SELECT vqueue.purge('old', '0');
SELECT pg_temp.count_all();
INSERT INTO keeps SELECT id FROM vqueue.user_sessions WHERE status = 'completed' AND queue_id = vqueue._queue('old');
SELECT left(pg_temp.attempt($$SELECT vqueue.purge('old', '0')$$), 6);
SELECT 'set' FROM vqueue.alter_queue('old', session_retention => '1 microsecond');
SELECT vqueue.release('old', 1);
SELECT pg_temp.left_in('old');
DROP TABLE keeps;
SELECT pg_temp.wait_for($$SELECT count(*) = 0 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('old') AND left_at IS NOT NULL$$);
SELECT pg_temp.left_in('old');

-- what is refused
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[$$SELECT vqueue.purge('nowhere')$$, $$SELECT vqueue.purge('old', '-1 s')$$,
    $$SELECT vqueue.purge('old', '101 years')$$, $$SELECT vqueue.purge('old', '1 day', 0)$$, $$SELECT vqueue.purge('old', '1 day', -1)$$,
    $$UPDATE vqueue.queues SET session_retention = '-1 s' WHERE name = 'old'$$, $$UPDATE vqueue.queues SET session_retention = NULL WHERE name = 'old'$$]) AS c;
SELECT 'set' FROM vqueue.alter_queue('old', session_retention => '0');
SELECT pg_temp.attempt($$SELECT vqueue.purge('old')$$);
SET vqueue.tenant = 'nobody';
SELECT pg_temp.attempt($$SELECT vqueue.purge(older_than => '0')$$);
SET vqueue.tenant = 'neighbour';
SELECT vqueue.purge(older_than => '0');
SET vqueue.tenant = 'history';

SELECT * FROM vqueue.check();

-- statistics: each join, release and end in the minute of its time
SELECT 'made' FROM vqueue.create_queue('figures', 10000000, 3, state => 'paused');
SELECT count(*) FROM vqueue.join_many('figures', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 8)));
SELECT vqueue.release('figures', 3);
SELECT 'done' FROM vqueue.complete((SELECT id FROM vqueue.sessions WHERE queue = 'figures' AND ticket = 1));
SELECT 'done' FROM vqueue.remove((SELECT id FROM vqueue.sessions WHERE queue = 'figures' AND ticket = 2));
SELECT 'done' FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'figures' AND ticket = 8));
SELECT pg_temp.count_all();
SELECT sum(joined), sum(released), sum(completed), sum("left"), sum(abandoned), sum(no_shows), sum(expired), sum(removed),
       max(peak_waiting), max(peak_serving) FROM vqueue.stats WHERE queue = 'figures';
SELECT s.joined = (SELECT count(*) FROM vqueue.user_sessions u WHERE u.queue_id = s.queue_id AND date_trunc('minute', joined_at) = s.minute),
       s.released = (SELECT count(*) FROM vqueue.user_sessions u WHERE u.queue_id = s.queue_id AND date_trunc('minute', served_at) = s.minute),
       s.completed = (SELECT count(*) FROM vqueue.user_sessions u WHERE u.queue_id = s.queue_id AND date_trunc('minute', left_at) = s.minute AND status = 'completed'),
       (SELECT max(abs(extract(epoch FROM w - p))) <= 0.000001
          FROM unnest(ARRAY[s.wait_p50, s.wait_p90, s.wait_p99],
                      (SELECT percentile_cont('{0.5,0.9,0.99}'::float8[]) WITHIN GROUP (ORDER BY served_at - joined_at)
                         FROM vqueue.user_sessions u WHERE u.queue_id = s.queue_id AND date_trunc('minute', served_at) = s.minute)) AS t (w, p)),
       (SELECT max(abs(extract(epoch FROM w - p))) <= 0.000001
          FROM unnest(ARRAY[s.stay_p50, s.stay_p90, s.stay_p99],
                      (SELECT percentile_cont('{0.5,0.9,0.99}'::float8[]) WITHIN GROUP (ORDER BY left_at - served_at)
                         FROM vqueue.user_sessions u WHERE u.queue_id = s.queue_id AND date_trunc('minute', left_at) = s.minute)) AS t (w, p))
  FROM vqueue.stats s WHERE queue = 'figures' ORDER BY minute LIMIT 1;
-- what comes later is added, and nothing counts twice
SELECT status FROM vqueue.join('figures');
SELECT pg_temp.count_all();
SELECT sum(joined), sum(released), sum(completed) FROM vqueue.stats WHERE queue = 'figures';
SELECT vqueue.purge('figures', '0');
SELECT pg_temp.count_all();
SELECT sum(joined), sum(released), sum(completed) FROM vqueue.stats WHERE queue = 'figures';
SET vqueue.tenant = 'neighbour';
SELECT count(*) FROM vqueue.stats;
SET vqueue.tenant = 'history';
SELECT 'dropped' FROM vqueue.drop_queue('figures', true);

-- the log of events: what happened to a queue, from a cursor on, once
SELECT 'made' FROM vqueue.create_queue('told', 10000000, 2, burst => 10);
SELECT vqueue.event_cursor() AS start \gset
SELECT status, count(*) FROM vqueue.join_many('told', ARRAY(SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid FROM generate_series(1, 5) i)) GROUP BY status ORDER BY status;
SELECT 'done' FROM vqueue.complete((SELECT id FROM vqueue.sessions WHERE queue = 'told' AND ticket = 1));
SELECT pg_temp.wait_for($$SELECT count(*) = 3 FROM vqueue.sessions WHERE queue = 'told' AND served_at IS NOT NULL$$);
SELECT 'closed' FROM vqueue.close('told');
SELECT pg_temp.wait_for($$SELECT count(*) = 1 FROM vqueue.events_since('told') WHERE event = 'state'$$);
SELECT event, payload ->> 'queue', s ->> 'ticket', s ->> 'user_id', s ->> 'status', payload ->> 'state'
  FROM vqueue.events_since('told', :start) LEFT JOIN jsonb_array_elements(payload -> 'sessions') s ON true
 ORDER BY (event = 'state'), (s ->> 'ticket')::int, event DESC;
SELECT bool_and(seq = (payload ->> 'seq')::bigint AND at = (payload ->> 'at')::timestamptz AND event = payload ->> 'event') FROM vqueue.events_since('told', :start);
-- bit by bit it is the same
WITH RECURSIVE bits AS (
    SELECT 1 AS n, (SELECT min(seq) FROM vqueue.events_since('told', :start, 1)) AS seq
    UNION ALL
    SELECT n + 1, (SELECT max(seq) FROM vqueue.events_since('told', b.seq, 1)) FROM bits b WHERE b.seq IS NOT NULL)
SELECT (SELECT array_agg(seq ORDER BY n) FROM bits WHERE seq IS NOT NULL) = (SELECT array_agg(seq ORDER BY seq) FROM vqueue.events_since('told', :start));
-- at the end there is nothing more; other queues and tenants are other matters
SELECT count(*) FROM vqueue.events_since('told', vqueue.event_cursor('told'));
SELECT count(*) FILTER (WHERE payload ->> 'queue' = 'told') = (SELECT count(*) FROM vqueue.events_since('told')), bool_and(payload ->> 'tenant' = 'history') FROM vqueue.events_since(NULL);
SET vqueue.tenant = 'neighbour';
SELECT count(*) FROM vqueue.events_since(NULL);
SET vqueue.tenant = 'history';
SELECT pg_temp.attempt(c) FROM unnest(ARRAY[$$SELECT vqueue.events_since('nowhere')$$, $$SELECT vqueue.events_since('told', -1)$$,
    $$SELECT vqueue.events_since('told', NULL)$$, $$SELECT vqueue.events_since('told', 0, NULL)$$, $$SELECT vqueue.events_since('told', 0, 0)$$,
    $$SELECT vqueue.events_since('told', 0, 100001)$$, $$SELECT vqueue.event_cursor('nowhere')$$]) AS c;
-- a cursor older than what is kept is refused, but for the beginning itself
BEGIN;
UPDATE vqueue.event_log SET begun = 1000;
SELECT pg_temp.attempt($$SELECT vqueue.events_since('told', 999)$$);
UPDATE vqueue.event_marks SET trimmed = 2000 WHERE queue_id = vqueue._queue('told');
SELECT pg_temp.attempt($$SELECT vqueue.events_since('told', 1999)$$);
SELECT pg_temp.attempt($$SELECT vqueue.events_since(NULL, 1000)$$) LIKE '55000%';
SELECT count(*) > 3 FROM vqueue.events_since('told', 2000);
SELECT count(*) > 0 FROM vqueue.events_since('old', 1000);
SELECT count(*) > 3 FROM vqueue.events_since('told', 0);
ROLLBACK;
SELECT vqueue._queue('told') AS told \gset
SELECT 'dropped' FROM vqueue.drop_queue('told', true);
SELECT count(*) FROM vqueue.event_marks m WHERE m.queue_id = :'told';
SELECT 'dropped' FROM vqueue.drop_queue('old', true);
SELECT 'dropped' FROM vqueue.drop_queue('older', true);
RESET vqueue.tenant;
DELETE FROM vqueue.tenants WHERE name IN ('history', 'neighbour');
