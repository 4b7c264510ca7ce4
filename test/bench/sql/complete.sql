-- The one inside, whose ticket is the one before the head of the line, is done
-- as soon as it is seen to be inside; then a pause, in which the next is let in.
SELECT vqueue.complete(s.id)
  FROM vqueue.user_sessions AS s
 WHERE s.queue_id = (SELECT o.id FROM vqueue.overview AS o WHERE o.queue = 'relay')
   AND s.ticket = (SELECT o.head - 1 FROM vqueue.overview AS o WHERE o.queue = 'relay')
   AND s.status = 'serving';
\sleep 5 ms
