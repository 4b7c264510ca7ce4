#
# The system clock is stepped by an hour, back and forth, while the server
# runs: the rate is a bound in real time, nobody is held up, and memory is
# right.  Small steps, which are waited for, and a step over a restart, too.
#
# libfaketime shows the server a wall clock of the test's own; the monotonic
# clock is left alone, as it is where an administrator sets a clock.  This test
# and its clients read the real one.
#
# VQ_TORTURE=N steps it ten times N as often.
#
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use VqueueNode;

my ($library) = grep { -e } map { glob "$_/faketime/libfaketime.so.1" }
  qw(/usr/lib/*-linux-gnu* /usr/lib64 /usr/lib /usr/local/lib);
plan skip_all => 'libfaketime is not installed (Debian: faketime)' unless defined $library;

# See there why.
my $waits = PostgreSQL::Test::Utils::tempdir() . '/unfaked_waits.so';
chomp(my $cc = qx(pg_config --cc));
plan skip_all => 'no C compiler' unless system("$cc --version > /dev/null 2>&1") == 0;
system("$cc -Wall -Werror -shared -fPIC -o '$waits' '$FindBin::RealBin/unfaked_waits.c' -ldl") == 0
  or die 'unfaked_waits.c does not compile';

my $hour = 3600;
my $rounds = $ENV{VQ_TORTURE} ? 10 * $ENV{VQ_TORTURE} : 1;

# Queues with somebody waiting all the time: rate a minute, and burst.  A burst
# is what a step of the clock would let in at once, were it taken for time gone
# by; it is far above what the two clocks' readings may differ by.
my %queues = (even => [ 600, 1 ], burst => [ 600, 60 ], fast => [ 12000, 1000 ]);

# ---- the clock ----

my $clock = PostgreSQL::Test::Utils::tempdir() . '/clock';

# Replaced in one go, as the server may read it at any time.
sub set_clock
{
	my ($offset) = @_;

	append_to_file("$clock.new", sprintf("%+.1f\n", $offset));
	rename("$clock.new", $clock) or die "cannot rename $clock.new: $!";
	return;
}

sub with_clock
{
	my ($do) = @_;
	local $ENV{LD_PRELOAD} = "$waits:$library";
	local $ENV{FAKETIME_TIMESTAMP_FILE} = $clock;
	local $ENV{FAKETIME_NO_CACHE} = 1;
	local $ENV{FAKETIME_DONT_FAKE_MONOTONIC} = 1;
	local $ENV{DONT_FAKE_MONOTONIC} = 1;
	local $ENV{NO_FAKE_STAT} = 1;

	return $do->();
}

set_clock(0);
my $node = with_clock(sub { new_vqueue_node('main') });

# How far a time that the server has just taken is from ours, in hours.
sub hours_off
{
	my ($what) = @_;
	my $off = $node->safe_psql('postgres', "SELECT extract(epoch FROM $what)") - time;

	return int(($off + ($off < 0 ? -0.5 : 0.5) * $hour) / $hour);
}

# The library does what this test leans on.
is(hours_off('clock_timestamp()'), 0, 'the server begins with the right time');
my $holder = psql_session($node);
my $waiter = psql_session($node);
$holder->query_safe('SELECT pg_advisory_lock(1)');
my $waiter_pid = $waiter->backend_pid;
$waiter->send('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT pg_advisory_lock(1)');
ok($node->poll_query_until('postgres', "SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $waiter_pid"),
	'a session waits while the clock is stepped');
set_clock($hour);
$holder->query_safe('SELECT pg_advisory_unlock(1)');
my ($took) = $waiter->wait =~ /Execution Time: ([\d.]+) ms/;
is(hours_off('clock_timestamp()'), 1, 'its wall clock is stepped while it runs');
cmp_ok($took, '<', $hour * 1000, 'its monotonic clock is not');
set_clock(0);
$_->quit foreach ($holder, $waiter);

# ---- counting by the real clock ----

my $started = time;

sub served
{
	my ($queue) = @_;

	return $node->safe_psql('postgres', "SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$queue')");
}

# Since its queue was made no more came in than the burst and the rate allow:
# counted before the real time is read, hence exact.
sub within_rate_since_start
{
	my ($queue, $when) = @_;
	my ($rate, $burst) = @{ $queues{$queue} };
	my $count = served($queue);

	cmp_ok($count, '<=', $burst + $rate * (time - $started) / 60, "$queue, $when: within the rate since the start");
	return;
}

# The real times of releases.  Each was stamped with the real time and one of
# the offsets, which are so far apart that only one of them gives a time at
# which this test ran.
sub real_times
{
	my ($queue) = @_;
	my ($from, $to) = ($started - 1, time + 1);
	my @times;

	foreach my $stamp (split /\n/, $node->safe_psql('postgres', qq{
		SELECT extract(epoch FROM served_at) FROM vqueue.user_sessions
		 WHERE queue_id = vqueue._queue('$queue') AND served_at IS NOT NULL}))
	{
		my @real = grep { $_ > $from && $_ < $to } map { $stamp - $_ } (0, $hour, -$hour);

		die "$stamp is no time of this test" unless @real == 1;
		push @times, @real;
	}
	return sort { $a <=> $b } @times;
}

# The greatest number of releases above rate * w in any window of real time.
# See count_over_rate.
sub count_over_real_rate
{
	my ($queue, $rate) = @_;
	my ($least, $greatest);
	my $k = 0;

	foreach my $time (real_times($queue))
	{
		my $f = $k++ - $rate / 60 * ($time - $started);

		$least = $f if !defined $least || $f < $least;
		$greatest = $f - $least if !defined $greatest || $f - $least > $greatest;
	}
	return $greatest + 1;
}

# ---- a crowd ----

sub crowd
{
	my ($seconds, %scripts) = @_;
	my @files;

	foreach my $name (sort keys %scripts)
	{
		my $file = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";

		append_to_file($file, $scripts{$name});
		push @files, '-f', $file;
	}
	return IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-n', '-c', '3', '-T', $seconds, @files,
			'-h', $node->host, '-p', $node->port, 'postgres'
		],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

$node->safe_psql('postgres', 'CREATE EXTENSION vqueue');
wait_for_worker($node);
foreach my $queue (sort keys %queues)
{
	my ($rate, $burst) = @{ $queues{$queue} };

	$node->safe_psql('postgres', "SELECT vqueue.create_queue('$queue', $rate, 1000000, burst => $burst)");
	$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('$queue', " . users('a', 1, 50 * $rate * $rounds / 60 + 2000) . ')');
}

# Nobody waits before this door: whoever is not let in goes away at once.  So
# the joins' own backends take the tokens.
$queues{door} = [ 1200, 120 ];
# A slot for each other, without a rate that matters: releases by those who leave.
$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('door', 1200, 1000000, burst => 120);
	SELECT vqueue.create_queue('narrow', 10000000, 3)});
my $crowd = crowd(100000,
	door => q{
SELECT id AS session, status = 'waiting' AS waits FROM vqueue.join('door') \gset
\if :waits
SELECT status FROM vqueue.leave(':session');
\endif
\sleep 2 ms
},
	narrow => q{
SELECT status FROM vqueue.join('narrow');
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions
 WHERE status = 'serving' AND queue_id = vqueue._queue('narrow') FOR UPDATE SKIP LOCKED) s;
});

# ---- steps ----

# The latest release that the worker made.
sub last_release
{
	return q{(SELECT served_at FROM vqueue.user_sessions
		WHERE queue_id = vqueue._queue('even') AND served_at IS NOT NULL ORDER BY ticket DESC LIMIT 1)};
}

# All queues let people in from now on; enough of them to give a step time to
# do harm.  On a slow machine all may have come in before: then more join.
sub goes_on
{
	my ($when, @queues) = @_;

	$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('$_', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3000)))")
	  foreach split /\n/, $node->safe_psql('postgres', q{SELECT queue FROM vqueue.overview
		WHERE waiting < release_rate_per_minute / 6 AND queue IN ('even', 'burst', 'fast', 'small')});
	my %wanted = map { $_ => served($_) + ($_ eq 'fast' ? 60 : 3) } @queues;
	my $all = join(' AND ', map {
		"(SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$_')) >= $wanted{$_}"
	} sort keys %wanted);

	ok($node->poll_query_until('postgres', "SELECT $all"), "$when: people come in");
	return;
}

my @crowded = (keys %queues, 'narrow');
goes_on('before any step', @crowded);
foreach my $round (1 .. $rounds)
{
	foreach my $hours (1, 0, -1, 0, 1, -1, 1, 0)
	{
		my $when = "round $round, stepped to $hours h";

		set_clock($hours * $hour);
		goes_on($when, @crowded);
		is(hours_off('clock_timestamp()'), $hours, "$when: a backend's clock");
		is(hours_off(last_release()), $hours, "$when: the worker's clock");
		within_rate_since_start($_, $when) foreach sort keys %queues;
	}

	# What is answered while the clock is an hour behind makes sense.
	set_clock(-$hour);
	is($node->safe_psql('postgres', q{
		SELECT status, position > 0, estimated_wait > '0 s' AND estimated_wait < '1 h',
		       next_poll_after BETWEEN '1 s' AND '1 min'
		  FROM vqueue.poll((SELECT id FROM vqueue.sessions WHERE queue = 'fast' AND status = 'waiting' ORDER BY ticket DESC LIMIT 1))}),
		'waiting|t|t|t', 'poll() gives no strange times');
	set_clock(0);

	# Faster than anybody looks.
	set_clock($_ % 2 ? $hour : -$hour) foreach (1 .. 200);
	set_clock(0);
	goes_on("round $round, after steps in a row", @crowded);
	within_rate_since_start($_, 'after steps in a row') foreach sort keys %queues;
}

check_clean($node, 'postgres', 'memory is right under steps');
$crowd->signal('TERM');
$crowd->finish;

foreach my $queue (sort keys %queues)
{
	my ($rate, $burst) = @{ $queues{$queue} };

	# Two seconds more: the two clocks are read one after the other, and a process may
	# be held up in between.  A step taken for time gone by lets in another burst.
	cmp_ok(count_over_real_rate($queue, $rate), '<=', $burst + $rate / 60 * 2,
		"$queue: never more than burst + rate * w in any window of real time");
}
# These hold enough tokens to make up for the delays of most machines.
foreach my $queue (qw(burst fast))
{
	note(sprintf '%s: %d %% of what the rate allows have come in', $queue,
		100 * served($queue) / ($queues{$queue}[0] * (time - $started) / 60));
}
cmp_ok($node->safe_psql('postgres', q{SELECT serving FROM vqueue.overview WHERE queue = 'narrow'}), '<=', 3, 'the cap was kept');
ok($node->poll_query_until('postgres', q{
	SELECT (SELECT count(*) FROM vqueue.user_sessions WHERE status = 'serving' AND queue_id = o.id) = least(3, o.waiting + o.serving)
	  FROM vqueue.overview o WHERE queue = 'narrow'}), 'no slot is left unused');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.overview WHERE failures > 0'), '0', 'no queue failed');

# ---- small steps ----

# Set back by less than a second, the clock is waited for, so that the rate
# holds by what is written in the rows, too.
$node->safe_psql('postgres', q{SELECT vqueue.create_queue('small', 1200, 1000000, burst => 1)});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('small', " . users('a', 1, 500 * $rounds) . ')');
foreach my $step (map { (0.4, 0, -0.4, 0.4, 0, -0.4) } (1 .. $rounds))
{
	set_clock($step);
	goes_on("set to $step s", 'small');
}
cmp_ok(count_over_rate($node, 'postgres', 'small', 1200), '<=', 1, 'within the rate by served_at');

# ---- a step while the server is down ----

foreach my $hours (1, -1)
{
	set_clock($hours * $hour);
	goes_on("set to $hours h before a restart", qw(even fast));
	$node->stop;
	set_clock(0);
	with_clock(sub { $node->start });
	goes_on("set from $hours h to 0 h over a restart", qw(even fast));
	within_rate_since_start($_, "from $hours h over a restart") foreach sort keys %queues;
}
check_clean($node, 'postgres', 'memory is right at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
