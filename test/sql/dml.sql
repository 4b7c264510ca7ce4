-- Plain SQL on the tables by an operator: memory follows, whatever is done.
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

SELECT 'made' FROM vqueue.create_queue('q', max_concurrent_users => 4, state => 'paused');
SELECT vqueue._queue('q') AS q \gset
CREATE FUNCTION pg_temp.line() RETURNS text LANGUAGE sql AS $$
    SELECT format('%s waiting, %s inside: ', o.waiting, o.serving)
           || coalesce(string_agg(format('%s %s/%s@%s', ltrim(right(s.user_id::text, 4), '0'), s.status, s.priority, s.position), ', '
                       ORDER BY s.position, s.ticket) FILTER (WHERE s.id IS NOT NULL AND s.left_at IS NULL), 'nobody')
      FROM vqueue.overview o LEFT JOIN vqueue.sessions s USING (queue) WHERE o.queue = 'q' GROUP BY o.waiting, o.serving
$$;

-- INSERT: a ticket is issued where none is given
INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (:'q', pg_temp.u(1)), (:'q', pg_temp.u(2))
    RETURNING ticket, status, priority, served_at, left_at, joined_at IS NOT NULL;
INSERT INTO vqueue.user_sessions (queue_id, user_id, priority) SELECT :'q', pg_temp.u(n), 'vip' FROM generate_series(3, 4) AS n;
SELECT pg_temp.line();
-- with the ticket given: later ones are above it
INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (:'q', pg_temp.u(5), 100);
SELECT ticket > 100, position FROM vqueue.join('q', pg_temp.u(6));
INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (:'q', pg_temp.u(7), 50);
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- of other statuses
INSERT INTO vqueue.user_sessions (queue_id, user_id, status, served_at) VALUES (:'q', pg_temp.u(8), 'serving', now());
INSERT INTO vqueue.user_sessions (queue_id, user_id, status, ready_at) VALUES (:'q', pg_temp.u(9), 'ready', now());
INSERT INTO vqueue.user_sessions (queue_id, user_id, status, served_at, left_at) VALUES (:'q', pg_temp.u(10), 'completed', now(), now());
INSERT INTO vqueue.user_sessions (queue_id, user_id, status, left_at) VALUES (:'q', pg_temp.u(11), 'removed', now()), (:'q', pg_temp.u(11), 'left', now());
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- who is there twice is refused, who is there and was is not
SELECT pg_temp.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (vqueue._queue('q'), pg_temp.u(1))$$);
INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (:'q', pg_temp.u(1)) ON CONFLICT DO NOTHING;
INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (:'q', pg_temp.u(1))
    ON CONFLICT (queue_id, user_id) WHERE left_at IS NULL DO UPDATE SET user_name = 'again' RETURNING user_name, ticket;
INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (:'q', pg_temp.u(11));
SELECT pg_temp.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (vqueue._queue('q'), pg_temp.u(12), 100)$$);
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- the tickets of those refused trouble nobody
SELECT count(*) = max(position) FROM vqueue.sessions WHERE status = 'waiting';

