-- Against abuse: how often a client may join, how long texts may be, what ids give away; and forgetting a user.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
CREATE ROLE abuse_app;
RESET client_min_messages;
\set VERBOSITY terse

-- what a command answers: ok, or its error with state, detail and hint; ids are masked
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
    RETURN regexp_replace(concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(detail, ''), '  hint: ' || nullif(hint, '')),
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
END
$$;
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;

-- ---- settings ----
SELECT 'made' FROM vqueue.create_queue('door', state => 'paused', client_limit => 3, client_window => '10 min');
SELECT client_limit, client_window FROM vqueue.queues WHERE name = 'door';
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('x', client_limit => -1)$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('x', client_limit => 1000001)$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('x', client_window => '0')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('x', client_window => '31 days')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('x', client_limit => NULL)$$) ~ '^22004';
SELECT pg_temp.attempt($$SELECT vqueue.alter_queue('door', client_limit => -1)$$) ~ '^22023';
SELECT pg_temp.attempt($$UPDATE vqueue.queues SET client_window = '0'$$) ~ '^23514';

-- ---- joins of one client ----
SELECT count(*) FROM (SELECT vqueue.join('door', pg_temp.u(n), client_key => '192.0.2.1') FROM generate_series(1, 3) n) j;
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(4), client_key => '192.0.2.1')$$);
-- users who have a place keep it, and do not count again
SELECT status, ticket IS NOT NULL FROM vqueue.join('door', pg_temp.u(1), client_key => '192.0.2.1');
-- others, and those who do not say, are not meant
SELECT status FROM vqueue.join('door', pg_temp.u(4), client_key => '192.0.2.2');
SELECT status FROM vqueue.join('door', pg_temp.u(5));
SELECT count(*) FROM vqueue.join_many('door', ARRAY(SELECT pg_temp.u(n) FROM generate_series(11, 20) n));
-- who has left counts still
SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'door' AND user_id = pg_temp.u(1)));
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(1), client_key => '192.0.2.1')$$) ~ '^54000';
-- another queue counts for itself, and hashes otherwise
SELECT 'made' FROM vqueue.create_queue('back door', state => 'paused', client_limit => 1);
SELECT status FROM vqueue.join('back door', pg_temp.u(1), client_key => '192.0.2.1');
SELECT pg_temp.attempt($$SELECT * FROM vqueue.join('back door', pg_temp.u(2), NULL, NULL, 'normal', '192.0.2.1')$$) ~ '^54000';
SELECT count(DISTINCT client_hash), count(*) FROM vqueue.client_joins;
SELECT count(*) FROM vqueue.client_joins WHERE length(client_hash) <> 32;
-- the hash is HMAC-SHA256 with the secret: not to be tried out without it
CREATE FUNCTION pg_temp.pad(key bytea, with_byte int) RETURNS bytea LANGUAGE sql AS $$
    SELECT string_agg(set_byte('\x00', 0, CASE WHEN i < length(key) THEN get_byte(key, i) ELSE 0 END # with_byte), '' ORDER BY i)
      FROM generate_series(0, 63) i $$;
CREATE FUNCTION pg_temp.hmac(key bytea, message bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT sha256(pg_temp.pad(key, 92) || sha256(pg_temp.pad(key, 54) || message)) $$;
SELECT count(*) FROM vqueue.client_joins c, vqueue.secrets s
 WHERE s.name = 'clients' AND c.client_hash = pg_temp.hmac(s.value, uuid_send(c.queue_id) || convert_to('192.0.2.1', 'UTF8'));
-- rolled back, it never was; also to a savepoint
BEGIN;
SELECT count(*) FROM (SELECT vqueue.join('door', pg_temp.u(n), client_key => '192.0.2.3') FROM generate_series(21, 23) n) j;
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(24), client_key => '192.0.2.3')$$) ~ '^54000';
ROLLBACK;
BEGIN;
SELECT status FROM vqueue.join('door', pg_temp.u(21), client_key => '192.0.2.3');
SAVEPOINT s;
SELECT count(*) FROM (SELECT vqueue.join('door', pg_temp.u(n), client_key => '192.0.2.3') FROM generate_series(22, 23) n) j;
ROLLBACK TO s;
SELECT count(*) FROM (SELECT vqueue.join('door', pg_temp.u(n), client_key => '192.0.2.3') FROM generate_series(24, 25) n) j;
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(26), client_key => '192.0.2.3')$$) ~ '^54000';
COMMIT;
SELECT count(*) FROM vqueue.sessions WHERE queue = 'door' AND user_id IN (SELECT pg_temp.u(n) FROM generate_series(21, 26) n);
-- a transaction of one snapshot sees what has been joined since
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(26), client_key => '192.0.2.3')$$) ~ '^54000';
ROLLBACK;
-- more are let in by a higher limit, and when the window has passed
SELECT vqueue.alter_queue('door', client_limit => 4);
SELECT status FROM vqueue.join('door', pg_temp.u(26), client_key => '192.0.2.3');
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(27), client_key => '192.0.2.3')$$) ~ '^54000';
UPDATE vqueue.client_joins SET joined_at = joined_at - interval '9 min' WHERE queue_id = vqueue._queue('door');
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(27), client_key => '192.0.2.3')$$) ~ '^54000';
UPDATE vqueue.client_joins SET joined_at = joined_at - interval '1 min' WHERE queue_id = vqueue._queue('door');
SELECT status FROM vqueue.join('door', pg_temp.u(27), client_key => '192.0.2.3');
-- without a limit nothing is kept, and what was kept goes
SELECT vqueue.alter_queue('back door', client_limit => 0);
SELECT status FROM vqueue.join('back door', pg_temp.u(2), client_key => '192.0.2.1');
SELECT status FROM vqueue.join('back door', pg_temp.u(3), client_key => '192.0.2.1');
CREATE PROCEDURE pg_temp.wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
    met bool;
