-- The steps of a session beside joining and leaving: claim, extend, readmit, set_priority; and a queue's methods.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

-- the n-th user of this test
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- the live session, or else the last one, of that user in a queue
CREATE FUNCTION pg_temp.s(queue text, n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions
    WHERE queue_id = vqueue._queue(queue) AND user_id = pg_temp.u(n) ORDER BY left_at IS NULL DESC, ticket DESC LIMIT 1 $$;
-- who stands where, as user/priority@position, and who is inside, as user:status
CREATE FUNCTION pg_temp.line(q text) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' | ', string_agg(ltrim(right(user_id::text, 12), '0') || ':' || status, ' ' ORDER BY ticket) FILTER (WHERE position = 0),
                    string_agg(ltrim(right(user_id::text, 12), '0') || '/' || priority || '@' || position, ' ' ORDER BY position) FILTER (WHERE position > 0))
     FROM vqueue.sessions WHERE queue = q AND left_at IS NULL $$;
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
    RETURN regexp_replace(concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, '')),
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
END
$$;

-- the call: a release makes ready, which holds the slot; claiming it is what serves
SELECT 'made' FROM vqueue.create_queue('call', 10000000, 2, burst => 1000, claim_timeout => '1 hour');
SELECT status, position, served_at FROM vqueue.join('call', pg_temp.u(1));
SELECT ready_at = joined_at, served_at, extended_at FROM vqueue.user_sessions WHERE id = pg_temp.s('call', 1);
SELECT vqueue.pause('call');
SELECT count(*) FROM vqueue.join_many('call', ARRAY[pg_temp.u(2), pg_temp.u(3), pg_temp.u(4)]);
SELECT vqueue.release('call', 5);
SELECT pg_temp.line('call');
SELECT status, position, estimated_wait, served_at FROM vqueue.poll(pg_temp.s('call', 2));
SELECT pg_temp.attempt(format('SELECT vqueue.%I(%L)', f, pg_temp.s('call', 1))) FROM unnest(ARRAY['complete', 'extend', 'readmit']) AS f;
SELECT pg_temp.attempt(format('SELECT vqueue.%I(%L)', f, pg_temp.s('call', 3))) FROM unnest(ARRAY['claim', 'complete', 'extend', 'readmit']) AS f;
SELECT status, position, served_at >= joined_at FROM vqueue.claim(pg_temp.s('call', 1));
SELECT served_at AS claimed FROM vqueue.status(pg_temp.s('call', 1)) \gset
-- again is no error, and counts once
SELECT status, served_at = :'claimed' FROM vqueue.claim(pg_temp.s('call', 1));
SELECT released, serving FROM vqueue.overview WHERE queue = 'call';
BEGIN;
SELECT status FROM vqueue.claim(pg_temp.s('call', 2));
ROLLBACK;
SELECT status FROM vqueue.status(pg_temp.s('call', 2));
-- who is called may leave
SELECT status, served_at FROM vqueue.leave(pg_temp.s('call', 2));
SELECT pg_temp.attempt(format('SELECT vqueue.claim(%L)', pg_temp.s('call', 2)));
SELECT vqueue.release('call', 1);
SELECT pg_temp.line('call');
SELECT * FROM vqueue.check();
-- memory built anew knows who has to claim
SELECT vqueue.rebuild();
SELECT * FROM vqueue.check();
-- without a claim_timeout a release serves, and claim has nothing to do
SELECT vqueue.alter_queue('call', claim_timeout => '0', max_concurrent_users => 3);
SELECT vqueue.release('call', 1);
SELECT pg_temp.line('call');
SELECT status FROM vqueue.claim(pg_temp.s('call', 4));
-- those called before still claim
SELECT status FROM vqueue.claim(pg_temp.s('call', 3));
SELECT * FROM vqueue.check();

