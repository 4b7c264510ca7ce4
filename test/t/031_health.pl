#
# health, is_healthy and preflight: each check is ok, is not while what it looks
# for is brought about, and is ok again.
#
# The worker is held (SIGSTOP) while other things are tried, so that its rest gets
# long enough to be noticed in the meantime.  That tables are locked, and that the
# launcher lacks a slot, is tried in 023_sick_neighbours and 001 as well.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $archive = PostgreSQL::Test::Utils::tempdir();
my $node = new_vqueue_node('main',
	init => { allows_streaming => 1, extra => ['--data-checksums'] },
	conf => <<CONF);
fsync = on
full_page_writes = on
max_prepared_transactions = 2
vqueue.memory_limit = 1MB
autovacuum_naptime = 1h
archive_mode = on
archive_command = 'true'
idle_in_transaction_session_timeout = 10min
track_counts = on
max_worker_processes = 16
CONF

$node->safe_psql('postgres', q{CREATE EXTENSION vqueue; SELECT vqueue.create_queue('flow', 60, 100)});
$node->safe_psql('postgres', 'CREATE DATABASE small');
$node->safe_psql('small', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('line', 60, 100, state => 'paused'), vqueue.create_queue('lease', 1000000, 100, serving_timeout => '1 s')});
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "primary_conninfo = '" . $node->connstr . " application_name=standby'");
$standby->start;
$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'standby'; SELECT pg_reload_conf()});
wait_for_worker($node);
wait_for_worker($node, 'small');

# One row of health or preflight: status, or all of it.
sub status_of
{
	my ($server, $db, $check, $before, $function) = @_;

	$before = '' unless defined $before;
	$function = 'health' unless defined $function;
	return $server->safe_psql($db, qq{$before SELECT status FROM vqueue.$function() WHERE "check" = '$check'});
}

# Wait until the check has this status; it then says what and how to mend it unless it is ok.
sub becomes
{
	my ($server, $db, $check, $status, $name, $function) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$function = 'health' unless defined $function;
	my $said = $status eq 'ok' ? 'detail IS NULL AND hint IS NULL' : 'detail IS NOT NULL AND hint IS NOT NULL';
	return ok($server->poll_query_until($db, qq{SELECT status = '$status' AND $said FROM vqueue.$function() WHERE "check" = '$check'}), $name)
	  || diag($server->safe_psql($db, qq{SELECT * FROM vqueue.$function() WHERE "check" = '$check'}));
}

sub reload
{
	my (%settings) = @_;

	$node->safe_psql('postgres', join('; ', map { "ALTER SYSTEM SET $_ = '$settings{$_}'" } sort keys %settings) =~ s/;/;\n/gr);
	$node->reload;
	return;
}

my $all_ok = q{SELECT bool_and(status = 'ok') FROM vqueue.health()};

ok($node->poll_query_until('postgres', $all_ok), 'on the primary all is well');
ok($standby->poll_query_until('postgres', $all_ok), 'on the standby too');
is($node->safe_psql('postgres', q{SELECT string_agg("check", ' ') FROM vqueue.health()}),
	'role launcher worker line memory queues rounds releases sample timeouts snapshot dead_rows notifications keys replication',
	'these are the checks');
is($standby->safe_psql('postgres', q{SELECT string_agg("check", ' ') FROM vqueue.health()}),
	'role memory queues snapshot replication', 'and these those of a standby');
ok($_->poll_query_until('postgres', 'SELECT vqueue.is_healthy()'), $_->name . ' is healthy') foreach $node, $standby;

# ---- preflight, all good ----

is($node->safe_psql('postgres', q{SELECT string_agg("check" || ':' || status, ' ') FROM vqueue.preflight()
	WHERE "check" <> 'synchronous_replication'}),
	'preload:ok version:ok worker_slots:ok health:ok shared_memory:unknown autovacuum:ok durability:ok checksums:ok '
	  . 'wal_archiving:ok backups:unknown tls:ok listen_addresses:ok authentication:ok privileges:ok '
	  . 'idle_transactions:ok pooler:unknown disk:unknown clock:unknown', 'preflight of a server that is set up well');
becomes($node, 'postgres', 'synchronous_replication', 'ok', 'and its standby is connected', 'preflight');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.preflight()
	WHERE (status = 'ok') <> (hint IS NULL) OR (status = 'ok') <> (detail IS NULL)}), '0', 'who is not ok says why and how to mend it');
is(status_of($standby, 'postgres', 'synchronous_replication', '', 'preflight'), 'unknown', 'a standby does not know of others');

# ---- dead rows, before the worker is held, as so many tickets need it ----