BEGIN
    LOOP
        EXECUTE 'SELECT ' || condition INTO met;
        COMMIT;
        EXIT WHEN met;
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$$;
CALL pg_temp.wait_until($$NOT EXISTS (SELECT FROM vqueue.client_joins WHERE queue_id = vqueue._queue('back door'))$$);
CALL pg_temp.wait_until($$NOT EXISTS (SELECT FROM vqueue.client_joins WHERE joined_at < now() - interval '10 min')$$);
SELECT count(*) FROM vqueue.client_joins;
-- refused in other ways first; and no key but a good one
SELECT pg_temp.attempt($$SELECT vqueue.join('door', client_key => '')$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('door', client_key => repeat('x', 1001))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('door', client_key => repeat('x', 1000))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('nowhere', client_key => 'x')$$) ~ '^42704';
BEGIN;
DELETE FROM vqueue.secrets WHERE name = 'clients';
SELECT pg_temp.attempt($$SELECT vqueue.join('door', client_key => 'x')$$);
ROLLBACK;
-- where somebody else's trigger has a say, the row is written by SQL, and counts all the same
CREATE FUNCTION pg_temp.say() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER zzz BEFORE INSERT ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION pg_temp.say();
SELECT count(*) FROM (SELECT vqueue.join('door', pg_temp.u(n), client_key => 'by sql') FROM generate_series(41, 44) n) j;
SELECT pg_temp.attempt($$SELECT vqueue.join('door', pg_temp.u(45), client_key => 'by sql')$$) ~ '^54000';
DROP TRIGGER zzz ON vqueue.user_sessions;
-- an application needs no right on the table
SELECT vqueue.grant_access('abuse_app', 'default', 'app');
SET ROLE abuse_app;
SELECT status FROM vqueue.join('door', pg_temp.u(51), client_key => 'app');
SELECT pg_temp.attempt('SELECT count(*) FROM vqueue.client_joins') ~ '^42501';
SELECT pg_temp.attempt(format('SELECT vqueue.forget_user(%L)', pg_temp.u(51))) ~ '^42501';
RESET ROLE;
SELECT * FROM vqueue.check();

