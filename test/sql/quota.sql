-- What a tenant may have: queues, and waiting sessions in all of them.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
CREATE ROLE quota_maker;
RESET client_min_messages;
\set VERBOSITY terse

-- what a command answers: ok, or its error with state, detail and hint
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
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.usage() RETURNS text LANGUAGE sql AS
$$ SELECT format('%s of %s queues, %s of %s waiting', queues, coalesce(max_queues::text, 'any'), waiting, coalesce(max_waiting_sessions::text, 'any'))
     FROM vqueue.usage WHERE tenant = current_setting('vqueue.tenant') $$;

INSERT INTO vqueue.tenants (name) VALUES ('small'), ('large');
SET vqueue.tenant = 'small';
SELECT pg_temp.usage();

-- the setter
SELECT vqueue.alter_tenant('small', max_queues => 2, max_waiting_sessions => 5);
SELECT pg_temp.usage();
SELECT vqueue.alter_tenant('small', domain => 'small.example');
SELECT max_queues, max_waiting_sessions, domain FROM vqueue.tenants WHERE name = 'small';
SELECT vqueue.alter_tenant('small', max_queues => -1);
SELECT pg_temp.usage();
SELECT vqueue.alter_tenant('small', max_queues => 2, name => 'smaller');
SELECT vqueue.alter_tenant('smaller', name => 'small');
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', max_queues => -2)$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', max_queues => 1000001)$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', max_waiting_sessions => -2)$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', max_waiting_sessions => 1000000001)$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', name => 'large')$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', name => '')$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('small', domain => repeat('x', 254))$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant('nobody')$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_tenant(NULL)$$);
SELECT pg_temp.attempt($$UPDATE vqueue.tenants SET max_queues = -1 WHERE name = 'small'$$) ~ '^23514';

-- queues
SELECT 'made' FROM vqueue.create_queue('a', state => 'paused');
SELECT 'made' FROM vqueue.create_queue('b', state => 'paused');
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('c')$$);
SELECT pg_temp.usage();
BEGIN;
SELECT vqueue.drop_queue('b');
SELECT 'made' FROM vqueue.create_queue('c', state => 'paused');
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('d')$$) ~ '^53000';
SAVEPOINT s;
SELECT vqueue.drop_queue('c');
SELECT 'made' FROM vqueue.create_queue('d');
ROLLBACK TO s;
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('e')$$) ~ '^53000';
ROLLBACK;
-- by plain SQL: the owner may, as a restore must succeed; others may not, nor move one there, nor many at once
INSERT INTO vqueue.queues (tenant_id, name, state) VALUES (vqueue._tenant(), 'restored', 'paused');
SELECT pg_temp.usage();
DELETE FROM vqueue.queues WHERE name = 'restored';
SELECT vqueue.grant_access('quota_maker', 'small', 'operator'), vqueue.grant_access('quota_maker', 'large', 'operator');
GRANT ALL ON vqueue.queues TO quota_maker;
SET ROLE quota_maker;
SELECT pg_temp.attempt($$INSERT INTO vqueue.queues (tenant_id, name) VALUES (vqueue._tenant(), 'c')$$) ~ '^53000';
RESET ROLE;
SELECT vqueue.alter_tenant('small', max_queues => 3);
SET ROLE quota_maker;
SELECT pg_temp.attempt($$INSERT INTO vqueue.queues (tenant_id, name) VALUES (vqueue._tenant(), 'c'), (vqueue._tenant(), 'd')$$) ~ '^53000';
SELECT pg_temp.attempt($$INSERT INTO vqueue.queues (tenant_id, name, state) VALUES (vqueue._tenant(), 'c', 'paused')$$);
UPDATE vqueue.queues SET description = 'changed' WHERE name = 'c';
RESET ROLE;
SET vqueue.tenant = 'large';
SELECT 'made' FROM vqueue.create_queue('guest', state => 'paused');
SET vqueue.tenant = 'small';
SET ROLE quota_maker;
SELECT pg_temp.attempt($$UPDATE vqueue.queues SET tenant_id = vqueue._tenant() WHERE name = 'guest'$$) ~ '^53000';
RESET ROLE;
SELECT vqueue.alter_tenant('small', max_queues => 0);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('e')$$) ~ '^53000';
SELECT vqueue.drop_queue('c');
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('e')$$) ~ '^53000';
SELECT vqueue.alter_tenant('small', max_queues => 2);

