-- Giving and taking access to tenants: what is answered, and with which errors.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
DROP ROLE IF EXISTS regress_vqueue_shop, regress_vqueue_boss;
RESET client_min_messages;
\set VERBOSITY default
\set SHOW_CONTEXT never

CREATE ROLE regress_vqueue_shop;
CREATE ROLE regress_vqueue_boss;

-- tenants
SELECT 'made' FROM vqueue.create_tenant('shop', 'shop.example');
SELECT vqueue.create_tenant('shop');
SELECT vqueue.create_tenant('');
SELECT vqueue.create_tenant(NULL);
SELECT vqueue.create_tenant(E'two\nlines');
SELECT vqueue.create_tenant('x', repeat('x', 254));
SELECT vqueue.drop_tenant('nobody');
SELECT vqueue.drop_tenant(NULL);
SELECT vqueue.drop_tenant('default');

-- access
SELECT vqueue.grant_access('regress_vqueue_nobody', 'shop', 'app');
SELECT vqueue.grant_access('public', 'shop', 'app');
SELECT vqueue.grant_access('regress_vqueue_shop', 'nobody', 'app');
SELECT vqueue.grant_access('regress_vqueue_shop', 'shop', 'boss');
SELECT vqueue.grant_access('regress_vqueue_shop', NULL, 'app');
SELECT vqueue.revoke_access('regress_vqueue_shop', 'shop');
SELECT vqueue.grant_access('regress_vqueue_boss', 'shop', 'admin');
-- an admin gives it
SET ROLE regress_vqueue_boss;
SET vqueue.tenant = 'shop';
SELECT vqueue.grant_access('regress_vqueue_shop', 'shop', 'monitor');
SELECT vqueue.grant_access('regress_vqueue_shop', 'shop', 'app');
SELECT role, level, granted_by = session_user AS by_us FROM vqueue.access ORDER BY role::text COLLATE "C";
SELECT vqueue.grant_access('regress_vqueue_shop', 'default', 'app');
SELECT vqueue.drop_tenant('shop');
SELECT 'made' FROM vqueue.create_queue('counter', state => 'paused');
-- who has it uses it
SET ROLE regress_vqueue_shop;
SELECT status, position FROM vqueue.join('counter');
SELECT vqueue.release('counter', 1);
SELECT count(*) FROM vqueue.overview;
SELECT name FROM vqueue.queues;
SET vqueue.tenant = 'default';
SELECT vqueue.join('counter');
SET vqueue.tenant = 'shop';
-- with the right to execute, but of another level
RESET ROLE;
GRANT EXECUTE ON FUNCTION vqueue.release, vqueue.check TO regress_vqueue_shop;
SET ROLE regress_vqueue_shop;
SELECT vqueue.release('counter', 1);
SELECT vqueue.check();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION vqueue.release, vqueue.check FROM regress_vqueue_shop;

-- it is seen at once in the transaction that changes it, and is rolled back with it
BEGIN;
SELECT vqueue.revoke_access('regress_vqueue_shop', 'shop');
GRANT USAGE ON SCHEMA vqueue TO regress_vqueue_shop;
GRANT EXECUTE ON FUNCTION vqueue.join TO regress_vqueue_shop;
SET LOCAL ROLE regress_vqueue_shop;
SELECT vqueue.join('counter');
ROLLBACK;
SET ROLE regress_vqueue_shop;
SELECT status, position FROM vqueue.join('counter');
RESET ROLE;

-- written by hand it counts as well
UPDATE vqueue.access SET level = 'operator' WHERE role = 'regress_vqueue_shop'::regrole;
SELECT vqueue.renew_access();
SET ROLE regress_vqueue_shop;
SELECT vqueue.release('counter', 1);
RESET ROLE;
\set VERBOSITY terse
INSERT INTO vqueue.access (role, tenant_id, level) VALUES ('regress_vqueue_shop', '00000000-0000-7000-8000-000000000001', 'strange');

\set VERBOSITY default
-- a tenant goes with all of it
SELECT vqueue.drop_tenant('shop');
SELECT vqueue.drop_tenant('shop', force => true);
SELECT count(*) FROM vqueue.access;
RESET vqueue.tenant;
DROP ROLE regress_vqueue_boss;
DROP ROLE regress_vqueue_shop;
SELECT * FROM vqueue.check();
