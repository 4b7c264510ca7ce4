-- A function in C that always returns the place of one session that waits.
CREATE TABLE bench.sample AS
SELECT p.* FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' LIMIT 1) AS s, vqueue.status(s.id) AS p;
CREATE FUNCTION bench.constant_place() RETURNS vqueue.place
    LANGUAGE c VOLATILE STRICT AS :'library', 'constant_place';
CREATE FUNCTION bench.constant_place(uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE STRICT AS :'library', 'constant_place';
