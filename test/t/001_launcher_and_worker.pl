#
# Life of the launcher and the workers: they come by themselves, go out of the
# way of DDL, come back after a kill, and give all memory back.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main');

# A queue in which the worker has something to do for a quarter of an hour.
sub make_busy
{
	my ($db) = @_;

	$node->safe_psql($db, q{
		SELECT vqueue.create_queue('busy', 1500, 10000000);
		SELECT count(*) FROM vqueue.join_many('busy', } . users('b', 1, 20000) . q{)});
	$node->poll_query_until($db,
		q{SELECT released > 0 FROM vqueue.overview WHERE queue = 'busy'})
	  or die "worker of $db does not release";
	return;
}

sub memory_of
{
	return $node->safe_psql('watch', 'SELECT used, queues, databases FROM vqueue.memory()');
}

sub wait_for_memory
{
	my ($wanted) = @_;

	return $node->poll_query_until('watch',
		'SELECT used, queues, databases FROM vqueue.memory()', $wanted);
}

# ---- found by themselves ----

ok($node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'vqueue launcher'}),
	'the launcher runs');

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(watch one two plain);
$node->safe_psql($_, 'CREATE EXTENSION vqueue') foreach qw(watch one two);
ok(wait_for_worker($node, $_), "CREATE EXTENSION starts a worker in database $_")
  foreach qw(watch one two);
ok($node->poll_query_until('one', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}),
	'health finds nothing');
is($node->safe_psql('one', q{SELECT value FROM vqueue.health() WHERE "check" = 'worker'}),
	worker_pid($node, 'one'), 'health knows the worker');
is($node->safe_psql('one', q{SELECT value FROM vqueue.health() WHERE "check" = 'launcher'}),
	launcher_pid($node), 'health knows the launcher');

$node->restart;
ok(wait_for_worker($node, $_), "the launcher finds the extension in database $_ after a restart")
  foreach qw(watch one two);
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'vqueue worker' AND datname NOT IN ('watch', 'one', 'two', 'postgres', 'plain')}),
	'0', 'no worker where none belongs');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'vqueue worker' AND datname IN ('plain', 'postgres')}),
	'no worker stays where the extension is not');
ok($node->poll_query_until('postgres', q{SELECT wait_event_type = 'Extension'
	FROM pg_stat_activity WHERE backend_type = 'vqueue launcher'}), 'the launcher waits with a wait event');

# ---- databases do not mix ----

foreach my $db (qw(one two))
{
	$node->safe_psql($db, "SELECT vqueue.create_queue('same', 60, 5, state => 'paused')");
}
$node->safe_psql('one', q{SELECT count(*) FROM vqueue.join_many('same', } . users('1', 1, 7) . ')');
$node->safe_psql('two', q{SELECT count(*) FROM vqueue.join_many('same', } . users('1', 1, 3) . ')');
is($node->safe_psql('one', 'SELECT waiting, last_ticket FROM vqueue.overview'),
	'7|7', 'a queue counts its own database only');
is($node->safe_psql('two', 'SELECT waiting, last_ticket FROM vqueue.overview'),
	'3|3', 'and so does its namesake in another');
$node->safe_psql('two', q{SELECT vqueue.release('same', 5)});
is($node->safe_psql('one', 'SELECT waiting, serving FROM vqueue.overview'),
	'7|0', 'a release in one database leaves the other alone');
check_clean($node, $_, "memory of $_ is right") foreach qw(one two);

# ---- kills ----

my $pid = worker_pid($node, 'one');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_for_worker($node, 'one', $pid), 'a terminated worker comes back');

$pid = worker_pid($node, 'one');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
$node->safe_psql('one', q{SELECT vqueue.open('same')});
ok($node->poll_query_until('one', q{SELECT serving > 0 FROM vqueue.overview WHERE queue = 'same'}),
	'a cancelled worker, or its successor, goes on');

my $launcher = launcher_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
ok($node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'vqueue launcher' AND pid <> $launcher}),
	'a terminated launcher comes back');
$pid = worker_pid($node, 'two');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok(wait_for_worker($node, 'two', $pid), 'the new launcher looks after workers that it did not start');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 3 AND count(DISTINCT datname) = 3
	FROM pg_stat_activity WHERE backend_type = 'vqueue worker'}),
	'one worker a database');

# ---- DROP EXTENSION ----

