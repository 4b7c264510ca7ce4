-- Two queues with more who wait than can come in, paused as yet.
SELECT vqueue.create_queue('paced_600', release_rate_per_minute => 600, max_concurrent_users => 100000000, state => 'paused');
SELECT vqueue.create_queue('paced_60000', release_rate_per_minute => 60000, max_concurrent_users => 100000000, state => 'paused');
SELECT count(*) FROM vqueue.join_many('paced_600', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20 * :seconds)));
SELECT count(*) FROM vqueue.join_many('paced_60000', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1100 * :seconds)));