-- ---- how long texts may be ----
SELECT pg_temp.attempt($$SELECT vqueue.join('door', user_name => repeat('x', 1001))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('door', user_email => repeat('x', 1001))$$);
SELECT pg_temp.attempt(format('SELECT vqueue.remove(%L, repeat(''x'', 1001))', (SELECT id FROM vqueue.sessions WHERE user_id = pg_temp.u(51))));
SELECT pg_temp.attempt(format('SELECT vqueue.readmit(%L, repeat(''x'', 1001))', (SELECT id FROM vqueue.sessions WHERE user_id = pg_temp.u(51))));
SELECT pg_temp.attempt($$SELECT vqueue.user_id(repeat('x', 1000001))$$);
SELECT pg_temp.attempt($$SELECT vqueue.alter_queue('door', description => repeat('x', 10001))$$);
SELECT pg_temp.attempt($$SELECT count(*) FROM vqueue.join_many('door', array_fill(gen_random_uuid(), ARRAY[1000001]))$$);

-- ---- ids tell nothing, and cannot be guessed ----
-- of 20000 each of the 74 bits that are not time, version or variant is 1 in about half: within 5 standard deviations, 0.5 +- 0.018
INSERT INTO vqueue.tenants (name) VALUES ('abused');
SET vqueue.tenant = 'abused';
SELECT 'made' FROM vqueue.create_queue('many', state => 'paused');
CREATE TEMP TABLE ids AS SELECT id FROM vqueue.join_many('many', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20000)));
CREATE TEMP TABLE bits AS
SELECT n, i.id, get_bit(uuid_send(i.id), n) AS bit FROM ids i, generate_series(48, 127) n WHERE n NOT IN (52, 53, 54, 55, 70, 71);
SELECT count(DISTINCT n) FROM bits;
SELECT count(*) FROM (SELECT n, avg(bit) FROM bits GROUP BY n HAVING avg(bit) NOT BETWEEN 0.482 AND 0.518) AS biased;
-- nor does one bit follow another, nor one id the one before: a bit that is as that of the id before is so in half
WITH by_ticket AS (SELECT s.ticket, s.id, lag(s.id) OVER (ORDER BY s.ticket) AS before FROM vqueue.sessions s WHERE s.queue = 'many')
SELECT count(*) FROM (
    SELECT n FROM by_ticket t, generate_series(48, 127) n WHERE t.before IS NOT NULL AND n NOT IN (52, 53, 54, 55, 70, 71)
     GROUP BY n HAVING avg((get_bit(uuid_send(t.id), n) = get_bit(uuid_send(t.before), n))::int) NOT BETWEEN 0.482 AND 0.518) AS followed;
SELECT count(DISTINCT right(id::text, 17)) = count(*) FROM ids;
SELECT count(*) FROM ids WHERE substr(id::text, 15, 1) <> '7' OR substr(id::text, 20, 1) NOT IN ('8', '9', 'a', 'b');

