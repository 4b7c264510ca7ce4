-- The method random: each newcomer at a random place among those of its priority who wait.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
\set VERBOSITY terse

CREATE SCHEMA regress_vqueue;
-- whether memory, which lays no hand on rows, and the rows agree on who stands where
CREATE FUNCTION regress_vqueue.agrees(q text) RETURNS bool LANGUAGE sql AS $$
    SELECT coalesce(bool_and(position = wanted), true) FROM (
        SELECT s.position, row_number() OVER (ORDER BY array_position('{vip,high,normal,low}', s.priority), coalesce(s.place_key, 0), s.ticket) AS wanted
          FROM vqueue.sessions s WHERE s.queue = q AND s.status = 'waiting') AS t $$;
-- chi-square of counts against their being alike
CREATE FUNCTION regress_vqueue.chi_square(counts bigint[], cells int) RETURNS float8 LANGUAGE sql AS $$
    SELECT sum((coalesce(counts[i], 0) - total / cells) ^ 2 / (total / cells))
      FROM (SELECT sum(c)::float8 AS total FROM unnest(counts) AS c) AS t, generate_series(1, cells) AS i $$;

SELECT 'made' FROM vqueue.create_queue('lot', 10000000, 1000000, state => 'paused', method => 'random');
-- all orders of four are alike likely: this fails by chance once in ten million times
CREATE TABLE regress_vqueue.orders (n int);
DO $$
DECLARE
    users uuid[] := ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 4));
BEGIN
    FOR i IN 1..960 LOOP
        PERFORM vqueue.join_many('lot', users);
        INSERT INTO regress_vqueue.orders
        SELECT 1 + sum(CASE WHEN b.position < a.position THEN 1 ELSE 0 END * CASE a.rank WHEN 1 THEN 6 WHEN 2 THEN 2 WHEN 3 THEN 1 END)
          FROM (SELECT position, row_number() OVER (ORDER BY ticket) AS rank FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting') AS a
          JOIN (SELECT position, row_number() OVER (ORDER BY ticket) AS rank FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting') AS b
            ON a.rank < b.rank;
        PERFORM vqueue.leave(id) FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting';
        COMMIT;
    END LOOP;
END
$$;
SELECT count(*), min(n), max(n), count(DISTINCT n) FROM regress_vqueue.orders;
SELECT regress_vqueue.chi_square(array_agg(coalesce(c, 0) ORDER BY i), 24) < 80
  FROM generate_series(1, 24) AS i LEFT JOIN (SELECT n, count(*) AS c FROM regress_vqueue.orders GROUP BY n) AS o ON o.n = i;

-- whoever comes later is as likely to stand anywhere, however many have been let in
CREATE TABLE regress_vqueue.places (position int);
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5)));
DO $$
BEGIN
    FOR i IN 1..900 LOOP
        INSERT INTO regress_vqueue.places SELECT position FROM vqueue.join('lot');
        COMMIT;
        PERFORM vqueue.release('lot', 1);
        COMMIT;
    END LOOP;
END
$$;
SELECT regress_vqueue.chi_square(array_agg(c ORDER BY position), 6) < 45, count(*) FROM (SELECT position, count(*) AS c FROM regress_vqueue.places GROUP BY position) AS t;
SELECT regress_vqueue.agrees('lot');
SELECT * FROM vqueue.check();

-- lanes stay one after the other, each in a random order of its own; a place is kept over a rebuild
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 300)), 'vip');
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000)), 'normal');
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 300)), 'low');
SELECT regress_vqueue.agrees('lot');
SELECT count(DISTINCT position), max(position), max(position) FILTER (WHERE priority = 'vip'), min(position) FILTER (WHERE priority = 'low')
  FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting';
SELECT corr(ticket, position) BETWEEN -0.2 AND 0.2 FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting' AND priority = 'normal';
CREATE TABLE regress_vqueue.before AS SELECT id, position FROM vqueue.sessions WHERE queue = 'lot';
SELECT vqueue.rebuild() > 0;
SELECT count(*) FROM regress_vqueue.before b JOIN vqueue.sessions s USING (id) WHERE b.position IS DISTINCT FROM s.position;
-- by ticket, by session, and in the view the same
SELECT bool_and(vqueue.position('lot', ticket) = position AND vqueue.position(id) = position AND (vqueue.status(id)).position = position)
  FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting';
-- the head is who is let in next
SELECT head = (SELECT ticket FROM vqueue.sessions WHERE queue = 'lot' AND position = 1) FROM vqueue.overview WHERE queue = 'lot';
SELECT array_agg(id ORDER BY position) AS first FROM vqueue.sessions WHERE queue = 'lot' AND position BETWEEN 1 AND 400 \gset
SELECT vqueue.release('lot', 400);
SELECT bool_and(status = 'serving') FROM vqueue.user_sessions WHERE id = ANY (:'first');
SELECT count((vqueue.complete(id)).id) FROM vqueue.sessions WHERE queue = 'lot' AND status = 'serving';

