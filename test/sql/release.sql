-- Release by hand: order, lanes, cap, states.
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

CREATE FUNCTION pg_temp.inside(queue text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(ltrim(right(s.user_id::text, 4), '0'), ' ' ORDER BY s.ticket), 'nobody')
      FROM vqueue.user_sessions s WHERE s.queue_id = vqueue._queue($1) AND s.status = 'serving'
$$;
CREATE FUNCTION pg_temp.line(queue text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(ltrim(right(s.user_id::text, 4), '0') || '@' || s.position, ' ' ORDER BY s.position), 'nobody')
      FROM vqueue.sessions s WHERE s.queue = $1 AND s.status = 'waiting'
$$;

-- in the order of arrival, never more than asked for, waiting or free
SELECT 'made' FROM vqueue.create_queue('q', release_rate_per_minute => 1, max_concurrent_users => 5, state => 'paused');
SELECT vqueue.release('q', 3);
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 8) AS n));
SELECT vqueue.release('q', 1), pg_temp.line('q');
SELECT pg_temp.inside('q'), pg_temp.line('q');
SELECT vqueue.release('q', 2);
SELECT pg_temp.inside('q'), pg_temp.line('q');
SELECT vqueue.release('q', 100);
SELECT pg_temp.inside('q'), pg_temp.line('q');
SELECT vqueue.release('q', 100);
SELECT waiting, serving, released, released_last_minute FROM vqueue.overview WHERE queue = 'q';
-- all let in by one call have the same time, later than their arrival, not before those let in earlier
SELECT bool_and(served_at >= joined_at), count(DISTINCT served_at) FROM vqueue.sessions WHERE status = 'serving';
SELECT bool_and(later.served_at >= earlier.served_at) FROM vqueue.sessions earlier JOIN vqueue.sessions later ON later.ticket > earlier.ticket
 WHERE earlier.served_at IS NOT NULL AND later.served_at IS NOT NULL;
SELECT * FROM vqueue.check();

-- a cap below the number inside sends nobody away and lets nobody in until enough have gone
SELECT vqueue.alter_queue('q', max_concurrent_users => 2);
SELECT vqueue.release('q', 1);
SELECT status FROM vqueue.complete(pg_temp.s('q', 1));
SELECT status FROM vqueue.leave(pg_temp.s('q', 2));
SELECT status FROM vqueue.remove(pg_temp.s('q', 3));
SELECT vqueue.release('q', 10);
SELECT serving FROM vqueue.overview WHERE queue = 'q';
SELECT status FROM vqueue.complete(pg_temp.s('q', 4));
SELECT vqueue.release('q', 10);
SELECT pg_temp.inside('q'), pg_temp.line('q');
SELECT vqueue.alter_queue('q', max_concurrent_users => 3);
SELECT vqueue.release('q', 10);
SELECT pg_temp.inside('q'), pg_temp.line('q');
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('q', true);

-- lanes: strictly vip, high, normal, low; in each by arrival
SELECT 'made' FROM vqueue.create_queue('lanes', max_concurrent_users => 100, state => 'paused');
SELECT n, (vqueue.join('lanes', pg_temp.u(n), priority => (ARRAY['low', 'normal', 'vip', 'high', 'normal', 'low', 'high', 'vip'])[n])).position
  FROM generate_series(1, 8) AS n;
SELECT pg_temp.line('lanes');
-- the table alone says the same: higher lanes, then tickets
SELECT count(*) FROM vqueue.sessions s
 WHERE position IS DISTINCT FROM (SELECT count(*) FROM vqueue.user_sessions o
                                   WHERE o.queue_id = s.queue_id AND o.status = 'waiting'
                                     AND (array_position(ARRAY['vip', 'high', 'normal', 'low'], o.priority), o.ticket)
                                         <= (array_position(ARRAY['vip', 'high', 'normal', 'low'], s.priority), s.ticket));
SELECT vqueue.release('lanes', 1);
SELECT pg_temp.inside('lanes'), pg_temp.line('lanes');
SELECT vqueue.release('lanes', 4);
SELECT pg_temp.inside('lanes'), pg_temp.line('lanes');
-- a late vip overtakes all, a late low nobody
SELECT position FROM vqueue.join('lanes', pg_temp.u(11), priority => 'low');
SELECT position FROM vqueue.join('lanes', pg_temp.u(12), priority => 'vip');
SELECT pg_temp.line('lanes');
SELECT head = (SELECT ticket FROM vqueue.user_sessions WHERE id = pg_temp.s('lanes', 12)) FROM vqueue.overview WHERE queue = 'lanes';
SELECT vqueue.release('lanes', 2);
SELECT pg_temp.inside('lanes'), pg_temp.line('lanes');
SELECT vqueue.release('lanes', 100);
SELECT pg_temp.line('lanes'), head, waiting FROM vqueue.overview WHERE queue = 'lanes';
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('lanes', true);

