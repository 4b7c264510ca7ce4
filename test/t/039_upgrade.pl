#
# ALTER EXTENSION vqueue UPDATE, to 1.1.0 and back, with people in the rooms: no
# client meets an error, nobody is lost, and an upgraded database is what a fresh
# one is.  The new library serves the old SQL; an old library touches no newer SQL.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = new_vqueue_node('node', init => { allows_streaming => 1 }, conf => "max_worker_processes = 20\n");

# ---- what an extension consists of, as text ----

# Names rather than numbers: an upgraded database has them in other places.  Some
# servers stamp the columns of views by an option pg_attver, which says nothing of them.
my $contents = q{
	WITH things AS (
		SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
		 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'vqueue'),
	relations AS (
		SELECT c.* FROM pg_class c WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind <> 't'),
	said AS (
		SELECT 'member ' || i.type AS kind, i.identity AS line
		  FROM things t, pg_identify_object(t.classid, t.objid, 0) i
		UNION ALL
		SELECT 'object ' || i.type, i.identity
		  FROM (SELECT 'pg_class'::regclass AS classid, oid FROM relations
		        UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'vqueue'::regnamespace
		        UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = 'vqueue'::regnamespace) o,
		       pg_identify_object(o.classid, o.oid, 0) i
		UNION ALL
		SELECT 'relation', concat_ws('|', relname, relkind, relpersistence, relrowsecurity, relforcerowsecurity, relreplident,
		       relhastriggers, relhasindex, relacl::text, relowner::regrole, (SELECT amname FROM pg_am a WHERE a.oid = relam), reloptions::text,
		       obj_description(oid, 'pg_class'))
		  FROM relations
		UNION ALL
		SELECT 'column', concat_ws('|', r.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage,
		       a.attcompression, a.attidentity, a.attgenerated, a.attstattarget, a.attcollation::regcollation, a.attacl::text, (SELECT string_agg(o, ',') FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg_attver=%'),
		       pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum),
		       (SELECT count(*) FROM pg_attribute b WHERE b.attrelid = r.oid AND b.attnum > 0 AND b.attnum <= a.attnum AND NOT b.attisdropped))
		  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
		  LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
		UNION ALL
		SELECT 'constraint', concat_ws('|', conrelid::regclass, conname, contype, condeferrable, convalidated, pg_get_constraintdef(oid))
		  FROM pg_constraint WHERE connamespace = 'vqueue'::regnamespace
		UNION ALL
		SELECT 'index', concat_ws('|', pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary, i.indisvalid)
		  FROM pg_index i JOIN relations r ON r.oid = i.indrelid
		UNION ALL
		SELECT 'trigger', concat_ws('|', r.relname, CASE WHEN t.tgisinternal THEN t.tgfoid::regproc::text ELSE pg_get_triggerdef(t.oid) END, t.tgenabled)
		  FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid
		UNION ALL
		SELECT 'policy', concat_ws('|', polrelid::regclass, polname, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
		  FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
		UNION ALL
		SELECT 'view', concat_ws('|', relname, pg_get_viewdef(oid)) FROM relations WHERE relkind = 'v'
		UNION ALL
		SELECT 'function', concat_ws('|', p.oid::regprocedure, md5(pg_get_functiondef(p.oid)), md5(p.prosrc), p.probin, p.proacl::text, p.proowner::regrole,
		       p.procost, p.prorows, p.prosecdef, p.proconfig::text, obj_description(p.oid, 'pg_proc'))
		  FROM pg_proc p WHERE p.pronamespace = 'vqueue'::regnamespace
		UNION ALL
		SELECT 'type', concat_ws('|', typname, typtype, typacl::text, obj_description(oid, 'pg_type'))
		  FROM pg_type WHERE typnamespace = 'vqueue'::regnamespace
		UNION ALL
		SELECT 'initial privileges', concat_ws('|', (pg_identify_object(classoid, objoid, objsubid)).identity, privtype, initprivs::text)
		  FROM pg_init_privs i JOIN things t ON t.classid = i.classoid AND t.objid = i.objoid
		UNION ALL
		SELECT 'extension', concat_ws('|', extversion, extrelocatable, extowner::regrole) FROM pg_extension WHERE extname = 'vqueue'
		UNION ALL
		SELECT 'dumped', concat_ws('|', c.rel::regclass, c.condition)
		  FROM pg_extension, unnest(extconfig, extcondition) AS c (rel, condition) WHERE extname = 'vqueue'
		UNION ALL
		SELECT 'schema', concat_ws('|', nspacl::text, obj_description(oid, 'pg_namespace')) FROM pg_namespace WHERE nspname = 'vqueue')
	SELECT * FROM said ORDER BY kind COLLATE "C", line COLLATE "C"};

sub contents
{
	my ($db) = @_;

	return $node->safe_psql($db, $contents);
}

sub update
{
	my ($db, $version) = @_;

	return $node->safe_psql($db, "ALTER EXTENSION vqueue UPDATE TO '$version'");
}

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(fresh_old fresh_new);
$node->safe_psql('fresh_old', q{CREATE EXTENSION vqueue VERSION '1.0.0'});
$node->safe_psql('fresh_new', 'CREATE EXTENSION vqueue');
my %fresh = ('1.0.0' => contents('fresh_old'), '1.1.0' => contents('fresh_new'));

isnt($fresh{'1.0.0'}, $fresh{'1.1.0'}, 'the two versions differ');
is($node->safe_psql('fresh_new', 'SELECT extversion FROM pg_extension WHERE extname = $$vqueue$$'), '1.1.0', 'the newest is the default');
is($node->safe_psql('fresh_new', 'SELECT vqueue._library_version()'), '1.1.0', 'the library is of that version');
$node->safe_psql('postgres', $_) foreach map { "DROP DATABASE $_" } qw(fresh_old fresh_new);

# ---- the old version in use ----

$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN;
	CREATE EXTENSION vqueue VERSION '1.0.0';
	GRANT USAGE ON SCHEMA vqueue TO app;
	GRANT EXECUTE ON FUNCTION vqueue.join, vqueue.poll, vqueue.events_since TO app;
	INSERT INTO vqueue.tenants (name) VALUES ('other');
	SELECT vqueue.create_queue('hall', 6000, 30);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused');
	SELECT vqueue.create_queue('draw', 600, 10, state => 'paused');
	SELECT vqueue.rotate_key()});
