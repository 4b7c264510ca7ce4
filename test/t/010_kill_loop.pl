#
# A server that is killed again and again, in one way after the other and at
# random moments, with a crowd in it: nobody whose join was acknowledged is
# lost, no ticket is issued twice, cap and rate hold across all the restarts,
# and each time the room goes on by itself.
#
# Six kills; with VQ_TORTURE=N twenty times N.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(max shuffle);
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $seed = $ENV{VQ_SEED} || 1 + int(rand(1000000000));
diag("VQ_SEED=$seed");
srand($seed);

my $rounds = $ENV{VQ_TORTURE} ? 20 * $ENV{VQ_TORTURE} : 6;
my $cap = 40;
my $rate = 1200;
my $node = new_vqueue_node('main', conf => "restart_after_crash = on\nmax_connections = 60");

# The crowd storms queues of its own.  Of these two all that comes in is known:
# the first is held by its rate, the second by its cap.
$node->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('rated', $rate, 1000000, burst => 30);
	SELECT vqueue.create_queue('capped', 10000000, $cap)});
wait_for_worker($node);

# ---- what this test itself was told ----

my %acknowledged;    # ticket and user by session
my %last_ticket = (rated => 0, capped => 0);

# Whoever joins now must come after all the tickets that were ever issued.
sub join_some
{
	my ($queue, $n, $when) = @_;
	my ($least, $greatest) = (undef, 0);

	foreach my $line (split /\n/, $node->safe_psql('postgres', qq{
		SELECT id, ticket, user_id FROM vqueue.join_many('$queue', (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, $n)))}))
	{
		my ($id, $ticket, $user) = split /\|/, $line;

		$acknowledged{$id} = "$ticket|$user";
		$least = $ticket unless defined $least && $least < $ticket;
		$greatest = max($greatest, $ticket);
	}
	cmp_ok($least, '>', $last_ticket{$queue}, "$when: $queue: tickets begin above all that were issued");
	$last_ticket{$queue} = $greatest;
	return;
}

# Tickets are issued in a transaction that is open when the server dies.
sub leave_open
{
	my $session = psql_session($node);

	$session->query_safe('BEGIN');
	foreach my $queue (keys %last_ticket)
	{
		my $greatest = $session->query_safe(qq{
			SELECT max(ticket) FROM vqueue.join_many('$queue', (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 300)))});
		$last_ticket{$queue} = max($last_ticket{$queue}, $greatest);
	}
	return $session;
}

sub count_lost
{
	my %rows = map { my ($id, $rest) = split /\|/, $_, 2; $id => $rest }
	  split /\n/, $node->safe_psql('postgres', q{
		SELECT s.id, ticket, user_id FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id
		 WHERE q.name IN ('rated', 'capped')});

	return scalar grep { !defined $rows{$_} || $rows{$_} ne $acknowledged{$_} } keys %acknowledged;
}

# ---- faults ----

sub random_pid
{
	my ($condition) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', qq{
		SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND $condition ORDER BY pid});

	die "no process with $condition" unless @pids;
	return $pids[ rand @pids ];
}

# The server is dead, but those who were just about to connect may take a moment
# to see it.
sub start_again
{
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;

	until ($node->start(fail_ok => 1))
	{
		die 'the server does not start' if $tries-- == 0;
		$node->kill9;
		select(undef, undef, undef, 0.1);
	}
	return;
}

# With all its children, as when a machine ends; or alone, and they find out by
# themselves, in the middle of whatever they do.
sub kill_postmaster
{
	my ($with_children) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

	$node->kill9;
	kill('KILL', @pids) if $with_children;
	foreach my $pid (@pids)
	{
		my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;

		select(undef, undef, undef, 0.1) while (kill(0, $pid) && $tries-- > 0);
	}
	start_again();
	return;
}

my %faults = (
	'kill -9 of a client\'s backend' => sub { kill('KILL', random_pid("backend_type = 'client backend'")) },
	'kill -9 of the worker' => sub { kill('KILL', worker_pid($node)) },
	'kill -9 of the launcher' => sub { kill('KILL', launcher_pid($node)) },
	'kill -9 of the postmaster and all its children' => sub { kill_postmaster(1) },
	'an immediate stop' => sub { $node->stop('immediate'); start_again() },
	'a restart' => sub { $node->restart });
if ($rounds > 6)
{
	$faults{'kill -9 of any process'} = sub { kill('KILL', random_pid('true')) };
	$faults{'kill -9 of the postmaster alone'} = sub { kill_postmaster(0) };
}

# ---- after each fault ----

sub served
{
	my ($condition) = @_;

	return "(SELECT count(s.served_at) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id WHERE $condition)";
}

# Everybody's queues let people in.
sub goes_on
{
	my ($when) = @_;
	my @queues = ("q.name = 'rated'", "q.name = 'capped'", "q.name LIKE 'storm%'");
	my @before = split /\|/, $node->safe_psql('postgres', 'SELECT ' . join(', ', map { served($_) } @queues));

	$node->safe_psql('postgres', q{
		SELECT count(vqueue.complete(s.id)) FROM vqueue.user_sessions s
		 WHERE status = 'serving' AND queue_id = vqueue._queue('capped')});
	ok($node->poll_query_until('postgres', 'SELECT ' . join(' AND ', map { served($queues[$_]) . " > $before[$_]" } 0 .. $#queues)),
		"$when: people come in");
	return;
}

sub all_is_well
{
	my ($when) = @_;

	is(count_lost(), 0, "$when: nobody is lost");
	check_clean($node, 'postgres', "$when: memory is right");
	join_some($_, 50, $when) foreach ('rated', 'capped');
	goes_on($when);
	return;
}

# ---- the loop ----

my $storm = start_storm($node,
	seconds => 120 * $rounds, clients => 10, queues => 2, faults => 1, settings => 0, seed => $seed);
ok($node->poll_query_until('postgres', 'SELECT ' . served("q.name LIKE 'storm%'") . ' > 10'), 'a crowd is there');
join_some('rated', 2000, 'before');
join_some('capped', 1000, 'before');
all_is_well('before');

my @plan = shuffle(sort keys %faults);
push @plan, shuffle(sort keys %faults) while @plan < $rounds;
foreach my $round (1 .. $rounds)
{
	my $fault = shift @plan;
	my $when = "$round, $fault";
	my $worker = worker_pid($node);
	my $open = leave_open();

	# A random moment, not a wait for anything.
	select(undef, undef, undef, rand(0.4));
	$faults{$fault}->();
	ok(wait_for_worker($node, 'postgres', $worker), "$when: there is a worker again");
	$open->abandon;
	all_is_well($when);
}

# ---- in the end ----

$storm->finish('through ' . $rounds . ' faults');
cmp_ok(count_over_rate($node, 'postgres', 'rated', $rate), '<=', 30, 'the rate was kept across restarts');
my $inside = count_over_cap($node, 'postgres', 'capped');
is($inside, $cap, 'the cap was used, and kept across restarts');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id
	 WHERE q.name IN ('rated', 'capped') AND s.status NOT IN ('waiting', 'serving', 'completed')}),
	'0', 'everybody is in a state they were brought to');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('rated', release_rate_per_minute => 10000000)});
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 FROM vqueue.overview WHERE queue = 'rated'}), 'all get in');
is($node->safe_psql('postgres', q{SELECT serving FROM vqueue.overview WHERE queue = 'rated'}),
	$node->safe_psql('postgres', q{
	SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('rated')}), 'and nobody else');
is(count_lost(), 0, 'nobody was lost');
check_clean($node, 'postgres', 'memory is right');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6/, 'nothing crashed by itself');
done_testing();