-- by state
SELECT 'made' FROM vqueue.create_queue('states', max_concurrent_users => 100, release_rate_per_minute => 1, state => 'paused');
SELECT count(*) FROM vqueue.join_many('states', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 9) AS n));
SELECT vqueue.close('states');
SELECT pg_temp.attempt($$SELECT vqueue.release('states', 1)$$);
SELECT vqueue.pause('states');
SELECT vqueue.release('states', 2);
SELECT pg_temp.inside('states');
-- by hand goes past the rate, which pays it back: the open queue lets nobody else in for minutes
SELECT vqueue.release('states', 3);
SELECT vqueue.open('states');
SELECT estimated_wait > interval '3 minutes' FROM vqueue.status(pg_temp.s('states', 6));
SELECT vqueue.drain('states');
SELECT vqueue.release('states', 1);
SELECT pg_temp.inside('states'), pg_temp.line('states');
SELECT * FROM vqueue.check();
-- taken back, the debt goes as well
SELECT estimated_wait AS before FROM vqueue.status(pg_temp.s('states', 7)) \gset
BEGIN;
SELECT vqueue.release('states', 3);
SELECT estimated_wait > :'before' FROM vqueue.status(pg_temp.s('states', 9));
ROLLBACK;
SELECT estimated_wait <= :'before' FROM vqueue.status(pg_temp.s('states', 7));
SELECT pg_temp.inside('states'), pg_temp.line('states');
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('states', true);

-- many at once, over many chunks, in several batches, past those who have gone
SELECT 'made' FROM vqueue.create_queue('big', max_concurrent_users => 100000, release_rate_per_minute => 1, state => 'paused');
SELECT count(*) FROM vqueue.join_many('big', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 25000) AS n));
UPDATE vqueue.user_sessions SET status = 'left' WHERE ticket % 3 = 0;
UPDATE vqueue.user_sessions SET priority = 'vip' WHERE ticket > 24000 AND status = 'waiting';
SELECT vqueue.release('big', 12000);
SELECT count(*), min(ticket), max(ticket) FILTER (WHERE priority = 'normal'), count(*) FILTER (WHERE priority = 'vip')
  FROM vqueue.sessions WHERE status = 'serving';
SELECT count(*), min(ticket), min(position), max(position), count(DISTINCT position) FROM vqueue.sessions WHERE status = 'waiting';
-- nobody was overtaken in his lane
SELECT count(*) FROM (SELECT priority, max(ticket) FILTER (WHERE status = 'serving') AS last_in,
                             min(ticket) FILTER (WHERE status = 'waiting') AS first_out
                        FROM vqueue.user_sessions GROUP BY priority) AS l WHERE first_out < last_in;
SELECT * FROM vqueue.check();
SELECT vqueue.release('big', 1000000);
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'big';
SELECT * FROM vqueue.check();
-- the line is empty, the next is the first
UPDATE vqueue.user_sessions SET status = 'completed' WHERE status = 'serving';
SELECT ticket, position FROM vqueue.join('big', pg_temp.u(30000));
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('big', true);

-- the worker by itself: in order, within cap and rate
SELECT 'made' FROM vqueue.create_queue('auto', max_concurrent_users => 40, release_rate_per_minute => 60000, burst => 10, state => 'paused');
SELECT count(*) FROM vqueue.join_many('auto', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 60) AS n));
SELECT count(*) FROM vqueue.join_many('auto', ARRAY(SELECT pg_temp.u(n) FROM generate_series(61, 70) AS n), 'high');
SELECT vqueue.open('auto');
SELECT pg_temp.wait_for($$SELECT serving = 40 FROM vqueue.overview WHERE queue = 'auto'$$);
SELECT pg_temp.inside('auto');
-- any window of w seconds has at most burst + rate * w releases: between the i-th and the j-th lie at least (j - i + 1 - burst) / rate
WITH r AS (SELECT served_at, row_number() OVER (ORDER BY served_at) AS n FROM vqueue.sessions WHERE status = 'serving')
SELECT count(*) FROM r a JOIN r b ON b.n >= a.n
 WHERE b.n - a.n + 1 > 10 + 60000 / 60.0 * extract(epoch FROM b.served_at - a.served_at) + 0.000001;
SELECT count((vqueue.complete(id)).id) FROM vqueue.user_sessions WHERE status = 'serving' AND priority = 'high';
SELECT pg_temp.wait_for($$SELECT serving = 40 AND waiting = 20 FROM vqueue.overview WHERE queue = 'auto'$$);
SELECT vqueue.pause('auto');
SELECT count((vqueue.complete(id)).id) FROM vqueue.user_sessions WHERE status = 'serving';
SELECT pg_temp.inside('auto'), waiting FROM vqueue.overview WHERE queue = 'auto';
SELECT vqueue.drain('auto');
SELECT pg_temp.wait_for($$SELECT serving = 20 AND waiting = 0 FROM vqueue.overview WHERE queue = 'auto'$$);
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('auto', true);
SELECT count(*) FROM vqueue.user_sessions;