$node->safe_psql('postgres', q{SELECT vqueue.create_queue('crowd', 60, 1, state => 'paused')});
$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many($$crowd$$, ' . users('d', 1, 26000) . ')');
my $reader = psql_session($node);
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');	# so that no page is pruned
$node->safe_psql('postgres', "UPDATE vqueue.user_sessions SET reason = '$_'") foreach 1, 2;
$reader->query_safe('COMMIT');
$reader->quit;
becomes($node, 'postgres', 'dead_rows', 'warn', 'dead rows pile up');
$node->safe_psql('postgres', 'VACUUM vqueue.user_sessions');
becomes($node, 'postgres', 'dead_rows', 'ok', 'until they are vacuumed');

# ---- a locked table is told of, and not waited for ----

my $locker = psql_session($node, 'small');
$locker->query_safe('BEGIN; LOCK TABLE vqueue.user_sessions');
becomes($node, 'small', 'worker', 'fail', 'a locked table is told of');
is($node->safe_psql('small', q{SELECT value FROM vqueue.health() WHERE "check" = 'sample'}), '0 looked at, 0 differ', 'and not looked at');
$locker->query_safe('ROLLBACK');
$locker->quit;
becomes($node, 'small', 'worker', 'ok', 'until it is unlocked');

# ---- a lease that the worker cannot end, in the other database ----

my $lessee = $node->safe_psql('small', q{SELECT id FROM vqueue.join('lease')});
my $holder = psql_session($node, 'small');
$holder->query_safe("BEGIN; SELECT id FROM vqueue.user_sessions WHERE id = '$lessee' FOR UPDATE");

# ---- the worker is held ----

$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many($$flow$$, ' . users('f', 1, 50) . ')');
my $worker = worker_pid($node);
kill 'STOP', $worker;

# ---- a transaction that keeps old rows ----

my $idler = psql_session($node);
$idler->query_safe('BEGIN; CREATE TABLE idle ()');
is(status_of($node, 'postgres', 'snapshot'), 'ok', 'a young transaction is no concern');
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET vqueue.old_snapshot = 1');
ok($node->poll_query_until('postgres', q{SELECT status = 'warn' AND detail ~ 'Process [0-9]+ has'
	FROM vqueue.health() WHERE "check" = 'snapshot'}), 'an old one is');
$idler->query_safe(q{PREPARE TRANSACTION 'forgotten'});
ok($node->poll_query_until('postgres', q{SELECT status = 'warn' AND detail ~ 'Prepared transaction "forgotten"'
	FROM vqueue.health() WHERE "check" = 'snapshot'}), 'also one that is prepared');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'forgotten'});
becomes($node, 'postgres', 'snapshot', 'ok', 'until it has ended');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET vqueue.old_snapshot');
fails_with($node, 'postgres', 'SET vqueue.old_snapshot = 0', '22023', undef, 'an age of 0');

# ---- a listener that does not read ----

$idler->query_safe('LISTEN nothing; BEGIN; SELECT 1');
$node->safe_psql('postgres', q{SELECT count(pg_notify('flood', repeat('x', 7900) || i)) FROM generate_series(1, 11000) i});
becomes($node, 'postgres', 'notifications', 'warn', 'notifications pile up behind a listener in a transaction');
$idler->query_safe('ROLLBACK');
becomes($node, 'postgres', 'notifications', 'ok', 'until it reads');
$idler->quit;

# ---- keys ----

$node->safe_psql('postgres', q{UPDATE vqueue.secrets SET made_at = made_at - interval '3 years'});
becomes($node, 'postgres', 'keys', 'warn', 'a key is old');
like($node->safe_psql('postgres', q{BEGIN; DELETE FROM vqueue.secrets; SELECT status, value FROM vqueue.health() WHERE "check" = 'keys'; ROLLBACK}),
	qr/^warn\|none$/m, 'or missing');
$node->safe_psql('postgres', q{UPDATE vqueue.secrets SET made_at = made_at + interval '3 years'});
becomes($node, 'postgres', 'keys', 'ok', 'a new one is fine');

# ---- replication ----

$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
becomes($standby, 'postgres', 'replication', 'warn', 'replay is paused');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
becomes($standby, 'postgres', 'replication', 'ok', 'and goes on');
$node->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('forgotten', true)});
becomes($node, 'postgres', 'replication', 'warn', 'a slot that nobody reads keeps WAL');
$node->safe_psql('postgres', q{SELECT pg_drop_replication_slot('forgotten')});
becomes($node, 'postgres', 'replication', 'ok', 'until it is dropped');

# ---- memory and table differ ----

