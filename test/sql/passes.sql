-- Passes: what they say, until when, who verifies them, and each reason why one is refused.
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

-- a second implementation of HS256, to look into tokens and to make bad ones
CREATE FUNCTION pg_temp.enc(data bytea) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT rtrim(translate(encode(data, 'base64'), E'+/\n', '-_'), '=') $$;
CREATE FUNCTION pg_temp.dec(data text) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT decode(rpad(translate(data, '-_', '+/'), (length(data) + 3) / 4 * 4, '='), 'base64') $$;
CREATE FUNCTION pg_temp.xor(key bytea, pad int) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT string_agg(set_byte('\x00', 0, CASE WHEN i < octet_length(key) THEN get_byte(key, i) ELSE 0 END # pad), '' ORDER BY i)
     FROM generate_series(0, 63) i $$;
CREATE FUNCTION pg_temp.hmac(key bytea, data bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS
$$ SELECT sha256(pg_temp.xor(key, 92) || sha256(pg_temp.xor(key, 54) || data)) $$;
-- RFC 4231, test case 2
SELECT pg_temp.hmac('Jefe', 'what do ya want for nothing?') = '\x5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
CREATE FUNCTION pg_temp.header(token text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT convert_from(pg_temp.dec(split_part(token, '.', 1)), 'UTF8')::jsonb $$;
CREATE FUNCTION pg_temp.claims(token text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT convert_from(pg_temp.dec(split_part(token, '.', 2)), 'UTF8')::jsonb $$;
-- a token of any header and claims, signed by HS256 with any secret
CREATE FUNCTION pg_temp.forge(header text, claims text, secret bytea) RETURNS text LANGUAGE sql AS $$
    SELECT input || '.' || pg_temp.enc(pg_temp.hmac(secret, convert_to(input, 'UTF8')))
      FROM (SELECT pg_temp.enc(convert_to(header, 'UTF8')) || '.' || pg_temp.enc(convert_to(claims, 'UTF8'))) AS i (input) $$;
-- what verify_pass says of a token
CREATE FUNCTION pg_temp.v(token text, queue text = NULL) RETURNS text LANGUAGE sql AS
$$ SELECT CASE WHEN valid THEN 'valid' ELSE reason END FROM vqueue.verify_pass(token, queue) $$;

SELECT 'made' FROM vqueue.create_queue('room', 6000000, 3, burst => 1000);
SELECT 'made' FROM vqueue.create_queue('other', 6000000, 10, burst => 1000);
SELECT status FROM vqueue.join_many('room', ARRAY[pg_temp.u(1), pg_temp.u(2), pg_temp.u(3), pg_temp.u(4)]);

-- no key yet
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('room', 1))$$);
SELECT vqueue.jwks();

-- a first key
SELECT vqueue.rotate_key('HS256') AS k1 \gset
SELECT id = :'k1', algorithm, octet_length(secret), tenant_id = vqueue._tenant(), earlier_until - signs_from FROM vqueue.pass_keys;
SELECT vqueue.pass(pg_temp.s('room', 1)) AS p \gset
SELECT pg_temp.header(:'p') - 'kid', pg_temp.header(:'p') ->> 'kid' = :'k1';
SELECT string_agg(key, ' ' ORDER BY key) FROM jsonb_object_keys(pg_temp.claims(:'p')) AS key;
SELECT c ->> 'iss' = vqueue._tenant()::text AS iss, c ->> 'sub' = pg_temp.s('room', 1)::text AS sub, c ->> 'aud' = vqueue._queue('room')::text AS aud,
       c ->> 'queue' AS queue, c ->> 'ticket' AS ticket, (c ->> 'exp')::bigint - (c ->> 'iat')::bigint AS seconds,
       (c ->> 'iat')::bigint - floor(extract(epoch FROM now())) BETWEEN -1 AND 600 AS iat, (c ->> 'nbf')::bigint <= (c ->> 'iat')::bigint AS nbf,
       octet_length(pg_temp.dec(c ->> 'jti')) AS jti
  FROM pg_temp.claims(:'p') AS c;
SELECT split_part(:'p', '.', 3) = pg_temp.enc(pg_temp.hmac(secret, convert_to(regexp_replace(:'p', '\.[^.]*$', ''), 'UTF8'))) FROM vqueue.pass_keys;
SELECT valid, reason, session = pg_temp.s('room', 1), user_id = pg_temp.u(1), queue_name, ticket, expires_at - issued_at FROM vqueue.verify_pass(:'p');
SELECT pg_temp.v(:'p', 'room'), pg_temp.v(:'p', vqueue._queue('room')::text), pg_temp.v(:'p', 'other');
-- no name, no mail and no user in it
SELECT :'p' ~ 'user', pg_temp.claims(:'p')::text ~ pg_temp.u(1)::text;
-- each is another one, and an earlier one stays good
SELECT vqueue.pass(pg_temp.s('room', 1)) AS p2 \gset
SELECT :'p' <> :'p2', pg_temp.claims(:'p') ->> 'jti' <> pg_temp.claims(:'p2') ->> 'jti', pg_temp.v(:'p'), pg_temp.v(:'p2');
SELECT count(DISTINCT pg_temp.claims(vqueue.pass(pg_temp.s('room', 1))) ->> 'jti') FROM generate_series(1, 100);

-- who gets none
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('room', 4))$$);
SELECT pg_temp.attempt($$SELECT vqueue.pass(NULL)$$);
SELECT pg_temp.attempt($$SELECT vqueue.pass(gen_random_uuid())$$);
SELECT status FROM vqueue.complete(pg_temp.s('room', 3));
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('room', 3))$$);

