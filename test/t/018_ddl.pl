#
# DDL that takes the extension or its database away, renames or copies it,
# while the worker is busy and clients join and leave: none of it blocks, none
# crashes, nobody else is disturbed, and memory is given back.
#
# What a single command does to a room is in 001_launcher_and_worker.pl.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $rounds = 2 * ($ENV{VQ_TORTURE} || 1);
my $patience = $PostgreSQL::Test::Utils::timeout_default;
my $node = new_vqueue_node('main', conf => q{
max_worker_processes = 16
max_prepared_transactions = 4
log_min_messages = debug1
});

# Joins, is let in or not, and goes.
my $visits = q{
SELECT id AS session FROM vqueue.join('busy') \gset
SELECT status FROM vqueue.poll(':session');
SELECT status FROM vqueue.leave(':session');
};

# A command that must neither fail nor wait for ever.  A transaction of many
# calls, as a storm has them, may lock the tables in another order than DROP
# EXTENSION: then the server has one of the two try again.
my $storm;
sub ddl
{
	my ($db, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $err;

	do
	{
		$node->psql($db, "SET lock_timeout = '${patience}s'; SET statement_timeout = '${patience}s';\n$sql",
			stderr => \$err);
	} while ($storm && $err =~ /deadlock detected/);
	return is($err, '', $name);
}

# A queue whose line does not end for long, so that the worker always has to do.
sub make_busy
{
	my ($db, $n) = @_;

	$node->safe_psql($db, 'CREATE EXTENSION IF NOT EXISTS vqueue');
	wait_for_worker($node, $db);
	$node->safe_psql($db, q{
		SELECT vqueue.create_queue('busy', 600, 10000000);
		SELECT count(*) FROM vqueue.join_many('busy', } . users('b', 1, $n) . ')');
	return;
}

sub releases_go_on
{
	my ($db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $released = $node->safe_psql($db, q{SELECT count(served_at) FROM vqueue.user_sessions});

	return ok($node->poll_query_until($db, "SELECT count(served_at) > $released FROM vqueue.user_sessions"), $name);
}

# The crowd that made the line is there, and its positions are right.
sub crowd_is_there
{
	my ($db, $n, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($node->safe_psql($db, q{SELECT count(*) FROM vqueue.sessions WHERE user_id::text LIKE 'b0000000-%' AND position >= 0}),
		$n, "$name: nobody is lost");
	check_clean($node, $db, "$name: memory is right");
	return;
}

sub memory
{
	my ($what) = @_;

	return $node->safe_psql('watch', "SELECT $what FROM vqueue.memory()");
}

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(watch other d);
$node->safe_psql('watch', 'CREATE EXTENSION vqueue');
make_busy('other', 1);
$node->safe_psql('other', 'DELETE FROM vqueue.user_sessions');
$node->poll_query_until('watch', 'SELECT used < 20000 FROM vqueue.memory()') or die 'memory is taken from the start';
my $empty = memory('used, queues');

# Those in the other database are to notice nothing of it all.
my $neighbours = start_storm($node, db => 'other', seconds => 3600, clients => 4, queues => 3, prefix => 'n');

$node->poll_query_until('other', 'SELECT count(*) > 100 FROM vqueue.user_sessions') or die 'the storm does not begin';
my $queues = memory('queues');

# ---- DROP EXTENSION, rolled back, with a crowd running ----

make_busy('d', 5000);
my $worker = worker_pid($node, 'd');
$storm = start_storm($node, db => 'd', seconds => 3600, clients => 4, queues => 3, prefix => 's', faults => 1)
  if $ENV{VQ_TORTURE};
my $crowd = pgbench_crowd($node, 'd', $visits);
$node->poll_query_until('d', q{SELECT count(*) > 10 FROM vqueue.user_sessions WHERE status = 'left'})
  or die 'the crowd does not come in';

foreach my $round (1 .. 2 * $rounds)
{
	ddl('d', 'BEGIN; DROP EXTENSION vqueue; ROLLBACK', "DROP EXTENSION rolled back under load, round $round");
	ddl('d', 'BEGIN; SAVEPOINT a; DROP EXTENSION vqueue CASCADE; ROLLBACK TO a; '
		  . q{SELECT status FROM vqueue.join('busy'); COMMIT}, "and in a savepoint, round $round");
}
is(worker_pid($node, 'd'), $worker, 'the worker was not disturbed');
releases_go_on('d', 'and releases go on');
crowd_is_there('d', 5000, 'DROP EXTENSION rolled back');

# Taken away and made anew, as a script that reinstalls does, and rolled back.
ddl('d', q{BEGIN; SELECT status FROM vqueue.join('busy'); DROP EXTENSION vqueue; CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('busy'); SELECT status FROM vqueue.join('busy'); ROLLBACK},
	'DROP and CREATE EXTENSION rolled back under load');
releases_go_on('d', 'and releases go on');
crowd_is_there('d', 5000, 'reinstalling rolled back');
is($crowd->stop, '', 'no client of the crowd got an error');
$storm->finish('DROP EXTENSION rolled back') if $storm;
undef $storm;
is($node->safe_psql('d', q{SELECT count(*) FROM vqueue.overview WHERE failures > 0}), '0', 'nor did the worker fail');

# ---- DROP EXTENSION, committed ----

$crowd = pgbench_crowd($node, 'd', $visits);
releases_go_on('d', 'a crowd runs again');
ddl('d', 'DROP EXTENSION vqueue CASCADE', 'DROP EXTENSION under load');
like($crowd->finish, qr{does not exist|could not open relation}, 'the crowd is told that it is gone');
ok($node->poll_query_until('watch', q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE backend_type = 'vqueue worker' AND datname = 'd'}), 'the worker leaves');
ok($node->poll_query_until('watch', "SELECT queues = $queues FROM vqueue.memory()"), 'and the queues leave memory');

# Reinstalled in one transaction that had used it before: what it did to its
# old queues must not reach those who get their memory next, here a queue of
# another database.
foreach my $end (qw(COMMIT ROLLBACK))
{
	make_busy('d', 5);
	$node->safe_psql('d', q{SELECT vqueue.pause('busy')});
	my $session = psql_session($node, 'd');
	$session->query_safe(q{BEGIN;
		SELECT vqueue.create_queue('new', state => 'paused');
		SELECT status FROM vqueue.join('new');
		SELECT (vqueue.leave(id)).status FROM vqueue.user_sessions WHERE left_at IS NULL;
		SELECT status FROM vqueue.join('busy');
		DROP EXTENSION vqueue; CREATE EXTENSION vqueue});
	$node->safe_psql('watch', q{
		SELECT vqueue.create_queue('next' || n, state => 'paused') FROM generate_series(1, 3) AS n;
		SELECT vqueue.join_many('next' || n, } . users('c', 1, 9) . q{) FROM generate_series(1, 3) AS n});
	$session->query_safe($end);
	$session->quit;
	check_clean($node, 'watch', "reinstalled with $end: memory of another database is right");
	positions_right($node, 'watch', 'with all positions');
	check_clean($node, 'd', 'and its own');
	$node->safe_psql('watch', q{SELECT vqueue.drop_queue('next' || n, true) FROM generate_series(1, 3) AS n});
	$node->safe_psql('d', 'DROP EXTENSION vqueue CASCADE');
}
ok($node->poll_query_until('watch', "SELECT queues = $queues FROM vqueue.memory()"), 'all of their queues leave memory');

# ---- CREATE EXTENSION in a long transaction, as a migration or a restore is ----

# The launcher has a look at the new database meanwhile.  Its worker does not
# see the extension yet, and must leave what the transaction has in memory.
# The launcher passes over templates.
$node->safe_psql('postgres', 'CREATE DATABASE fresh IS_TEMPLATE true');
foreach my $end (qw(ROLLBACK COMMIT))
{
	my $session = psql_session($node, 'fresh');
	my $offset = -s $node->logfile;

	$session->query_safe(q{BEGIN; CREATE EXTENSION vqueue; SELECT vqueue.create_queue('q', state => 'paused');
		SELECT count(*) FROM vqueue.join_many('q', } . users('a', 1, 10) . ')');
	if ($end eq 'ROLLBACK')
	{
		# The launcher looks at all databases when somebody wakes it up.
		$node->safe_psql('postgres', 'ALTER DATABASE fresh IS_TEMPLATE false');
		$node->safe_psql('d', 'CREATE EXTENSION vqueue');
		$node->wait_for_log(qr/starting background worker process "vqueue worker for database fresh".*background worker "vqueue worker" \(PID \d+\) exited with exit code 0/s,
			$offset);
	}
	is($session->query_safe(q{SELECT count(*), max(position) FROM vqueue.join_many('q', } . users('b', 1, 10) . ')'),
		'10|20', 'the transaction goes on');
	$session->query_safe($end);
	$session->quit;
}
check_clean($node, 'fresh', 'all is right when it has committed');
positions_right($node, 'fresh', 'with all positions');
ok(wait_for_worker($node, 'fresh'), 'and a worker comes');
$node->safe_psql('postgres', 'DROP DATABASE fresh');

# ---- databases, with the worker busy ----

make_busy('d', 5000);
foreach my $round (1 .. $rounds)
{
	my $strategy = $round % 2 ? 'file_copy' : 'wal_log';

	ddl('postgres', "CREATE DATABASE copy TEMPLATE d STRATEGY $strategy", "CREATE DATABASE by $strategy, round $round");
	crowd_is_there('copy', 5000, 'the copy');
	ok(wait_for_worker($node, 'copy'), 'the copy has a worker');
	releases_go_on('copy', 'that lets people in');
	releases_go_on('d', 'as the original\'s does');
	crowd_is_there('d', 5000, 'the original');

	ddl('postgres', 'ALTER DATABASE copy RENAME TO renamed', "ALTER DATABASE RENAME, round $round");
	ddl('postgres', 'ALTER DATABASE renamed RENAME TO copy', 'and at once again');
	releases_go_on('copy', 'the renamed database goes on');
	ddl('postgres', 'DROP DATABASE copy' . ($round % 2 ? '' : ' WITH (FORCE)'), "DROP DATABASE, round $round");
}

# Two copies of one template at the same time; the worker stays away for both.
my @copiers = map { psql_session($node, 'postgres') } 1 .. 2;
$copiers[$_]->send("CREATE DATABASE twin$_ TEMPLATE d STRATEGY file_copy") foreach 0 .. 1;
$_->wait foreach @copiers;
is(join('', map { $_->error } @copiers), '', 'a database is copied twice at the same time');
releases_go_on('d', 'and goes on');
ok(wait_for_worker($node, "twin$_"), "copy $_ has a worker") foreach 0 .. 1;
$copiers[$_]->send("DROP DATABASE twin$_") foreach 0 .. 1;
$_->wait foreach @copiers;
is(join('', map { $_->error } @copiers), '', 'the copies are dropped at the same time');

# ---- commands that the crowd keeps from running ----

$crowd = pgbench_crowd($node, 'd', $visits);
releases_go_on('d', 'a crowd comes');
# Each gives up only after five seconds, by the server's own rule.
my @commands = ('CREATE DATABASE copy TEMPLATE d');
push @commands, 'ALTER DATABASE d RENAME TO renamed', 'DROP DATABASE d' if $ENV{VQ_TORTURE};
foreach my $command (@commands)
{
	fails_with($node, 'postgres', $command, '55006', qr/being accessed by other users/, "$command under load");
	releases_go_on('d', 'and the worker is back');
}

# Whoever gives such a command is terminated while it waits.
my $pid = $copiers[0]->backend_pid;
$copiers[0]->send('DROP DATABASE d');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid AND query = 'DROP DATABASE d;'
	AND state = 'active' AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'vqueue worker' AND datname = 'd')"),
	'DROP DATABASE has sent the worker away and waits');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
$copiers[0]->abandon;
releases_go_on('d', 'it is terminated, and the worker comes back');
is($crowd->stop, '', 'no client of the crowd got an error');
crowd_is_there('d', 5000, 'after commands that failed');

# ---- WITH (FORCE), by an owner who is no superuser ----

$node->safe_psql('postgres', q{CREATE ROLE owner CREATEDB; GRANT owner TO CURRENT_USER; ALTER DATABASE d OWNER TO owner});
$node->safe_psql('postgres', q{CREATE ROLE visitor LOGIN; GRANT visitor TO owner});
$node->safe_psql('d', q{SELECT vqueue.grant_access('visitor', 'default', 'app')});

# The worker is a superuser's process, which the owner may not terminate.
my $guest;
{
	local $ENV{PGUSER} = 'visitor';

	$guest = psql_session($node, 'd');
	$guest->query_safe(q{BEGIN; SELECT status FROM vqueue.join('busy')});
	$crowd = pgbench_crowd($node, 'd', "SELECT status FROM vqueue.join('busy');\n");
}
releases_go_on('d', 'a crowd comes');
ddl('postgres', "SET ROLE owner;\nDROP DATABASE d WITH (FORCE)", 'DROP DATABASE WITH (FORCE) under load');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'd'}), '0', 'it is gone');
like($crowd->finish, qr/terminat|connection|does not exist/, 'the crowd is sent away');
$guest->abandon;
$copiers[1]->quit;

# ---- what is left ----

$neighbours->finish('in the other database nobody noticed');
check_clean($node, 'other', 'and memory is right there');
$node->safe_psql('other', q{DELETE FROM vqueue.queues WHERE name <> 'busy'; DELETE FROM vqueue.user_sessions});
ok($node->poll_query_until('watch', 'SELECT used, queues FROM vqueue.memory()', $empty), 'all memory is given back');
ok($node->poll_query_until('watch', q{SELECT databases = 2 FROM vqueue.memory()}), 'and the databases are forgotten');
is($node->safe_psql('watch', q{SELECT status FROM vqueue.health() WHERE "check" = 'memory'}), 'ok', 'health says so');

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
unlike($log, qr/vqueue (?:worker|launcher) (?:ERROR|FATAL):  (?!terminating background worker)/, 'no error of a worker or of the launcher');
done_testing();
