-- The same rows of the copy by key; the first statement says which.
WITH next AS (UPDATE bench.released SET up_to = up_to + 100 RETURNING up_to) UPDATE bench.copy SET status = 'serving', served_at = now() WHERE queue_id = (SELECT id FROM vqueue.queues WHERE name = 'bench') AND ticket = ANY (ARRAY(SELECT generate_series(up_to - 99, up_to) FROM next))
