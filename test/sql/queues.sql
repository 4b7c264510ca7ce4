-- Queues: made, changed, moved between their states, watched and dropped.
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

-- defaults, and every setting given
SELECT pg_typeof(vqueue.create_queue('plain'));
SELECT 'made' FROM vqueue.create_queue('full', release_rate_per_minute => 600, max_concurrent_users => 1000,
    description => 'all of it', burst => 20, max_waiting => 5000, state => 'paused');
SELECT name, description, max_concurrent_users, release_rate_per_minute, burst, max_waiting, state, is_active, version,
       created_at = updated_at, t = 'default'
  FROM vqueue.queues JOIN (SELECT id, name AS t FROM vqueue.tenants) AS t ON t.id = tenant_id
 WHERE name IN ('plain', 'full') ORDER BY name;

-- its id is a version 7 uuid, and stands for its name
SELECT substr(id::text, 15, 1), substr(id::text, 20, 1) IN ('8', '9', 'a', 'b') FROM vqueue.queues WHERE name = 'plain';
SELECT vqueue._queue(id::text) = id, vqueue._queue(upper(id::text)) = id, vqueue._queue('{' || id || '}') = id,
       vqueue._queue(replace(id::text, '-', '')) = id, vqueue._queue(name) = id
  FROM vqueue.queues WHERE name = 'plain';

-- names at the limits, in any script, and such as only look dangerous
SELECT 'made' FROM vqueue.create_queue(repeat('n', 200));
SELECT 'made' FROM vqueue.create_queue(repeat('ä', 100));
SELECT 'made' FROM vqueue.create_queue('Robert''); DROP TABLE "x"; --');
SELECT 'made' FROM vqueue.create_queue(' ');
SELECT 'made' FROM vqueue.create_queue('Ωμέγα 待ち行列 🎫');
SELECT 'made' FROM vqueue.create_queue('PLAIN');
SELECT status, position FROM vqueue.join(repeat('n', 200));
SELECT status, position FROM vqueue.join(repeat('ä', 100));
SELECT status, position FROM vqueue.join('Robert''); DROP TABLE "x"; --');
SELECT status, position FROM vqueue.join(' ');
SELECT queue, status, position FROM vqueue.join('Ωμέγα 待ち行列 🎫');
SELECT count(*) FROM vqueue.overview;
DO $$
BEGIN
    PERFORM vqueue.drop_queue(name, force => true) FROM vqueue.queues WHERE name NOT IN ('plain', 'full');
END
$$;
SELECT queue FROM vqueue.overview;

-- alter: each setting alone leaves the others; nothing given changes nothing
SELECT vqueue.alter_queue('plain', release_rate_per_minute => 60);
SELECT vqueue.alter_queue('plain', max_concurrent_users => 3);
SELECT vqueue.alter_queue('plain', description => 'words');
SELECT vqueue.alter_queue('plain', burst => 7);
SELECT vqueue.alter_queue('plain', max_waiting => 8);
SELECT name, description, max_concurrent_users, release_rate_per_minute, burst, max_waiting, state, version, updated_at > created_at
  FROM vqueue.queues WHERE name = 'plain';
SELECT vqueue.alter_queue('plain');
SELECT name, description, max_concurrent_users, release_rate_per_minute, burst, max_waiting, state
  FROM vqueue.queues WHERE name = 'plain';
SELECT * FROM vqueue.check();

-- a queue that is renamed is found by its new name only; its old name is free
SELECT position FROM vqueue.position('plain', 1);
SELECT vqueue.alter_queue('plain', name => 'renamed');
SELECT pg_temp.attempt($$SELECT vqueue.position('plain', 1)$$);
SELECT 'found' FROM vqueue.position('renamed', 1);
SELECT 'made' FROM vqueue.create_queue('plain', state => 'paused');
SELECT vqueue._queue('plain') <> vqueue._queue('renamed');
SELECT vqueue.alter_queue('renamed', name => 'renamed');
SELECT * FROM vqueue.check();

-- states
CREATE FUNCTION pg_temp.state_of(queue text) RETURNS text LANGUAGE sql AS
$$ SELECT q.state || CASE WHEN q.is_active THEN ' active' ELSE '' END || ', memory ' || o.state
     FROM vqueue.queues q JOIN vqueue.overview o USING (id) WHERE q.name = $1 $$;
SELECT vqueue.open('plain'); SELECT pg_temp.state_of('plain');
SELECT vqueue.pause('plain'); SELECT pg_temp.state_of('plain');
SELECT vqueue.pause('plain'); SELECT pg_temp.state_of('plain');
SELECT vqueue.resume('plain'); SELECT pg_temp.state_of('plain');
SELECT vqueue.resume('plain'); SELECT pg_temp.state_of('plain');
SELECT vqueue.drain('plain'); SELECT pg_temp.state_of('plain');
SELECT pg_temp.attempt($$SELECT vqueue.resume('plain')$$);
SELECT vqueue.close('plain'); SELECT pg_temp.state_of('plain');
SELECT pg_temp.attempt($$SELECT vqueue.resume('plain')$$);
SELECT vqueue.open('plain'); SELECT pg_temp.state_of('plain');
SELECT * FROM vqueue.check();
-- moving to the state it is in writes nothing
SELECT version AS before FROM vqueue.queues WHERE name = 'plain' \gset
SELECT vqueue.open('plain');
SELECT version = :before FROM vqueue.queues WHERE name = 'plain';