-- how long: the least of lifetime, pass_lifetime and lease
CREATE FUNCTION pg_temp.seconds(queue text, n int, lifetime interval = NULL) RETURNS int LANGUAGE sql AS
$$ SELECT (c ->> 'exp')::int - (c ->> 'iat')::int FROM pg_temp.claims(vqueue.pass(pg_temp.s(queue, n), lifetime)) AS c $$;
SELECT pg_temp.seconds('room', 1, '10 s'), pg_temp.seconds('room', 1, '1 day'), pg_temp.seconds('room', 1, '1 s'), pg_temp.seconds('room', 1, '1.5 s') BETWEEN 1 AND 2;
SELECT replace(l, '''', '') || ': ' || pg_temp.attempt(format('SELECT vqueue.pass(pg_temp.s(''room'', 1), %s)', l))
  FROM unnest(ARRAY['''0''', '''999 ms''', '''-1 s''', '''1 day 1 us''', '''1 month''', '''1000000 years''', '''-100000000 years''', '''2562047788:00:54''']) AS l;
SELECT vqueue.alter_queue('room', pass_lifetime => '1 day');
SELECT pg_temp.seconds('room', 1);
SELECT vqueue.alter_queue('room', pass_lifetime => '1 s');
SELECT pg_temp.seconds('room', 1), pg_temp.seconds('room', 1, '1 hour');
SELECT vqueue.alter_queue('room', pass_lifetime => '1 day', serving_timeout => '5 h');
SELECT (pg_temp.claims(vqueue.pass(s.id)) ->> 'exp')::bigint = floor(extract(epoch FROM s.served_at + interval '5 h'))
  FROM vqueue.user_sessions s WHERE s.id = pg_temp.s('room', 1);
UPDATE vqueue.user_sessions SET served_at = served_at - interval '4 h', joined_at = joined_at - interval '5 h' WHERE id = pg_temp.s('room', 1);
SELECT pg_temp.seconds('room', 1) BETWEEN 3000 AND 3600;
SELECT 'extended' FROM vqueue.extend(pg_temp.s('room', 1));
SELECT pg_temp.seconds('room', 1) BETWEEN 17400 AND 18000;
-- times by a clock that was ahead do not make it longer, nor one that was far behind break it
UPDATE vqueue.user_sessions SET extended_at = now() + interval '1 hour' WHERE id = pg_temp.s('room', 1);
SELECT pg_temp.seconds('room', 1);
UPDATE vqueue.user_sessions SET extended_at = 'infinity' WHERE id = pg_temp.s('room', 1);
SELECT pg_temp.seconds('room', 1);
BEGIN;
UPDATE vqueue.user_sessions SET served_at = '-infinity', extended_at = NULL WHERE id = pg_temp.s('room', 1);
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('room', 1))$$);
ROLLBACK;
-- one whose lease has run out, whom the worker has not ended yet; a new lease gives a new pass
BEGIN;
UPDATE vqueue.user_sessions SET served_at = now() - interval '10 h', extended_at = NULL WHERE id = pg_temp.s('room', 1);
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('room', 1))$$);
SELECT status FROM vqueue.extend(pg_temp.s('room', 1));
SELECT pg_temp.seconds('room', 1) BETWEEN 17400 AND 18000;
ROLLBACK;
SELECT vqueue.alter_queue('room', serving_timeout => '0');

-- claim and pass in one transaction, and in one statement
SELECT 'made' FROM vqueue.create_queue('called', 6000000, 10, burst => 1000, claim_timeout => '1 h', serving_timeout => '10 h', pass_lifetime => '1 day');
SELECT status FROM vqueue.join_many('called', ARRAY[pg_temp.u(1), pg_temp.u(2)]);
SELECT (pg_temp.claims(vqueue.pass(s.id)) ->> 'exp')::bigint = floor(extract(epoch FROM s.ready_at + interval '1 h'))
  FROM vqueue.user_sessions s WHERE s.id = pg_temp.s('called', 1);
SELECT vqueue.pass(pg_temp.s('called', 1)) AS early \gset
SELECT pg_temp.v(:'early', 'called');
BEGIN;
UPDATE vqueue.user_sessions SET ready_at = now() - interval '2 h' WHERE id = pg_temp.s('called', 2);
SELECT pg_temp.attempt($$SELECT vqueue.pass(pg_temp.s('called', 2))$$);
SELECT status FROM vqueue.claim(pg_temp.s('called', 2));
SELECT pg_temp.seconds('called', 2) BETWEEN 35400 AND 36000;
ROLLBACK;
BEGIN;
SELECT status FROM vqueue.claim(pg_temp.s('called', 1));
SELECT vqueue.pass(pg_temp.s('called', 1)) AS p \gset
SELECT pg_temp.v(:'p', 'called');
COMMIT;
SELECT pg_temp.v(:'p', 'called'), pg_temp.v(:'early', 'called');
SELECT (pg_temp.claims(vqueue.pass((c).id)) ->> 'exp')::bigint - extract(epoch FROM now())::int BETWEEN 35400 AND 36000
  FROM (SELECT vqueue.claim(pg_temp.s('called', 2)) AS c OFFSET 0) AS c;
-- what is rolled back takes its pass with it
BEGIN;
SELECT id AS mine FROM vqueue.join('called', pg_temp.u(50)) \gset
SELECT vqueue.pass(:'mine') AS p \gset
SELECT pg_temp.v(:'p', 'called');
ROLLBACK;
SELECT valid, reason, session = :'mine', user_id, queue_name, ticket IS NOT NULL FROM vqueue.verify_pass(:'p', 'called');
BEGIN;
SELECT vqueue.pass(pg_temp.s('room', 2)) AS p \gset
SAVEPOINT a;
SELECT status FROM vqueue.complete(pg_temp.s('room', 2));
SELECT pg_temp.v(:'p');
ROLLBACK TO a;
SELECT pg_temp.v(:'p');
COMMIT;

-- revoked: whoever holds no slot any more, however it was lost
SELECT status FROM vqueue.join_many('other', ARRAY(SELECT pg_temp.u(i) FROM generate_series(1, 9) i));
CREATE TEMP TABLE given AS SELECT n, vqueue.pass(pg_temp.s('other', n)) AS token FROM generate_series(1, 9) n;
SELECT status FROM vqueue.complete(pg_temp.s('other', 1));
SELECT status FROM vqueue.leave(pg_temp.s('other', 2));
SELECT status FROM vqueue.remove(pg_temp.s('other', 3), 'test');
UPDATE vqueue.user_sessions SET status = 'expired' WHERE id = pg_temp.s('other', 4);
DELETE FROM vqueue.user_sessions WHERE id = pg_temp.s('other', 5);
SELECT vqueue.alter_queue('other', max_concurrent_users => 1);
UPDATE vqueue.user_sessions SET status = 'waiting' WHERE id = pg_temp.s('other', 6);
SELECT n, valid, reason, queue_name, ticket FROM given, vqueue.verify_pass(token, 'other') ORDER BY n;
SELECT status FROM vqueue.readmit(pg_temp.s('other', 4));
SELECT pg_temp.v(token) FROM given WHERE n = 4;
-- another room of the same name, another name for the same room
UPDATE vqueue.queues SET name = 'renamed' WHERE name = 'other';
SELECT 'made' FROM vqueue.create_queue('other');
SELECT pg_temp.v(token, 'other'), pg_temp.v(token, 'renamed'), pg_temp.v(token) FROM given WHERE n = 7;
SELECT vqueue.drop_queue('renamed', true);
SELECT valid, reason, session IS NOT NULL, user_id, queue_name, ticket FROM given, vqueue.verify_pass(token) WHERE n = 7;
SELECT pg_temp.attempt($$SELECT vqueue.verify_pass('x', 'nowhere')$$);
SELECT pg_temp.attempt($$SELECT vqueue.verify_pass(NULL)$$);

-- tokens by hand, with the true secret: one that is good, and what may be wrong with it
SELECT vqueue.pass(pg_temp.s('room', 1)) AS p \gset
SELECT secret AS secret FROM vqueue.pass_keys WHERE id = :'k1' \gset
CREATE TEMP TABLE good AS SELECT pg_temp.claims(:'p') AS claims, pg_temp.header(:'p') AS header;
CREATE FUNCTION pg_temp.text_of(object jsonb) RETURNS text LANGUAGE sql AS
$$ SELECT '{' || string_agg(to_json(key) || ':' || value, ',') || '}' FROM jsonb_each_text(object) AS o (key, v), LATERAL (SELECT object -> key) AS w (value) $$;
CREATE FUNCTION pg_temp.by_hand(other_claims jsonb = '{}', other_header jsonb = '{}', other_secret bytea = NULL) RETURNS text LANGUAGE sql AS
$$ SELECT pg_temp.forge(pg_temp.text_of(g.header || other_header), pg_temp.text_of(g.claims || other_claims),
                        coalesce(other_secret, (SELECT k.secret FROM vqueue.pass_keys k WHERE k.id = (g.header ->> 'kid')::uuid))) FROM good g $$;
SELECT pg_temp.v(pg_temp.by_hand());
SELECT c, pg_temp.v(pg_temp.by_hand(c::jsonb), 'room') FROM unnest(ARRAY[
    '{"exp": 1}', '{"exp": 9223372036854775807}', '{"exp": 0}', '{"exp": -1}', '{"exp": 1e3}', '{"exp": "2000000000"}', '{"exp": null}',
    '{"nbf": 9000000000000000000}', '{"nbf": 4000000000, "exp": 1}', '{"nbf": 0}', '{"iat": 4000000000}',
    '{"aud": "00000000-0000-0000-0000-000000000000"}', '{"aud": ["room"]}', '{"aud": "room"}',
    '{"iss": "00000000-0000-0000-0000-000000000000"}', '{"iss": "default"}',
    '{"sub": "00000000-0000-0000-0000-000000000000"}', '{"sub": ""}', '{"ticket": 2}', '{"ticket": 1152921504606846977}',
    '{"jti": ""}', '{"queue": "another"}', '{"queue": "\ud83d\ude00 \"\\"}', '{"admin": true}', '{"admin": "yes"}']) AS c;
SELECT h, pg_temp.v(pg_temp.by_hand('{}', h::jsonb)) FROM unnest(ARRAY[
    '{"alg": "none"}', '{"alg": "hs256"}', '{"alg": "HS512"}', '{"alg": "EdDSA"}', '{"alg": null}', '{"kid": "1"}', '{"kid": "' || gen_random_uuid() || '"}',
    '{"typ": "JWE"}', '{"crit": ["exp"]}', '{"jku": "https://evil.example/keys"}', '{"jwk": {"kty": "oct", "k": "AAAA"}}', '{"x": "y"}']) WITH ORDINALITY AS t (line, n),
    LATERAL (SELECT regexp_replace(line, '[0-9a-f-]{36}', '00000000-0000-0000-0000-00000000000f')) AS r (h);
SELECT pg_temp.v(pg_temp.by_hand(other_secret => '\x00')), pg_temp.v(pg_temp.by_hand(other_secret => '')), pg_temp.v(pg_temp.by_hand(other_secret => substr(:'secret'::bytea, 2)));
-- a member twice
SELECT pg_temp.v(pg_temp.forge('{"alg":"HS256","kid":"' || :'k1' || '","kid":"' || :'k1' || '"}', pg_temp.text_of(claims), :'secret')) FROM good;
SELECT pg_temp.v(pg_temp.forge(pg_temp.text_of(header), '{"exp":1,' || substr(pg_temp.text_of(claims), 2), :'secret')) FROM good;
-- spaces
SELECT pg_temp.v(pg_temp.forge(header::text, pg_temp.text_of(claims), :'secret')), pg_temp.v(pg_temp.forge(pg_temp.text_of(header), claims::text, :'secret')) FROM good;
-- without a signature, cut short, longer, padded, in plain base64, with other bits at the end, with spaces, twice, far too long
SELECT h || '.' || c || '.' || s = :'p', pg_temp.v(h || '.' || c || '.'), pg_temp.v(h || '.' || c), pg_temp.v(h || '..' || s), pg_temp.v('.' || c || '.' || s),
       pg_temp.v(pg_temp.enc('{"alg":"none"}') || '.' || c || '.'), pg_temp.v(pg_temp.enc('{"alg":"none","typ":"JWT"}') || '.' || c || '.' || s),
       pg_temp.v(left(:'p', -2)), pg_temp.v(left(:'p', -3)), pg_temp.v(:'p' || 'A'), pg_temp.v(:'p' || 'AAAA'), pg_temp.v(:'p' || '='), pg_temp.v(:'p' || '.'),
       pg_temp.v(:'p' || '.' || s), pg_temp.v(' ' || :'p'), pg_temp.v(:'p' || E'\n'), pg_temp.v(h || '=.' || c || '.' || s),
       pg_temp.v(upper(:'p')), pg_temp.v(''), pg_temp.v('.'), pg_temp.v('..'), pg_temp.v('...'), pg_temp.v('ü.ü.ü'),
       pg_temp.v(:'p' || repeat('A', 4096)), pg_temp.v(repeat('A', 10000000)), pg_temp.v(repeat('.', 4096)), pg_temp.v('Bearer ' || :'p')
  FROM regexp_split_to_array(:'p', '\.') AS a, LATERAL (SELECT a[1], a[2], a[3]) AS t (h, c, s);
-- each other last character of the signature: some are the same value written otherwise, none is accepted
SELECT string_agg(DISTINCT pg_temp.v(left(:'p', -1) || c), ' ') FROM regexp_split_to_table('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_', '') AS c
 WHERE c <> right(:'p', 1);
-- any one bit of it changed
SELECT DISTINCT pg_temp.v(overlay(:'p' PLACING chr(ascii(substr(:'p', i, 1)) # (1 << b)) FROM i FOR 1)) AS r
  FROM generate_series(1, length(:'p')) i, generate_series(0, 6) b WHERE ascii(substr(:'p', i, 1)) # (1 << b) > 0 ORDER BY r;

-- rotation: both verify for the overlap
SELECT vqueue.rotate_key('EdDSA') AS k2 \gset
SELECT vqueue.pass(pg_temp.s('room', 1)) AS q \gset
SELECT pg_temp.header(:'q') - 'kid', pg_temp.header(:'q') ->> 'kid' = :'k2', octet_length(pg_temp.dec(split_part(:'q', '.', 3)));
SELECT pg_temp.v(:'p'), pg_temp.v(:'q');
-- the public part: this key alone
SELECT json_array_length(j -> 'keys'), j #>> '{keys,0,kid}' = :'k2', (j #> '{keys,0}')::jsonb - 'kid' - 'x', octet_length(pg_temp.dec(j #>> '{keys,0,x}'))
  FROM vqueue.jwks() AS j;
-- no secret is in it
SELECT bool_or(position(pg_temp.enc(secret) IN vqueue.jwks()::text) > 0) FROM vqueue.pass_keys;
-- algorithm confusion: HS256 with the public key as secret, in several forms, under either id
SELECT DISTINCT pg_temp.v(pg_temp.by_hand(other_header => jsonb_build_object('kid', kid), other_secret => s))
  FROM (SELECT vqueue.jwks() #>> '{keys,0,x}') AS j (x), unnest(ARRAY[:'k1', :'k2']) AS kid,
       unnest(ARRAY[pg_temp.dec(x), convert_to(x, 'UTF8'), '\x302a300506032b6570032100'::bytea || pg_temp.dec(x)]) AS s ORDER BY 1;
-- a delay: the present key signs on, and the new one is known already
SELECT vqueue.rotate_key(delay => '1 hour', overlap => '0') AS k3 \gset
SELECT pg_temp.header(vqueue.pass(pg_temp.s('room', 1))) ->> 'kid' = :'k2';
SELECT algorithm, signs_from > now() + interval '59 min', earlier_until = signs_from FROM vqueue.pass_keys WHERE id = :'k3';
SELECT k ->> 'kid' = :'k3', k ->> 'kid' = :'k2' FROM json_array_elements(vqueue.jwks() -> 'keys') AS k;
SELECT pg_temp.v(:'p'), pg_temp.v(:'q');
-- its time has come: the others are done with at once, as there is no overlap
UPDATE vqueue.pass_keys SET signs_from = clock_timestamp(), earlier_until = clock_timestamp() WHERE id = :'k3';
SELECT pg_temp.v(:'p'), pg_temp.v(:'q'), pg_temp.header(vqueue.pass(pg_temp.s('room', 1))) ->> 'kid' = :'k3', json_array_length(vqueue.jwks() -> 'keys');
-- keys that verify nothing any more go with the next rotation
SELECT count(*) FROM vqueue.pass_keys;
SELECT vqueue.rotate_key() AS k4 \gset
SELECT count(*), count(*) FILTER (WHERE id IN (:'k3', :'k4')), min(algorithm) FROM vqueue.pass_keys;
-- a leak: all others out, this moment
SELECT vqueue.pass(pg_temp.s('room', 1)) AS q \gset
SELECT vqueue.rotate_key('HS256', overlap => '0') AS k5 \gset
SELECT pg_temp.v(:'q'), json_array_length(vqueue.jwks() -> 'keys'), count(*) FROM vqueue.pass_keys;
-- rolled back, there was none
BEGIN;
SELECT vqueue.rotate_key(overlap => '0') AS k6 \gset
SELECT vqueue.pass(pg_temp.s('room', 1)) AS q \gset
SELECT pg_temp.v(:'q');
ROLLBACK;
SELECT pg_temp.v(:'q'), pg_temp.header(vqueue.pass(pg_temp.s('room', 1))) ->> 'kid' = :'k5';
-- a first key that is to sign later signs at once, as there is no other
DELETE FROM vqueue.pass_keys;
SELECT vqueue.rotate_key(delay => '1 day') AS k7 \gset
SELECT pg_temp.header(vqueue.pass(pg_temp.s('room', 1))) ->> 'kid' = :'k7', pg_temp.v(vqueue.pass(pg_temp.s('room', 1)));
SELECT replace(a, '''', '') || ': ' || pg_temp.attempt(format('SELECT vqueue.rotate_key(%s)', a)) FROM unnest(ARRAY[
    '''none''', '''''', '''hs256''', '''RS256''', 'overlap => NULL', 'delay => NULL', 'overlap => ''-1 us''', 'overlap => ''101 days''',
    'delay => ''-1 s''', 'delay => ''100 days 1 us''', 'delay => ''170000000 years''', 'overlap => ''100 days'', delay => ''100 days''']) AS a;

