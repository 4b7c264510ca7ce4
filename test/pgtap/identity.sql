-- Ids of users made of outside identities, held against those that Python's uuid.uuid5 computes.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;
BEGIN;
SELECT no_plan();

-- RFC 9562, appendix A.4: in the namespace of domain names
INSERT INTO vqueue.tenants (id, name) VALUES ('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'dns'),
                                             ('00000000-0000-4000-8000-000000000002', 'other');
SET LOCAL vqueue.tenant = 'dns';
SELECT is(vqueue.user_id('www.example.com'), '2ed6657d-e927-568b-95e1-2665a8aea6a2', 'the vector of RFC 9562');
SET LOCAL vqueue.tenant = 'default';

-- texts of every kind, and of the lengths at which SHA-1 takes another block
SELECT is(vqueue.user_id(given), wanted, format('%s... of %s bytes', left(given, 10), octet_length(given))) FROM (VALUES
    ('a@b.c', '2e8bc054-99b7-59a6-97cc-db69a8aed498'::uuid),
    ('A@b.c', 'f7216d10-5023-56f6-9750-fd13c2e14bac'),
    (' a@b.c', '6af0d3f0-7c76-5202-9a4b-3cbef744465b'),
    ('42', 'fb125269-1ac8-5c0f-a176-518923085b21'),
    ('äöü € 😀', 'd807b29c-bd80-5ff5-a51f-f95ff1c3777e'),
    (repeat('x', 38), '79e02e91-0c61-5866-8286-fe3070d5d6ab'),
    (repeat('x', 39), '12274b85-10b8-5083-a17f-a1c62a9c7d28'),
    (repeat('x', 40), '4b470701-8ff9-50e7-9875-57c4ff958bb0'),
    (repeat('x', 47), 'c71cbaa7-09d5-5330-a9a8-a895eaa94413'),
    (repeat('x', 48), 'bebecff2-7495-5bca-b959-18adffe8547b'),
    (repeat('x', 49), '069fef8d-736c-5e4d-bde5-1282715ed36a'),
    (repeat('x', 1000), '0cec18dc-082d-58a4-b021-2052e84553c5'),
    (repeat('x', 1000000), 'd9491957-65df-56a5-b396-125e09d33a5e')) AS v (given, wanted);

-- texts that come out of a table compressed, or out of line
CREATE TEMP TABLE stored (name text);
INSERT INTO stored VALUES (repeat('x', 1000000));
SELECT is(vqueue.user_id(name), 'd9491957-65df-56a5-b396-125e09d33a5e', 'a long one that is stored') FROM stored;

-- every one is a proper version 5 uuid, and no two are alike
SELECT is(count(DISTINCT id) FILTER (WHERE id::text ~ '^.{14}5.{4}[89ab]'), 100000::bigint,
          '100000 texts have as many ids, all of version 5')
  FROM (SELECT vqueue.user_id('user ' || i) AS id FROM generate_series(1, 100000) i) s;

-- tenants
SELECT vqueue.user_id('a@b.c') AS mine \gset
SET LOCAL vqueue.tenant = 'other';
SELECT isnt(vqueue.user_id('a@b.c'), :'mine'::uuid, 'another tenant, another id');
SET LOCAL vqueue.tenant = 'default';
SELECT is(vqueue.user_id('a@b.c'), :'mine'::uuid, 'and the same one back');
SET LOCAL vqueue.tenant = 'nobody';
SELECT throws_ok($$SELECT vqueue.user_id('a@b.c')$$, '42704', NULL, 'an unknown tenant');
SET LOCAL vqueue.tenant = 'default';

-- joining by it
SELECT lives_ok($$SELECT vqueue.create_queue('q')$$, 'a queue');
SELECT is((SELECT id FROM vqueue.join('q', user_id => vqueue.user_id('a@b.c'))),
          (SELECT id FROM vqueue.join('q', user_id => vqueue.user_id('a@b.c'))), 'joining twice gives one session');
SELECT is(count(*), 1::bigint, 'of which there is one row') FROM vqueue.user_sessions WHERE user_id = vqueue.user_id('a@b.c');
SELECT isnt((SELECT id FROM vqueue.join('q', user_id => vqueue.user_id('A@b.c'))),
            (SELECT id FROM vqueue.join('q', user_id => vqueue.user_id('a@b.c'))), 'in other letters it is somebody else');

SELECT throws_ok($$SELECT vqueue.user_id(NULL)$$, '22004', 'external must not be null', 'null');
SELECT throws_ok($$SELECT vqueue.user_id('')$$, '22023', 'identity of a user must not be empty', 'empty');

SELECT * FROM finish();
ROLLBACK;