-- waiting sessions, of all queues together
SELECT ticket FROM vqueue.join('a', pg_temp.u(1));
SELECT ticket FROM vqueue.join('b', pg_temp.u(1));
SELECT ticket FROM vqueue.join_many('a', ARRAY[pg_temp.u(2), pg_temp.u(3), pg_temp.u(1), pg_temp.u(2)]);
SELECT ticket IS NOT NULL FROM vqueue.join('b', pg_temp.u(2));
SELECT pg_temp.usage();
SELECT pg_temp.attempt($$SELECT vqueue.join('b', pg_temp.u(3))$$);
-- who has a place keeps it
SELECT ticket FROM vqueue.join('b', pg_temp.u(1));
SELECT count(*) FROM vqueue.join_many('a', ARRAY[pg_temp.u(1), pg_temp.u(2), pg_temp.u(3)]);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('a', ARRAY[pg_temp.u(1), pg_temp.u(4)])$$) ~ '^53000';
SELECT pg_temp.usage();
-- one who goes makes room for one, in another queue too, and after the commit only
BEGIN;
SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'a' AND user_id = pg_temp.u(3)));
SELECT pg_temp.attempt($$SELECT vqueue.join('b', pg_temp.u(3))$$) ~ '^53000';
COMMIT;
SELECT status FROM vqueue.join('b', pg_temp.u(3));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(3))$$) ~ '^53000';
-- all or none of many, up to the last place
SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'b' AND user_id = pg_temp.u(3)));
SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'b' AND user_id = pg_temp.u(2)));
SELECT pg_temp.attempt($$SELECT vqueue.join_many('b', ARRAY[pg_temp.u(5), pg_temp.u(6), pg_temp.u(7)])$$) ~ '^53000';
SELECT pg_temp.usage();
SELECT count(*) FROM vqueue.join_many('b', ARRAY[pg_temp.u(5), pg_temp.u(1), pg_temp.u(6)]);
SELECT pg_temp.usage();
SELECT * FROM vqueue.check();

-- a rollback, also to a savepoint, gives back what was taken
DELETE FROM vqueue.user_sessions WHERE user_id IN (pg_temp.u(5), pg_temp.u(6));
SELECT pg_temp.usage();
BEGIN;
SELECT count(*) FROM vqueue.join_many('a', ARRAY[pg_temp.u(11), pg_temp.u(12)]);
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(13))$$) ~ '^53000';
ROLLBACK;
BEGIN;
SELECT status FROM vqueue.join('a', pg_temp.u(11));
SAVEPOINT s;
SELECT status FROM vqueue.join('b', pg_temp.u(12));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(13))$$) ~ '^53000';
ROLLBACK TO s;
SELECT status FROM vqueue.join('a', pg_temp.u(13));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(14))$$) ~ '^53000';
COMMIT;
SELECT pg_temp.usage();
SELECT * FROM vqueue.check();

-- who is let in waits no more, and who comes straight in never did
SELECT vqueue.release('a', 3);
SELECT pg_temp.usage();
SELECT count(*) FROM vqueue.join_many('a', ARRAY(SELECT pg_temp.u(n) FROM generate_series(21, 23) n));
SELECT vqueue.alter_tenant('small', max_queues => 3);
SELECT 'made' FROM vqueue.create_queue('through', method => 'passthrough');
SELECT status FROM vqueue.join('through', pg_temp.u(24));
SELECT count(*) FROM vqueue.join_many('through', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(25))$$) ~ '^53000';
SELECT pg_temp.usage();

