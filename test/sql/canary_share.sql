-- Timeouts on trial for a share of the newcomers: who is in it, what goes by it, and how it ends.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS vqueue CASCADE;
RESET client_min_messages;
CREATE EXTENSION vqueue;
\set SHOW_CONTEXT never
SELECT 'made' FROM vqueue.create_queue('q', 6000, 1000, state => 'paused', waiting_timeout => '10 min');

-- The worker is told to look at none, so that each look is one of ours.
CREATE FUNCTION try(settings jsonb, share float8 = 0.5, queue text = 'q') RETURNS vqueue.queue_canaries LANGUAGE plpgsql AS $$
DECLARE
    new_id uuid := vqueue.canary($3, $1, 0.2, min_ended => 10, share => $2);
    made vqueue.queue_canaries;
BEGIN
    UPDATE vqueue.queue_canaries c SET look_at = 'infinity', counted_until = now() - interval '1 hour' WHERE c.id = new_id RETURNING * INTO made;
    RETURN made;
END
$$;
CREATE VIEW tried AS
    SELECT s.*, vqueue._on_trial(c.id, c.share, c.from_ticket, s.ticket) AS tried
      FROM vqueue.user_sessions s JOIN vqueue.queue_canaries c ON c.queue_id = s.queue_id AND c.state = 'watching';
CREATE FUNCTION look() RETURNS TABLE (state text, ended bigint, gave_up bigint, others_ended bigint, others_gave_up bigint, reason text) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vqueue.queue_canaries c SET counted_until = now() - interval '1 hour', ended = 0, gave_up = 0, others_ended = 0, others_gave_up = 0 WHERE c.state = 'watching';
    PERFORM vqueue._canary_look(c) FROM vqueue.queue_canaries c WHERE c.state = 'watching';
    RETURN QUERY SELECT c.state, c.ended, c.gave_up, c.others_ended, c.others_gave_up, c.reason
      FROM vqueue.queue_canaries c ORDER BY c.started_at DESC LIMIT 1;
END
$$;

-- what is bad
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => NULL);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => 0);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => -0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => 1.5);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => 'NaN');
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, share => 'Infinity');
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min", "release_rate_per_minute": 60, "max_concurrent_users": 5}', 0.2, share => 0.1);
SELECT vqueue.canary('q', '{"pass_lifetime": "1 min"}', 0.2, share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', 0.2, 0.5, share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', NULL, 0.5, share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "1 min"}', share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "2 days"}', 0.2, share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "soon"}', 0.2, share => 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": null}', 0.2, share => 0.1);
SELECT count(*) FROM vqueue.queue_canaries;
SELECT version FROM vqueue.queues;
\set VERBOSITY terse
INSERT INTO vqueue.queue_canaries (queue_id, ends_at, settings, before, share, from_ticket, min_ended, look_every)
    SELECT vqueue._queue('q'), now() + interval '1 hour', settings, '{}', share, ticket, 1, '10 s'
      FROM (VALUES (jsonb '{"burst": 3}', 0.1, 1)) AS v (settings, share, ticket);
INSERT INTO vqueue.queue_canaries (queue_id, ends_at, settings, before, share, from_ticket, min_ended, look_every)
    SELECT vqueue._queue('q'), now() + interval '1 hour', '{"waiting_timeout": "2 days"}', '{}', 0.1, 1, 1, '10 s';
INSERT INTO vqueue.queue_canaries (queue_id, ends_at, settings, before, share, min_ended, look_every)
    SELECT vqueue._queue('q'), now() + interval '1 hour', '{"waiting_timeout": "1 min"}', '{}', 0.1, 1, '10 s';
SELECT vqueue._canary_changed();
\set VERBOSITY default

-- the queue stays as it is; who was there before is not in the share, nor who joins by an older ticket
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)));
SELECT state, share, settings, before FROM try('{"waiting_timeout": "30 s", "serving_timeout": "5 min", "claim_timeout": "1 min"}');
SELECT waiting_timeout, serving_timeout, claim_timeout FROM vqueue.queues;
SELECT queue, state, share, from_ticket FROM vqueue.canaries;
SELECT vqueue.canary('q', '{"burst": 1}', 0.1);
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 400)));
SELECT ticket > 100 AS newcomer, count(*) FILTER (WHERE tried) BETWEEN 130 AND 270 AS about_half, count(*) FILTER (WHERE tried) FROM tried WHERE ticket <= 100 GROUP BY 1;
SELECT ticket > 100 AS newcomer, count(*) FILTER (WHERE tried) BETWEEN 130 AND 270 AS about_half, count(*) FROM tried WHERE ticket > 100 GROUP BY 1;
SELECT * FROM vqueue.check();

