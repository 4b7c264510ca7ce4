-- One row by key: the least that a step of a session costs until it is on disk.
\set t random(1, :rows)
UPDATE bench.copy SET reason = 'x' WHERE ticket = :t AND queue_id = (SELECT id FROM vqueue.queues WHERE name = 'bench');
