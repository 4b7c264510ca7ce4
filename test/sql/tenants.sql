-- Tenants do not see each other's queues and sessions.
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

INSERT INTO vqueue.tenants (name, domain) VALUES ('acme', 'acme.example'), ('Łódź "2"', NULL);
SELECT 'made' FROM vqueue.create_queue('shop', state => 'paused', description => 'of default');
SET vqueue.tenant = 'acme';
SELECT 'made' FROM vqueue.create_queue('shop', state => 'paused', description => 'of acme');
SELECT 'made' FROM vqueue.create_queue('only', state => 'paused');
SELECT queue FROM vqueue.overview;
SELECT status, ticket, position FROM vqueue.join('shop', pg_temp.u(1));
SELECT status, ticket, position FROM vqueue.join('shop', pg_temp.u(2));
SELECT id AS theirs FROM vqueue.sessions WHERE user_id = pg_temp.u(1) \gset
SELECT id AS their_queue FROM vqueue.overview WHERE queue = 'only' \gset
SELECT queue, position FROM vqueue.status(:'theirs');
SET vqueue.tenant = 'Łódź "2"';
SELECT count(*) FROM vqueue.overview;
SELECT pg_temp.attempt($$SELECT vqueue.join('shop')$$);
SELECT 'made' FROM vqueue.create_queue('shop', state => 'closed');
RESET vqueue.tenant;
SELECT queue, description FROM vqueue.overview JOIN vqueue.queues USING (id);
-- the same user in the queue of the same name is somebody else
SELECT status, ticket, position FROM vqueue.join('shop', pg_temp.u(1));
SELECT count(*) FROM vqueue.sessions;

-- a stranger's queue and session are as unknown as those that never were
CREATE FUNCTION pg_temp.same(foreign_one text, unknown_one text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text := pg_temp.attempt(foreign_one);
    b text := pg_temp.attempt(unknown_one);
BEGIN
    RETURN CASE WHEN a = b THEN 'the same: ' || split_part(a, ':', 1) ELSE a || E'\n' || b END;
END
$$;
SELECT f || ': ' || pg_temp.same(format('SELECT vqueue.%s(%L)', f, :'theirs'),
                                 format('SELECT vqueue.%s(gen_random_uuid())', f))
  FROM unnest(ARRAY['poll', 'status', 'heartbeat', 'position', 'leave', 'complete', 'remove']) AS f;
SELECT replace(f, '%L', '...') || ': ' || pg_temp.same(format('SELECT ' || f, :'their_queue'), format('SELECT ' || f, gen_random_uuid()))
  FROM unnest(ARRAY['vqueue.join(%L)', 'vqueue.join_many(%L, ARRAY[gen_random_uuid()])', 'vqueue.position(%L, 1)',
                    'vqueue.alter_queue(%L, burst => 1)', 'vqueue.drop_queue(%L)', 'vqueue.drop_queue(%L, true)',
                    'vqueue.open(%L)', 'vqueue.pause(%L)', 'vqueue.resume(%L)', 'vqueue.drain(%L)', 'vqueue.close(%L)',
                    'vqueue.release(%L, 1)', 'vqueue.channel(%L)']) AS f;
SELECT pg_temp.attempt($$SELECT vqueue.join('only')$$);
SELECT vqueue.positions(ARRAY[:'theirs'::uuid]);
SET vqueue.tenant = 'acme';
SELECT queue, state, waiting, serving FROM vqueue.overview;
SELECT status, position FROM vqueue.status(:'theirs');
SELECT vqueue.positions(ARRAY[:'theirs'::uuid]);

-- a tenant that is not there
SET vqueue.tenant = 'nobody';
SELECT pg_temp.attempt($$SELECT vqueue.join('shop')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('shop')$$);
SELECT pg_temp.attempt(format('SELECT vqueue.poll(%L)', :'theirs'));
SELECT pg_temp.attempt($$SELECT count(*) FROM vqueue.overview$$);
SET vqueue.tenant = '';
SELECT pg_temp.attempt($$SELECT vqueue.join('shop')$$);
SET vqueue.tenant = 'ACME';
SELECT pg_temp.attempt($$SELECT vqueue.join('shop')$$);
RESET vqueue.tenant;

-- one that is renamed, also within the transaction that renames it
SET vqueue.tenant = 'acme';
SELECT position FROM vqueue.status(:'theirs');
UPDATE vqueue.tenants SET name = 'acme 2' WHERE name = 'acme';
SELECT pg_temp.attempt(format('SELECT vqueue.status(%L)', :'theirs'));
SELECT pg_temp.attempt($$SELECT vqueue.position('shop', 1)$$);
SET vqueue.tenant = 'acme 2';
SELECT position FROM vqueue.status(:'theirs');
BEGIN;
UPDATE vqueue.tenants SET name = 'acme 3' WHERE name = 'acme 2';
SELECT pg_temp.attempt($$SELECT vqueue.position('shop', 1)$$);
SET LOCAL vqueue.tenant = 'acme 3';
SELECT vqueue.position('shop', 1);
ROLLBACK;
SELECT vqueue.position('shop', 1);
SET vqueue.tenant = 'acme 3';
SELECT pg_temp.attempt($$SELECT vqueue.position('shop', 1)$$);

-- two that swap their names swap what their names mean
BEGIN;
UPDATE vqueue.tenants SET name = 'x' WHERE name = 'acme 2';
UPDATE vqueue.tenants SET name = 'acme 2' WHERE name = 'default';
UPDATE vqueue.tenants SET name = 'default' WHERE name = 'x';
COMMIT;
RESET vqueue.tenant;
SELECT description FROM vqueue.overview JOIN vqueue.queues USING (id) WHERE queue = 'shop';
SELECT waiting FROM vqueue.overview WHERE queue = 'shop';
SELECT vqueue.position('shop', 2);
SELECT * FROM vqueue.check();
BEGIN;
UPDATE vqueue.tenants SET name = 'x' WHERE name = 'acme 2';
UPDATE vqueue.tenants SET name = 'acme' WHERE name = 'default';
UPDATE vqueue.tenants SET name = 'default' WHERE name = 'x';
COMMIT;
SELECT vqueue.position('shop', 2), vqueue.position('shop', 1);

-- one with queues stays
SELECT pg_temp.attempt($$DELETE FROM vqueue.tenants WHERE name = 'acme'$$);
-- a queue may move to another tenant, where its name is free
SELECT pg_temp.attempt($$UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'default')
                          WHERE tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'acme') AND name = 'shop'$$);
UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'default') WHERE name = 'only';
SELECT status, ticket FROM vqueue.join('only');
SELECT * FROM vqueue.check();

DELETE FROM vqueue.queues;
DELETE FROM vqueue.tenants WHERE name <> 'default';
SELECT count(*) FROM vqueue.user_sessions;
SELECT * FROM vqueue.check();
