-- Seconds of letting 10,000 in by hand.
SELECT clock_timestamp() AS start \gset
SELECT vqueue.release('bench', 10000) AS released \gset
SELECT bench.since(:'start');
