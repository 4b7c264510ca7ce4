-- Sessions: join, join_many, poll, status, heartbeat, position, leave, complete, remove.
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

-- the n-th user of this test
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- the live session, or else the last one, of that user in a queue
CREATE FUNCTION pg_temp.s(queue text, n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions
    WHERE queue_id = vqueue._queue(queue) AND user_id = pg_temp.u(n) ORDER BY left_at IS NULL DESC, ticket DESC LIMIT 1 $$;

SELECT 'made' FROM vqueue.create_queue('q', release_rate_per_minute => 60, max_concurrent_users => 2, state => 'paused');

-- join: all of a place
SELECT id IS NOT NULL, queue, user_id, status, priority, ticket, position, estimated_wait, next_poll_after,
       joined_at BETWEEN now() AND clock_timestamp(), served_at, left_at
  FROM vqueue.join('q', pg_temp.u(1), 'Ada Lovelace', 'ada@example.org', 'normal');
-- what was written
SELECT queue, user_id, ticket, status, priority, user_name, user_email, reason, position, substr(id::text, 15, 1) FROM vqueue.sessions;
-- its defaults: a user of its own each time
SELECT status, priority, ticket, position FROM vqueue.join('q');
SELECT status, priority, ticket, position FROM vqueue.join('q');
SELECT count(DISTINCT user_id), count(user_name) FROM vqueue.sessions;
-- by the queue's id
SELECT queue, status, ticket, position FROM vqueue.join((SELECT id::text FROM vqueue.overview WHERE queue = 'q'), pg_temp.u(4));

-- the same user gets the same live session back, whatever is given the second time
SELECT p.id = pg_temp.s('q', 1), ticket, priority, position FROM vqueue.join('q', pg_temp.u(1), 'Another', NULL, 'vip') AS p;
SELECT user_name, user_email, priority FROM vqueue.sessions WHERE user_id = pg_temp.u(1);
SELECT count(*) FROM vqueue.sessions;
-- the tickets of the repeated joins are not missed by anybody
SELECT position FROM vqueue.join('q', pg_temp.u(5));
-- in another queue it is another session
SELECT 'made' FROM vqueue.create_queue('other', state => 'paused');
SELECT ticket, position FROM vqueue.join('other', pg_temp.u(1));
-- many times in one statement
SELECT count(DISTINCT (p).id) FROM (SELECT vqueue.join('other', pg_temp.u(1)) AS p FROM generate_series(1, 20)) AS t;
SELECT waiting FROM vqueue.overview WHERE queue = 'other';
SELECT vqueue.drop_queue('other', true);

-- status, poll, heartbeat and position agree, and change nothing in the tables
SELECT md5(string_agg(s::text, '|' ORDER BY ticket)) AS before FROM vqueue.user_sessions s \gset
SELECT u, (vqueue.status(pg_temp.s('q', u))).position, (vqueue.poll(pg_temp.s('q', u))).position,
       vqueue.heartbeat(pg_temp.s('q', u)), vqueue.position(pg_temp.s('q', u)),
       vqueue.position('q', (SELECT ticket FROM vqueue.user_sessions WHERE id = pg_temp.s('q', u)))
  FROM unnest(ARRAY[1, 4, 5]) AS u;
SELECT vqueue.positions(ARRAY[pg_temp.s('q', 5), NULL, pg_temp.s('q', 1), pg_temp.u(1), pg_temp.s('q', 4), pg_temp.s('q', 5)]),
       vqueue.positions('{}'), vqueue.positions(ARRAY[ARRAY[pg_temp.s('q', 4), pg_temp.s('q', 1)], ARRAY[pg_temp.s('q', 1), pg_temp.s('q', 5)]]);
SELECT md5(string_agg(s::text, '|' ORDER BY ticket)) = :'before' FROM vqueue.user_sessions s;
SELECT queue, status, priority, ticket, position, estimated_wait, next_poll_after, served_at, left_at FROM vqueue.status(pg_temp.s('q', 4));
SELECT vqueue.status(pg_temp.s('q', 4)) = vqueue.poll(pg_temp.s('q', 4));
-- they work in a read-only transaction; what writes does not
BEGIN READ ONLY;
SELECT position FROM vqueue.status(pg_temp.s('q', 5));
SELECT position FROM vqueue.poll(pg_temp.s('q', 5));
SELECT vqueue.heartbeat(pg_temp.s('q', 5)), vqueue.position(pg_temp.s('q', 5)), vqueue.position('q', 1);
SELECT queue, waiting FROM vqueue.overview;
SELECT * FROM vqueue.check();
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('q', ARRAY[gen_random_uuid()])$$);
SELECT pg_temp.attempt($$SELECT vqueue.leave(pg_temp.s('q', 5))$$);
SELECT pg_temp.attempt($$SELECT vqueue.complete(pg_temp.s('q', 5))$$);
SELECT pg_temp.attempt($$SELECT vqueue.remove(pg_temp.s('q', 5))$$);
SELECT pg_temp.attempt($$SELECT vqueue.release('q', 1)$$);
SELECT pg_temp.attempt($$SELECT vqueue.open('q')$$);
COMMIT;

