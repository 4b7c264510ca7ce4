#
# kill -9 of the worker, of a backend in the middle of a join, and of the
# postmaster: everybody whose join was acknowledged is still there, in one
# state, and memory agrees with the tables.
#
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'restart_after_crash = on');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('room', 60000, 500)});
wait_for_worker($node);

# Sessions by their id, as clients were told.
my %acknowledged;

sub join_some
{
	my ($tag, $from, $to) = @_;
	my $places = $node->safe_psql('postgres',
		"SELECT id, ticket, user_id FROM vqueue.join_many('room', " . users($tag, $from, $to) . ')');

	foreach my $line (split /\n/, $places)
	{
		my ($id, $ticket, $user) = split /\|/, $line;
		$acknowledged{$id} = [ $ticket, $user ];
	}
	return;
}

# Completes those inside, so that releases go on.
sub complete_all
{
	$node->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions WHERE status = 'serving'});
	return;
}

sub wait_for_crash_recovery
{
	my ($old) = @_;

	return $node->poll_query_until('postgres',
		"SELECT pg_postmaster_start_time() IS NOT NULL AND NOT pg_is_in_recovery()
		 AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $old)");
}

sub all_are_there
{
	my ($after, $uncommitted) = @_;
	my %rows;

	foreach my $line (split /\n/, $node->safe_psql('postgres', q{
		SELECT id, ticket, user_id, status FROM vqueue.user_sessions}))
	{
		my ($id, $ticket, $user, $status) = split /\|/, $line;
		$rows{$id} = [ $ticket, $user, $status ];
	}
	my @lost = grep { !defined $rows{$_} || $rows{$_}[0] != $acknowledged{$_}[0]
		  || $rows{$_}[1] ne $acknowledged{$_}[1] } keys %acknowledged;
	is(scalar(@lost), 0, "$after: everybody acknowledged is there with their ticket");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions
		WHERE status NOT IN ('waiting', 'serving', 'completed')}), '0', "$after: in a state they were brought to");
	check_clean($node, 'postgres', "$after: memory is right");

	# The overview counts memory, with uncommitted joins, the query the table.
	$uncommitted = 0 unless defined $uncommitted;
	ok($node->poll_query_until('postgres', qq{
		SELECT (SELECT sum(waiting + serving) FROM vqueue.overview)
		       = (SELECT count(*) + $uncommitted FROM vqueue.user_sessions WHERE left_at IS NULL)}), "$after: counts agree");
	return;
}

sub releases_go_on
{
	my ($after) = @_;

	complete_all();
	my $served = $node->safe_psql('postgres', 'SELECT count(served_at) FROM vqueue.user_sessions');
	ok($node->poll_query_until('postgres',
			"SELECT count(served_at) > $served FROM vqueue.user_sessions"),
		"$after: releases go on");
	cmp_ok(count_over_cap($node, 'postgres', 'room'), '<=', 500, "$after: the cap was kept");
	return;
}

# ---- the worker ----

join_some('a', 1, 5000);
ok($node->poll_query_until('postgres', q{SELECT serving = 500 FROM vqueue.overview}),
	'the room fills up');
complete_all();
my $pid = worker_pid($node);
kill 'KILL', $pid;
ok(wait_for_crash_recovery($pid), 'the server recovers from kill -9 of the worker');
ok(wait_for_worker($node, 'postgres', $pid), 'and has a worker again');
all_are_there('worker killed');
releases_go_on('worker killed');

# ---- the launcher ----

$pid = launcher_pid($node);
kill 'KILL', $pid;
ok(wait_for_crash_recovery($pid), 'the server recovers from kill -9 of the launcher');
ok(wait_for_worker($node), 'and has a worker again');
all_are_there('launcher killed');
releases_go_on('launcher killed');

# ---- a backend in the middle of join_many ----

# Stopped by a lock on the last of its users, whom another session joins.
my $other = psql_session($node);
$other->query_safe(q{BEGIN; SELECT ticket FROM vqueue.join('room', '} . 'b' . ('0' x 27) . q{2000')});
my $joiner = psql_session($node);
my $joiner_pid = $joiner->backend_pid;
$joiner->send("SELECT count(*) FROM vqueue.join_many('room', " . users('b', 1, 2000) . ')');
ok($node->poll_query_until('postgres', qq{SELECT count(*) > 0 FROM pg_locks
	WHERE pid = $joiner_pid AND NOT granted}), 'a join_many is under way');