-- rows by hand
DELETE FROM vqueue.pass_keys;
INSERT INTO vqueue.pass_keys (tenant_id, algorithm, earlier_until, secret) VALUES (vqueue._tenant(), 'HS256', 'infinity', convert_to(repeat('x', 64), 'UTF8'));
SELECT split_part(t, '.', 3) = pg_temp.enc(pg_temp.hmac(convert_to(repeat('x', 64), 'UTF8'), convert_to(regexp_replace(t, '\.[^.]*$', ''), 'UTF8'))), pg_temp.v(t)
  FROM vqueue.pass(pg_temp.s('room', 1)) AS t;
SELECT pg_temp.attempt(format('INSERT INTO vqueue.pass_keys (tenant_id, algorithm, earlier_until, secret) VALUES (vqueue._tenant(), %s)', v)) FROM unnest(ARRAY[
    $$'none', 'infinity', sha256('')$$, $$'HS256', '-infinity', sha256('')$$, $$'HS256', 'infinity', ''$$, $$'HS256', 'infinity', substr(sha256(''), 2)$$,
    $$'HS256', 'infinity', sha512('') || 'x'$$, $$'EdDSA', 'infinity', sha512('')$$, $$'HS256', NULL, sha256('')$$, $$NULL, 'infinity', sha256('')$$]) AS v;
