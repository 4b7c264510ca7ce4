#
# A dump, in every format, restores queues, sessions, tickets and tenants, and
# the rooms go on from there.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'max_worker_processes = 20');
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', 'CREATE DATABASE source');
$node->safe_psql('source', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name, domain) VALUES ('other', 'example.org');
	SELECT vqueue.create_queue('full', 6000, 3, 'about ''full''', 4, 100000);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused');
	SELECT vqueue.create_queue('empty', 600, 10, state => 'closed');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('full', 6000, 3)});
wait_for_worker($node, 'source');
my $last = $node->safe_psql('source', "SELECT max(ticket) FROM vqueue.join_many('full', " . users('a', 1, 30) . ')');
$node->safe_psql('source', "SELECT count(*) FROM vqueue.join_many('still', " . users('b', 1, 9000) . ')');
$node->safe_psql('source', "SELECT count(*) FROM vqueue.join_many('still', " . users('c', 1, 10) . ", 'vip')");
$node->safe_psql('source', q{SET vqueue.tenant = 'other'; SELECT count(*) FROM vqueue.join_many('full', } . users('a', 1, 2) . ')');
$node->poll_query_until('source', q{SELECT serving = 3 FROM vqueue.overview WHERE queue = 'full'})
  or die 'the room does not fill';
$node->safe_psql('source', q{
	SELECT status FROM vqueue.complete((SELECT id FROM vqueue.sessions WHERE queue = 'full' AND status = 'serving' ORDER BY ticket LIMIT 1));
	SELECT status FROM vqueue.remove((SELECT id FROM vqueue.sessions WHERE queue = 'full' AND status = 'waiting' ORDER BY ticket DESC LIMIT 1), E'a\ttab and "quotes"')});
$node->poll_query_until('source', q{SELECT serving = 3 FROM vqueue.overview WHERE queue = 'full'})
  or die 'the freed slot is not given on';
# The last tickets of all were rolled back and purged.
my $purged = $node->safe_psql('source', q{
	SELECT ticket FROM vqueue.join('still');
	DELETE FROM vqueue.user_sessions WHERE ticket = (SELECT max(ticket) FROM vqueue.user_sessions);
	BEGIN; SELECT ticket FROM vqueue.join('still'); ROLLBACK});
my ($highest) = sort { $b <=> $a } split /\n/, $purged;

my $tables = q{
	SELECT 'queue', q::text FROM (SELECT id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
		burst, max_waiting, state, is_active, version, created_at, updated_at FROM vqueue.queues) q
	UNION ALL SELECT 'tenant', t::text FROM (SELECT id, name, domain FROM vqueue.tenants) t
	UNION ALL SELECT 'session', s::text FROM vqueue.user_sessions s ORDER BY 1, 2};
my $wanted = $node->safe_psql('source', $tables);
my $wanted_places = row_state($node, 'source');

# What must be true of a restored database.
sub check_restored
{
	my ($db, $how) = @_;

	same_lines($node->safe_psql($db, $tables), $wanted, "$how: all rows are as before");
	same_lines(row_state($node, $db), $wanted_places, "$how: all places are as before");
	is($node->safe_psql($db, q{SELECT count(*) FROM vqueue.tenants WHERE name = 'default'}), '1',
		"$how: the default tenant is there once");
	ok(wait_for_worker($node, $db), "$how: there is a worker");
	check_clean($node, $db, "$how: memory is right");
	is($node->safe_psql($db, q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'vqueue.user_sessions'::regclass
		AND tgfoid = '"RI_FKey_check_ins"'::regproc AND tgenabled <> 'D'}), '0',
		"$how: the insert side of the foreign key is off");

	cmp_ok($node->safe_psql($db, q{SELECT ticket FROM vqueue.join('still')}), '>', $highest,
		"$how: the next ticket is above all earlier ones");
	is($node->safe_psql($db, q{SELECT ticket, status FROM vqueue.join('full', 'a0000000-0000-0000-0000-000000000025')}),
		'25|waiting', "$how: who joins again gets the old place");
	$node->safe_psql($db, q{SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE queue = 'full' AND status = 'serving'});
	ok($node->poll_query_until($db, q{SELECT string_agg(ticket::text, ' ' ORDER BY ticket) = '5 6 7'
		FROM vqueue.sessions WHERE queue = 'full' AND status = 'serving'}), "$how: the next come in");
	$node->safe_psql($db, q{SELECT vqueue.resume('still')});
	ok($node->poll_query_until($db, q{SELECT count(*) = 10 FROM vqueue.sessions WHERE queue = 'still' AND status = 'serving'}),
		"$how: a resumed queue lets in");
	is($node->safe_psql($db, q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'still' AND status = 'serving' AND priority <> 'vip'}),
		'0', "$how: in the order of lanes");
	is(count_over_cap($node, $db, 'still'), '10', "$how: up to the cap");
	check_clean($node, $db, "$how: memory is right afterwards");
	return;
}

