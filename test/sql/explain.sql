-- explain_position: why a session stands where it stands.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
CREATE SCHEMA regress_vqueue;
-- the n-th user's explanation, without its moment
CREATE FUNCTION regress_vqueue.explain(q text, n bigint) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', e.what, coalesce(e.rule, '-'), coalesce(e.n::text, '-'), regexp_replace(e.detail, 'at .* with', 'at … with'))
      FROM vqueue.user_sessions s, vqueue.explain_position(s.id) e WHERE s.queue_id = vqueue._queue(q) AND s.ticket = $2 $$;
CREATE FUNCTION regress_vqueue.id(q text, n bigint) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions WHERE queue_id = vqueue._queue(q) AND ticket = $2 $$;

-- by arrival and priority
SELECT 'made' FROM vqueue.create_queue('hall', 600, 100, state => 'paused');
SELECT count(*) FROM vqueue.join_many('hall', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10)));
SELECT regress_vqueue.explain('hall', 6);
SELECT count(*) FROM vqueue.join_many('hall', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3)), 'vip');
SELECT status FROM vqueue.leave(regress_vqueue.id('hall', 2));
SELECT status FROM vqueue.leave(regress_vqueue.id('hall', 11));
SELECT vqueue.release('hall', 3);
UPDATE vqueue.user_sessions SET status = 'serving' WHERE id = regress_vqueue.id('hall', 9);
SELECT regress_vqueue.explain('hall', 6);
-- the sum of those ahead is the position
SELECT bool_and(position - 1 = (SELECT coalesce(sum(n), 0) FROM vqueue.explain_position(id) WHERE what = 'waits ahead')) FROM vqueue.sessions WHERE position > 0;
-- who is in, and who has ended
SELECT regress_vqueue.explain('hall', 1);
SELECT regress_vqueue.explain('hall', 2);
-- turns
SELECT vqueue.alter_queue('hall', lane_weights => '{8,4,2,1}');
SELECT count(*) FROM vqueue.join_many('hall', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10)), 'low');
SELECT vqueue.release('hall', 5);
SELECT regress_vqueue.explain('hall', 7);
SELECT bool_and(position - 1 = (SELECT coalesce(sum(n), 0) FROM vqueue.explain_position(id) WHERE what = 'waits ahead')) FROM vqueue.sessions WHERE position > 0;
SELECT count(*) > 1 FROM vqueue.sessions s, vqueue.explain_position(id) e WHERE s.position > 0 AND what = 'waits ahead' AND rule = 'turns';

-- drawn
SELECT 'made' FROM vqueue.create_queue('sale', 600, 100, state => 'paused');
INSERT INTO vqueue.user_sessions (id, queue_id, user_id, ticket)
SELECT id, vqueue._queue('sale'), id, n FROM generate_series(1, 6) AS n, LATERAL (SELECT ('01000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid) AS i (id);
INSERT INTO vqueue.draws (queue_id, seed, commitment)
SELECT vqueue._queue('sale'), s, encode(sha256(s), 'hex') FROM sha256('not random') AS s;
SELECT vqueue.drain('sale'), vqueue.pause('sale');
SELECT string_agg(ticket::text, ',' ORDER BY place) FROM vqueue.draw_entrants('sale');
SELECT max(ticket) > 6 FROM vqueue.join_many('sale', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 2)));
SELECT vqueue.release('sale', 2);
SELECT regress_vqueue.explain('sale', (SELECT ticket FROM vqueue.sessions WHERE queue = 'sale' AND position = 3));
SELECT regress_vqueue.explain('sale', max(ticket)) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('sale');
SELECT bool_and(position - 1 = (SELECT coalesce(sum(n), 0) FROM vqueue.explain_position(id) WHERE what = 'waits ahead')) FROM vqueue.sessions WHERE queue = 'sale' AND position > 0;

-- random
SELECT 'made' FROM vqueue.create_queue('lot', 600, 100, state => 'paused', method => 'random');
SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 50)));
SELECT what, rule, n FROM vqueue.explain_position((SELECT id FROM vqueue.sessions WHERE queue = 'lot' AND position = 20)) WHERE what = 'waits ahead';
SELECT bool_and(position - 1 = (SELECT coalesce(sum(n), 0) FROM vqueue.explain_position(id) WHERE what = 'waits ahead')),
       bool_and((SELECT coalesce(sum(n), 0) FROM vqueue.explain_position(s.id) WHERE what = 'came later')
                = (SELECT count(*) FROM vqueue.sessions o WHERE o.queue = 'lot' AND o.ticket > s.ticket AND o.position < s.position))
  FROM vqueue.sessions s WHERE queue = 'lot';

-- what is refused
\set VERBOSITY terse
SELECT vqueue.explain_position(NULL);
SELECT vqueue.explain_position('00000000-0000-0000-0000-000000000000');

SELECT vqueue.drop_queue('hall', true), vqueue.drop_queue('sale', true), vqueue.drop_queue('lot', true);
DROP SCHEMA regress_vqueue CASCADE;
