-- Bad input: each gets its error with a state, a detail and a hint, and changes nothing.
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

-- the n-th user of this test
CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- the live session, or else the last one, of that user in a queue
CREATE FUNCTION pg_temp.s(queue text, n int) RETURNS uuid LANGUAGE sql AS
$$ SELECT id FROM vqueue.user_sessions
    WHERE queue_id = vqueue._queue(queue) AND user_id = pg_temp.u(n) ORDER BY left_at IS NULL DESC, ticket DESC LIMIT 1 $$;

SELECT 'made' FROM vqueue.create_queue('q', max_concurrent_users => 1, state => 'paused');
SELECT 'made' FROM vqueue.create_queue('taken', state => 'closed');
SELECT status FROM vqueue.join('q', pg_temp.u(1));
SELECT status FROM vqueue.join('q', pg_temp.u(2));
SELECT vqueue.release('q', 1);

-- all that there is, to be compared at the end
CREATE FUNCTION pg_temp.world() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat_ws('#', (SELECT string_agg(t::text, '|' ORDER BY t::text) FROM vqueue.tenants t),
                         (SELECT string_agg(t::text, '|' ORDER BY t::text) FROM vqueue.queues t),
                         (SELECT string_agg(t::text, '|' ORDER BY t::text) FROM vqueue.user_sessions t),
                         (SELECT string_agg((queue, state, waiting, serving, released, head, failures)::text, '|' ORDER BY queue) FROM vqueue.overview)))
$$;
SELECT pg_temp.world() AS before \gset

-- an unknown queue
SELECT f || E'\n' || pg_temp.attempt('SELECT vqueue.' || f)
  FROM unnest(ARRAY['join(''nope'')', 'join_many(''nope'', ARRAY[gen_random_uuid()])', 'join_many(''nope'', ''{}'')',
                    'position(''nope'', 1)', 'alter_queue(''nope'', burst => 1)', 'drop_queue(''nope'')',
                    'open(''nope'')', 'pause(''nope'')', 'resume(''nope'')', 'drain(''nope'')', 'close(''nope'')',
                    'release(''nope'', 1)', 'channel(''nope'')']) AS f;
-- names that are not there because they could not be, and such as are almost an id
SELECT quote_literal(left(n, 40)) || E'\n' || regexp_replace(pg_temp.attempt(format('SELECT vqueue.join(%L)', n)), '(x{20})x*', '\1')
  FROM unnest(ARRAY['', ' q', 'Q', repeat('x', 5000), E'q\n', 'q"; DROP TABLE x',
                    '00000000-0000-0000-0000-000000000000',
                    '0-0000000000000000000000000000000', '-00000000000000000000000000000000', '00000000000000000000000000000000-',
                    '{00000000000000000000000000000000', '00000000000000000000000000000000}',
                    '0000000000000000000000000000000', '000000000000000000000000000000000',
                    '{00000000-0000-0000-0000-000000000000}', 'g0000000-0000-0000-0000-000000000000']) AS n;

-- an unknown session
SELECT f || E'\n' || pg_temp.attempt(format('SELECT vqueue.%s(%L)', f, gen_random_uuid()))
  FROM unnest(ARRAY['poll', 'status', 'heartbeat', 'position', 'leave', 'complete', 'remove']) AS f;

-- names that a queue cannot have
SELECT quote_literal(left(n, 40)) || E'\n' || pg_temp.attempt(format('SELECT vqueue.create_queue(%L)', n))
       || E'\n' || pg_temp.attempt(format('SELECT vqueue.alter_queue(''q'', name => %L)', n))
  FROM unnest(ARRAY['', repeat('n', 201), repeat('ä', 101), E'a\nb', E'a\tb', E'\x7f', 'taken',
                    '00000000-0000-0000-0000-000000000000', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11',
                    '{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}']) AS n;
SELECT pg_temp.attempt(format('SELECT vqueue.create_queue(''d'', description => %L)', repeat('d', 10001)));
SELECT pg_temp.attempt(format('SELECT vqueue.alter_queue(''q'', description => %L)', repeat('d', 10001)));

