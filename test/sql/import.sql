-- Taking over the rooms of another system: what is taken, changed, refused, and in which order people stand.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse
SET timezone = 'UTC';

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
    RETURN concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, ''));
END
$$;

-- tenant, queue, session and user number n
CREATE FUNCTION pg_temp.t(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.q(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('20000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('30000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('40000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;

-- there has to be something to import
SELECT pg_temp.attempt($$SELECT vqueue.import_sessions(NULL)$$);
SELECT pg_temp.attempt($$SELECT vqueue.import_sessions('old', NULL)$$);
SELECT pg_temp.attempt($$SELECT vqueue.import_sessions('nowhere')$$);
SELECT pg_temp.attempt($$SELECT vqueue.import_sessions('vqueue')$$);
SELECT pg_temp.attempt($$SELECT vqueue.import_sessions('pg_catalog')$$);

-- another system, with all that can be wrong there
CREATE SCHEMA "Old rooms";
SET search_path = "Old rooms";
CREATE TYPE "Old rooms".how AS ENUM ('waiting', 'serving', 'completed', 'left', 'abandoned', 'expired', 'no_show', 'removed',
                                     'Waiting ', 'cancelled', 'on hold', 'ready');
CREATE TABLE tenants (id uuid, name varchar, domain text, created_at timestamp, updated_at timestamp);
CREATE TABLE queues (id uuid, tenant_id uuid, name varchar, description text, max_concurrent_users int, release_rate_per_minute int,
                     is_active bool, created_at timestamptz, updated_at timestamptz);
CREATE TABLE user_sessions (id uuid, queue_id uuid, user_id uuid, user_name varchar, user_email varchar, priority varchar,
                            position integer, status how, joined_at timestamptz, served_at timestamptz, left_at timestamptz);
RESET search_path;
SELECT * FROM vqueue.import_sessions('Old rooms');

INSERT INTO vqueue.tenants (name) VALUES ('globex');
INSERT INTO "Old rooms".tenants (id, name, domain, created_at) VALUES
    (pg_temp.t(1), 'acme', 'acme.example', '2020-01-01'), (pg_temp.t(2), 'globex', 'globex.example', '2020-01-02'),
    (pg_temp.t(3), 'acme', 'other', '2020-01-03'), (pg_temp.t(4), NULL, NULL, NULL), (pg_temp.t(5), E'a\tb', NULL, NULL),
    (pg_temp.t(6), repeat('x', 201), NULL, NULL), (NULL, 'nobody', NULL, NULL), (pg_temp.t(1), 'again', NULL, NULL),
    (pg_temp.t(7), 'initech', repeat('d', 254), 'infinity');
INSERT INTO "Old rooms".queues (id, tenant_id, name, max_concurrent_users, release_rate_per_minute, is_active, description, created_at) VALUES
    (pg_temp.q(1), pg_temp.t(1), 'shop', 2, 600, true, 'the main one', '2020-02-01'),
    (pg_temp.q(2), pg_temp.t(2), 'shop', 100, 10, false, NULL, '2020-02-02'),
    (pg_temp.q(3), pg_temp.t(1), 'defaults', NULL, NULL, NULL, NULL, NULL),
    (pg_temp.q(4), pg_temp.t(1), 'stopped', 100, 0, true, NULL, NULL),
    (pg_temp.q(5), pg_temp.t(1), 'huge', 2000000000, 2000000000, true, repeat('ä', 10000), NULL),
    (pg_temp.q(6), pg_temp.t(1), 'shop', 2, 600, true, 'a second one', '2020-02-03'),
    (pg_temp.q(7), pg_temp.t(3), 'lost', 2, 600, true, NULL, NULL),
    (pg_temp.q(8), NULL, 'of nobody', -1, -1, true, NULL, '2200-01-01'),
    (pg_temp.q(9), pg_temp.t(1), 'f47ac10b-58cc-4372-a567-0e02b2c3d479', 1, 1, true, NULL, NULL),
    (pg_temp.q(10), pg_temp.t(1), '', 1, 1, true, NULL, NULL), (NULL, pg_temp.t(1), 'no id', 1, 1, true, NULL, NULL),
    (pg_temp.q(11), pg_temp.t(99), 'homeless', 1, 1, true, NULL, NULL);
-- in the line: by position, those of one position and those without one by joined_at
INSERT INTO "Old rooms".user_sessions (id, queue_id, user_id, user_name, priority, position, status, joined_at) VALUES
    (pg_temp.s(1), pg_temp.q(1), pg_temp.u(1), 'fourth', 'normal', 30, 'waiting', '2020-03-01 10:00'),
    (pg_temp.s(2), pg_temp.q(1), pg_temp.u(2), 'first', 'normal', 10, 'Waiting ', '2020-03-01 11:00'),
    (pg_temp.s(3), pg_temp.q(1), pg_temp.u(3), 'third', 'normal', 20, 'waiting', '2020-03-01 09:30'),
    (pg_temp.s(4), pg_temp.q(1), pg_temp.u(4), 'second', NULL, 20, 'waiting', '2020-03-01 09:00'),
    (pg_temp.s(5), pg_temp.q(1), pg_temp.u(5), 'a vip', ' VIP ', 40, 'waiting', '2020-03-01 12:00'),
    (pg_temp.s(6), pg_temp.q(1), pg_temp.u(6), 'last but one', 'normal', NULL, 'waiting', '2020-03-01 08:00'),
    (pg_temp.s(7), pg_temp.q(1), NULL, 'last, nameless', 'urgent', NULL, NULL, NULL),
    (pg_temp.s(8), pg_temp.q(1), pg_temp.u(1), 'fourth again', 'normal', 31, 'waiting', '2020-03-01 10:00');
-- inside, more than there are slots, and one who waits besides
INSERT INTO "Old rooms".user_sessions (id, queue_id, user_id, user_name, position, status, joined_at, served_at) VALUES
    (pg_temp.s(10), pg_temp.q(1), pg_temp.u(10), 'inside', 1, 'serving', '2020-03-01 07:00', '2020-03-01 07:30'),
    (pg_temp.s(11), pg_temp.q(1), pg_temp.u(11), 'inside, no time', 2, 'serving', '2020-03-01 07:00', NULL),
    (pg_temp.s(12), pg_temp.q(1), pg_temp.u(12), 'inside, later', 3, 'serving', '2020-03-01 07:00', '2200-01-01'),
    (pg_temp.s(13), pg_temp.q(1), pg_temp.u(10), 'inside, waits too', 0, 'waiting', '2020-03-01 07:00', NULL),
    (pg_temp.s(14), pg_temp.q(3), pg_temp.u(10), 'called', 0, 'ready', '2020-03-01 07:00', NULL);
-- gone
INSERT INTO "Old rooms".user_sessions (id, queue_id, user_id, user_name, status, joined_at, served_at, left_at) VALUES
    (pg_temp.s(20), pg_temp.q(1), pg_temp.u(1), 'done', 'completed', '2020-03-01 05:00', '2020-03-01 05:30', '2020-03-01 06:00'),
    (pg_temp.s(21), pg_temp.q(1), pg_temp.u(21), 'done, no times', 'completed', NULL, NULL, NULL),
    (pg_temp.s(22), pg_temp.q(1), pg_temp.u(22), 'left', 'left', '2020-03-01 05:00', NULL, '2020-03-01 06:00'),
    (pg_temp.s(23), pg_temp.q(1), pg_temp.u(23), 'silent', 'abandoned', '2020-03-01 05:00', NULL, 'infinity'),
    (pg_temp.s(24), pg_temp.q(1), pg_temp.u(24), 'expired inside', 'expired', '2020-03-01 05:00', '2020-03-01 05:30', '2020-03-01 06:00'),
    (pg_temp.s(25), pg_temp.q(1), pg_temp.u(25), 'expired waiting', 'expired', '2020-03-01 05:00', 'infinity', '2020-03-01 06:00'),
    (pg_temp.s(26), pg_temp.q(1), pg_temp.u(26), 'no show', 'no_show', '2020-03-01 05:00', NULL, '2020-03-01 06:00'),
    (pg_temp.s(27), pg_temp.q(1), pg_temp.u(27), 'thrown out', 'removed', '2020-03-01 05:00', '2020-03-01 05:30', '2020-03-01 06:00'),
    (pg_temp.s(28), pg_temp.q(2), pg_temp.u(28), 'waits, but left', 'waiting', '2020-03-01 05:00', '2020-03-01 05:30', '2020-03-01 06:00');
-- not to be taken over, or not as they are
INSERT INTO "Old rooms".user_sessions (id, queue_id, user_id, user_name, user_email, status) VALUES
    (pg_temp.s(30), pg_temp.q(1), pg_temp.u(30), NULL, NULL, 'cancelled'), (pg_temp.s(31), pg_temp.q(1), pg_temp.u(31), NULL, NULL, 'on hold'),
    (pg_temp.s(32), pg_temp.q(6), pg_temp.u(32), NULL, NULL, 'waiting'), (pg_temp.s(33), NULL, pg_temp.u(33), NULL, NULL, 'waiting'),
    (NULL, pg_temp.q(1), pg_temp.u(34), NULL, NULL, 'waiting'), (pg_temp.s(1), pg_temp.q(1), pg_temp.u(35), NULL, NULL, 'waiting'),
    (pg_temp.s(36), pg_temp.q(2), pg_temp.u(36), repeat('ü', 501), repeat('e', 1001), 'waiting'),
    (pg_temp.s(37), pg_temp.q(99), pg_temp.u(37), NULL, NULL, 'waiting');

-- a dry run says what would be, and does nothing
CREATE TEMP TABLE dry AS SELECT * FROM vqueue.import_sessions('Old rooms');
SELECT * FROM dry;
SELECT (SELECT count(*) FROM vqueue.tenants), (SELECT count(*) FROM vqueue.queues), (SELECT count(*) FROM vqueue.user_sessions);
-- each row is imported, skipped or refused
SELECT sum(count) FILTER (WHERE "table" = 'tenants'), (SELECT count(*) FROM "Old rooms".tenants),
       sum(count) FILTER (WHERE "table" = 'queues'), (SELECT count(*) FROM "Old rooms".queues),
       sum(count) FILTER (WHERE "table" = 'user_sessions'), (SELECT count(*) FROM "Old rooms".user_sessions)
  FROM dry WHERE action IN ('import', 'skip', 'refuse');

-- in a transaction that is rolled back nothing has been
BEGIN;
SELECT count(*) FROM vqueue.import_sessions('Old rooms', false);
SELECT count(*) FROM vqueue.user_sessions;
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT count(*) FROM vqueue.import_sessions('Old rooms', false);
SELECT count(*) FROM vqueue.import_sessions('Old rooms', false) WHERE action = 'import';
ROLLBACK TO a;
SELECT count(*) FROM vqueue.import_sessions('Old rooms', false);
SELECT count(*), count(*) FILTER (WHERE left_at IS NULL) FROM vqueue.user_sessions;
ROLLBACK;
SELECT count(*) FROM vqueue.queues;
SELECT * FROM vqueue.check();

-- the real run does what the dry one said
CREATE TEMP TABLE wet AS SELECT * FROM vqueue.import_sessions('Old rooms', dry_run => false);
(TABLE wet EXCEPT TABLE dry) UNION ALL (TABLE dry EXCEPT TABLE wet);
SELECT * FROM vqueue.check();
SELECT t.name, t.id = pg_temp.t(7) OR t.id = pg_temp.t(1) AS same_id, left(t.domain, 20), t.created_at::date = now()::date AS now
  FROM vqueue.tenants t ORDER BY t.name;
SELECT t.name, q.name, right(q.id::text, 2), q.state, max_concurrent_users, release_rate_per_minute, octet_length(description)
  FROM vqueue.queues q JOIN vqueue.tenants t ON t.id = q.tenant_id ORDER BY q.id;
-- nobody has been let in, as there are more inside than slots
SET vqueue.tenant = 'acme';
SELECT queue, waiting, serving FROM vqueue.overview WHERE queue IN ('shop', 'defaults') ORDER BY queue;
SELECT position, status, priority, user_name, right(id::text, 2), user_id = id AS own_user
  FROM vqueue.sessions WHERE queue = 'shop' AND left_at IS NULL ORDER BY position, ticket;
SELECT status, user_name, joined_at, served_at, left_at
  FROM vqueue.user_sessions WHERE queue_id = pg_temp.q(1) AND left_at < '2021-01-01' ORDER BY ticket;
SELECT status, joined_at = served_at, served_at = left_at FROM vqueue.user_sessions WHERE id = pg_temp.s(21);
SELECT status, user_name, served_at, left_at, octet_length(user_name), user_email
  FROM vqueue.user_sessions WHERE queue_id = pg_temp.q(2) AND id <> pg_temp.s(36);
SELECT status, octet_length(user_name), user_email FROM vqueue.user_sessions WHERE id = pg_temp.s(36);
SELECT status, ready_at, served_at FROM vqueue.user_sessions WHERE id = pg_temp.s(14);
SELECT count(*) = count(DISTINCT ticket), min(ticket) FROM vqueue.user_sessions WHERE queue_id = pg_temp.q(1);

-- again: nothing comes twice, nor does the second session of somebody who has left here
SELECT status FROM vqueue.leave(pg_temp.s(1));
CREATE TEMP TABLE again AS SELECT * FROM vqueue.import_sessions('Old rooms', false);
SELECT * FROM again WHERE action NOT IN ('refuse');
SELECT sum(count) FROM again WHERE action = 'refuse';
SELECT sum(count) FROM wet WHERE action = 'refuse';

-- life goes on: who has come over comes back to their place, newcomers stand behind, slots come free
SELECT id = pg_temp.s(2), status, position FROM vqueue.join('shop', pg_temp.u(2));
SELECT status, position FROM vqueue.join('shop', pg_temp.u(100));
SELECT (vqueue.complete(pg_temp.s(n))).status FROM generate_series(10, 11) AS n;
SELECT status FROM vqueue.claim(pg_temp.s(14));
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        IF (SELECT status = 'serving' FROM vqueue.user_sessions WHERE id = pg_temp.s(5)) THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT status FROM vqueue.status(pg_temp.s(5));
SELECT * FROM vqueue.check();

-- what has come since comes with the next run, behind those who are here
INSERT INTO "Old rooms".user_sessions (id, queue_id, user_id, position, status) VALUES
    (pg_temp.s(50), pg_temp.q(1), pg_temp.u(50), 1, 'waiting'), (pg_temp.s(51), pg_temp.q(1), pg_temp.u(100), 2, 'waiting');
SELECT action, what, count FROM vqueue.import_sessions('Old rooms', false)
 WHERE "table" = 'user_sessions' AND (action = 'import' OR what = 'live session here');
SELECT s.position - n.position FROM vqueue.sessions s, vqueue.sessions n WHERE s.id = pg_temp.s(50) AND n.user_id = pg_temp.u(100);
RESET vqueue.tenant;
SELECT * FROM vqueue.check();

-- tables with few columns, of other types, or views; and only some of the tables
CREATE SCHEMA bare;
CREATE TABLE bare.queues (id text, name text, release_rate_per_minute float8, max_concurrent_users text, is_active int);
INSERT INTO bare.queues VALUES (pg_temp.q(70), 'bare', 60.4, '7', 0), ('70', 'no uuid', 1, '1', 1);
CREATE VIEW bare.user_sessions AS SELECT pg_temp.s(n)::text AS id, pg_temp.q(70) AS queue_id FROM generate_series(70, 72) n;
SELECT * FROM vqueue.import_sessions('bare', false);
SELECT name, state, release_rate_per_minute, max_concurrent_users FROM vqueue.queues WHERE id = pg_temp.q(70);
SELECT * FROM vqueue.check();
ALTER TABLE bare.queues RENAME id TO number;
SELECT * FROM vqueue.import_sessions('bare') WHERE "table" = 'queues';

-- without a table of tenants, those that are here are known all the same
DROP TABLE bare.queues CASCADE;
CREATE TABLE bare.queues (id uuid, name text, tenant_id uuid);
INSERT INTO bare.queues VALUES (pg_temp.q(80), 'of acme', pg_temp.t(1)), (pg_temp.q(81), 'of nobody known', pg_temp.t(98));
SELECT action, what, count FROM vqueue.import_sessions('bare', false) WHERE "table" = 'queues' AND what NOT LIKE 'no column%';
SELECT q.name, t.name FROM vqueue.queues q JOIN vqueue.tenants t ON t.id = q.tenant_id WHERE q.id IN (pg_temp.q(80), pg_temp.q(81)) ORDER BY q.id;

DROP VIEW bare.user_sessions;
DROP SCHEMA bare, "Old rooms" CASCADE;
DELETE FROM vqueue.queues;
DELETE FROM vqueue.tenants WHERE name <> 'default';
SELECT * FROM vqueue.check();
