--
-- Three figures of the queue :queue with a rate of :rate a minute: by how many
-- the bound burst + rate * w was passed in the worst of all windows (below zero:
-- never, by so many); the worst error of a 10 s window, in percent; releases.
-- Windows begin at each release, once with those on both edges, once without.
--
WITH served AS (
    SELECT extract(epoch FROM s.served_at - min(s.served_at) OVER ())::float8 AS t,
           row_number() OVER (ORDER BY s.served_at, s.ticket) AS k
      FROM vqueue.user_sessions AS s
     WHERE s.queue_id = (SELECT id FROM vqueue.queues WHERE name = :'queue') AND s.served_at IS NOT NULL
), ahead AS (
    SELECT t, k, k - t * :rate / 60.0 AS a FROM served
), excess AS (
    SELECT max(a - low) + 1 - :burst AS n
      FROM (SELECT a, min(a) OVER (ORDER BY k) AS low FROM ahead) AS each
), windows AS (
    SELECT t,
           count(*) OVER (ORDER BY t RANGE BETWEEN CURRENT ROW AND 10 FOLLOWING) AS closed,
           count(*) OVER (ORDER BY t RANGE BETWEEN CURRENT ROW AND 9.9999995 FOLLOWING)
           - count(*) OVER (ORDER BY t RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS within
      FROM served
)
SELECT round((SELECT n FROM excess)::numeric, 4),
       round(max(greatest(closed / (:rate / 6.0) - 1, 1 - within / (:rate / 6.0)) * 100)::numeric, 3),
       (SELECT count(*) FROM served)
  FROM windows
 WHERE t + 10 <= (SELECT max(t) FROM served);