wait_for_worker($node);
my $granted = $node->safe_psql('postgres', q{SELECT oid::regprocedure, proacl FROM pg_proc WHERE proacl::text LIKE '%app=%' ORDER BY 1});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('a', 1, 2000) . ')');
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('b', 1, 10) . ", 'vip')");
$node->safe_psql('postgres', q{SELECT vqueue.release('still', 1)});

# What a session says on either version: one statement a line.
sub all_works
{
	my ($session, $version) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $new = $version eq '1.1.0';

	like($session->query(q{SELECT status FROM vqueue.join('hall', user_name => 'Ann', user_email => 'ann@example.org')}), qr/^(serving|waiting)$/,
		"$version: one joins");
	is($session->query(q{BEGIN; SELECT (vqueue.set_priority(id, 'high')).priority FROM vqueue.sessions WHERE queue = 'still' AND ticket = 7; ROLLBACK}),
		'high', "$version: one is moved");
	is($session->query(q{SELECT count(*) FROM vqueue.user_sessions s, vqueue.poll(s.id) p WHERE s.queue_id = vqueue._queue('still') AND s.ticket <= 50 AND p.position > 0}),
		'50', "$version: places are told");
	is($session->query(q{BEGIN; SELECT vqueue.release('still', 3); ROLLBACK}), '3', "$version: some are let in by hand");
	is($session->query(q{SELECT length(vqueue.prepare_draw('draw'))}), '64', "$version: a draw is prepared");
	is($session->query(q{SELECT vqueue.board('still') ->> 'v'}), '1', "$version: the board is there");
	is($session->query(q{SELECT count(*) FROM vqueue.sessions s, vqueue.pass(s.id) p, vqueue.verify_pass(p) v
		WHERE s.queue = 'still' AND s.status = 'serving' AND v.valid}), '1', "$version: passes are");
	like($session->query(q{SELECT count(*) >= 0 FROM vqueue.events_since('hall', vqueue.event_cursor('hall'))}), qr/^t$/, "$version: the log is");
	is($session->query(q{SELECT count(*) FROM vqueue.overview WHERE queue IN ('hall', 'still', 'draw')}), '3', "$version: queues are");
	is($session->query(q{SELECT count(*) FROM vqueue.health() WHERE status = 'fail'}), '0', "$version: health fails nowhere");
	is($session->query(q{SELECT status FROM vqueue.preflight() WHERE "check" = 'version'}), $new ? 'ok' : 'fail',
		"$version: preflight says whether library and SQL are of one version");
	is($session->query(q{SELECT to_regprocedure('vqueue.feature(text)') IS NOT NULL}), $new ? 't' : 'f', "$version: what it has is there");
	return;
}