-- tickets that nobody has
SELECT vqueue.position('q', 0), vqueue.position('q', -1), vqueue.position('q', -8192), vqueue.position('q', 1000000),
       vqueue.position('q', 9223372036854775807), vqueue.position('q', -9223372036854775808);

-- leave while waiting: those behind move up, nobody else
SELECT status, position, left_at >= joined_at, served_at, estimated_wait, next_poll_after FROM vqueue.leave(pg_temp.s('q', 1));
SELECT ticket, position FROM vqueue.sessions WHERE left_at IS NULL ORDER BY ticket;
SELECT vqueue.position('q', 1), vqueue.heartbeat(pg_temp.s('q', 1)), vqueue.position(pg_temp.s('q', 1)), vqueue.positions(ARRAY[pg_temp.s('q', 1)]);
SELECT status, position, left_at IS NOT NULL FROM vqueue.poll(pg_temp.s('q', 1));
-- twice is said, and harmless
SELECT left_at AS left_at FROM vqueue.status(pg_temp.s('q', 1)) \gset
SET client_min_messages = warning;
SELECT status, position, left_at = :'left_at' FROM vqueue.leave(pg_temp.s('q', 1));
SELECT status, position, left_at = :'left_at' FROM vqueue.complete(pg_temp.s('q', 1));
SELECT status, position, left_at = :'left_at' FROM vqueue.remove(pg_temp.s('q', 1), 'too late');
SELECT reason FROM vqueue.sessions WHERE id = pg_temp.s('q', 1);
RESET client_min_messages;
-- who has left may come again, at the end of the line, with a new ticket
SELECT status, position, ticket > (SELECT max(ticket) FROM vqueue.user_sessions WHERE user_id = pg_temp.u(5)) FROM vqueue.join('q', pg_temp.u(1));
SELECT count(*), count(left_at) FROM vqueue.sessions WHERE user_id = pg_temp.u(1);

-- complete is for those inside
SELECT pg_temp.attempt($$SELECT vqueue.complete(pg_temp.s('q', 4))$$);
SELECT status, position FROM vqueue.status(pg_temp.s('q', 4));
SELECT vqueue.release('q', 2);
SELECT u, status, position, estimated_wait, next_poll_after, served_at >= joined_at
  FROM unnest(ARRAY[4, 5]) AS u, vqueue.status(pg_temp.s('q', u));
SELECT vqueue.release('q', 2);
-- the two first were the anonymous ones; they go, and make room
SELECT c.status, c.position, c.left_at >= c.served_at FROM vqueue.user_sessions w, vqueue.complete(w.id) AS c WHERE w.status = 'serving' ORDER BY w.ticket;
SELECT vqueue.release('q', 2);
SELECT u, status, position FROM unnest(ARRAY[4, 5, 1]) AS u, vqueue.status(pg_temp.s('q', u));
-- joining again while inside is answered with the place inside
SELECT p.id = pg_temp.s('q', 4), status, position FROM vqueue.join('q', pg_temp.u(4)) AS p;
SELECT status, position, left_at IS NOT NULL FROM vqueue.complete(pg_temp.s('q', 4));
SET client_min_messages = warning;
SELECT status FROM vqueue.complete(pg_temp.s('q', 4));
SELECT status FROM vqueue.leave(pg_temp.s('q', 4));
RESET client_min_messages;
-- leaving from inside is leaving
SELECT status, position, served_at IS NOT NULL FROM vqueue.leave(pg_temp.s('q', 5));
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'q';

-- remove: from the line and from inside, with and without a reason
SELECT status, ticket > 0, position FROM vqueue.join('q', pg_temp.u(6));
SELECT status, position FROM vqueue.remove(pg_temp.s('q', 6), 'rude');
SELECT status, position FROM vqueue.join('q', pg_temp.u(7));
SELECT status, position FROM vqueue.remove(pg_temp.s('q', 7));
SELECT vqueue.release('q', 1);
SELECT status, position FROM vqueue.remove(pg_temp.s('q', 1), repeat('r', 1000));
SELECT user_id, status, left(reason, 5), length(reason) FROM vqueue.sessions WHERE status = 'removed' ORDER BY ticket;
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'q';
SELECT * FROM vqueue.check();

