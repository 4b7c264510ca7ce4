-- Seconds of a rebuild, the table's rows in the cache and in this process's reach, as for the count.
SELECT count(*) AS warm FROM vqueue.user_sessions \gset
SELECT clock_timestamp() AS start \gset
SELECT vqueue.rebuild() AS live \gset
SELECT bench.since(:'start');
