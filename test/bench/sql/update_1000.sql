-- The same rows of the copy by key; the first statement says which.
UPDATE bench.released SET up_to = up_to + 1000 RETURNING up_to - 999 AS first, up_to AS last \gset
UPDATE bench.copy SET status = 'serving', served_at = now() WHERE queue_id = (SELECT id FROM vqueue.queues WHERE name = 'bench') AND ticket = ANY (ARRAY(SELECT generate_series(:first::bigint, :last::bigint)));