-- texts at their limits
SELECT status FROM vqueue.join('q', pg_temp.u(8), repeat('x', 1000), repeat('y', 1000));
SELECT length(user_name), length(user_email) FROM vqueue.sessions WHERE user_id = pg_temp.u(8);
SELECT status FROM vqueue.join('q', pg_temp.u(9), '', '');
SELECT user_name = '', user_email = '' FROM vqueue.sessions WHERE user_id = pg_temp.u(9);
SELECT vqueue.drop_queue('q', true);

-- join_many: places in the order given, tickets rising in it, whatever the order of the ids
SELECT 'made' FROM vqueue.create_queue('m', max_concurrent_users => 2, state => 'paused');
SELECT n, user_id, status, priority, ticket, position
  FROM vqueue.join_many('m', ARRAY[pg_temp.u(5), pg_temp.u(1), pg_temp.u(9), pg_temp.u(3)]) WITH ORDINALITY
       AS p (id, queue, user_id, status, priority, ticket, position, w, w9, np, j, s, l, n);
-- some are there already, some come twice: each user has one session
SELECT n, user_id, position, ticket <= 4 AS old
  FROM vqueue.join_many('m', ARRAY[pg_temp.u(7), pg_temp.u(1), pg_temp.u(8), pg_temp.u(7), pg_temp.u(5), pg_temp.u(8)]) WITH ORDINALITY
       AS p (id, queue, user_id, status, priority, ticket, position, w, w9, np, j, s, l, n);
SELECT count(*), count(DISTINCT user_id), count(DISTINCT ticket) FROM vqueue.sessions;
-- all there already
SELECT count(*), count(DISTINCT p.id), bool_and(p.id = s.id) FROM vqueue.join_many('m', ARRAY[pg_temp.u(3), pg_temp.u(9)]) AS p
  JOIN vqueue.user_sessions s ON s.user_id = p.user_id;
-- nobody
SELECT count(*) FROM vqueue.join_many('m', '{}');
-- an array of two dimensions is read in storage order; a priority is for all
SELECT user_id, priority, position FROM vqueue.join_many('m', ARRAY[[pg_temp.u(21), pg_temp.u(22)], [pg_temp.u(23), pg_temp.u(24)]], 'vip');
SELECT ticket, position FROM vqueue.status(pg_temp.s('m', 5));
-- a null spoils all of it
SELECT pg_temp.attempt($$SELECT vqueue.join_many('m', ARRAY[pg_temp.u(31), NULL, pg_temp.u(32)])$$);
SELECT count(*) FROM vqueue.sessions WHERE user_id IN (pg_temp.u(31), pg_temp.u(32));
-- thousands at once, over several chunks of tickets
SELECT count(*), count(DISTINCT ticket), min(position), max(position),
       bool_and(position = 10 + n) AS in_order
  FROM vqueue.join_many('m', ARRAY(SELECT pg_temp.u(100000 + n) FROM generate_series(1, 20000) AS n)) WITH ORDINALITY
       AS p (id, queue, user_id, status, priority, ticket, position, w, w9, np, j, s, l, n);
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'm';
SELECT * FROM vqueue.check();
-- the same again by half: the old ones keep their places
SELECT count(*), count(DISTINCT p.id), max(position)
  FROM vqueue.join_many('m', ARRAY(SELECT pg_temp.u(110000 + n) FROM generate_series(1, 20000) AS n)) AS p;
SELECT waiting FROM vqueue.overview WHERE queue = 'm';
-- every position once
SELECT count(DISTINCT position), min(position), max(position) FROM vqueue.sessions;
-- every second one goes
SELECT count((vqueue.leave(id)).id) FROM vqueue.user_sessions WHERE status = 'waiting' AND ticket % 2 = 0;
SELECT count(*) = max(position) AND count(DISTINCT position) = count(*) FROM vqueue.sessions WHERE status = 'waiting';
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('m', true);

-- join_many into an open queue with room: as many as the cap and the burst allow go straight in
SELECT 'made' FROM vqueue.create_queue('o', release_rate_per_minute => 1, burst => 10, max_concurrent_users => 3);
SELECT n, status, position FROM vqueue.join_many('o', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 5) AS n)) WITH ORDINALITY
       AS p (id, queue, user_id, status, priority, ticket, position, w, w9, np, j, s, l, n);
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'o';
SELECT vqueue.drop_queue('o', true);
SELECT 'made' FROM vqueue.create_queue('o', release_rate_per_minute => 1, burst => 2, max_concurrent_users => 30);
SELECT n, status, position FROM vqueue.join_many('o', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 4) AS n)) WITH ORDINALITY
       AS p (id, queue, user_id, status, priority, ticket, position, w, w9, np, j, s, l, n);
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('o', true);
SELECT count(*) FROM vqueue.user_sessions;