becomes($node, 'small', 'sample', 'ok', 'memory and table agree');
$node->safe_psql('small', 'SELECT count(*) FROM vqueue.join_many($$line$$, ' . users('a', 1, 40) . ')');
foreach my $fault (
	['a row that is gone', q{DELETE FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('line') AND ticket = 3}],
	['a row that nobody knows', q{INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES (vqueue._queue('line'), gen_random_uuid(), 1000)}],
	['somebody said to be in', q{UPDATE vqueue.user_sessions SET status = 'serving', served_at = now() WHERE queue_id = vqueue._queue('line') AND ticket = 5}])
{
	$node->safe_psql('small', qq{BEGIN; ALTER TABLE vqueue.user_sessions DISABLE TRIGGER session_before, DISABLE TRIGGER session_after;
		$fault->[1]; ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_before, ENABLE ALWAYS TRIGGER session_after; COMMIT});
	becomes($node, 'small', 'sample', 'fail', "$fault->[0] is found");
	$node->safe_psql('small', 'SELECT vqueue.rebuild()');
	becomes($node, 'small', 'sample', 'ok', 'and mended by rebuild()');
}
check_clean($node, 'small', 'check() says so too');

# ---- a queue that fails ----

$node->safe_psql('small', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not today'; END$$;
	CREATE TRIGGER refuse BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW WHEN (OLD.status = 'waiting') EXECUTE FUNCTION refuse();
	SELECT vqueue.resume('line')});
ok($node->poll_query_until('small', q{SELECT status = 'fail' AND detail = 'not today' FROM vqueue.health() WHERE "check" = 'queues'}),
	'a queue is backed off, and why');
$node->safe_psql('small', 'CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$');
becomes($node, 'small', 'queues', 'ok', 'until it lets in again');

# ---- the lease ----

becomes($node, 'small', 'timeouts', 'warn', 'somebody is in whose time was up long ago');
$holder->query_safe('ROLLBACK');
$holder->quit;
becomes($node, 'small', 'timeouts', 'ok', 'until the row is free and the worker has ended the session');

# ---- who may watch ----

$node->safe_psql('postgres', 'CREATE ROLE watcher IN ROLE pg_monitor; CREATE ROLE nobody');
is($node->safe_psql('postgres', 'SET ROLE watcher; SELECT count(*) FROM vqueue.health()'), '15', 'a member of pg_monitor may ask');
is($node->safe_psql('postgres', 'SET ROLE watcher; SELECT count(*) FROM vqueue.preflight()'), '19', 'for preflight too');
is($node->safe_psql('postgres', q{SET ROLE watcher; SELECT status FROM vqueue.preflight() WHERE "check" = 'authentication'}), 'unknown',
	'which does not know of what he may not see');
fails_with($node, 'postgres', 'SET ROLE watcher; SELECT value FROM vqueue.secrets', '42501', undef, 'the value of a key');
fails_with($node, 'postgres', "SET ROLE nobody; SELECT vqueue.$_()", '42501', undef, "$_ by others") foreach qw(health preflight is_healthy);

# ---- preflight, one by one ----

reload(autovacuum => 'off', synchronous_commit => 'off', idle_in_transaction_session_timeout => '0', archive_command => 'false');
becomes($node, 'postgres', 'autovacuum', 'fail', 'autovacuum is off', 'preflight');
becomes($node, 'postgres', 'durability', 'fail', 'commits are not durable', 'preflight');
becomes($node, 'postgres', 'idle_transactions', 'warn', 'idle transactions are not ended', 'preflight');
$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
becomes($node, 'postgres', 'wal_archiving', 'fail', 'archiving fails', 'preflight');
reload(autovacuum => 'on', synchronous_commit => 'on', idle_in_transaction_session_timeout => '10min', archive_command => 'true');
becomes($node, 'postgres', $_, 'ok', "$_ is mended", 'preflight') foreach qw(autovacuum durability idle_transactions wal_archiving);
$node->safe_psql('postgres', 'ALTER TABLE vqueue.user_sessions SET (autovacuum_enabled = off)');
becomes($node, 'postgres', 'autovacuum', 'fail', 'autovacuum is off for a table', 'preflight');
$node->safe_psql('postgres', 'ALTER TABLE vqueue.user_sessions RESET (autovacuum_enabled); GRANT SELECT ON vqueue.queues TO PUBLIC');
becomes($node, 'postgres', 'autovacuum', 'ok', 'and on again', 'preflight');
becomes($node, 'postgres', 'privileges', 'warn', 'something is granted to everybody', 'preflight');
$node->safe_psql('postgres', 'REVOKE SELECT ON vqueue.queues FROM PUBLIC');
becomes($node, 'postgres', 'privileges', 'ok', 'and revoked', 'preflight');
like($node->safe_psql('postgres', q{BEGIN; UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'vqueue';
	SELECT status, value FROM vqueue.preflight() WHERE "check" = 'version'; ROLLBACK}),
	qr/^fail\|library 1\.\d+\.\d+, tables and functions 0\.9$/m, 'library and tables are of different versions');