my $session = psql_session($node);
all_works($session, '1.0.0');

# ---- to and fro under load ----

my $script = <<'SQL';
SELECT id FROM vqueue.join('hall') \gset
SELECT vqueue.poll(':id');
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions
 WHERE status = 'serving' AND queue_id = vqueue._queue('hall') LIMIT 2 FOR UPDATE SKIP LOCKED) s;
SELECT id FROM vqueue.join('hall', user_name => 'Bob') \gset
SELECT vqueue.leave(':id');
BEGIN;
SELECT id FROM vqueue.join('hall');
SELECT length(vqueue.board('hall')::text);
SELECT count(*) FROM vqueue.events_since('hall', vqueue.event_cursor('hall'));
ROLLBACK;
SQL
my $crowd = pgbench_crowd($node, 'postgres', $script, 4);
my $storm = start_storm($node, seconds => 300, queues => 2, clients => 6);
my $places = $node->safe_psql('postgres', q{SELECT id, ticket, vqueue.position(id) FROM vqueue.sessions WHERE queue = 'still' ORDER BY ticket});
my $worker = worker_pid($node);

foreach my $version ('1.1.0', '1.0.0', '1.1.0', '1.0.0', '1.1.0')
{
	my $served = $node->safe_psql('postgres', q{SELECT count(served_at) + 20 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('hall')});

	update('postgres', $version);
	same_lines(contents_but_grants('postgres'), $fresh{$version}, "$version: upgraded is as fresh");
	ok($node->poll_query_until('postgres', qq{SELECT count(served_at) > $served FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('hall')}),
		"$version: people go on coming in");
	all_works($session, $version);
}
is(worker_pid($node), $worker, 'it was one worker all the time');
is($node->safe_psql('postgres', q{SELECT oid::regprocedure, proacl FROM pg_proc WHERE proacl::text LIKE '%app=%' ORDER BY 1}), $granted,
	'what was granted still is');
is($node->safe_psql('postgres', q{SELECT id, ticket, vqueue.position(id) FROM vqueue.sessions WHERE queue = 'still' ORDER BY ticket}), $places,
	'everybody stands where they stood');

# What roles were granted is no part of the extension.
sub contents_but_grants
{
	my ($db) = @_;
	my $is = contents($db);

	$is =~ s/,app=[A-Za-z]+\/\w+//g;
	return $is;
}

# ---- undone, and two at once ----

$node->safe_psql('postgres', q{BEGIN; ALTER EXTENSION vqueue UPDATE TO '1.0.0'; SELECT vqueue.join('hall'); SAVEPOINT s;
	ALTER EXTENSION vqueue UPDATE TO '1.1.0'; ROLLBACK TO s; SELECT vqueue.join('hall'); ROLLBACK});
same_lines(contents_but_grants('postgres'), $fresh{'1.1.0'}, 'rolled back it is as before');
all_works($session, '1.1.0');
$session->query(q{BEGIN; ALTER EXTENSION vqueue UPDATE TO '1.0.0'; SELECT vqueue.join('hall')});
my $second = psql_session($node);
$second->send(q{ALTER EXTENSION vqueue UPDATE TO '1.0.0'});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER EXT%'}),
	'a second update waits for the first');