-- a lease is renewed
SELECT status, extended FROM vqueue.extend(pg_temp.s('call', 1)) p, LATERAL (SELECT extended_at IS NOT NULL AS extended FROM vqueue.user_sessions s WHERE s.id = p.id) e;
SELECT extended_at > served_at FROM vqueue.user_sessions WHERE id = pg_temp.s('call', 1);
SELECT status FROM vqueue.complete(pg_temp.s('call', 1));
SELECT pg_temp.attempt(format('SELECT vqueue.%I(%L)', f, pg_temp.s('call', 1))) FROM unnest(ARRAY['claim', 'extend', 'readmit', 'set_priority']) AS f WHERE f <> 'set_priority';
SELECT pg_temp.attempt(format('SELECT vqueue.set_priority(%L, ''vip'')', pg_temp.s('call', 1)));

-- by hand, statuses bring their times
UPDATE vqueue.user_sessions SET status = 'ready' WHERE id = pg_temp.s('call', 3) RETURNING status, ready_at IS NOT NULL, served_at;
SELECT * FROM vqueue.check();
UPDATE vqueue.user_sessions SET status = 'serving' WHERE id = pg_temp.s('call', 3) RETURNING status, ready_at IS NOT NULL, served_at IS NOT NULL;
UPDATE vqueue.user_sessions SET status = 'no_show' WHERE id = pg_temp.s('call', 3) RETURNING status, left_at IS NOT NULL;
UPDATE vqueue.user_sessions SET status = 'expired' WHERE id = pg_temp.s('call', 4) RETURNING status, left_at IS NOT NULL;
SELECT * FROM vqueue.check();

-- readmitted: to the head of the lane, as those who joined later stand behind
SELECT count(*) FROM vqueue.join_many('call', ARRAY[pg_temp.u(5), pg_temp.u(6)]);
SELECT status, position, served_at, left_at FROM vqueue.readmit(pg_temp.s('call', 4), 'phone broke');
SELECT status, position FROM vqueue.readmit(pg_temp.s('call', 3));
SELECT pg_temp.line('call');
SELECT reason, ready_at, served_at, extended_at, left_at FROM vqueue.user_sessions WHERE id = pg_temp.s('call', 4);
SELECT pg_temp.attempt(format('SELECT vqueue.readmit(%L)', pg_temp.s('call', 4)));
SELECT pg_temp.attempt(format('SELECT vqueue.readmit(%L, %L)', pg_temp.s('call', 2), repeat('r', 1001)));
UPDATE vqueue.user_sessions SET status = 'abandoned' WHERE id = pg_temp.s('call', 5);
SELECT status FROM vqueue.join('call', pg_temp.u(5));
SELECT pg_temp.attempt(format('SELECT vqueue.readmit(%L)', id)) FROM vqueue.user_sessions WHERE user_id = pg_temp.u(5) AND status = 'abandoned';
SELECT * FROM vqueue.check();

-- another lane: there one stands by the time of arrival
SELECT 'made' FROM vqueue.create_queue('lanes', 10000000, 1, state => 'paused');
SELECT count(*) FROM vqueue.join_many('lanes', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 3) n));
SELECT count(*) FROM vqueue.join_many('lanes', ARRAY(SELECT pg_temp.u(n) FROM generate_series(4, 6) n), 'high');
SELECT priority, position FROM vqueue.set_priority(pg_temp.s('lanes', 2), 'high');
SELECT pg_temp.line('lanes');
SELECT priority, position FROM vqueue.set_priority(pg_temp.s('lanes', 2), 'high');
SELECT priority, position FROM vqueue.set_priority(pg_temp.s('lanes', 5), 'low');
SELECT pg_temp.line('lanes');
BEGIN;
SELECT priority, position FROM vqueue.set_priority(pg_temp.s('lanes', 3), 'vip');
ROLLBACK;
SELECT pg_temp.line('lanes');
SELECT pg_temp.attempt(format('SELECT vqueue.set_priority(%L, %s)', pg_temp.s('lanes', 3), p)) FROM unnest(ARRAY['''VIP''', 'NULL', '''''']) AS p;
SELECT * FROM vqueue.check();

