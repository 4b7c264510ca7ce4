-- Settings on trial: applied, watched, kept and taken back.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS vqueue CASCADE;
RESET client_min_messages;
CREATE EXTENSION vqueue;
\set SHOW_CONTEXT never
SELECT 'made' FROM vqueue.create_queue('q', 6000, 50, waiting_timeout => '1 min');

-- The worker is told to look at none, so that each look is one of ours.
CREATE FUNCTION try(queue text, settings jsonb, abandonment float8 = NULL, error float8 = NULL, watch_for interval = '1 hour', enough int = 10) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    new_id uuid := vqueue.canary($1, $2, $3, $4, $5, $6);
BEGIN
    UPDATE vqueue.queue_canaries c SET look_at = 'infinity', counted_until = now() - interval '1 hour' WHERE c.id = new_id;
    RETURN (SELECT vqueue._canary_now(q, $2) FROM vqueue.queues q WHERE q.name = $1);
END
$$;
-- Visits that ended a minute ago, which memory need not know of.
CREATE FUNCTION visits(n int, status text, was_in bool = true) RETURNS void LANGUAGE sql AS $$
    INSERT INTO vqueue.user_sessions (queue_id, user_id, joined_at, served_at, left_at, status)
    SELECT vqueue._queue('q'), gen_random_uuid(), now() - interval '3 min', CASE WHEN was_in THEN now() - interval '2 min' END,
           now() - interval '1 min', $2 FROM generate_series(1, n)
$$;
CREATE FUNCTION look() RETURNS TABLE (state text, ended bigint, gave_up bigint, reason text, rate int) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE vqueue.queue_canaries c SET counted_until = now() - interval '1 hour', ended = 0, gave_up = 0 WHERE c.state = 'watching';
    PERFORM vqueue._canary_look(c) FROM vqueue.queue_canaries c WHERE c.state = 'watching';
    RETURN QUERY SELECT c.state, c.ended, c.gave_up, c.reason, q.release_rate_per_minute
      FROM vqueue.queue_canaries c JOIN vqueue.queues q ON q.id = c.queue_id ORDER BY c.started_at DESC LIMIT 1;
END
$$;

-- what is bad
SELECT vqueue.canary(NULL, '{"burst": 1}', 0.1);
SELECT vqueue.canary('none', '{"burst": 1}', 0.1);
SELECT vqueue.canary('q', NULL, 0.1);
SELECT vqueue.canary('q', '{}', 0.1);
SELECT vqueue.canary('q', '[1]', 0.1);
SELECT vqueue.canary('q', '{"burst": 1}');
SELECT vqueue.canary('q', '{"burst": 1}', 1.1);
SELECT vqueue.canary('q', '{"burst": 1}', 'NaN');
SELECT vqueue.canary('q', '{"burst": 1}', NULL, -1);
SELECT vqueue.canary('q', '{"burst": 1}', 0.1, min_ended => 0);
SELECT vqueue.canary('q', '{"burst": 1}', 0.1, watch_for => '0');
SELECT vqueue.canary('q', '{"burst": 1}', 0.1, look_every => '2 hours');
SELECT vqueue.canary('q', '{"burst": 1, "name": "x", "cake": 1}', 0.1);
SELECT vqueue.canary('q', '{"burst": null}', 0.1);
SELECT vqueue.canary('q', '{"burst": -1}', 0.1);
SELECT vqueue.canary('q', '{"burst": "many"}', 0.1);
SELECT vqueue.canary('q', '{"waiting_timeout": "2 days"}', 0.1);
SELECT vqueue.canary('q', '{"lane_weights": [1, 2]}', 0.1);
SELECT vqueue.canary('q', '{"lane_weights": []}', 0.1);
SELECT vqueue.canary('q', '{"method": "magic"}', 0.1);
SELECT vqueue.canary_keep('q');
SELECT vqueue.canary_revert('q');
SELECT vqueue.canary_revert('none');
SELECT count(*) FROM vqueue.queue_canaries;
SELECT version FROM vqueue.queues;

-- applied at once; one at a time
SELECT try('q', '{"release_rate_per_minute": 1200, "waiting_timeout": "90 s", "lane_weights": [8, 4, 2, 1]}', 0.2);
SELECT settings, before, state FROM vqueue.canaries;
SELECT vqueue.canary('q', '{"burst": 1}', 0.1);