# ---- dumps ----

$node->command_ok([ 'pg_dump', '-Fp', '-f', "$dir/plain.sql", 'source' ], 'pg_dump plain');
$node->command_ok([ 'pg_dump', '-Fp', '--inserts', '-f', "$dir/inserts.sql", 'source' ], 'pg_dump --inserts');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", 'source' ], 'pg_dump custom');
$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$dir/directory", 'source' ], 'pg_dump directory');
same_lines($node->safe_psql('source', $tables), $wanted, 'a dump changes nothing');

# ---- into fresh databases ----

$node->safe_psql('postgres', "CREATE DATABASE $_")
  foreach qw(plain inserts custom directory dataonly disabled);
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain.sql", 'plain' ], 'restore plain');
check_restored('plain', 'plain');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-1', '-f', "$dir/inserts.sql", 'inserts' ],
	'restore inserts in one transaction');
check_restored('inserts', 'inserts');
$node->command_ok([ 'pg_restore', '-e', '-d', 'custom', "$dir/custom" ], 'restore custom');
check_restored('custom', 'custom');

# pg_dump orders an extension's tables by their foreign keys, but an archive does
# not tell a parallel restore, so the data are restored by one job.
foreach my $options ([ '--section=pre-data', '-j', '2' ], ['--section=data'], [ '--section=post-data', '-j', '2' ])
{
	$node->command_ok([ 'pg_restore', '-e', @$options, '-d', 'directory', "$dir/directory" ],
		"restore directory, $options->[0]");
}
check_restored('directory', 'directory');

# ---- data only, into a database that has the extension and its worker ----

$node->safe_psql('dataonly', 'CREATE EXTENSION vqueue');
wait_for_worker($node, 'dataonly');
$node->safe_psql('dataonly', q{SELECT vqueue.create_queue('own'); SELECT status FROM vqueue.join('own'); SELECT vqueue.drop_queue('own', true)});
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-d', 'dataonly', "$dir/custom" ], 'restore data only');
check_restored('dataonly', 'data only');

# With triggers disabled memory is not told: check() says so, and rebuild() mends it.
$node->safe_psql('disabled', 'CREATE EXTENSION vqueue');
wait_for_worker($node, 'disabled');
$node->safe_psql('disabled', q{SELECT vqueue.create_queue('own'); SELECT status FROM vqueue.join('own'); SELECT vqueue.drop_queue('own', true)});
$node->command_ok([ 'pg_restore', '-e', '--data-only', '--disable-triggers', '-d', 'disabled', "$dir/custom" ],
	'restore data only with triggers disabled');
isnt($node->safe_psql('disabled', 'SELECT count(*) FROM vqueue.check()'), '0', 'check() tells of what passed memory by');
is($node->safe_psql('disabled', 'SELECT vqueue.rebuild()'),
	$node->safe_psql('disabled', 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NULL'), 'rebuild() finds all');
check_clean($node, 'disabled', 'and mends it');
cmp_ok($node->safe_psql('disabled', q{SELECT ticket FROM vqueue.join('still')}), '>', $highest,
	'the next ticket is above all earlier ones there too');

# ---- emptied and filled again, as a script would ----

$node->safe_psql('dataonly', 'TRUNCATE vqueue.queues CASCADE; DELETE FROM vqueue.tenants WHERE name = \'other\'');
check_clean($node, 'dataonly', 'memory is right after TRUNCATE');
is($node->safe_psql('dataonly', 'SELECT count(*) FROM vqueue.overview'), '0', 'nothing is left');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-d', 'dataonly', "$dir/custom" ], 'restore data only once more');
check_restored('dataonly', 'data only, once more');

# ---- restored without preload it says what to do ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$node->safe_psql('postgres', 'CREATE DATABASE unloaded');
$node->command_fails_like([ 'pg_restore', '-e', '-d', 'unloaded', "$dir/custom" ],
	qr/must be loaded by shared_preload_libraries/, 'a restore without preload');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