-- Ed25519 by the private key of RFC 8037: its public key is the standard's
INSERT INTO vqueue.pass_keys (tenant_id, algorithm, earlier_until, secret) VALUES (vqueue._tenant(), 'EdDSA', 'infinity', pg_temp.dec('nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A'));
SELECT vqueue.jwks() #>> '{keys,0,x}';
SELECT pg_temp.v(vqueue.pass(pg_temp.s('room', 1)));

-- tenants: their keys and passes are their own
DELETE FROM vqueue.pass_keys;
SELECT vqueue.rotate_key() AS mine \gset
SELECT vqueue.pass(pg_temp.s('room', 1)) AS p \gset
INSERT INTO vqueue.tenants (name) VALUES ('acme');
SET vqueue.tenant = 'acme';
SELECT 'made' FROM vqueue.create_queue('room');
SELECT id AS theirs FROM vqueue.join('room', pg_temp.u(1)) \gset
SELECT pg_temp.attempt(format('SELECT vqueue.pass(%L)', :'theirs'));
SELECT vqueue.jwks(), json_array_length(vqueue.jwks('default') -> 'keys');
SELECT valid, reason, session, ticket, expires_at FROM vqueue.verify_pass(:'p');
SELECT valid, reason FROM vqueue.verify_pass(:'p', 'room');
SELECT vqueue.rotate_key('HS256') <> :'mine';
SELECT vqueue.pass(:'theirs') AS q \gset
SELECT pg_temp.v(:'q', 'room');
SELECT pg_temp.attempt(format('SELECT vqueue.pass(%L)', (SELECT id FROM vqueue.user_sessions WHERE queue_id <> vqueue._queue('room') LIMIT 1)));
RESET vqueue.tenant;
SELECT valid, reason, session, ticket FROM vqueue.verify_pass(:'q', 'room');
SELECT pg_temp.v(:'p', 'room');
-- the issuer is the key's tenant, whatever the claims say
SELECT pg_temp.v(pg_temp.forge(pg_temp.text_of(pg_temp.header(:'q')), pg_temp.text_of(pg_temp.claims(:'q') || jsonb_build_object('iss', vqueue._tenant())), secret))
  FROM vqueue.pass_keys WHERE id::text = pg_temp.header(:'q') ->> 'kid';