-- UPDATE of the status alone brings the times along
UPDATE vqueue.user_sessions SET status = 'serving' WHERE user_id = pg_temp.u(3) RETURNING status, served_at IS NOT NULL, left_at;
UPDATE vqueue.user_sessions SET status = 'completed' WHERE user_id = pg_temp.u(3) RETURNING status, left_at IS NOT NULL;
UPDATE vqueue.user_sessions SET status = 'left' WHERE user_id = pg_temp.u(4) RETURNING status, served_at, left_at IS NOT NULL;
SELECT pg_temp.line();
-- back into the line, at the old place
UPDATE vqueue.user_sessions SET status = 'waiting' WHERE user_id IN (pg_temp.u(3), pg_temp.u(8)) RETURNING status, served_at, left_at;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- another lane, there and back in one transaction, and for good
BEGIN;
UPDATE vqueue.user_sessions SET priority = 'high' WHERE user_id = pg_temp.u(6);
UPDATE vqueue.user_sessions SET priority = 'low' WHERE user_id = pg_temp.u(6);
UPDATE vqueue.user_sessions SET priority = 'normal' WHERE user_id = pg_temp.u(6);
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
UPDATE vqueue.user_sessions SET priority = 'vip' WHERE user_id = pg_temp.u(6);
SELECT pg_temp.line();
BEGIN;
UPDATE vqueue.user_sessions SET priority = 'low' WHERE user_id = pg_temp.u(6);
SAVEPOINT a;
UPDATE vqueue.user_sessions SET priority = 'high' WHERE user_id = pg_temp.u(6);
DELETE FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);
ROLLBACK TO a;
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- what memory does not know of
UPDATE vqueue.user_sessions SET user_name = 'n', user_email = 'e', reason = 'r', joined_at = joined_at - interval '1 day';
SELECT * FROM vqueue.check();
-- another user, another id
UPDATE vqueue.user_sessions SET user_id = pg_temp.u(40), id = gen_random_uuid() WHERE user_id = pg_temp.u(7);
SELECT position FROM vqueue.status(pg_temp.s('q', 40));
SELECT pg_temp.attempt($$UPDATE vqueue.user_sessions SET user_id = pg_temp.u(1) WHERE user_id = pg_temp.u(40)$$);
SELECT * FROM vqueue.check();
-- a ticket stays what it is, and where it is
SELECT pg_temp.attempt($$UPDATE vqueue.user_sessions SET ticket = ticket + 1000 WHERE user_id = pg_temp.u(40)$$);
SELECT 'made' FROM vqueue.create_queue('other', state => 'paused');
SELECT pg_temp.attempt($$UPDATE vqueue.user_sessions SET queue_id = vqueue._queue('other') WHERE user_id = pg_temp.u(40)$$);
-- not more inside than the cap, by hand either
SELECT pg_temp.attempt($$UPDATE vqueue.user_sessions SET status = 'serving' WHERE status = 'waiting'$$);
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- what a row may not be
SELECT r || E'\n' || pg_temp.attempt(format('INSERT INTO vqueue.user_sessions (queue_id, user_id, %s) VALUES (vqueue._queue(''q''), pg_temp.u(50), %s)', c, r))
  FROM (VALUES ('ticket', '0'), ('ticket', '-1'), ('ticket', '9223372036854775807'), ('ticket', '9223372036854775806'),
               ('status', '''Waiting'''), ('status', ''''''), ('status', 'NULL'), ('priority', '''VIP'''), ('priority', 'NULL'),
               ('joined_at', 'NULL'), ('id', 'NULL'),
               ('status', '''left'''), ('status', '''serving'''), ('status, left_at', '''serving'', now()'), ('status, left_at', '''completed'', now()'),
               ('served_at', 'now()'), ('left_at', 'now()'), ('status, served_at, left_at', '''waiting'', now(), now()'),
               ('user_name', 'repeat(''x'', 1001)'), ('user_email', 'repeat(''x'', 1001)'), ('reason', 'repeat(''x'', 1001)')) AS t (c, r);
SELECT pg_temp.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (gen_random_uuid(), pg_temp.u(50))$$);
SELECT pg_temp.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (NULL, pg_temp.u(50))$$);
SELECT pg_temp.attempt($$INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (vqueue._queue('q'), NULL)$$);
SELECT r || E'\n' || pg_temp.attempt('UPDATE vqueue.user_sessions SET ' || r || ' WHERE user_id = pg_temp.u(1)')
  FROM unnest(ARRAY['status = NULL', 'status = ''x''', 'priority = NULL', 'priority = ''x''', 'served_at = now()', 'left_at = now()',
                    'user_id = NULL', 'ticket = NULL', 'joined_at = NULL', 'queue_id = NULL', 'user_name = repeat(''x'', 1001)']) AS r;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- and joining goes on after all that
SELECT status FROM vqueue.join('q', pg_temp.u(51));
SELECT pg_temp.line();

-- DELETE: of those who wait, are in, have ended; taken back, and for good
BEGIN;
DELETE FROM vqueue.user_sessions;
SELECT count(*) FROM vqueue.user_sessions;
ROLLBACK;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
DELETE FROM vqueue.user_sessions WHERE left_at IS NOT NULL OR user_id IN (pg_temp.u(2), pg_temp.u(9), pg_temp.u(8));
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- deleted and inserted with the same ticket
BEGIN;
CREATE TEMP TABLE kept AS SELECT * FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);
DELETE FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);
INSERT INTO vqueue.user_sessions SELECT * FROM kept;
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
BEGIN;
DELETE FROM vqueue.user_sessions WHERE user_id = pg_temp.u(1);
SAVEPOINT a;
INSERT INTO vqueue.user_sessions SELECT * FROM kept;
ROLLBACK TO a;
COMMIT;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
INSERT INTO vqueue.user_sessions SELECT * FROM kept;
SELECT pg_temp.line();
DELETE FROM vqueue.user_sessions;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- MERGE
MERGE INTO vqueue.user_sessions s USING (SELECT pg_temp.u(n) AS u FROM generate_series(1, 3) AS n) AS w ON s.user_id = w.u
 WHEN NOT MATCHED THEN INSERT (queue_id, user_id) VALUES (vqueue._queue('q'), w.u);