-- who may join and who is let in, by state
SELECT 'made' FROM vqueue.create_queue('s', release_rate_per_minute => 60000, max_concurrent_users => 2, state => 'paused');
SELECT status, position FROM vqueue.join('s', pg_temp.u(1));
SELECT vqueue.drain('s');
SELECT pg_temp.wait_for($$SELECT status = 'serving' FROM vqueue.status(pg_temp.s('s', 1))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('s', pg_temp.u(2))$$);
SELECT vqueue.pause('s');
SELECT status, position FROM vqueue.join('s', pg_temp.u(2));
SELECT vqueue.close('s');
SELECT pg_temp.attempt($$SELECT vqueue.join('s', pg_temp.u(3))$$);
SELECT status, position, estimated_wait FROM vqueue.status(pg_temp.s('s', 2));
SELECT vqueue.open('s');
SELECT pg_temp.wait_for($$SELECT status = 'serving' FROM vqueue.status(pg_temp.s('s', 2))$$);

-- overview: counts of the present, head and last ticket
SELECT vqueue.pause('s');
SELECT count(*) FROM vqueue.join_many('s', ARRAY(SELECT pg_temp.u(n) FROM generate_series(11, 15) AS n));
SELECT status FROM vqueue.leave(pg_temp.s('s', 11));
SELECT o.queue, o.state, o.waiting, o.serving, o.max_concurrent_users, o.release_rate_per_minute, o.released, o.released_last_minute <= 2,
       o.head = (SELECT ticket FROM vqueue.user_sessions WHERE id = pg_temp.s('s', 12)),
       o.last_ticket = (SELECT max(ticket) FROM vqueue.user_sessions WHERE queue_id = o.id),
       o.estimated_wait, o.failures, o.last_error
  FROM vqueue.overview o WHERE queue = 's';

-- drop: refused while sessions live, unless forced
SELECT pg_temp.attempt($$SELECT vqueue.drop_queue('s')$$);
SELECT pg_temp.attempt($$SELECT vqueue.drop_queue('s', NULL)$$);
SELECT queue, waiting, serving FROM vqueue.overview WHERE queue = 's';
SELECT id AS dropped FROM vqueue.user_sessions WHERE id = pg_temp.s('s', 12) \gset
SELECT vqueue.drop_queue('s', force => true);
SELECT count(*) FROM vqueue.queues WHERE name = 's';
-- a poller of a dropped queue is told so
SELECT pg_temp.attempt(format('SELECT vqueue.poll(%L)', :'dropped'));
SELECT pg_temp.attempt($$SELECT vqueue.join('s')$$);
SELECT count(*) FROM vqueue.user_sessions s WHERE NOT EXISTS (SELECT FROM vqueue.queues q WHERE q.id = s.queue_id);
SELECT count(*) FROM vqueue.ticket_ceilings c WHERE NOT EXISTS (SELECT FROM vqueue.queues q WHERE q.id = c.queue_id);
SELECT * FROM vqueue.check();
-- one with ended sessions goes without force, and takes them along
SELECT 'made' FROM vqueue.create_queue('s', state => 'paused');
SELECT status, position FROM vqueue.join('s', pg_temp.u(1));
SELECT status FROM vqueue.leave(pg_temp.s('s', 1));
SELECT vqueue.drop_queue('s');
SELECT count(*) FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);
-- the same name again is a new queue, with no trace of the old one
SELECT 'made' FROM vqueue.create_queue('s', state => 'paused');
SELECT status, ticket, position FROM vqueue.join('s', pg_temp.u(1));
SELECT vqueue.drop_queue('s', force => true);

-- a newcomer is served at once in an open queue with room, not in a paused one, not beyond the cap
SELECT 'made' FROM vqueue.create_queue('once', release_rate_per_minute => 600000, max_concurrent_users => 2, burst => 100);
SELECT status, position, estimated_wait, next_poll_after, served_at IS NOT NULL, served_at >= joined_at FROM vqueue.join('once');
SELECT status, position FROM vqueue.join('once');
SELECT status, position FROM vqueue.join('once', pg_temp.u(3));
SELECT status, position FROM vqueue.join('once');
-- a freed slot is given on by itself
SELECT status FROM vqueue.complete((SELECT id FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('once') AND status = 'serving' LIMIT 1));
SELECT pg_temp.wait_for($$SELECT status = 'serving' FROM vqueue.status(pg_temp.s('once', 3))$$);
SELECT waiting, serving, released FROM vqueue.overview WHERE queue = 'once';
-- a raised cap takes effect by itself
SELECT vqueue.alter_queue('once', max_concurrent_users => 3);
SELECT pg_temp.wait_for($$SELECT waiting = 0 AND serving = 3 FROM vqueue.overview WHERE queue = 'once'$$);
SELECT vqueue.drop_queue('once', force => true);
-- and so does a raised rate: nobody waits for the token of the old one
SELECT 'made' FROM vqueue.create_queue('slow', release_rate_per_minute => 1, max_concurrent_users => 10);
SELECT status FROM vqueue.join('slow');
SELECT status FROM vqueue.join('slow');
SELECT vqueue.alter_queue('slow', release_rate_per_minute => 600000);
SELECT pg_temp.wait_for($$SELECT waiting = 0 AND serving = 2 FROM vqueue.overview WHERE queue = 'slow'$$);
SELECT vqueue.drop_queue('slow', force => true);

SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('full'), vqueue.drop_queue('plain'), vqueue.drop_queue('renamed');
SELECT count(*) FROM vqueue.queues;