-- settings out of range: zero, negative, absurd
SELECT v || ' ' || n || E'\n' || pg_temp.attempt(format('SELECT vqueue.create_queue(''bad'', %I => %s)', n, v))
       || CASE WHEN pg_temp.attempt(format('SELECT vqueue.create_queue(''bad'', %I => %s)', n, v))
                  = pg_temp.attempt(format('SELECT vqueue.alter_queue(''q'', %I => %s)', n, v)) THEN E'\n  (alter_queue: the same)' ELSE ' alter_queue differs' END
  FROM (VALUES ('release_rate_per_minute', '0'), ('release_rate_per_minute', '-1'), ('release_rate_per_minute', '10000001'),
               ('release_rate_per_minute', '2147483647'), ('release_rate_per_minute', '(-2147483648)'),
               ('max_concurrent_users', '0'), ('max_concurrent_users', '-5'), ('max_concurrent_users', '100000001'),
               ('burst', '-1'), ('burst', '1000001'),
               ('max_waiting', '-1'), ('max_waiting', '1000000001'),
               ('method', '''lifo'''), ('method', ''''''), ('lane_weights', '''{1,2,3}'''), ('lane_weights', '''{8,4,2,0}'''),
               ('lane_weights', '''{8,4,2,101}'''), ('lane_weights', '''{8,4,2,NULL}'''), ('lane_weights', '''{{8,4},{2,1}}'''),
               ('waiting_timeout', '''-1 s'''), ('waiting_timeout', '''1 day 1 s'''), ('serving_timeout', '''1 month'''),
               ('claim_timeout', '''-1 month'''), ('session_retention', '''-1 s'''), ('session_retention', '''100 years 1 s'''),
               ('pass_lifetime', '''999 ms'''), ('pass_lifetime', '''1 day 1 s''')) AS t (n, v);
SELECT pg_temp.attempt(format('SELECT vqueue.create_queue(''bad'', %s)', v))
  FROM unnest(ARRAY['prequeue_at => ''2040-01-02'', opens_at => ''2040-01-01''', 'opens_at => ''2040-01-01'', closes_at => ''2040-01-01''',
                    'prequeue_at => ''2040-01-02'', closes_at => ''2040-01-01''']) AS v;
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('bad', release_rate_per_minute => 1.5)$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('bad', state => 'ajar')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('bad', state => 'OPEN')$$);
SELECT pg_temp.attempt($$SELECT vqueue.create_queue('taken')$$);

-- nulls where a value is needed
SELECT f || E'\n' || pg_temp.attempt('SELECT vqueue.' || f)
  FROM unnest(ARRAY['create_queue(NULL)', 'create_queue(''n'', NULL)', 'create_queue(''n'', max_concurrent_users => NULL)',
                    'create_queue(''n'', burst => NULL)', 'create_queue(''n'', max_waiting => NULL)', 'create_queue(''n'', method => NULL)', 'create_queue(''n'', claim_timeout => NULL)', 'create_queue(''n'', session_retention => NULL)', 'create_queue(''n'', pass_lifetime => NULL)',
                    'alter_queue(NULL)', 'drop_queue(NULL)', 'open(NULL)', 'pause(NULL)', 'resume(NULL)', 'drain(NULL)', 'close(NULL)',
                    'release(NULL, 1)', 'release(''q'', NULL)',
                    'join(NULL)', 'join(''q'', NULL)', 'join(''q'', priority => NULL)',
                    'join_many(NULL, ''{}'')', 'join_many(''q'', NULL)', 'join_many(''q'', ''{}'', NULL)', 'join_many(''q'', ARRAY[NULL::uuid])',
                    'poll(NULL)', 'status(NULL)', 'heartbeat(NULL)', 'position(NULL)', 'leave(NULL)', 'complete(NULL)', 'remove(NULL)',
                    'position(NULL, 1)', 'position(''q'', NULL)', 'positions(NULL)']) AS f;

-- priorities
SELECT quote_literal(left(p, 20)) || E'\n' || regexp_replace(pg_temp.attempt(format('SELECT vqueue.join(''q'', priority => %L)', p)), '(x{20})x*', '\1')
  FROM unnest(ARRAY['', 'VIP', 'vip ', 'vi', 'vipp', 'normal; drop', '1', repeat('x', 3000)]) AS p;
SELECT pg_temp.attempt($$SELECT vqueue.join_many('q', ARRAY[gen_random_uuid()], 'urgent')$$);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('q', '{}', 'urgent')$$);
-- over-long texts
SELECT pg_temp.attempt($$SELECT vqueue.join('q', user_name => repeat('x', 1001))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('q', user_email => repeat('ä', 501))$$);
SELECT pg_temp.attempt($$SELECT vqueue.remove(pg_temp.s('q', 1), repeat('x', 1001))$$);
-- even for a user who is there already
SELECT pg_temp.attempt($$SELECT vqueue.join('q', pg_temp.u(1), repeat('x', 1001))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join('q', pg_temp.u(1), priority => 'urgent')$$);

-- numbers to release
SELECT n || E'\n' || pg_temp.attempt(format('SELECT vqueue.release(''q'', %s)', n))
  FROM unnest(ARRAY['0', '-1', '1000001', '2147483647', '(-2147483648)']) AS n;
SELECT pg_temp.attempt($$SELECT vqueue.release('taken', 1)$$);

-- completing one who still waits
SELECT pg_temp.attempt($$SELECT vqueue.complete(pg_temp.s('q', 2))$$);

