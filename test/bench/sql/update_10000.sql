-- Seconds of writing the same rows of the copy by key.
UPDATE bench.released SET up_to = up_to + 10000 RETURNING up_to - 9999 AS first, up_to AS last \gset
SELECT id AS queue FROM vqueue.queues WHERE name = 'bench' \gset
SELECT clock_timestamp() AS start \gset
UPDATE bench.copy SET status = 'serving', served_at = now()
 WHERE queue_id = :'queue' AND ticket = ANY (ARRAY(SELECT generate_series(:first, :last)));
SELECT bench.since(:'start');