MERGE INTO vqueue.user_sessions s USING (SELECT pg_temp.u(n) AS u FROM generate_series(2, 4) AS n) AS w ON s.user_id = w.u
 WHEN MATCHED AND s.user_id = pg_temp.u(3) THEN DELETE
 WHEN MATCHED THEN UPDATE SET status = 'serving'
 WHEN NOT MATCHED THEN INSERT (queue_id, user_id, priority) VALUES (vqueue._queue('q'), w.u, 'low');
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- COPY out and in again
\getenv builddir PG_ABS_BUILDDIR
\set file :builddir '/results/user_sessions.copy'
COPY vqueue.user_sessions TO :'file';
DELETE FROM vqueue.user_sessions;
SELECT * FROM vqueue.check();
COPY vqueue.user_sessions FROM :'file';
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- half of a COPY that fails is none of it
COPY vqueue.user_sessions FROM :'file';
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
DELETE FROM vqueue.user_sessions;

-- TRUNCATE: taken back, for good, and with joins before and after it in the transaction
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 5) AS n));
BEGIN;
TRUNCATE vqueue.user_sessions;
SELECT count(*) FROM vqueue.user_sessions;
ROLLBACK;
SELECT waiting FROM vqueue.overview WHERE queue = 'q';
SELECT * FROM vqueue.check();
BEGIN;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(6));
TRUNCATE vqueue.user_sessions;
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(7));
COMMIT;
SELECT * FROM vqueue.check();
SELECT pg_temp.line();
TRUNCATE vqueue.user_sessions;
SELECT * FROM vqueue.check();
SELECT pg_temp.line();
-- tickets go on above those of before
SELECT ticket > 5, position FROM vqueue.join('q', pg_temp.u(1));
SELECT pg_temp.attempt($$TRUNCATE vqueue.queues$$);
BEGIN;
SET LOCAL client_min_messages = warning;
TRUNCATE vqueue.queues CASCADE;
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
ROLLBACK;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();

