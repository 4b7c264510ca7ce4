-- Channels: which one a queue's events come on.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

-- what a command answers: ok, or its error with state, detail and hint; ids and failing rows are masked
CREATE FUNCTION pg_temp.attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    code text;
    message text;
    detail text;
    hint text;
BEGIN
    EXECUTE command;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(E'\n', code || ': ' || message, '  detail: ' || nullif(regexp_replace(detail, '(Failing row) contains.*', '\1'), ''),
                                    '  hint: ' || nullif(hint, '')),
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
END
$$;

SELECT vqueue.channel(), vqueue.channel(NULL);
CREATE FUNCTION pg_temp.rule(queue text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE vqueue.channel($1) WHEN 'vqueue_' || $1 THEN 'by name' WHEN 'vqueue_' || vqueue._queue($1) THEN 'by id' ELSE 'neither' END
           || CASE WHEN octet_length(vqueue.channel($1)) <= 63 THEN '' ELSE ', too long' END
$$;
SELECT count(vqueue.create_queue(n, state => 'paused'))
  FROM unnest(ARRAY['onsale', 'On Sale', 'a"b''c', '"', 'Ωμέγα 🎫', repeat('n', 56), repeat('n', 57), repeat('n', 200),
                    repeat('ä', 28), repeat('ä', 28) || 'b', repeat('🎫', 14), repeat('🎫', 14) || 'x']) AS n;
SELECT octet_length(name), left(name, 20), pg_temp.rule(name) FROM vqueue.queues ORDER BY octet_length(name), name COLLATE "C";
-- by the id the same
SELECT count(*) FROM vqueue.queues WHERE vqueue.channel(name) <> vqueue.channel(id::text);
-- each can be listened on, quoted as an identifier
DO $$
BEGIN
    EXECUTE (SELECT string_agg(format('LISTEN %I', vqueue.channel(name)), ';') FROM vqueue.queues);
END
$$;
SELECT count(*) FROM pg_listening_channels() AS l JOIN vqueue.queues q ON vqueue.channel(q.name) = l;
UNLISTEN *;
-- it follows a new name
SELECT vqueue.alter_queue('onsale', name => repeat('m', 57));
SELECT pg_temp.rule(repeat('m', 57));
SELECT vqueue.alter_queue(repeat('m', 57), name => 'offsale');
SELECT vqueue.channel('offsale');
SELECT pg_temp.attempt($$SELECT vqueue.channel('onsale')$$);
SELECT pg_temp.attempt($$SELECT vqueue.channel('')$$);
-- of another tenant always by id, so that nobody listens by guessing names
INSERT INTO vqueue.tenants (name) VALUES ('acme');
SET vqueue.tenant = 'acme';
SELECT 'made' FROM vqueue.create_queue('offsale', state => 'paused');
SELECT pg_temp.rule('offsale');
RESET vqueue.tenant;
SELECT vqueue.channel('offsale');
DELETE FROM vqueue.queues;
DELETE FROM vqueue.tenants WHERE name = 'acme';
