-- A queue with one slot and a rate that never holds it up.
SELECT vqueue.create_queue('relay', release_rate_per_minute => 10000000, max_concurrent_users => 1);
SELECT count(*) FROM vqueue.join_many('relay', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20000)));
