-- Nothing but a queue in which :waiting sessions wait, for the very long line.
CREATE EXTENSION vqueue;
SELECT vqueue.create_queue('bench', release_rate_per_minute => 1, max_concurrent_users => 1);
-- In steps, each with users of its own.
SELECT count(*)
  FROM generate_series(1, :waiting / :step) AS i,
       LATERAL vqueue.join_many('bench', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, :step + 0 * i))) AS p;
CREATE SCHEMA bench;
CREATE FUNCTION bench.since(start timestamptz) RETURNS float8
    LANGUAGE sql VOLATILE AS $$ SELECT extract(epoch FROM clock_timestamp() - start) $$;
VACUUM (ANALYZE) vqueue.user_sessions;
CHECKPOINT;
