-- Seconds of a scan of the table, its rows in the cache; with :workers helpers at the most.
SET max_parallel_workers_per_gather = :workers;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS warm FROM vqueue.user_sessions \gset
SELECT clock_timestamp() AS start \gset
SELECT count(*) AS n FROM vqueue.user_sessions \gset
SELECT bench.since(:'start');