-- who is in the share is told to poll in time
SELECT t.tried, p.next_poll_after <= interval '10 s' AS soon, count(*) > 100 FROM tried t, vqueue.status(t.id) p GROUP BY 1, 2 ORDER BY 1, 2;

-- of those let in together, those in the share have to claim; so do those who come straight in
SELECT vqueue.release('q', 400);
SELECT status, tried, count(*) > 0 AS some FROM tried GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM tried WHERE status <> 'waiting' AND (ready_at IS NOT NULL) <> tried OR (served_at IS NOT NULL) <> (status = 'serving');
SELECT * FROM vqueue.check();
SELECT 'removed' FROM (SELECT count(vqueue.remove(id)) FROM vqueue.user_sessions WHERE status = 'waiting') r;
SELECT vqueue.alter_queue('q', method => 'passthrough');
SELECT vqueue.resume('q');
SELECT count(*) FROM generate_series(1, 40) AS n, LATERAL vqueue.join('q', lpad(n::text, 32, '0')::uuid) j;
SELECT status, tried, count(*) > 0 AS some FROM tried WHERE ticket > 500 GROUP BY 1, 2 ORDER BY 1, 2;

-- a pass lasts as long as the slot does
SELECT 'key' FROM vqueue.rotate_key();
CREATE FUNCTION until(session uuid) RETURNS timestamptz LANGUAGE sql AS $$ SELECT v.expires_at FROM vqueue.verify_pass(vqueue.pass(session)) v $$;
SELECT t.status, t.tried, until(t.id) - t.ready_at <= interval '1 min' AS until_no_show, until(t.id) - now() > interval '10 min' AS for_long
  FROM (SELECT DISTINCT ON (status, tried) * FROM tried WHERE ticket > 500 ORDER BY status, tried, ticket) t ORDER BY 1, 2;
SELECT id AS claimed FROM tried WHERE status = 'ready' ORDER BY ticket DESC LIMIT 1 \gset
SELECT status FROM vqueue.claim(:'claimed');
SELECT until(id) - served_at <= interval '5 min', until(id) - served_at > interval '4 min' FROM tried WHERE id = :'claimed';
SELECT status FROM vqueue.extend(:'claimed');
SELECT until(id) - extended_at <= interval '5 min', extended_at > served_at FROM tried WHERE id = :'claimed';

-- what the queue is given meanwhile goes for the others, and for what is not tried
SELECT vqueue.alter_queue('q', serving_timeout => '2 min', waiting_timeout => '20 min');
SELECT tried, max(until(id) - served_at) <= interval '2 min' AS two, max(until(id) - served_at) <= interval '5 min' AS five
  FROM tried WHERE status = 'serving' AND ticket > 500 GROUP BY 1 ORDER BY 1;
SELECT * FROM vqueue.check();

-- kept, the queue gets what it had not been given otherwise meanwhile
SELECT vqueue.canary_keep('q');
SELECT state, reason FROM vqueue.canaries;
SELECT waiting_timeout, serving_timeout, claim_timeout FROM vqueue.queues;
SELECT * FROM vqueue.check();
SELECT action, after FROM vqueue.audit WHERE action LIKE 'canary%' ORDER BY id;

-- counted are the share and, beside it, the other newcomers; taken back, nobody is in it
SELECT vqueue.alter_queue('q', waiting_timeout => '0', serving_timeout => '0', claim_timeout => '0');
SELECT vqueue.alter_queue('q', method => 'fifo');
SELECT vqueue.pause('q');
SELECT state, share FROM try('{"waiting_timeout": "30 s"}', 0.3);
SELECT 'joined' FROM (SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 300)))) j;
UPDATE vqueue.user_sessions s SET status = 'completed', served_at = now() - interval '1 min', left_at = now() - interval '1 min'
  FROM tried t WHERE t.id = s.id AND t.status = 'waiting' AND t.ticket > 540;
UPDATE vqueue.user_sessions s SET status = 'abandoned', served_at = NULL
  FROM (SELECT DISTINCT ON (tried) id FROM tried WHERE ticket > 540 ORDER BY tried, ticket) t WHERE t.id = s.id;
SELECT state, ended BETWEEN 30 AND 150, gave_up, ended + others_ended, others_gave_up FROM look();
UPDATE vqueue.user_sessions s SET status = 'abandoned', served_at = NULL FROM tried t WHERE t.id = s.id AND t.tried AND t.status = 'completed';
SELECT state, gave_up = ended, others_gave_up, regexp_replace(reason, '\d\d+', 'N', 'g') FROM look();
SELECT waiting_timeout, serving_timeout, claim_timeout FROM vqueue.queues;
SELECT * FROM vqueue.check();