SELECT pg_temp.attempt($$SELECT vqueue.jwks('nobody')$$);
SET vqueue.tenant = 'nobody';
SELECT pg_temp.attempt($$SELECT vqueue.jwks()$$);
SELECT pg_temp.attempt($$SELECT vqueue.verify_pass('x')$$);
SELECT pg_temp.attempt($$SELECT vqueue.rotate_key()$$);
RESET vqueue.tenant;
DELETE FROM vqueue.queues WHERE tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'acme');
DELETE FROM vqueue.tenants WHERE name = 'acme';
SELECT count(*) FROM vqueue.pass_keys;
SELECT pg_temp.v(:'q');

-- read-only, of one snapshot, and in parallel
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_temp.v(vqueue.pass(pg_temp.s('room', 1)));
SELECT pg_temp.attempt('SELECT vqueue.rotate_key()');
COMMIT;
BEGIN;
SELECT set_config(CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'force_parallel_mode' ELSE 'debug_parallel_query' END, 'on', true);
SELECT pg_temp.v(vqueue.pass(pg_temp.s('room', 1)), 'room');
SELECT json_array_length(vqueue.jwks() -> 'keys');
COMMIT;

-- a queue whose name needs care
SELECT 'made' FROM vqueue.create_queue(E'a "b" \\ü😀', 6000000, 10, burst => 1000);
SELECT id AS mine FROM vqueue.join(E'a "b" \\ü😀') \gset
SELECT pg_temp.claims(vqueue.pass(:'mine')) ->> 'queue' = E'a "b" \\ü😀', queue_name = E'a "b" \\ü😀' FROM vqueue.verify_pass(vqueue.pass(:'mine'), E'a "b" \\ü😀');
SELECT 'made' FROM vqueue.create_queue(repeat('"', 200), 6000000, 10, burst => 1000);
SELECT valid, length(queue_name) FROM vqueue.verify_pass(vqueue.pass((SELECT id FROM vqueue.join(repeat('"', 200)))));