# The first time, so that what is kept for reuse is there when memory is compared.
$node->safe_psql('postgres', 'CREATE DATABASE d');
$node->safe_psql('d', 'CREATE EXTENSION vqueue');
wait_for_worker($node, 'd');
make_busy('d');
$node->safe_psql('d', 'DROP EXTENSION vqueue CASCADE');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'vqueue worker' AND datname = 'd'}),
	'the worker leaves after DROP EXTENSION');
ok($node->poll_query_until('watch', q{SELECT queues = 2 FROM vqueue.memory()}),
	'queues of the dropped extension leave memory');
my $before = memory_of();

$node->safe_psql('d', 'CREATE EXTENSION vqueue');
ok(wait_for_worker($node, 'd'), 'a worker comes with the extension made again');
make_busy('d');
isnt(memory_of(), $before, 'a long line takes memory');

my $memory = memory_of();
$pid = worker_pid($node, 'd');
$node->safe_psql('d', 'BEGIN; DROP EXTENSION vqueue; ROLLBACK');
my $released = $node->safe_psql('d', q{SELECT released FROM vqueue.overview});
ok($node->poll_query_until('d', qq{SELECT released > $released FROM vqueue.overview}),
	'a rolled back DROP EXTENSION does not stop the worker');
is($node->safe_psql('d', q{SELECT count(*) FROM vqueue.sessions WHERE position >= 0}),
	'20000', 'nor loses anybody');
check_clean($node, 'd', 'memory is right after it');

# Dropped while another session holds a place that has not committed.
my $joiner = psql_session($node, 'd');
$joiner->query_safe(q{BEGIN; SELECT status FROM vqueue.join('busy')});
my $dropper = psql_session($node, 'd');
my $dropper_pid = $dropper->backend_pid;
$dropper->send('DROP EXTENSION vqueue CASCADE');
ok($node->poll_query_until('postgres', qq{SELECT count(*) > 0 FROM pg_locks
	WHERE pid = $dropper_pid AND NOT granted}),
	'DROP EXTENSION waits for a join in flight');
$joiner->query_safe('COMMIT');
$dropper->wait;
is($dropper->error, '', 'and then succeeds with the worker busy');
ok(wait_for_memory($before), 'all memory is given back');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'vqueue worker' AND datname = 'd'}),
	'the worker has left');

# In a session that has used it before.
$joiner->query(q{SELECT * FROM vqueue.overview});
like($joiner->error, qr/ERROR:  42P01/, 'an old session sees that the extension is gone');
$joiner->query_safe(q{CREATE EXTENSION vqueue; SELECT vqueue.create_queue('again')});
is($joiner->query_safe(q{SELECT ticket, status FROM vqueue.join('again')}),
	'1|serving', 'and can make and use it anew');
ok($node->poll_query_until('d', 'SELECT (vqueue._worker()).pid IS NOT NULL'), 'with a worker');
check_clean($node, 'd', 'and right memory');
$joiner->quit;
$dropper->quit;

# The first use is in a transaction that is rolled back.
$node->safe_psql('d', 'DROP EXTENSION vqueue CASCADE');
$node->safe_psql('d', 'CREATE EXTENSION vqueue');
$node->safe_psql('d', q{BEGIN; SELECT vqueue.create_queue('never'); ROLLBACK});
check_clean($node, 'd', 'a rolled back first queue is not in memory');
$node->safe_psql('d', 'DROP EXTENSION vqueue CASCADE');

# Created, used and dropped in one transaction, as scripts of migrations do.
is($node->psql('plain', 'BEGIN; CREATE EXTENSION vqueue; DROP EXTENSION vqueue; COMMIT'), 0,
	'the extension is made and dropped in one transaction');
is($node->psql('plain', q{BEGIN; CREATE EXTENSION vqueue; SELECT vqueue.create_queue('q');
	SELECT status FROM vqueue.join('q'); ROLLBACK}), 0,
	'it is used in the transaction that makes it');
ok(wait_for_memory(
		$node->safe_psql('watch', 'SELECT used, 2, databases FROM vqueue.memory()')),
	'an extension that was never committed leaves no queue in memory');
my $queues = $node->safe_psql('watch', 'SELECT queues FROM vqueue.memory()');

# ---- DDL on databases, with the worker busy ----