-- who waits at a board need not know who is in it
SELECT 'made' FROM vqueue.create_queue('board', 1, 1, burst => 1);
SELECT state FROM try('{"waiting_timeout": "30 s"}', 0.1, 'board');
SELECT 'joined' FROM (SELECT count(*) FROM vqueue.join_many('board', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 50)))) j;
SELECT count(*) > 1, max((p ->> 1)::float8) <= 10 FROM jsonb_path_query(vqueue.board('board')::jsonb, '$.**.next_poll_after[*]') AS p WHERE jsonb_typeof(p) = 'array';
SELECT 'dropped' FROM vqueue.drop_queue('board', force => true);
SELECT vqueue._canary_look(c) FROM vqueue.queue_canaries c WHERE c.state = 'watching';

-- in a transaction that is rolled back, and by savepoints
SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 30)));
BEGIN;
SELECT state FROM try('{"waiting_timeout": "1 min"}', 0.999999);
ROLLBACK;
SELECT 'joined' FROM (SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 30)))) j;
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();
SELECT 'removed' FROM (SELECT count(vqueue.remove(id)) FROM vqueue.user_sessions WHERE status = 'waiting') r;
BEGIN;
SAVEPOINT s;
SELECT state FROM try('{"waiting_timeout": "2 min"}', 0.5);
ROLLBACK TO s;
SELECT state FROM try('{"waiting_timeout": "1 min"}', 0.999999);
COMMIT;
SELECT * FROM vqueue.check();
SELECT 'joined' FROM (SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)))) j;
SELECT bool_and(p.next_poll_after = interval '20 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';

-- by plain SQL: memory follows each change of the row, and its end
UPDATE vqueue.queue_canaries SET settings = '{"waiting_timeout": "42 s"}' WHERE state = 'watching';
SELECT bool_and(p.next_poll_after = interval '14 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
UPDATE vqueue.queue_canaries SET from_ticket = 1000000 WHERE state = 'watching';
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
UPDATE vqueue.queue_canaries SET from_ticket = 1 WHERE state = 'watching';
SELECT bool_and(p.next_poll_after = interval '14 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT version AS version FROM vqueue.queues \gset
UPDATE vqueue.queue_canaries SET ended = 5, look_at = 'infinity', estimate_error = 0.1 WHERE state = 'watching';
SELECT version = :version FROM vqueue.queues;
SELECT * FROM vqueue.check();
BEGIN;
DELETE FROM vqueue.queue_canaries WHERE state = 'watching';
SAVEPOINT s;
ROLLBACK;
SELECT bool_and(p.next_poll_after = interval '14 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();
CREATE TABLE kept AS SELECT * FROM vqueue.queue_canaries WHERE state = 'watching';
TRUNCATE vqueue.queue_canaries;
SELECT vqueue.rebuild();
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();
INSERT INTO vqueue.queue_canaries SELECT * FROM kept;
SELECT bool_and(p.next_poll_after = interval '14 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT vqueue.rebuild();
SELECT * FROM vqueue.check();
-- as replication has it
SET session_replication_role = replica;
DELETE FROM vqueue.queue_canaries;
RESET session_replication_role;
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();
INSERT INTO vqueue.queue_canaries SELECT * FROM kept;
SELECT vqueue.canary_revert('q', 'enough');
SELECT state, reason FROM vqueue.canaries;
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();

-- of a queue that was made, and one that is dropped, in the same transaction
BEGIN;
SELECT 'made' FROM vqueue.create_queue('new');
SELECT state, before FROM try('{"claim_timeout": "1 min"}', 0.9, 'new');
SELECT 'joined' FROM vqueue.join('new');
COMMIT;
SELECT * FROM vqueue.check();
SELECT 'dropped' FROM vqueue.drop_queue('new', force => true);
SELECT vqueue._canary_look(c) FROM vqueue.queue_canaries c WHERE c.state = 'watching';
SELECT count(*) FROM vqueue.queue_canaries WHERE state = 'watching';
SELECT * FROM vqueue.check();

-- the way back ends it, and memory forgets it
SELECT state FROM try('{"waiting_timeout": "42 s"}', 0.999999);
DROP VIEW tried;
DROP FUNCTION try(jsonb, float8, text);
SET client_min_messages = error;
ALTER EXTENSION vqueue UPDATE TO '1.0.0';
RESET client_min_messages;
SELECT 'joined' FROM (SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)))) j;
SELECT bool_or(p.next_poll_after < interval '30 s') FROM vqueue.user_sessions s, vqueue.status(s.id) p WHERE s.status = 'waiting';
SELECT * FROM vqueue.check();
ALTER EXTENSION vqueue UPDATE TO '1.1.0';
SELECT * FROM vqueue.check();
DROP TABLE kept;
DROP FUNCTION look();
DROP FUNCTION until(uuid);
DROP EXTENSION vqueue;