-- queues by hand
UPDATE vqueue.queues SET state = 'closed', max_concurrent_users = 1, release_rate_per_minute = 7, burst = 3, max_waiting = 9, version = -5
 WHERE name = 'q' RETURNING is_active, version, updated_at > created_at;
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
SELECT * FROM vqueue.check();
UPDATE vqueue.queues SET name = 'q2', state = 'paused' WHERE name = 'q';
SELECT pg_temp.attempt($$SELECT vqueue.join('q')$$);
SELECT 'joined' FROM vqueue.join('q2', pg_temp.u(2));
UPDATE vqueue.queues SET name = 'q' WHERE name = 'q2';
SELECT pg_temp.line();
SELECT pg_temp.attempt($$UPDATE vqueue.queues SET id = gen_random_uuid() WHERE name = 'q'$$);
SELECT pg_temp.attempt($$UPDATE vqueue.queues SET is_active = true WHERE name = 'q'$$);
INSERT INTO vqueue.queues (name, state) VALUES ('by hand', 'paused') RETURNING max_concurrent_users, release_rate_per_minute, burst, max_waiting, version, is_active;
SELECT ticket, position FROM vqueue.join('by hand', pg_temp.u(1));
SELECT * FROM vqueue.check();
-- deleted, with its sessions
DELETE FROM vqueue.queues WHERE name = 'by hand';
SELECT count(*) FROM vqueue.user_sessions s WHERE NOT EXISTS (SELECT FROM vqueue.queues q WHERE q.id = s.queue_id);
SELECT pg_temp.attempt($$SELECT vqueue.join('by hand')$$);
SELECT * FROM vqueue.check();
-- taken back
BEGIN;
DELETE FROM vqueue.queues;
ROLLBACK;
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- an id that comes again, as when a dump is restored over what there was
SELECT 'made' FROM vqueue.create_queue('phoenix', state => 'paused');
SELECT count(*) FROM vqueue.join_many('phoenix', ARRAY(SELECT pg_temp.u(n) FROM generate_series(1, 3) AS n));
CREATE TEMP TABLE ashes AS SELECT id, name FROM vqueue.queues WHERE name = 'phoenix';
DELETE FROM vqueue.queues WHERE name = 'phoenix';
INSERT INTO vqueue.queues (id, name, state) SELECT id, name, 'paused' FROM ashes;
SELECT waiting FROM vqueue.overview WHERE queue = 'phoenix';
SELECT position FROM vqueue.join('phoenix', pg_temp.u(1));
SELECT * FROM vqueue.check();
BEGIN;
DELETE FROM vqueue.queues WHERE name = 'phoenix';
INSERT INTO vqueue.queues (id, name, state) SELECT id, name, 'paused' FROM ashes;
SELECT position FROM vqueue.join('phoenix', pg_temp.u(2));
COMMIT;
SELECT waiting FROM vqueue.overview WHERE queue = 'phoenix';
SELECT * FROM vqueue.check();
SELECT position FROM vqueue.join('phoenix', pg_temp.u(3));
DELETE FROM vqueue.queues WHERE name = 'phoenix';

-- ceilings: lowered or deleted by hand, no ticket comes twice and joining goes on
SELECT max(ticket) AS last FROM vqueue.user_sessions \gset
UPDATE vqueue.ticket_ceilings SET ceiling = 0 WHERE queue_id = :'q';
SELECT ticket > :last FROM vqueue.join('q', pg_temp.u(3));
SELECT pg_temp.attempt($$UPDATE vqueue.ticket_ceilings SET ceiling = -1$$);
DELETE FROM vqueue.ticket_ceilings;
SELECT ticket > :last + 1 FROM vqueue.join('q', pg_temp.u(4));
SELECT pg_temp.attempt($$INSERT INTO vqueue.ticket_ceilings VALUES (vqueue._queue('q'), -1)$$);
-- a restored ceiling lifts the tickets
INSERT INTO vqueue.ticket_ceilings VALUES (:'q', 1000000);
SELECT ticket > 1000000 FROM vqueue.join('q', pg_temp.u(5));
SELECT * FROM vqueue.check();

-- as replication applies rows: the same triggers, no cascade
SET session_replication_role = replica;
INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (:'q', pg_temp.u(60), 2000000);
UPDATE vqueue.user_sessions SET status = 'left' WHERE user_id = pg_temp.u(1);
DELETE FROM vqueue.user_sessions WHERE user_id = pg_temp.u(2);
UPDATE vqueue.queues SET max_concurrent_users = 3 WHERE name = 'q';
SELECT pg_temp.line();
SELECT * FROM vqueue.check();
-- a session that comes before its queue
INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES ('00000000-0000-7000-8000-00000000abcd', pg_temp.u(61), 7);
SELECT * FROM vqueue.check();
INSERT INTO vqueue.queues (id, name, state) VALUES ('00000000-0000-7000-8000-00000000abcd', 'late', 'paused');
SELECT * FROM vqueue.check();
RESET session_replication_role;
SELECT queue, waiting FROM vqueue.overview WHERE queue = 'late';
SELECT ticket > 7, position FROM vqueue.join('late', pg_temp.u(62));
-- its queue goes, without it
SET session_replication_role = replica;
DELETE FROM vqueue.queues WHERE name = 'late';
RESET session_replication_role;
SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = '00000000-0000-7000-8000-00000000abcd';
SELECT * FROM vqueue.check();
UPDATE vqueue.user_sessions SET status = 'left' WHERE user_id = pg_temp.u(61);
DELETE FROM vqueue.user_sessions WHERE queue_id = '00000000-0000-7000-8000-00000000abcd';
DELETE FROM vqueue.ticket_ceilings WHERE queue_id = '00000000-0000-7000-8000-00000000abcd';
SELECT * FROM vqueue.check();
SELECT pg_temp.line();

