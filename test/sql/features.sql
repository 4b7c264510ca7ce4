-- What can be switched off for a tenant, and what its doors say then.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS vqueue CASCADE;
RESET client_min_messages;
CREATE EXTENSION vqueue;
INSERT INTO vqueue.tenants (name) VALUES ('other');
SELECT 'made' FROM vqueue.create_queue('q', 600, 1);
SELECT 'made' FROM vqueue.create_queue('later', state => 'paused');
SELECT id AS session FROM vqueue.join('q', '00000000-0000-4000-8000-000000000001', 'Ann', 'ann@example.org') \gset
SELECT 'key' FROM vqueue.rotate_key();
SELECT vqueue.pass(:'session') AS token \gset
\set VERBOSITY verbose
\set SHOW_CONTEXT never

-- all is on, and nothing is written for it
SELECT feature, enabled, refuses FROM vqueue.features ORDER BY feature COLLATE "C";
SELECT count(*) FROM vqueue.tenant_features;
SELECT vqueue.feature(f.feature) FROM vqueue.features f;

-- off, each at its doors
SELECT vqueue.set_feature(feature, false) FROM vqueue.features;
\set VERBOSITY default
SELECT vqueue.pass(:'session');
\set VERBOSITY sqlstate
SELECT vqueue.verify_pass(:'token');
SELECT vqueue.jwks();
SELECT vqueue.rotate_key();
SELECT vqueue.board('q');
SELECT vqueue.board_number(:'session');
SELECT vqueue.prepare_draw('later');
SELECT vqueue.set_draw_beacon('later', 'x');
SELECT vqueue.events_since('q');
SELECT vqueue.event_cursor();
SELECT vqueue.join('q', user_name => 'Bob');
SELECT vqueue.join('q', user_email => 'bob@example.org');
SELECT id FROM vqueue.join('q', user_name => 'Bob');
SELECT count(*) FROM vqueue.join('q', user_name => 'Bob');
\set VERBOSITY default

-- what was made before stays, and all else goes on
SELECT user_name, user_email FROM vqueue.sessions WHERE id = :'session';
SELECT status, position FROM vqueue.join('q', '00000000-0000-4000-8000-000000000002');
SELECT status FROM vqueue.complete(:'session');
SELECT enabled, count(*) FROM vqueue.features GROUP BY enabled;

-- of this tenant only
SET vqueue.tenant = 'other';
SELECT bool_and(enabled) FROM vqueue.features;
SELECT vqueue.feature('passes');
SELECT vqueue.jwks();
SELECT vqueue.jwks('default');
RESET vqueue.tenant;
SELECT vqueue.feature('passes');
SELECT vqueue.set_feature('passes', true);
SELECT vqueue.set_feature('board', false, 'other');
SELECT valid FROM vqueue.verify_pass(:'token');
SET vqueue.tenant = 'other';
SELECT vqueue.feature('board'), vqueue.feature('passes');
RESET vqueue.tenant;

-- at once in one's own transaction, and not after a rollback
BEGIN;
SELECT vqueue.set_feature('passes', false);
SELECT vqueue.feature('passes');
SAVEPOINT s;
SELECT vqueue.set_feature('passes', true);
SELECT vqueue.feature('passes');
ROLLBACK TO s;
SELECT vqueue.feature('passes');
ROLLBACK;
SELECT vqueue.feature('passes');

-- by hand
UPDATE vqueue.tenant_features SET enabled = false WHERE feature = 'passes';
SELECT vqueue.feature('passes');
DELETE FROM vqueue.tenant_features WHERE feature = 'passes';
SELECT vqueue.feature('passes');
SELECT vqueue.feature('board');
TRUNCATE vqueue.tenant_features;
SELECT vqueue.feature('board');
COPY vqueue.tenant_features (tenant_id, feature, enabled) FROM stdin;
00000000-0000-7000-8000-000000000001	board	f
\.
SELECT vqueue.feature('board');
\set VERBOSITY terse
INSERT INTO vqueue.tenant_features (tenant_id, feature, enabled) SELECT id, 'cake', true FROM vqueue.tenants WHERE name = 'default';
\set VERBOSITY default
CREATE TABLE other_table (a int);
CREATE TRIGGER wrong AFTER INSERT ON other_table FOR EACH ROW EXECUTE FUNCTION vqueue._features_changed();
INSERT INTO other_table VALUES (1);
DROP TABLE other_table;

-- what is set again changes nothing; a tenant that goes leaves nothing
SELECT changed_at AS changed_at FROM vqueue.tenant_features WHERE feature = 'board' \gset
SELECT vqueue.set_feature('board', false);
SELECT changed_at = :'changed_at' FROM vqueue.tenant_features WHERE feature = 'board';
SELECT vqueue.set_feature('board', false, 'other');
DELETE FROM vqueue.tenants WHERE name = 'other';
SELECT vqueue.set_feature('board', true);
SELECT count(*) FROM vqueue.tenant_features;

-- and who switched what is known
SELECT object, after FROM vqueue.audit WHERE action = 'set_feature' AND object = 'board' ORDER BY at;

-- what is bad
SELECT vqueue.set_feature(NULL, true);
SELECT vqueue.set_feature('board', NULL);
SELECT vqueue.set_feature('cake', true);
SELECT vqueue.set_feature('board', true, 'nobody');
SELECT vqueue.feature(NULL);
SELECT vqueue.feature('cake');
SET vqueue.tenant = 'nobody';
SELECT vqueue.feature('board');
SELECT vqueue.set_feature('board', true);
RESET vqueue.tenant;

-- nobody may by default
CREATE ROLE regress_vqueue_feature;
GRANT USAGE ON SCHEMA vqueue TO regress_vqueue_feature;
SET ROLE regress_vqueue_feature;
SELECT vqueue.set_feature('board', false);
SELECT vqueue.feature('board');
RESET ROLE;
DROP OWNED BY regress_vqueue_feature;
DROP ROLE regress_vqueue_feature;
SELECT * FROM vqueue.check();
DROP EXTENSION vqueue;