$session->query('COMMIT');
$second->wait;
same_lines(contents_but_grants('postgres'), $fresh{'1.0.0'}, 'and finds nothing more to do, or is refused');
update('postgres', '1.1.0');

is($crowd->stop, '', 'no client met an error');
$storm->finish('over all of it');
check_clean($node, 'postgres', 'memory is right');

# ---- what only 1.1.0 knows goes with words ----

$node->safe_psql('postgres', q{SELECT vqueue.set_feature('board', false), vqueue.set_feature('passes', true), vqueue.set_feature('user_data', false, 'other')});
my ($out, $err);
$node->psql('postgres', q{ALTER EXTENSION vqueue UPDATE TO '1.0.0'}, stdout => \$out, stderr => \$err);
like($err, qr/WARNING:  features that were switched off are on again/, 'going back says that features are on again');
like($err, qr/board of tenant "default", user_data of tenant "other"/, 'and which');
is($session->query(q{SELECT vqueue.board('still') ->> 'v'}), '1', 'and they are');
update('postgres', '1.1.0');

# ---- dump of either, restore into the newest ----

foreach my $version ('1.0.0', '1.1.0')
{
	update('postgres', $version);
	$node->safe_psql('postgres', q{SELECT vqueue.set_feature('board', false, 'other')}) if $version eq '1.1.0';
	my $state = row_state($node, 'postgres');

	$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$dir/dump" ], "$version: dumped");
	$node->safe_psql('template1', 'CREATE DATABASE restored');
	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$dir/dump" ], 'and restored');
	is($node->safe_psql('restored', q{SELECT extversion FROM pg_extension WHERE extname = 'vqueue'}), '1.1.0', 'into the newest version');
	same_lines(row_state($node, 'restored'), $state, 'with all places');
	check_clean($node, 'restored', 'memory is right there');
	is($node->safe_psql('restored', q{SET vqueue.tenant = 'other'; SELECT vqueue.feature('board')}), $version eq '1.1.0' ? 'f' : 't', 'and features');
	$node->safe_psql('template1', 'DROP DATABASE restored');
}

# ---- SQL that is newer than the library ----

$node->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '1.10.0' WHERE extname = 'vqueue'});
my $offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/the library is older than the tables and functions of a database/, $offset);
foreach my $sql (q{SELECT vqueue.join('hall')}, q{SELECT vqueue.status(gen_random_uuid())}, q{SELECT vqueue.board('hall')},
	q{SELECT * FROM vqueue.check()}, q{SELECT * FROM vqueue.overview}, q{SELECT vqueue.rebuild()},
	q{INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT id, id FROM vqueue.queues LIMIT 1}, q{UPDATE vqueue.queues SET burst = 3})
{
	fails_with($node, 'postgres', $sql, '55000', qr/library of vqueue is older.*1\.1\.0.*1\.10\.0/s, $sql);
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE ticket > 0') > 2000, 1, 'while the tables can be read');
$node->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '1.1.0' WHERE extname = 'vqueue'});
$node->restart;
ok(wait_for_worker($node), 'with the right version the worker is back');
ok($node->poll_query_until('postgres', q{SELECT line = 'ready' FROM vqueue._worker()}), 'and memory');
check_clean($node, 'postgres', 'and right');

# ---- a library that is too old for what it is to become ----

$node->safe_psql('postgres', q{
	ALTER EXTENSION vqueue UPDATE TO '1.0.0';
	CREATE OR REPLACE FUNCTION vqueue._library_version() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$SELECT '1.0.0'$$});
fails_with($node, 'postgres', q{ALTER EXTENSION vqueue UPDATE TO '1.1.0'}, '55000', qr/too old for version 1\.1\.0.*restart the server/s, 'an old library');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|could not be moved|ERROR:  XX|cache lookup failed|could not open relation/,
	'the log tells of nothing bad');
done_testing();