$node->safe_psql('d', 'CREATE EXTENSION vqueue');
wait_for_worker($node, 'd');
make_busy('d');

is($node->psql('postgres', 'CREATE DATABASE copy TEMPLATE d'), 0,
	'CREATE DATABASE copies a database with a busy worker');
ok(wait_for_worker($node, 'copy'), 'the copy gets a worker');
ok(wait_for_worker($node, 'd'), 'the original has one again');
foreach my $db (qw(d copy))
{
	is($node->safe_psql($db, 'SELECT count(*) FROM vqueue.sessions WHERE position >= 0'),
		'20000', "nobody is lost in $db");
	$released = $node->safe_psql($db, q{SELECT released FROM vqueue.overview});
	ok($node->poll_query_until($db, qq{SELECT released > $released FROM vqueue.overview}),
		"releases go on in $db");
}
check_clean($node, 'copy', 'memory of the copy is right');
check_clean($node, 'd', 'and that of the original');
isnt($node->safe_psql('copy', q{SELECT ticket FROM vqueue.join('busy')}), '', 'the copy is joined');

is($node->psql('postgres', 'ALTER DATABASE copy RENAME TO renamed'), 0,
	'a database with a busy worker is renamed');
ok(wait_for_worker($node, 'renamed'), 'and has its worker again');
$released = $node->safe_psql('renamed', q{SELECT released FROM vqueue.overview});
ok($node->poll_query_until('renamed', qq{SELECT released > $released FROM vqueue.overview}),
	'which goes on');

# A command that fails must not keep the worker out.
my $guest = psql_session($node, 'renamed');
my ($out, $err);
isnt($node->psql('postgres', 'ALTER DATABASE renamed RENAME TO other', stderr => \$err),
	0, 'a database that others use is not renamed');
like($err, qr/being accessed by other users/, 'for the server\'s own reason');
ok(wait_for_worker($node, 'renamed'), 'and the worker comes back');
$guest->quit;
isnt($node->psql('postgres', 'ALTER DATABASE renamed RENAME TO two'), 0,
	'nor renamed to a name that is taken');
ok(wait_for_worker($node, 'renamed'), 'and the worker comes back again');

# Those who may not drop it must not disturb the worker.
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN');
$pid = worker_pid($node, 'd');
isnt($node->psql('postgres', 'SET ROLE nobody; DROP DATABASE d'), 0,
	'a stranger cannot drop the database');
is(worker_pid($node, 'd'), $pid, 'and does not send its worker away');

is($node->psql('postgres', "DROP DATABASE $_"), 0, "DROP DATABASE with the worker of $_ busy")
  foreach qw(d renamed);
ok($node->poll_query_until('watch', qq{SELECT queues = $queues AND databases = (SELECT count(*) FROM pg_database
	WHERE datname IN ('watch', 'one', 'two', 'plain')) FROM vqueue.memory()}),
	'dropped databases and their queues leave memory');

# As many databases after one another as there are places at a time, and more.
foreach my $i (1 .. 10)
{
	$node->safe_psql('postgres', 'CREATE DATABASE fleeting');
	$node->safe_psql('fleeting', q{CREATE EXTENSION vqueue; SELECT vqueue.create_queue('q');
		SELECT status FROM vqueue.join('q')});
	$node->safe_psql('postgres', 'DROP DATABASE fleeting');
}
ok($node->poll_query_until('watch', "SELECT queues = $queues FROM vqueue.memory()"),
	'places of dropped databases are free again');

# A database that nobody new may connect to keeps the lines of those connected.
$guest = psql_session($node, 'two');
$guest->query_safe(q{BEGIN; SELECT status FROM vqueue.join('same')});
$pid = worker_pid($node, 'two');
$node->safe_psql('postgres', qq{ALTER DATABASE two IS_TEMPLATE true; SELECT pg_terminate_backend($pid)});
$node->safe_psql('postgres', 'CREATE DATABASE scanned');
$node->safe_psql('scanned', 'CREATE EXTENSION vqueue');
wait_for_worker($node, 'scanned');
$guest->query_safe('COMMIT');
is($guest->query_safe('SELECT count(*) FROM vqueue.sessions WHERE position >= 0'), '4',
	'a database made a template keeps its lines');
check_clean($node, 'two', 'and they are right');
$node->safe_psql('postgres', 'ALTER DATABASE two IS_TEMPLATE false');
ok(wait_for_worker($node, 'two'), 'made a common one again it gets a worker');
$guest->quit;