-- who is moved to another lane is a newcomer there, who is readmitted has its place back
SELECT id AS moved FROM vqueue.sessions WHERE queue = 'lot' AND position = 500 \gset
SELECT place_key AS key FROM vqueue.user_sessions WHERE id = :'moved' \gset
SELECT priority FROM vqueue.set_priority(:'moved', 'low');
SELECT place_key <> :key, place_key > 0 FROM vqueue.user_sessions WHERE id = :'moved';
SELECT regress_vqueue.agrees('lot');
SELECT id AS silent, position AS place FROM vqueue.sessions WHERE queue = 'lot' AND position = 20 \gset
UPDATE vqueue.user_sessions SET status = 'abandoned' WHERE id = :'silent';
SELECT position = :place FROM vqueue.readmit(:'silent');

-- rolled back, nothing is left
BEGIN;
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000)));
SAVEPOINT a;
UPDATE vqueue.user_sessions SET priority = 'vip' WHERE queue_id = vqueue._queue('lot') AND status = 'waiting';
DELETE FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('lot') AND ticket % 2 = 0;
ROLLBACK TO a;
UPDATE vqueue.user_sessions SET priority = 'high' WHERE queue_id = vqueue._queue('lot') AND status = 'waiting' AND ticket % 3 = 0;
ROLLBACK;
SELECT regress_vqueue.agrees('lot');
SELECT * FROM vqueue.check();
-- left and back within one transaction
BEGIN;
UPDATE vqueue.user_sessions SET status = 'left', reason = 'away' WHERE queue_id = vqueue._queue('lot') AND status = 'waiting';
UPDATE vqueue.user_sessions SET status = 'waiting' WHERE reason = 'away' AND ticket % 2 = 0;
COMMIT;
SELECT regress_vqueue.agrees('lot');
SELECT * FROM vqueue.check();
-- a place given by hand
UPDATE vqueue.user_sessions SET place_key = 1 WHERE id = (SELECT id FROM vqueue.sessions WHERE queue = 'lot' AND position = 30);
SELECT regress_vqueue.agrees('lot');
UPDATE vqueue.user_sessions SET place_key = -1 WHERE queue_id = vqueue._queue('lot') AND status = 'waiting';
UPDATE vqueue.user_sessions SET place_key = 9223372036854775807 WHERE queue_id = vqueue._queue('lot') AND status = 'waiting';
SELECT * FROM vqueue.check();
-- rows inserted by hand have a random place as well
INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT vqueue._queue('lot'), gen_random_uuid() FROM generate_series(1, 100);
SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('lot') AND status = 'waiting' AND place_key IS NULL;
SELECT regress_vqueue.agrees('lot');

-- back to the order of arrival: nobody overtakes
SELECT vqueue.alter_queue('lot', method => 'fifo');
SELECT max(position) AS last FROM vqueue.sessions WHERE queue = 'lot' AND priority = 'normal' \gset
SELECT array_agg(position - :last) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)), 'normal');
SELECT regress_vqueue.agrees('lot');
-- on the board each of them has a number of its own
SELECT array_agg(vqueue.position_from_board(board::jsonb, vqueue.board_number(s.id), 'normal') - s.position ORDER BY s.ticket)
  FROM vqueue.board('lot') AS board,
       (SELECT * FROM vqueue.sessions WHERE queue = 'lot' AND priority = 'normal' AND status = 'waiting' ORDER BY ticket DESC LIMIT 3) AS s;
SELECT vqueue.release('lot', 100000) > 0;
SELECT count(*) FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting';
-- and once they are through, there are no keys any more
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)));
SELECT count(place_key) FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting';
-- to random while people wait: they keep their places, newcomers stand at random behind them
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 97)));
SELECT vqueue.alter_queue('lot', method => 'random');
SELECT min(position), max(position) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 200)));
SELECT bool_and(position = rank) FROM (SELECT position, row_number() OVER (ORDER BY ticket) AS rank FROM vqueue.sessions WHERE queue = 'lot' AND status = 'waiting' ORDER BY ticket LIMIT 100) AS t;
SELECT regress_vqueue.agrees('lot');
SELECT * FROM vqueue.check();
-- a newcomer who need not wait is served at once
SELECT 'made' FROM vqueue.create_queue('free', 600, 10, method => 'random');
SELECT status, position FROM vqueue.join('free');

SELECT vqueue.drop_queue('lot', true), vqueue.drop_queue('free', true);
DROP SCHEMA regress_vqueue CASCADE;
