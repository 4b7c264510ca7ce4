-- The board: what it says, and what is refused.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;
SELECT no_plan();
CREATE TEMP TABLE made AS
SELECT vqueue.create_queue('b "1"', 60, 2, state => 'paused') AS id;
CREATE TEMP TABLE joined AS
SELECT p.* FROM vqueue.join_many('b "1"', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 6))) p;
INSERT INTO joined SELECT p.* FROM vqueue.join_many('b "1"', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 2)), 'vip') p;
CREATE TEMP TABLE b AS SELECT vqueue.board('b "1"')::jsonb AS board;

SELECT is(board ->> 'v', '1', 'the version') FROM b;
SELECT is(board ->> 'queue', 'b "1"', 'the name') FROM b;
SELECT is(board ->> 'queue_id', made.id::text, 'the id') FROM b, made;
SELECT is(vqueue.board(made.id::text)::jsonb ->> 'queue', 'b "1"', 'by its id too') FROM made;
SELECT is(board ->> 'order', 'ticket', 'the order') FROM b;
SELECT is(board ->> 'state', 'paused', 'the state') FROM b;
SELECT is(board -> 'lanes' -> 'vip' ->> 'points', '[[7, 1], [8, 2]]', 'the points of vips') FROM b;
SELECT is(board -> 'lanes' -> 'normal' ->> 'points', '[[1, 3], [2, 4], [3, 5], [4, 6], [5, 7], [6, 8]]', 'and of the others') FROM b;
SELECT is(board -> 'lanes' -> 'high' ->> 'next', '3', 'where somebody of high priority would stand') FROM b;
SELECT is(board -> 'lanes' -> 'low' -> 'estimate' -> 0 ->> 1, NULL, 'no wait is told while it is paused') FROM b;
SELECT ok((board -> 'lanes' -> 'low' -> 'next_poll_after' -> 0 ->> 1)::numeric >= 1, 'but when to poll is') FROM b;
SELECT ok((board ->> 'at')::timestamptz BETWEEN now() - interval '1 minute' AND clock_timestamp(), 'the time') FROM b;

SELECT is(vqueue.position_from_board(board, ticket, priority), vqueue.position('b "1"', ticket), format('ticket %s', ticket)) FROM b, joined;
SELECT is(vqueue.position_from_board(board, 0), 0::bigint, 'before all who wait') FROM b;
SELECT is(vqueue.position_from_board(board, 9), 9::bigint, 'the next to come') FROM b;
SELECT is(vqueue.position_from_board(board, 12), 12::bigint, 'who comes after others') FROM b;
SELECT is(vqueue.position_from_board(board, 9, 'high'), 3::bigint, 'who comes into another lane') FROM b;
SELECT is(vqueue.position_from_board(NULL, 1), NULL, 'no board');
SELECT is(vqueue.position_from_board(board, NULL), NULL, 'no ticket') FROM b;
SELECT is(vqueue.position_from_board(board, 1, NULL), NULL, 'no priority') FROM b;
SELECT throws_ok($$SELECT vqueue.position_from_board('{}', 1)$$, '22023', 'board is not one that is understood', 'not a board');
SELECT throws_ok($$SELECT vqueue.position_from_board('[1]', 1)$$, '22023', 'board is not one that is understood', 'not an object');
SELECT throws_ok($$SELECT vqueue.position_from_board('{"v":2,"order":"ticket"}', 1)$$, '22023', 'board is not one that is understood', 'a later version');
SELECT throws_ok($$SELECT vqueue.position_from_board('{"v":1,"order":"other"}', 1)$$, '22023', 'board is not one that is understood', 'another order');
SELECT throws_ok($$SELECT vqueue.position_from_board(board, 1, 'VIP') FROM b$$, '22023', 'priority "VIP" is not known', 'an unknown lane');
SELECT throws_ok($$SELECT vqueue.board(NULL)$$, '22004', 'queue must not be null', 'no queue');
SELECT throws_ok($$SELECT vqueue.board('none')$$, '42704', 'queue "none" does not exist', 'an unknown queue');

-- waits are told once it is open, and rise with the position
SELECT vqueue.open('b "1"');
SELECT ok(bool_and(later >= sooner AND p90 >= later), 'waits rise')
  FROM (SELECT (e.value ->> 1)::numeric AS later, (e.value ->> 2)::numeric AS p90,
               coalesce(lag((e.value ->> 1)::numeric) OVER (ORDER BY e.ordinality), 0) AS sooner
          FROM jsonb_array_elements(vqueue.board('b "1"')::jsonb -> 'lanes' -> 'normal' -> 'estimate') WITH ORDINALITY e) w;
-- where tickets are not the order, everybody has a number
SELECT vqueue.create_queue('drawn', 1, 1, state => 'paused');
SELECT count(*) FROM vqueue.join_many('drawn', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 60)));
SELECT vqueue.prepare_draw('drawn');
SELECT is(vqueue.board('drawn')::jsonb ->> 'order', 'ticket', 'before a draw tickets are the order');
SELECT bool_and(vqueue.board_number(id) = ticket) FROM vqueue.sessions WHERE queue = 'drawn' AND position > 0;
SELECT vqueue.open('drawn');
SELECT vqueue.pause('drawn');
SELECT count(*) FROM vqueue.join_many('drawn', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5)));
SELECT vqueue.create_queue('by chance', 1, 1, state => 'paused', method => 'random');
SELECT count(*) FROM vqueue.join_many('by chance', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 60)));
SELECT count(*) FROM vqueue.join_many('by chance', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20)), 'high');
CREATE TEMP TABLE k AS SELECT q.name, vqueue.board(q.name)::jsonb AS board FROM vqueue.queues q WHERE q.name IN ('drawn', 'by chance');
SELECT is(board ->> 'order', 'key', format('the order of %s', name)) FROM k;
SELECT is(count(*) FILTER (WHERE vqueue.position_from_board(k.board, vqueue.board_number(s.id), s.priority) <> s.position), 0::bigint,
          format('positions by the board of %s', k.name))
  FROM k JOIN vqueue.sessions s ON s.queue = k.name WHERE s.position > 0 GROUP BY k.name;
SELECT is((board ->> 'head')::bigint, (SELECT ticket FROM vqueue.sessions s WHERE s.queue = k.name AND s.position = 1), format('the head of %s', name)) FROM k;
SELECT is(vqueue.position_from_board(board, 66), 66 - (SELECT count(*) FROM vqueue.sessions WHERE queue = 'drawn' AND position = 0),
          'the next to come after a draw') FROM k WHERE name = 'drawn';
SELECT is(vqueue.position_from_board(board, 1::bigint << 53, 'high'), 21::bigint, 'behind all random places') FROM k WHERE name = 'by chance';
SELECT throws_ok($$SELECT vqueue.board_number(gen_random_uuid())$$, '42704', NULL, 'the number of an unknown session');
SELECT throws_ok($$SELECT vqueue.board_number(NULL)$$, '22004', 'session must not be null', 'of none');

SELECT * FROM finish();
