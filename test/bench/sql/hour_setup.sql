-- As for whole lives.
SELECT vqueue.create_queue('hour', release_rate_per_minute => 10000000, max_concurrent_users => :cap, burst => 1000000);
