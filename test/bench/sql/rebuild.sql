-- Seconds of a rebuild.
SELECT clock_timestamp() AS start \gset
SELECT vqueue.rebuild() AS live \gset
SELECT bench.since(:'start');