# ---- quiet ----

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
unlike($log, qr/ERROR:  (?:could not open relation|extension "vqueue" is not installed)/,
	'no worker stumbled over a dropped extension');

# ---- the regular scan ----

# A template has no worker, and after a restart nobody knows of it, so the copy
# is found by nothing but the scan.  Meanwhile a new launcher must not start
# workers where there are some.
$node->append_conf('postgresql.conf', 'log_min_messages = debug1');
$node->start;
$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE true');
$node->restart;
ok(wait_for_worker($node, 'watch'), 'a worker runs before the launcher is replaced');
my $offset = -s $node->logfile;
$launcher = launcher_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
ok($node->poll_query_until('postgres', qq{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type = 'vqueue launcher' AND pid <> $launcher AND wait_event_type = 'Extension'}),
	'a new launcher has looked at all databases');
$node->safe_psql('postgres', 'CREATE DATABASE late TEMPLATE one');
ok(wait_for_worker($node, 'late'), 'a database copied from a template is found by the regular scan');
is($node->safe_psql('late', 'SELECT count(*) FROM vqueue.sessions WHERE position >= 0'), '7',
	'with all who wait in it');
my @started = slurp_file($node->logfile, $offset) =~
  /starting background worker process "vqueue worker for database watch"/g;
cmp_ok(scalar(@started), '<=', 1,
	'workers are not started again and again where one runs');
unlike(slurp_file($node->logfile, $offset), qr/no worker slot is free/,
	'nor are slots found missing that are not');
$node->safe_psql('postgres', 'ALTER DATABASE one IS_TEMPLATE false');
$node->stop;

# ---- not preloaded ----

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
fails_with($node, 'plain', 'CREATE EXTENSION vqueue', '55000',
	qr/must be loaded by shared_preload_libraries.*HINT:  Add vqueue to shared_preload_libraries/s,
	'not preloaded');
fails_with($node, 'one', q{SELECT * FROM vqueue.join('same')}, '55000',
	qr/must be loaded by shared_preload_libraries/, 'a function without preload');
fails_with($node, 'one',
	q{UPDATE vqueue.user_sessions SET status = 'left' WHERE ticket = 7}, '55000',
	qr/must be loaded by shared_preload_libraries/, 'plain SQL without preload');
$node->stop;

# ---- too few slots ----

$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'vqueue'\nmax_worker_processes = 1\nmax_logical_replication_workers = 0");
$offset = -s $node->logfile;
$node->start;
$node->wait_for_log(qr/WARNING:  (?:53400: )?vqueue: no worker slot is free/, $offset);
pass('a missing worker slot is logged');
$log = slurp_file($node->logfile, $offset);
like($log, qr/HINT:  Raise max_worker_processes and restart the server/, 'with a hint');
is($node->safe_psql('one', q{SELECT status, value IS NULL, hint IS NOT NULL
	FROM vqueue.health() WHERE "check" = 'worker'}), 'fail|t|t', 'health tells of the missing worker');
is($node->safe_psql('one', q{SELECT count(*) FROM vqueue.sessions WHERE position >= 0}),
	'7', 'positions are answered all the same');
$node->stop;

$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$offset = -s $node->logfile;
$node->start;
like(slurp_file($node->logfile, $offset), qr/too many background workers/,
	'a missing slot for the launcher is logged');
is($node->safe_psql('one', 'SELECT (vqueue._worker()).line'), 'stale', 'without a worker nobody has built memory');
is($node->psql('one', q{SELECT vqueue.create_queue('first')}), 0,
	'a queue is made all the same');
is($node->safe_psql('one', q{SELECT status FROM vqueue.join('first')}), 'serving', 'and lets in at once');
is($node->safe_psql('one', q{SELECT status, hint IS NOT NULL
	FROM vqueue.health() WHERE "check" = 'launcher'}), 'fail|t', 'health tells of the missing launcher');
is($node->safe_psql('one', q{SELECT status FROM vqueue.health() WHERE "check" = 'worker'}),
	'fail', 'and of the missing worker');
$node->stop;

$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->start;
ok(wait_for_worker($node, 'one'), 'with slots enough the worker is back');
check_clean($node, 'one', 'and memory is right');
$node->stop;

done_testing();