-- lanes by weights: in turns, and positions are the turns
SELECT vqueue.alter_queue('lanes', lane_weights => '{8,4,2,1}');
SELECT pg_temp.line('lanes');
SELECT count(*) FROM vqueue.join_many('lanes', ARRAY(SELECT pg_temp.u(n) FROM generate_series(11, 30) n), 'vip');
SELECT count(*) FROM vqueue.join_many('lanes', ARRAY(SELECT pg_temp.u(n) FROM generate_series(31, 40) n), 'low');
SELECT pg_temp.line('lanes');
-- releases come in the order of the positions that were told
CREATE TEMP TABLE told AS SELECT id, position FROM vqueue.sessions WHERE queue = 'lanes' AND position > 0;
SELECT vqueue.alter_queue('lanes', max_concurrent_users => 1000);
SELECT vqueue.release('lanes', 7), vqueue.release('lanes', 1), vqueue.release('lanes', 12);
SELECT count(*), max(t.position) FROM told t JOIN vqueue.user_sessions s USING (id) WHERE s.status = 'serving';
SELECT count(*) FROM told t JOIN vqueue.sessions s USING (id) WHERE s.position > 0 AND s.position <> t.position - 20;
SELECT head = (SELECT ticket FROM vqueue.sessions WHERE queue = 'lanes' AND position = 1) FROM vqueue.overview WHERE queue = 'lanes';
SELECT vqueue.release('lanes', 100);
SELECT * FROM vqueue.check();
SELECT vqueue.alter_queue('lanes', lane_weights => '{}');
SELECT lane_weights FROM vqueue.queues WHERE name = 'lanes';

-- passthrough: all in, past rate and cap, and counted
SELECT 'made' FROM vqueue.create_queue('pass', 1, 1, method => 'passthrough');
SELECT status, count(*) FROM vqueue.join_many('pass', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 50) n)) GROUP BY status;
SELECT waiting, serving, released FROM vqueue.overview WHERE queue = 'pass';
SELECT vqueue.pause('pass');
SELECT status, position FROM vqueue.join('pass', pg_temp.u(51));
SELECT vqueue.resume('pass');
-- those who waited come in by the worker
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        IF (SELECT serving = 51 FROM vqueue.overview WHERE queue = 'pass') THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'nobody came in';
END
$$;
-- back to rate and cap: nobody comes in until enough have gone
SELECT vqueue.alter_queue('pass', method => 'fifo');
SELECT status, position FROM vqueue.join('pass', pg_temp.u(52));
SELECT vqueue.release('pass', 1);
-- reject: no newcomers, and those who are there stay
SELECT vqueue.alter_queue('pass', method => 'reject');
SELECT pg_temp.attempt($$SELECT vqueue.join('pass', pg_temp.u(53))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('pass', ARRAY[pg_temp.u(53)])$$);
SELECT status, position FROM vqueue.join('pass', pg_temp.u(52));
SELECT status FROM vqueue.join('pass', pg_temp.u(1));
SELECT * FROM vqueue.check();

-- a schedule: created closed, and moments are taken away by infinity
SELECT 'made' FROM vqueue.create_queue('later', opens_at => now() + interval '1 day', closes_at => now() + interval '2 days');
SELECT state, is_active FROM vqueue.queues WHERE name = 'later';
SELECT pg_temp.attempt($$SELECT vqueue.join('later')$$);
SELECT vqueue.alter_queue('later', opens_at => 'infinity');
SELECT state, opens_at, closes_at IS NOT NULL FROM vqueue.queues WHERE name = 'later';
SELECT vqueue.drop_queue(q, force => true) FROM unnest(ARRAY['call', 'lanes', 'pass', 'later']) AS q;
