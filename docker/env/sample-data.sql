-- Sample data: waiting rooms to try things with, in development and staging only.
--
--     psql -X -d DATABASE -f docker/env/sample-data.sql
--
-- All of it belongs to a tenant of its own, "sample", so it is out of the way of others:
-- SET vqueue.tenant = 'sample' to see it.  Run again, it is made anew.
--
-- It refuses wherever cluster_name does not say that this is development or staging.  That is
-- a setting of the server which no session can change, and a production server does not have it.
-- The whole file is one transaction: after the refusal nothing of the rest happens.

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;

DO $$
BEGIN
    IF current_setting('cluster_name') NOT IN ('vqueue-development', 'vqueue-staging') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('no sample data on this server, whose cluster_name is "%s"', current_setting('cluster_name')),
            DETAIL = 'Sample data is for servers called "vqueue-development" or "vqueue-staging".',
            HINT = 'On such a server use docker/env/development/postgresql.conf or docker/env/staging/postgresql.conf.';
    END IF;
END
$$;

INSERT INTO vqueue.tenants (name, domain) VALUES ('sample', 'sample.example') ON CONFLICT (name) DO NOTHING;
SET LOCAL vqueue.tenant = 'sample';
SELECT vqueue.drop_queue(queue, force => true) FROM vqueue.overview \g /dev/null

-- A sale with a line of 5,000, which moves: 600 a minute, 50 inside, who leave after 15 minutes.
SELECT vqueue.create_queue('onsale', release_rate_per_minute => 600, max_concurrent_users => 50,
    description => 'A sale with a long line.', serving_timeout => '15 min') \g /dev/null
SELECT count(*) FROM vqueue.join_many('onsale',
    ARRAY(SELECT vqueue.user_id('visitor ' || i || '@sample.example') FROM generate_series(1, 5000) i)) \g /dev/null

-- A hotline: four lanes in turns, the call has to be claimed.
SELECT vqueue.create_queue('hotline', release_rate_per_minute => 30, max_concurrent_users => 5,
    description => 'Few agents, four lanes in turns, calls to be claimed.', lane_weights => '{8,4,2,1}',
    claim_timeout => '2 min', waiting_timeout => '30 min', state => 'paused') \g /dev/null
SELECT count(vqueue.join('hotline', vqueue.user_id('caller ' || i || '@sample.example'), 'Caller ' || i,
                         'caller' || i || '@sample.example', ('{vip,high,normal,low}'::text[])[1 + i % 4]))
  FROM generate_series(1, 200) i \g /dev/null

-- A sale that opens in an hour, by a draw among those who have come by then.
SELECT vqueue.create_queue('presale', release_rate_per_minute => 600, max_concurrent_users => 100,
    description => 'Opens in an hour, by a draw.', opens_at => now() + interval '1 hour', state => 'paused') \g /dev/null
SELECT vqueue.prepare_draw('presale') \g /dev/null
SELECT count(*) FROM vqueue.join_many('presale',
    ARRAY(SELECT vqueue.user_id('early ' || i || '@sample.example') FROM generate_series(1, 1000) i)) \g /dev/null

-- One that is over, a day ago, with how it went for each.
SELECT vqueue.create_queue('yesterday', release_rate_per_minute => 6000, max_concurrent_users => 1000,
    description => 'A sale that is over.', state => 'closed') \g /dev/null
INSERT INTO vqueue.user_sessions (queue_id, user_id, status, joined_at, served_at, left_at)
SELECT vqueue._queue('yesterday'), vqueue.user_id('guest ' || i || '@sample.example'),
       CASE WHEN i % 10 = 0 THEN 'left' ELSE 'completed' END, came,
       CASE WHEN i % 10 > 0 THEN came + i * interval '0.2 s' END,
       came + i * interval '0.2 s' + interval '3 min'
  FROM generate_series(1, 2000) i, LATERAL (SELECT now() - interval '1 day' + i * interval '0.5 s') c (came)
 ORDER BY i;

COMMIT;
SET vqueue.tenant = 'sample';
SELECT o.queue, o.state, o.waiting, o.serving, q.description
  FROM vqueue.overview o JOIN vqueue.queues q USING (id) ORDER BY o.queue;