kill 'KILL', $joiner_pid;
ok(wait_for_crash_recovery($joiner_pid), 'the server recovers from kill -9 of a joining backend');
ok(wait_for_worker($node), 'and has a worker again');
$_->abandon foreach ($joiner, $other);
all_are_there('joiner killed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions WHERE user_id::text LIKE 'b0000000%'}),
	'0', 'nobody of those who had not committed is there');
join_some('b', 1, 2000);
releases_go_on('joiner killed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM vqueue.user_sessions
	GROUP BY queue_id, ticket HAVING count(*) > 1) d}), '0', 'no ticket is there twice');

# A backend that is terminated rather than killed gives back what it reserved.
$other = psql_session($node);
$other->query_safe(q{BEGIN; SELECT ticket FROM vqueue.join('room', '} . 'c' . ('0' x 27) . q{2000')});
$joiner = psql_session($node);
$joiner_pid = $joiner->backend_pid;
$joiner->send("SELECT count(*) FROM vqueue.join_many('room', " . users('c', 1, 2000) . ')');
$node->poll_query_until('postgres', qq{SELECT count(*) > 0 FROM pg_locks
	WHERE pid = $joiner_pid AND NOT granted}) or die 'join_many does not wait';
$node->safe_psql('postgres', "SELECT pg_terminate_backend($joiner_pid)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $joiner_pid"),
	'a joining backend is terminated');
$joiner->abandon;
all_are_there('joiner terminated', 1);
$other->query_safe('ROLLBACK');
$other->quit;
all_are_there('the other rolled back');
releases_go_on('joiner terminated');

# ---- the postmaster, while a crowd joins and leaves ----

my $script = PostgreSQL::Test::Utils::tempdir() . '/crowd.sql';
append_to_file($script, q{
SELECT id AS session FROM vqueue.join('room') \gset
SELECT vqueue.leave(':session');
SELECT id AS session FROM vqueue.join('room') \gset
});
my $crowd = IPC::Run::start(
	[
		$node->installed_command('pgbench'), '-n', '-c', '4', '-T', '600', '-f', $script,
		'-h', $node->host, '-p', $node->port, 'postgres'
	],
	'<', \undef, '>', \my $crowd_out, '2>', \my $crowd_err);
ok($node->poll_query_until('postgres', q{SELECT count(*) > 500 FROM vqueue.user_sessions WHERE status = 'left'}),
	'a crowd joins and leaves');
foreach my $i (1 .. 10)
{
	join_some('d', $i * 100, $i * 100 + 99);
	complete_all();
}
# Killed with all its children, as a machine's end would do it.
my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');
$node->kill9;
# The children notice by themselves; wait until all are gone.
foreach my $child (@pids)
{
	my $tries = 0;
	while (kill(0, $child) && $tries++ < 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		select(undef, undef, undef, 0.1);
	}
}
IPC::Run::finish($crowd);
$node->start;
ok(wait_for_worker($node), 'the server starts after kill -9 of the postmaster');
$node->safe_psql('postgres', q{DELETE FROM vqueue.user_sessions WHERE status = 'left'});
all_are_there('postmaster killed');
releases_go_on('postmaster killed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT FROM vqueue.user_sessions
	WHERE left_at IS NULL GROUP BY queue_id, user_id HAVING count(*) > 1) d}), '0',
	'nobody has two live sessions');

# Everybody gets through in the end.
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('room', max_concurrent_users => 1000000, release_rate_per_minute => 10000000)});
ok($node->poll_query_until('postgres', 'SELECT waiting = 0 FROM vqueue.overview'), 'everybody gets in');
complete_all();
all_are_there('at the end');
is($node->safe_psql('postgres', q{SELECT waiting, serving FROM vqueue.overview}), '0|0', 'and out again');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6/, 'nothing crashed by itself');
done_testing();
