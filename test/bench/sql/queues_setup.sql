-- :queues open queues, in 100 of which people wait and are let in ten a second.
CREATE EXTENSION vqueue;
DO $$
BEGIN
    FOR i IN 1 .. current_setting('bench.queues')::int LOOP
        PERFORM vqueue.create_queue('q' || i, release_rate_per_minute => 600, max_concurrent_users => 100000000);
    END LOOP;
END
$$;
SELECT sum((SELECT count(*) FROM vqueue.join_many('q' || i, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, :waiting)))))
  FROM generate_series(1, 100) AS i;
