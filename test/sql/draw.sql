-- The draw: prepared before the opening, held at it, and recomputed afterwards.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE SCHEMA regress_vqueue;
CREATE FUNCTION regress_vqueue.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid $$;
-- who stands where, as ticket, and @ticket for who is inside
CREATE FUNCTION regress_vqueue.line(q text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(CASE WHEN position = 0 THEN '@' ELSE '' END || ticket || CASE priority WHEN 'normal' THEN '' ELSE ' ' || priority END, ', ' ORDER BY position, ticket)
      FROM vqueue.sessions WHERE queue = q AND left_at IS NULL $$;

-- fixed ids, seed and beacon give fixed places, which test/verify_draw.py says too
SELECT 'made' FROM vqueue.create_queue('sale', 1, 1, state => 'paused');
INSERT INTO vqueue.user_sessions (id, queue_id, user_id, ticket)
SELECT regress_vqueue.id(n), vqueue._queue('sale'), regress_vqueue.id(n), n * 100 + n % 3 FROM generate_series(1, 12) AS n;
INSERT INTO vqueue.draws (queue_id, seed, commitment)
SELECT vqueue._queue('sale'), s, encode(sha256(s), 'hex') FROM sha256('not random') AS s;
SELECT vqueue.prepare_draw('sale') = encode(sha256(sha256('not random')), 'hex');
SELECT vqueue.set_draw_beacon('sale', 'too early');
SELECT vqueue.set_draw_beacon('sale', 'the number of the day: 42');
SELECT (vqueue.leave(regress_vqueue.id(7))).status;
SELECT queue, commitment, beacon, drawn_at, entrants, seed FROM vqueue.draw_results;
SELECT vqueue.verify_draw('sale');
SELECT * FROM vqueue.draw_entrants('sale');
SELECT regress_vqueue.line('sale');
-- not by a change that opens nothing, and not for good if that is rolled back
SELECT vqueue.close('sale');
SELECT vqueue.pause('sale');
BEGIN;
SELECT vqueue.open('sale');
SELECT drawn_at IS NULL, entrants FROM vqueue.draw_results;
ROLLBACK;
SELECT drawn_at IS NULL, entrants FROM vqueue.draw_results;
BEGIN;
SAVEPOINT a;
SELECT vqueue.open('sale');
ROLLBACK TO a;
SELECT (vqueue.set_priority(regress_vqueue.id(3), 'vip')).position, (vqueue.set_priority(regress_vqueue.id(8), 'vip')).position;
SELECT vqueue.open('sale'), vqueue.pause('sale'), vqueue.open('sale'), vqueue.pause('sale');
SELECT regress_vqueue.line('sale');
COMMIT;
SELECT regress_vqueue.line('sale');
SELECT queue, commitment, beacon, drawn_at >= prepared_at, entrants, entrants_hash, first_ticket, last_ticket, key_hash, seed FROM vqueue.draw_results;
SELECT number, ticket, left(id_hash, 16), place FROM vqueue.draw_entrants('sale');
SELECT * FROM vqueue.verify_draw('sale', regress_vqueue.id(5));
SELECT octet_length(tickets), vqueue._draw_tickets(queue_id) FROM vqueue.draws;
SELECT * FROM vqueue.check();
-- the same after a rebuild
SELECT vqueue.rebuild();
SELECT regress_vqueue.line('sale');
-- latecomers stand behind, by arrival, each in its lane
SELECT position FROM vqueue.join_many('sale', ARRAY[regress_vqueue.id(21), regress_vqueue.id(22)]);
SELECT position FROM vqueue.join_many('sale', ARRAY[regress_vqueue.id(23)], 'vip');
SELECT regress_vqueue.line('sale');
-- who is moved stands by the place drawn
SELECT position FROM vqueue.set_priority(regress_vqueue.id(12), 'vip');
SELECT regress_vqueue.line('sale');
SELECT vqueue.release('sale', 1);
SELECT regress_vqueue.line('sale');
-- who comes back has the place drawn, also when all others drawn have gone
SELECT array_agg(id) AS drawn FROM vqueue.user_sessions WHERE ticket < 1300 AND status = 'waiting' \gset
UPDATE vqueue.user_sessions SET status = 'abandoned' WHERE id = ANY (:'drawn');
SELECT regress_vqueue.line('sale');
SELECT count((vqueue.readmit(id)).id) FROM vqueue.user_sessions WHERE id = ANY (:'drawn') AND ticket IN (502, 600, 401);
SELECT regress_vqueue.line('sale');
SELECT vqueue.verify_draw('sale', regress_vqueue.id(4));
SELECT vqueue.position('sale', 401), (vqueue.poll(regress_vqueue.id(4))).position;
SELECT * FROM vqueue.check();
-- on a standby it is counted so
SELECT string_agg(ticket::text, ', ' ORDER BY vqueue._order_key(queue_id, ticket, place_key), ticket) FROM vqueue.user_sessions WHERE status = 'waiting' AND priority = 'normal';

-- whatever is tampered with is found
SELECT (vqueue.verify_draw('sale')).verdict;
BEGIN;
UPDATE vqueue.draws SET seed = sha256('another');
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET seed = sha256('another'), commitment = encode(sha256(sha256('another')), 'hex');
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET beacon = 'the number of the day: 43';
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET entrants = entrants - 1;
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET tickets = set_byte(tickets, 3, get_byte(tickets, 3) # 1);
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET tickets = substr(tickets, 1, octet_length(tickets) - 1);
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.draws SET tickets = decode(repeat('ff', 30), 'hex');
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
BEGIN;
UPDATE vqueue.user_sessions SET id = regress_vqueue.id(99) WHERE ticket = 401;
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
ROLLBACK;
-- rows that were deleted are no fraud
BEGIN;
DELETE FROM vqueue.user_sessions WHERE status = 'abandoned';
SELECT commitment_ok, entrants_ok, hash_ok, key_ok, verdict FROM vqueue.verify_draw('sale');
SELECT count(*), count(id_hash) FROM vqueue.draw_entrants('sale');
ROLLBACK;
-- a draw that cannot be read stops nobody: tickets are the order
UPDATE vqueue.draws SET tickets = decode(repeat('ff', 30), 'hex');
SELECT regress_vqueue.line('sale');
SELECT * FROM vqueue.check();
DELETE FROM vqueue.draws;
SELECT regress_vqueue.line('sale');
SELECT * FROM vqueue.check();

-- what is refused
SELECT vqueue.drop_queue('sale', true);
SELECT 'made' FROM vqueue.create_queue('next', state => 'open');
SELECT vqueue.prepare_draw('next');
SELECT vqueue.drain('next');
SELECT vqueue.prepare_draw('next');
SELECT vqueue.set_draw_beacon('next', 'x');
SELECT vqueue.verify_draw('next');
SELECT vqueue.close('next');
SELECT length(vqueue.prepare_draw('next'));
SELECT vqueue.set_draw_beacon('next', '');
SELECT vqueue.set_draw_beacon('next', repeat('x', 1001));
SELECT vqueue.set_draw_beacon('next', E'a\nb');
SELECT vqueue.set_draw_beacon('next', NULL);
SELECT vqueue.prepare_draw(NULL), vqueue.set_draw_beacon(NULL, 'x');
SELECT vqueue.verify_draw(NULL);
SELECT vqueue.draw_entrants('nowhere');
SELECT vqueue._draw_place('\x00', 1, 1);
SELECT vqueue._draw_place(sha256(''), 0, 1);
SELECT vqueue._draw_place(sha256(''), 5, 6);
SELECT vqueue._draw_places(sha256(''), 4000000000000);
-- nobody waits: a draw of nobody is right, too
SELECT vqueue.drain('next');
SELECT entrants, first_ticket, last_ticket FROM vqueue.draw_results;
SELECT vqueue.verify_draw('next');
SELECT * FROM vqueue.draw_entrants('next');
\set VERBOSITY terse
SELECT vqueue.prepare_draw('next');
SELECT vqueue.set_draw_beacon('next', 'late');
SELECT vqueue.verify_draw('next', regress_vqueue.id(1));
SELECT vqueue.drop_queue('next', true);
SELECT count(*) FROM vqueue.draws;

-- in a random queue those drawn come first, then those without a key, then the rest
SELECT 'made' FROM vqueue.create_queue('mixed', 1, 1, state => 'paused');
SELECT count(*) FROM vqueue.join_many('mixed', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT vqueue.alter_queue('mixed', method => 'random');
SELECT count(*) FROM vqueue.join_many('mixed', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT length(vqueue.prepare_draw('mixed'));
SELECT vqueue.drain('mixed'), vqueue.pause('mixed');
SELECT count(*) FROM vqueue.join_many('mixed', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT bool_and(position = wanted), max(position) FILTER (WHERE key < 0), min(position) FILTER (WHERE key > 0) FROM (
    SELECT position, vqueue._order_key(queue_id, ticket, place_key) AS key,
           row_number() OVER (ORDER BY vqueue._order_key(queue_id, ticket, place_key), ticket) AS wanted
      FROM vqueue.sessions WHERE queue = 'mixed' AND status = 'waiting') AS t;
SELECT * FROM vqueue.check();
SELECT vqueue.rebuild() > 0;
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('mixed', true);
DROP SCHEMA regress_vqueue CASCADE;