-- nobody but the owner reads keys; who may get passes may not rotate
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_vqueue_app;
RESET client_min_messages;
CREATE ROLE regress_vqueue_app;
GRANT USAGE ON SCHEMA vqueue TO regress_vqueue_app;
SELECT pg_temp.s('room', 1) AS s \gset
SET ROLE regress_vqueue_app;
SELECT pg_temp.attempt($$SELECT * FROM vqueue.pass_keys$$);
SELECT pg_temp.attempt($$SELECT vqueue.pass(gen_random_uuid())$$);
SELECT pg_temp.attempt($$SELECT vqueue.verify_pass('')$$);
SELECT pg_temp.attempt($$SELECT vqueue.jwks()$$);
RESET ROLE;
SELECT vqueue.grant_access('regress_vqueue_app', 'default', 'app');
SET ROLE regress_vqueue_app;
SELECT valid, queue_name FROM vqueue.verify_pass(vqueue.pass(:'s'), 'room');
SELECT json_array_length(vqueue.jwks() -> 'keys');
SELECT pg_temp.attempt($$SELECT vqueue.rotate_key()$$);
RESET ROLE;
SELECT vqueue.grant_access('regress_vqueue_app', 'default', 'admin');
SET ROLE regress_vqueue_app;
SELECT vqueue.rotate_key() IS NOT NULL, current_user;
SELECT pg_temp.attempt($$SELECT * FROM vqueue.pass_keys$$);
RESET ROLE;
SELECT vqueue.revoke_access('regress_vqueue_app', 'default');
REVOKE USAGE ON SCHEMA vqueue FROM regress_vqueue_app;
DROP ROLE regress_vqueue_app;

SELECT * FROM vqueue.check();
DELETE FROM vqueue.pass_keys;
DELETE FROM vqueue.queues;
SELECT * FROM vqueue.check();