-- an operator's trigger that keeps rows out, or changes them, is obeyed
CREATE FUNCTION pg_temp.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.priority := 'low';
    RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE INSERT ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION pg_temp.meddle();
SELECT 'joined' FROM vqueue.join('q', pg_temp.u(70), priority => 'vip');
DROP TRIGGER meddle ON vqueue.user_sessions;
SELECT user_id, priority FROM vqueue.sessions WHERE user_id = pg_temp.u(70);
SELECT * FROM vqueue.check();

-- one that spares the called the claim, and one that calls those who need not claim
CREATE FUNCTION pg_temp.spare() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'ready' THEN
        NEW.status := 'serving';
        NEW.served_at := NEW.ready_at;
        NEW.ready_at := NULL;
    ELSIF NEW.status = 'serving' AND OLD.status = 'waiting' THEN
        NEW.status := 'ready';
        NEW.ready_at := NEW.served_at;
        NEW.served_at := NULL;
    END IF;
    RETURN NEW;
END
$$;
SELECT count(vqueue.create_queue(name, state => 'paused', claim_timeout => timeout)) AS made
  FROM (VALUES ('spared', interval '1 h'), ('troubled', '0')) AS q (name, timeout);
SELECT count(*) FROM vqueue.join_many('spared', ARRAY[pg_temp.u(71), pg_temp.u(72)]) AS a, vqueue.join_many('troubled', ARRAY[pg_temp.u(73)]) AS b;
CREATE TRIGGER spare BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION pg_temp.spare();
SELECT vqueue.release('spared', 1), vqueue.release('troubled', 1);
BEGIN;
SELECT vqueue.release('spared', 1);
ROLLBACK;
DROP TRIGGER spare ON vqueue.user_sessions;
SELECT user_id, status FROM vqueue.sessions WHERE queue IN ('spared', 'troubled') ORDER BY user_id;
SELECT * FROM vqueue.check();
SELECT count(vqueue.claim(id)) FROM vqueue.sessions WHERE queue = 'troubled';
-- called anew, by the transaction that ended the visit
BEGIN;
UPDATE vqueue.user_sessions SET status = 'completed' WHERE user_id = pg_temp.u(73);
UPDATE vqueue.user_sessions SET status = 'ready' WHERE user_id = pg_temp.u(73);
COMMIT;
SELECT user_id, status FROM vqueue.sessions WHERE queue = 'troubled';
SELECT * FROM vqueue.check();
SELECT count(vqueue.claim(id)) FROM vqueue.sessions WHERE queue = 'troubled';
SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE queue IN ('spared', 'troubled') AND status = 'serving';
SELECT queue, waiting, serving FROM vqueue.overview WHERE queue IN ('spared', 'troubled') ORDER BY queue;
SELECT * FROM vqueue.check();

-- replicated, a ceiling may come before its queue: tickets up to it were issued elsewhere
SET session_replication_role = replica;
INSERT INTO vqueue.ticket_ceilings (queue_id, ceiling) VALUES ('00000000-0000-0000-0000-0000000000ce', 20000);
INSERT INTO vqueue.queues (id, tenant_id, name) SELECT '00000000-0000-0000-0000-0000000000ce', t.id, 'late' FROM vqueue.tenants t WHERE t.name = 'default';
RESET session_replication_role;
SELECT ticket > 20000 AS above FROM vqueue.join('late');
SELECT * FROM vqueue.check();

DELETE FROM vqueue.queues;
SELECT count(*) FROM vqueue.user_sessions;
SELECT count(*) FROM vqueue.ticket_ceilings;
SELECT * FROM vqueue.check();
