-- What the functions answer, and which errors they raise, in one transaction that is rolled back.
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

CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions WHERE user_id = pg_temp.u(n) ORDER BY ticket DESC LIMIT 1 $$;

-- a queue with room serves at once, then the line begins
SELECT lives_ok($$SELECT vqueue.create_queue('room', 60, 2)$$, 'a queue is made');
SELECT results_eq($$SELECT status, position, ticket FROM vqueue.join('room', pg_temp.u(1))$$,
                  $$VALUES ('serving', 0::bigint, 1::bigint)$$, 'the first is served at once');
SELECT results_eq($$SELECT status, position, ticket FROM vqueue.join('room', pg_temp.u(2))$$,
                  $$VALUES ('waiting', 1::bigint, 2::bigint)$$, 'the second waits for the rate');
SELECT results_eq($$SELECT status, position FROM vqueue.join('room', pg_temp.u(3), priority => 'vip')$$,
                  $$VALUES ('waiting', 1::bigint)$$, 'a vip stands before a normal one');
SELECT is(vqueue.position(pg_temp.s(2)), 2::bigint, 'who has moved back by one');
SELECT results_eq($$SELECT id FROM vqueue.join('room', pg_temp.u(2))$$, $$SELECT pg_temp.s(2)$$, 'joining again gives the session back');
SELECT is(vqueue.position('room', 2), 2::bigint, 'the position of a ticket');
SELECT is(vqueue.position('room', 99), NULL::bigint, 'a ticket never issued has none');
SELECT is(vqueue.heartbeat(pg_temp.s(1)), 0::bigint, 'who is in stands at 0');
SELECT ok(next_poll_after >= interval '1 second' AND estimated_wait IS NOT NULL, 'who waits is told when to come back')
  FROM vqueue.poll(pg_temp.s(2));
SELECT results_eq($$SELECT * FROM vqueue.status(pg_temp.s(1))$$, $$SELECT * FROM vqueue.poll(pg_temp.s(1))$$, 'status is a poll that changes nothing');

-- endings
SELECT throws_ok($$SELECT vqueue.complete(pg_temp.s(2))$$, '55000', NULL, 'who waits cannot complete');
SELECT results_eq($$SELECT status, position FROM vqueue.complete(pg_temp.s(1))$$, $$VALUES ('completed', NULL::bigint)$$, 'who is in can');
SELECT results_eq($$SELECT status, left_at FROM vqueue.complete(pg_temp.s(1))$$,
                  $$SELECT status, left_at FROM vqueue.user_sessions WHERE id = pg_temp.s(1)$$, 'twice is harmless');
SELECT results_eq($$SELECT status FROM vqueue.leave(pg_temp.s(3))$$, $$VALUES ('left')$$, 'who waits can leave');
SELECT results_eq($$SELECT status FROM vqueue.remove(pg_temp.s(2), 'abuse')$$, $$VALUES ('removed')$$, 'an operator can remove');
SELECT is(reason, 'abuse', 'and the reason is kept') FROM vqueue.user_sessions WHERE id = pg_temp.s(2);
SELECT isnt((SELECT id FROM vqueue.join('room', pg_temp.u(1))), NULL, 'who has left can join again');
SELECT is(count(*), 2::bigint, 'as a new session') FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);

-- many
SELECT lives_ok($$SELECT vqueue.create_queue('many', state => 'paused')$$, 'a paused queue');
SELECT results_eq($$SELECT ticket, user_id, position FROM vqueue.join_many('many', ARRAY[pg_temp.u(9), pg_temp.u(8), pg_temp.u(9)])$$,
                  $$VALUES (1::bigint, pg_temp.u(9), 1::bigint), (2, pg_temp.u(8), 2), (1, pg_temp.u(9), 1)$$, 'places come in the order given');
SELECT is_empty($$SELECT * FROM vqueue.join_many('many', '{}')$$, 'nobody is nobody');