-- too few to tell, then within the bound, then beyond
SELECT visits(3, 'abandoned', false);
SELECT * FROM look();
SELECT visits(17, 'completed');
SELECT * FROM look();
SELECT visits(2, 'left', false), visits(3, 'left'), visits(1, 'expired');
SELECT * FROM look();
SELECT waiting_timeout, lane_weights FROM vqueue.queues;
SELECT * FROM look();

-- with an operator's change meanwhile, which stays; whatever the notation of intervals
SET intervalstyle = iso_8601;
SELECT try('q', '{"release_rate_per_minute": 1200, "waiting_timeout": "PT1M30S"}', 0.2);
SELECT vqueue.alter_queue('q', release_rate_per_minute => 700);
RESET intervalstyle;
SELECT vqueue.canary_revert('q', 'seen enough');
SELECT reason FROM vqueue.canaries ORDER BY started_at DESC LIMIT 1;
SELECT release_rate_per_minute, waiting_timeout FROM vqueue.queues;

-- kept by hand; kept when its time is over; or taken back then, as too few had ended
SELECT try('q', '{"release_rate_per_minute": 800}', 0.9);
SELECT vqueue.canary_keep('q');
SELECT state, reason, decided_at IS NOT NULL FROM vqueue.canaries ORDER BY started_at DESC LIMIT 1;
SELECT try('q', '{"release_rate_per_minute": 900}', 0.9);
UPDATE vqueue.queue_canaries SET started_at = now() - interval '2 hours', ends_at = now() - interval '1 hour' WHERE state = 'watching';
SELECT state, reason, rate FROM look();
SELECT state, reason FROM vqueue.canaries WHERE ends_at < now();
DELETE FROM vqueue.queue_canaries WHERE ends_at < now();
SELECT try('q', '{"release_rate_per_minute": 1000}', 0.9, enough => 1000);
UPDATE vqueue.queue_canaries SET ends_at = started_at + interval '1 us' WHERE state = 'watching';
SELECT * FROM look();

-- nothing is left of one that is rolled back
BEGIN;
SELECT try('q', '{"release_rate_per_minute": 5}', 0.1);
ROLLBACK;
SELECT release_rate_per_minute FROM vqueue.queues;
SELECT count(*) FROM vqueue.canaries WHERE state = 'watching';

-- one that cannot be looked after does not hold up another
SELECT 'made' FROM vqueue.create_queue('well', 600, 10);
CREATE FUNCTION sick() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'sick'; END $$;
SELECT try('q', '{"release_rate_per_minute": 7}', 0, enough => 1), try('well', '{"release_rate_per_minute": 8}', 0.5);
CREATE TRIGGER sick BEFORE UPDATE ON vqueue.queues FOR EACH ROW WHEN (OLD.name = 'q') EXECUTE FUNCTION sick();
SET client_min_messages = error;
BEGIN;
UPDATE vqueue.queue_canaries SET look_at = now() - CASE WHEN queue_id = vqueue._queue('q') THEN interval '2 s' ELSE '1 s' END WHERE state = 'watching';
SELECT vqueue._watch_canaries(), vqueue._watch_canaries();
SELECT q.name, c.state, c.failures, c.look_at > clock_timestamp() FROM vqueue.queue_canaries c JOIN vqueue.queues q ON q.id = c.queue_id WHERE c.state = 'watching' ORDER BY 1;
ROLLBACK;
DROP TRIGGER sick ON vqueue.queues;
RESET client_min_messages;
SELECT * FROM look();

-- a queue that goes takes its canaries along when it is next looked at
SELECT 'dropped' FROM vqueue.drop_queue('well');
SELECT vqueue._canary_look(c) FROM vqueue.queue_canaries c WHERE c.state = 'watching';
SELECT count(*) FROM vqueue.queue_canaries WHERE state = 'watching';

-- the way back ends those under way, with words
SELECT try('q', '{"release_rate_per_minute": 11}', 0.1);
ALTER EXTENSION vqueue UPDATE TO '1.0.0';
SELECT release_rate_per_minute FROM vqueue.queues;
ALTER EXTENSION vqueue UPDATE TO '1.1.0';
SELECT count(*) FROM vqueue.queue_canaries;
SELECT * FROM vqueue.check();
DROP FUNCTION try(text, jsonb, float8, float8, interval, int);
DROP FUNCTION visits(int, text, bool);
DROP FUNCTION look();
DROP FUNCTION sick();
DROP EXTENSION vqueue;