-- operators go past it, and it counts
SELECT vqueue.alter_tenant('small', max_waiting_sessions => 0);
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(31))$$);
UPDATE vqueue.user_sessions SET status = 'no_show' WHERE queue_id = vqueue._queue('a') AND status = 'serving' AND user_id = pg_temp.u(1);
SELECT status FROM vqueue.readmit((SELECT id FROM vqueue.sessions WHERE queue = 'a' AND status = 'no_show'));
INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES (vqueue._queue('a'), pg_temp.u(32));
SELECT pg_temp.usage();
SELECT vqueue.alter_tenant('small', max_waiting_sessions => 8);
SELECT status FROM vqueue.join('a', pg_temp.u(33));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(34))$$) ~ '^53000';
-- moved to another lane, one is still one
SELECT priority FROM vqueue.set_priority((SELECT id FROM vqueue.sessions WHERE queue = 'a' AND user_id = pg_temp.u(33)), 'vip');
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(34))$$) ~ '^53000';

-- as after a restart
SELECT vqueue.rebuild() > 0;
SELECT pg_temp.usage();
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(34))$$) ~ '^53000';
SELECT * FROM vqueue.check();

-- a queue that goes to another tenant takes its people along, at the commit
BEGIN;
UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'large') WHERE name = 'b' AND tenant_id = vqueue._tenant();
ROLLBACK;
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(34))$$) ~ '^53000';
UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'large') WHERE name = 'b' AND tenant_id = vqueue._tenant();
SELECT pg_temp.usage();
SELECT status FROM vqueue.join('a', pg_temp.u(34));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(35))$$) ~ '^53000';
SET vqueue.tenant = 'large';
SELECT pg_temp.usage();
SELECT * FROM vqueue.check();
-- another tenant has its own, also within the transaction that sets it
BEGIN;
SELECT vqueue.alter_tenant('large', max_waiting_sessions => 2);
SELECT status FROM vqueue.join('guest', pg_temp.u(1));
SELECT pg_temp.attempt($$SELECT vqueue.join('guest', pg_temp.u(2))$$) ~ '^53000';
ROLLBACK;
SELECT count(*) FROM vqueue.join_many('guest', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT pg_temp.usage();

-- a queue in its first transaction counts as well
SET vqueue.tenant = 'small';
SELECT vqueue.alter_tenant('small', max_waiting_sessions => 10);
BEGIN;
SELECT 'made' FROM vqueue.create_queue('new', state => 'paused');
SELECT pg_temp.attempt($$SELECT vqueue.join_many('new', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)))$$) ~ '^53000';
SELECT count(*) FROM vqueue.join_many('new', ARRAY[gen_random_uuid()]);
ROLLBACK;
SELECT pg_temp.usage();
SELECT * FROM vqueue.check();

-- dropped ones are gone from the count, and emptied tables too
TRUNCATE vqueue.user_sessions;
SELECT pg_temp.usage();
SELECT count(*) FROM vqueue.join_many('a', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10)));
SELECT pg_temp.attempt($$SELECT vqueue.join('a', pg_temp.u(35))$$) ~ '^53000';
SELECT vqueue.drop_queue('a', force => true);
SELECT 'made' FROM vqueue.create_queue('a', state => 'paused');
SELECT count(*) FROM vqueue.join_many('a', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10)));
SELECT * FROM vqueue.check();
DELETE FROM vqueue.queues WHERE tenant_id = vqueue._tenant();
SET vqueue.tenant = 'large';
DELETE FROM vqueue.queues WHERE tenant_id = vqueue._tenant();
RESET vqueue.tenant;
DELETE FROM vqueue.tenants WHERE name IN ('small', 'large');
SELECT * FROM vqueue.check();
DROP OWNED BY quota_maker;
DROP ROLE quota_maker;