-- another tenant's id is answered as one that never was, by all functions that take one
SELECT id AS theirs FROM vqueue.sessions WHERE queue = 'many' ORDER BY ticket LIMIT 1 \gset
SELECT vqueue._queue('many') AS their_queue \gset
RESET vqueue.tenant;
CREATE FUNCTION pg_temp.same(foreign_one text, unknown_one text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    a text := pg_temp.attempt(foreign_one);
    b text := pg_temp.attempt(unknown_one);
BEGIN
    RETURN CASE WHEN a = b THEN 'the same: ' || split_part(a, ':', 1) ELSE a || E'\n' || b END;
END
$$;
SELECT p.proname || ': ' || pg_temp.same(format('SELECT vqueue.%I(%L%s)', p.proname, :'theirs', more), format('SELECT vqueue.%I(%L%s)', p.proname, gen_random_uuid(), more))
  FROM pg_proc p, LATERAL (SELECT CASE p.proname WHEN 'set_priority' THEN ', ''vip''' ELSE '' END AS more) AS m
 WHERE p.pronamespace = 'vqueue'::regnamespace AND p.proargnames[1] = 'session' AND NOT starts_with(p.proname, '_')
 ORDER BY p.proname COLLATE "C";
SELECT p.proname || ': ' || pg_temp.same(format('SELECT vqueue.%I(%L%s)', p.proname, :'their_queue', more), format('SELECT vqueue.%I(%L%s)', p.proname, gen_random_uuid(), more))
  FROM pg_proc p, LATERAL (SELECT CASE p.proname WHEN 'join_many' THEN ', ARRAY[gen_random_uuid()]' WHEN 'release' THEN ', 1' WHEN 'position' THEN ', 1'
                                                WHEN 'set_draw_beacon' THEN ', ''x''' WHEN 'schedule_state' THEN ', ''* * * * *'', ''open'''
                                                WHEN 'canary' THEN ', ''{"burst": 1}'', 0.5' ELSE '' END AS more) AS m
 WHERE p.pronamespace = 'vqueue'::regnamespace AND p.proargnames[1] = 'queue' AND p.pronargs > 0 AND NOT starts_with(p.proname, '_')
 ORDER BY p.proname COLLATE "C";
SELECT pg_temp.same(format('SELECT vqueue.verify_draw(%L, %L)', 'door', :'theirs'), format('SELECT vqueue.verify_draw(%L, %L)', 'door', gen_random_uuid()));
SELECT vqueue.positions(ARRAY[:'theirs'::uuid, gen_random_uuid()]);

-- ---- forgetting a user ----
SELECT status FROM vqueue.join('door', pg_temp.u(61), 'Ann Example', 'ann@example.com', client_key => 'ann''s telephone');
SELECT status FROM vqueue.join('back door', pg_temp.u(61), 'Ann Example', NULL, client_key => 'ann''s telephone');
SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'back door' AND user_id = pg_temp.u(61)));
SELECT status FROM vqueue.join('door', pg_temp.u(62), 'Bob Example', 'bob@example.com', client_key => 'bob''s');
SET vqueue.tenant = 'abused';
SELECT status FROM vqueue.join('many', pg_temp.u(61), 'Ann Elsewhere');
RESET vqueue.tenant;
SELECT position AS before FROM vqueue.sessions WHERE queue = 'door' AND user_id = pg_temp.u(61) \gset
BEGIN;
SELECT vqueue.forget_user(pg_temp.u(61));
ROLLBACK;
SELECT count(user_name) FROM vqueue.sessions WHERE user_id = pg_temp.u(61);
SELECT vqueue.forget_user(pg_temp.u(61));
SELECT queue, status, user_name, user_email FROM vqueue.sessions WHERE user_id = pg_temp.u(61) ORDER BY queue;
SELECT position = :before FROM vqueue.sessions WHERE queue = 'door' AND user_id = pg_temp.u(61);
SELECT count(*) FROM vqueue.client_joins c JOIN vqueue.user_sessions s USING (queue_id, ticket) WHERE s.user_id = pg_temp.u(61);
SELECT user_name, user_email FROM vqueue.sessions WHERE user_id = pg_temp.u(62);
SELECT count(*) FROM vqueue.client_joins c JOIN vqueue.user_sessions s USING (queue_id, ticket) WHERE s.user_id = pg_temp.u(62);
SET vqueue.tenant = 'abused';
SELECT user_name FROM vqueue.sessions WHERE user_id = pg_temp.u(61);
RESET vqueue.tenant;
SELECT vqueue.forget_user(pg_temp.u(61));
SELECT vqueue.forget_user(gen_random_uuid());
SELECT pg_temp.attempt('SELECT vqueue.forget_user(NULL)');
BEGIN READ ONLY;
SELECT pg_temp.attempt(format('SELECT vqueue.forget_user(%L)', pg_temp.u(61)));
ROLLBACK;
SELECT action, object, after FROM vqueue.audit WHERE action = 'forget_user' AND object = pg_temp.u(61)::text;
-- no table of vqueue says the name, mail or telephone any more (no row)
SELECT c.relname, (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM vqueue.%I t WHERE t::text ~* ''ann.?(ex|@|.s tele)''', c.relname), false, true, '')))[1]
  FROM pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind = 'r'
   AND (xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM vqueue.%I t WHERE t::text ~* ''ann.?(ex|@|.s tele)''', c.relname), false, true, '')))[1]::text <> '0';
SELECT * FROM vqueue.check();

-- a queue that is dropped takes them along
SELECT count(*) > 0 FROM vqueue.client_joins;
SELECT vqueue.drop_queue('door', force => true), vqueue.drop_queue('back door', force => true);
SELECT count(*) FROM vqueue.client_joins;
SET vqueue.tenant = 'abused';
SELECT vqueue.drop_queue('many', force => true);
RESET vqueue.tenant;
DELETE FROM vqueue.tenants WHERE name = 'abused';
SELECT * FROM vqueue.check();
SELECT vqueue.revoke_access('abuse_app', 'default');
DROP OWNED BY abuse_app;
DROP ROLE abuse_app;