-- joining where nobody is admitted
SELECT pg_temp.attempt($$SELECT vqueue.join('taken')$$);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('taken', ARRAY[gen_random_uuid()])$$);
SELECT count(*) FROM vqueue.join_many('taken', '{}');
-- resuming what is not paused
SELECT pg_temp.attempt($$SELECT vqueue.resume('taken')$$);
-- dropping what is in use
SELECT pg_temp.attempt($$SELECT vqueue.drop_queue('q')$$);

-- nothing of all this has changed anything
SELECT pg_temp.world() = :'before';
SELECT * FROM vqueue.check();

-- twice completed, left, removed: said, harmless
DO $$
DECLARE
    ended uuid := pg_temp.s('q', 1);
    first timestamptz;
    second timestamptz;
BEGIN
    first := (vqueue.complete(ended)).left_at;
    PERFORM set_config('client_min_messages', 'error', true);
    second := (vqueue.complete(ended)).left_at;
    RAISE EXCEPTION USING MESSAGE = format('the same time: %s', first = second), ERRCODE = 'P0001';
EXCEPTION WHEN SQLSTATE 'P0001' THEN
    PERFORM set_config('client_min_messages', 'notice', true);
    RAISE NOTICE '%', SQLERRM;
END
$$;
UPDATE vqueue.user_sessions SET id = '01900000-0000-7000-8000-000000000001' WHERE id = pg_temp.s('q', 1);
SELECT status FROM vqueue.complete('01900000-0000-7000-8000-000000000001');
\set VERBOSITY default
SELECT status FROM vqueue.complete('01900000-0000-7000-8000-000000000001');
SELECT status FROM vqueue.leave('01900000-0000-7000-8000-000000000001');
SELECT status FROM vqueue.remove('01900000-0000-7000-8000-000000000001', 'late');
\set VERBOSITY terse
SELECT status, reason FROM vqueue.user_sessions WHERE id = '01900000-0000-7000-8000-000000000001';

-- a full queue: those who stand in it are found still, others are refused
SELECT 'made' FROM vqueue.create_queue('small', max_waiting => 2, max_concurrent_users => 1, state => 'paused');
SELECT status, position FROM vqueue.join('small', pg_temp.u(1));
SELECT status, position FROM vqueue.join('small', pg_temp.u(2));
SELECT pg_temp.attempt($$SELECT vqueue.join('small', pg_temp.u(3))$$);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('small', ARRAY[pg_temp.u(3)])$$);
SELECT status, position FROM vqueue.join('small', pg_temp.u(2));
SELECT user_id, position FROM vqueue.join_many('small', ARRAY[pg_temp.u(2), pg_temp.u(1)]);
-- one place free: one newcomer fits, also if named twice, two do not
SELECT status FROM vqueue.leave(pg_temp.s('small', 1));
SELECT pg_temp.attempt($$SELECT vqueue.join_many('small', ARRAY[pg_temp.u(3), pg_temp.u(4)])$$);
SELECT waiting FROM vqueue.overview WHERE queue = 'small';
SELECT user_id, position FROM vqueue.join_many('small', ARRAY[pg_temp.u(3), pg_temp.u(2), pg_temp.u(3)]);
SELECT pg_temp.attempt($$SELECT vqueue.join('small', pg_temp.u(4))$$);
-- those inside do not count, a raised limit does
SELECT vqueue.release('small', 1);
SELECT status, position FROM vqueue.join('small', pg_temp.u(4));
SELECT pg_temp.attempt($$SELECT vqueue.join('small', pg_temp.u(5))$$);
SELECT vqueue.alter_queue('small', max_waiting => 3);
SELECT status, position FROM vqueue.join('small', pg_temp.u(5));
SELECT vqueue.alter_queue('small', max_waiting => 1);
SELECT pg_temp.attempt($$SELECT vqueue.join('small', pg_temp.u(6))$$);
SELECT waiting, serving FROM vqueue.overview WHERE queue = 'small';
SELECT vqueue.alter_queue('small', max_waiting => 0);
SELECT status, position FROM vqueue.join('small', pg_temp.u(6));
-- in a closed queue those who are there are found still, too
SELECT vqueue.close('small');
SELECT status, position FROM vqueue.join('small', pg_temp.u(6));
SELECT user_id, position FROM vqueue.join_many('small', ARRAY[pg_temp.u(6), pg_temp.u(5)]);
SELECT pg_temp.attempt($$SELECT vqueue.join_many('small', ARRAY[pg_temp.u(6), pg_temp.u(7)])$$);
SELECT * FROM vqueue.check();
SELECT vqueue.drop_queue('small', true), vqueue.drop_queue('q', true), vqueue.drop_queue('taken');