$node->append_conf('pg_hba.conf', 'host all all 10.0.0.0/8 trust');
becomes($node, 'postgres', 'authentication', 'fail', 'whoever comes is let in', 'preflight');
PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/pg_hba.conf') =~ /\A(.*)host all all 10\.0\.0\.0[^\n]*\n\z/s or die 'pg_hba.conf is not as written';
my $hba = $1;
unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', $hba);
becomes($node, 'postgres', 'authentication', 'ok', 'not any more', 'preflight');

# ---- the held worker is noticed ----

becomes($node, 'postgres', 'releases', 'fail', 'nobody has been let in for long');
becomes($node, 'postgres', 'rounds', 'fail', 'the worker has made no round for long');
is(status_of($node, 'postgres', 'health', '', 'preflight'), 'fail', 'preflight says so');
is($node->safe_psql('postgres', 'SELECT vqueue.is_healthy()'), 'f', 'the server is not healthy');
kill 'CONT', $worker;
becomes($node, 'postgres', 'rounds', 'ok', 'it goes on');
becomes($node, 'postgres', 'releases', 'ok', 'and lets in');
ok($node->poll_query_until('postgres', 'SELECT vqueue.is_healthy()'), 'the server is healthy');
becomes($node, 'postgres', 'health', 'ok', 'preflight says so', 'preflight');

# ---- memory ----

foreach my $status (qw(warn fail))
{
	$node->safe_psql('postgres', qq{DO \$\$ BEGIN FOR i IN 1 .. 2000 LOOP
		EXIT WHEN (SELECT status IN ('$status', 'fail') FROM vqueue.health() WHERE "check" = 'memory' AND i % 10 = 0);
		PERFORM vqueue.create_queue('$status' || i); END LOOP; END \$\$});
	becomes($node, 'postgres', 'memory', $status, "memory: $status");
}
$node->safe_psql('postgres', q{DELETE FROM vqueue.queues WHERE name ~ '^(warn|fail)'});
becomes($node, 'postgres', 'memory', 'ok', 'memory is given back');

# ---- without its standby ----

$standby->stop;
becomes($node, 'postgres', 'synchronous_replication', 'fail', 'the synchronous standby is gone', 'preflight');
reload(synchronous_standby_names => '');
becomes($node, 'postgres', 'synchronous_replication', 'warn', 'none is wanted', 'preflight');
ok($node->poll_query_until('postgres', $all_ok), 'all is well at the end') || diag($node->safe_psql('postgres', 'SELECT * FROM vqueue.health()'));
check_clean($node, $_, 'memory is right') foreach qw(postgres small);
$node->stop;

# ---- what takes a restart ----

my $odd = new_vqueue_node('odd');
$odd->safe_psql('postgres', 'CREATE EXTENSION vqueue');
$odd->stop;

# Nobody can connect by the network: no line of this file lets anybody in.
unlink $odd->data_dir . '/pg_hba.conf';
$odd->append_conf('pg_hba.conf', 'local all all trust');
$odd->append_conf('postgresql.conf', "shared_preload_libraries = ''\nlisten_addresses = '0.0.0.0'\nmax_worker_processes = 0\nmax_logical_replication_workers = 0");
$odd->start;

# From 18 on initdb switches them on.
my $checksums = $odd->safe_psql('postgres', 'SHOW data_checksums') eq 'on' ? 'ok' : 'warn';
is($odd->safe_psql('postgres', q{SELECT string_agg("check" || ':' || status, ' ') FROM vqueue.preflight()
	WHERE "check" IN ('preload', 'version', 'worker_slots', 'health', 'checksums', 'wal_archiving', 'tls', 'listen_addresses', 'durability')}),
	"preload:fail version:unknown worker_slots:unknown health:unknown durability:fail checksums:$checksums wal_archiving:warn tls:fail listen_addresses:warn",
	'preflight of a server that does not preload the library');
fails_with($odd, 'postgres', 'SELECT vqueue.is_healthy()', '55000', qr/shared_preload_libraries/, 'is_healthy there');
$odd->stop;
$odd->append_conf('postgresql.conf', "shared_preload_libraries = 'vqueue'\nlisten_addresses = ''");
$odd->start;
is($odd->safe_psql('postgres', 'SELECT vqueue.is_healthy()'), 'f', 'without launcher and worker it is not healthy');
is($odd->safe_psql('postgres', q{SELECT string_agg("check", ' ') FROM vqueue.health() WHERE status = 'fail'}), 'launcher worker rounds', 'health says what is missing');
is(status_of($odd, 'postgres', $_, '', 'preflight'), 'fail', "$_: preflight too") foreach qw(worker_slots health);
is(status_of($odd, 'postgres', $_, '', 'preflight'), 'ok', "$_ is mended") foreach qw(preload tls listen_addresses);
$odd->stop;

done_testing();
