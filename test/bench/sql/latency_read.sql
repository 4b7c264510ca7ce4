-- Milliseconds from each one's left_at to the next one's served_at.
SELECT round(extract(epoch FROM served_at - freed_at) * 1000, 3)
  FROM (SELECT served_at, lag(left_at) OVER (ORDER BY ticket) AS freed_at
          FROM vqueue.user_sessions
         WHERE queue_id = (SELECT id FROM vqueue.queues WHERE name = 'relay')) AS steps
 WHERE served_at IS NOT NULL AND freed_at IS NOT NULL;