-- errors: what is wrong, and nothing changed
CREATE TEMP TABLE before AS SELECT count(*) FROM vqueue.user_sessions;
SELECT throws_ok(command, state, NULL, command) FROM (VALUES
    ($$SELECT vqueue.join('nowhere')$$, '42704'), ($$SELECT vqueue.join(NULL)$$, '22004'),
    ($$SELECT vqueue.join('many', NULL)$$, '22004'), ($$SELECT vqueue.join('many', priority => 'urgent')$$, '22023'),
    ($$SELECT vqueue.join('many', priority => NULL)$$, '22004'), ($$SELECT vqueue.join('many', user_name => repeat('x', 1001))$$, '22023'),
    ($$SELECT vqueue.join_many('many', ARRAY[NULL]::uuid[])$$, '22004'), ($$SELECT vqueue.join_many('many', NULL)$$, '22004'),
    ($$SELECT vqueue.poll(gen_random_uuid())$$, '42704'), ($$SELECT vqueue.poll(NULL)$$, '22004'),
    ($$SELECT vqueue.position('nowhere', 1)$$, '42704'), ($$SELECT vqueue.position('many', NULL)$$, '22004'),
    ($$SELECT vqueue.release('many', 0)$$, '22023'), ($$SELECT vqueue.release('many', NULL)$$, '22004'),
    ($$SELECT vqueue.create_queue('')$$, '22023'), ($$SELECT vqueue.create_queue(NULL)$$, '22004'),
    ($$SELECT vqueue.create_queue(repeat('n', 201))$$, '22023'), ($$SELECT vqueue.create_queue('many')$$, '42710'),
    ($$SELECT vqueue.create_queue('x', 0)$$, '22023'), ($$SELECT vqueue.create_queue('x', 10, -1)$$, '22023'),
    ($$SELECT vqueue.create_queue('x', 10, 2000000000)$$, '22023'), ($$SELECT vqueue.create_queue('x', state => 'ajar')$$, '22023'),
    ($$SELECT vqueue.alter_queue('many', release_rate_per_minute => 0)$$, '22023'), ($$SELECT vqueue.alter_queue('many', name => 'room')$$, '42710'),
    ($$SELECT vqueue.drop_queue('many')$$, '55006')) AS t (command, state);
SELECT results_eq('SELECT count(*) FROM vqueue.user_sessions', 'TABLE before', 'no refused call has changed anything');
SELECT throws_ok(format('UPDATE vqueue.queues SET lane_weights = %L', w), '23514', NULL, 'weights by plain SQL: ' || w)
  FROM unnest(ARRAY['{}', '{1}', '{1,2,3}', '{1,2,3,4,5}', '{{1,2},{3,4}}', '[0:3]={1,2,3,4}', '{1,2,3,NULL}', '{1,2,3,0}']) w;

-- states
SELECT lives_ok($$SELECT vqueue.drain('many')$$, 'draining');
SELECT throws_ok($$SELECT vqueue.join('many', pg_temp.u(7))$$, '55000', NULL, 'a draining queue admits nobody');
SELECT lives_ok($$SELECT vqueue.join('many', pg_temp.u(9))$$, 'but gives back who is there');
SELECT throws_ok($$SELECT vqueue.resume('many')$$, '55000', NULL, 'only a paused queue is resumed');
SELECT lives_ok($$SELECT vqueue.close('many')$$, 'closed');
SELECT throws_ok($$SELECT vqueue.release('many', 1)$$, '55000', NULL, 'a closed queue lets nobody in');
SELECT lives_ok($$SELECT vqueue.open('many')$$, 'opened');
SELECT lives_ok($$SELECT vqueue.alter_queue('many', max_waiting => 2)$$, 'a limit of those who wait');
SELECT throws_ok($$SELECT vqueue.join('many', pg_temp.u(6))$$, '53400', NULL, 'is kept');
SELECT lives_ok($$SELECT vqueue.drop_queue('many', force => true)$$, 'dropped by force');
SELECT throws_ok($$SELECT vqueue.position('many', 1)$$, '42704', NULL, 'and gone');

-- tenants
INSERT INTO vqueue.tenants (name) VALUES ('other');
SET LOCAL vqueue.tenant = 'other';
SELECT throws_ok($$SELECT vqueue.join('room')$$, '42704', NULL, 'another tenant does not see the queue');
SELECT throws_ok(format('SELECT vqueue.poll(%L)', pg_temp.s(1)), '42704', NULL, 'nor its sessions');
SELECT is_empty('SELECT * FROM vqueue.overview', 'nor the figures');
SELECT lives_ok($$SELECT vqueue.create_queue('room')$$, 'and may use the name itself');
SET LOCAL vqueue.tenant = 'nobody';
SELECT throws_ok($$SELECT vqueue.join('room')$$, '42704', NULL, 'a tenant that is not there');

SELECT * FROM finish();
ROLLBACK;
