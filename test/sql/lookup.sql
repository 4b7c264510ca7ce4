-- Ids carry their ticket: sessions are found without an index, and only by their whole id.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY sqlstate

SELECT 'made' FROM vqueue.create_queue('found', state => 'paused');
SELECT id AS s1 FROM vqueue.join('found') \gset
SELECT id AS s2 FROM vqueue.join('found') \gset
SELECT id AS s3 FROM vqueue.join('found') \gset

-- the bits of an id
CREATE FUNCTION pg_temp.flip(id uuid, byte int, mask int) RETURNS uuid LANGUAGE sql AS
$$ SELECT encode(set_byte(uuid_send(id), byte, get_byte(uuid_send(id), byte) # mask), 'hex')::uuid $$;
-- how often the index was searched: not flushed within a transaction
CREATE FUNCTION pg_temp.searches() RETURNS bigint LANGUAGE sql AS
$$ SELECT pg_stat_get_xact_numscans('vqueue.user_sessions_pkey'::regclass) $$;

SELECT substr(:'s1'::text, 15, 1), substr(:'s1'::text, 20, 1) IN ('8', '9', 'a', 'b') AS version_7,
       abs(extract(epoch FROM joined_at) * 1000 - ('x' || left(translate(:'s1', '-', ''), 12))::bit(48)::bigint) < 1 AS its_time
  FROM vqueue.status(:'s1');
SELECT count(DISTINCT get_byte(uuid_send(id), n)) > 100 AS byte_varies
  FROM vqueue.join_many('found', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000))), generate_series(9, 15) n
 GROUP BY n;

-- once a backend knows the queue, rows are found without the index
SELECT position FROM vqueue.poll(:'s1');
BEGIN;
SELECT pg_temp.searches() AS before \gset
SELECT position FROM vqueue.poll(:'s1');
SELECT position FROM vqueue.status(:'s2');
SELECT vqueue.heartbeat(:'s3');
SELECT pg_temp.searches() - :before AS searches;
COMMIT;

-- the last bytes hide the ticket, and turning one's own into that of another finds nobody
SELECT vqueue.position(pg_temp.flip(:'s1', 15, 3));
SELECT vqueue.position(pg_temp.flip(:'s1', 15, 2));
SELECT vqueue.position(pg_temp.flip(:'s1', 10, 1));
SELECT vqueue.position(pg_temp.flip(:'s1', 9, 1));
SELECT vqueue.position(pg_temp.flip(:'s1', 0, 1));
SELECT vqueue.position('00000000-0000-0000-0000-000000000000'), vqueue.position('ffffffff-ffff-ffff-ffff-ffffffffffff');

-- rows that move are found again by the index, and then remembered
UPDATE vqueue.user_sessions SET user_name = 'Ann' WHERE id = :'s1';
BEGIN;
SELECT pg_temp.searches() AS before \gset
SELECT position, user_id IS NOT NULL FROM vqueue.poll(:'s1');
SELECT pg_temp.searches() - :before AS searches;
COMMIT;
BEGIN;
SELECT pg_temp.searches() AS before \gset
SELECT position FROM vqueue.poll(:'s1');
SELECT pg_temp.searches() - :before AS searches;
COMMIT;
DELETE FROM vqueue.user_sessions WHERE ticket BETWEEN 4 AND 990;
SELECT id AS last FROM vqueue.user_sessions ORDER BY ticket DESC LIMIT 1 \gset
SELECT position FROM vqueue.poll(:'last');
VACUUM FULL vqueue.user_sessions;
SELECT position FROM vqueue.poll(:'last');
SELECT vqueue.position(:'s1'), vqueue.position(:'s2'), vqueue.position(:'s3');

-- as a transaction sees it: what it did itself, and what it took back
BEGIN;
SELECT status FROM vqueue.leave(:'s2');
SELECT status, position FROM vqueue.poll(:'s2');
ROLLBACK;
SELECT status, position FROM vqueue.poll(:'s2');
BEGIN;
WITH gone AS MATERIALIZED (SELECT status FROM vqueue.leave(:'s2'))
SELECT gone.status, (vqueue.status(CASE WHEN gone.status = 'left' THEN :'s2'::uuid END)).status FROM gone;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT position FROM vqueue.poll(:'s3');
COMMIT;
BEGIN;
SELECT id AS passing FROM vqueue.join('found') \gset
SELECT status FROM vqueue.poll(:'passing');
ROLLBACK;
SELECT status FROM vqueue.poll(:'passing');

-- another tenant gets the answer that nobody gets
INSERT INTO vqueue.tenants (name) VALUES ('stranger');
SET vqueue.tenant = 'stranger';
SELECT vqueue.position(:'s1');
RESET vqueue.tenant;

-- rebuilding learns where rows are
SELECT vqueue.rebuild();
BEGIN;
SELECT pg_temp.searches() AS before \gset
SELECT vqueue.position(:'s1'), vqueue.position(:'s3');
SELECT pg_temp.searches() - :before AS searches;
COMMIT;

-- with another key, or without one, ids are found by the index, and new ones are made
CREATE TEMP TABLE kept AS SELECT * FROM vqueue.secrets;
UPDATE vqueue.secrets SET value = substr(sha256('another'), 1, 16);
SELECT vqueue.position(:'s1');
SELECT id AS s4 FROM vqueue.join('found') \gset
SELECT status FROM vqueue.poll(:'s4');
DELETE FROM vqueue.secrets;
SELECT vqueue.position(:'s1');
SELECT id AS s5 FROM vqueue.join('found') \gset
SELECT status FROM vqueue.poll(:'s5');
INSERT INTO vqueue.secrets SELECT * FROM kept;
SELECT vqueue.position(:'s1'), vqueue.position(:'s4') > 3, vqueue.position(:'s5') > 3;

-- a restored key is older, and comes before that of this installation
INSERT INTO vqueue.secrets VALUES ('ids', '2001-01-01', substr(sha256('restored'), 1, 16));
INSERT INTO vqueue.secrets VALUES ('ids', '2001-01-01', substr(sha256('restored'), 1, 16));
SELECT vqueue.position(:'s1');
SELECT id AS s6 FROM vqueue.join('found') \gset
DELETE FROM vqueue.secrets WHERE made_at = '2001-01-01';
UPDATE vqueue.secrets SET made_at = 'infinity';
BEGIN;
SELECT vqueue.position(:'s1'), vqueue.position(:'s3');
SELECT pg_temp.searches() AS before \gset
SELECT vqueue.position(:'s1'), vqueue.position(:'s3');
SELECT pg_temp.searches() - :before AS searches;
SELECT vqueue.position(:'s6') > 3;
SELECT pg_temp.searches() - :before AS searches;
COMMIT;

SELECT count(*) FROM vqueue.check();
SELECT vqueue.drop_queue('found', true);
DELETE FROM vqueue.tenants WHERE name = 'stranger';
