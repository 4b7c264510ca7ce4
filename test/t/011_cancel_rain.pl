#
# pg_cancel_backend() and pg_terminate_backend() at random moments: first on one
# long statement after the other, each of another kind, then on everything at
# once, clients, worker and launcher, in a storm.  What was under way leaves
# nothing behind, neither in memory nor in the tables, and the room goes on.
#
# VQ_TORTURE=N rains N times ten times as long.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);
use VqueueNode;

my $seed = $ENV{VQ_SEED} || 1 + int(rand(1000000000));
diag("VQ_SEED=$seed");
srand($seed);

my $longer = $ENV{VQ_TORTURE} ? 10 * $ENV{VQ_TORTURE} : 1;
my $rate = 6000;
# Where something has been left behind that others wait for, an end.
my $patience = $PostgreSQL::Test::Utils::timeout_default;
my $node = new_vqueue_node('main', conf => "restart_after_crash = on\nmax_connections = 60\nstatement_timeout = ${patience}s");

$node->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('big', $rate, 5000, burst => 50);
	SELECT count(*) FROM vqueue.join_many('big', (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 10000)))});
wait_for_worker($node);
my $operator = psql_session($node);

# ---- one statement at a time ----

# Each can be run again and again.  Multiples of 1000 come in by hand, hence
# past the rate; nobody comes in by it while the queue is paused.
my $users = '(SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 2000))';
my @some = map { "(SELECT id FROM vqueue.user_sessions WHERE status = '$_' ORDER BY random() LIMIT 1500)" } qw(waiting serving);
my %statements = (
	'join_many' => "SELECT count(*) FROM vqueue.join_many('big', $users)",
	'joins one by one' => q{SELECT count((vqueue.join('big')).id) FROM generate_series(1, 500)},
	'joins under savepoints' => qq{
		BEGIN;
		SAVEPOINT a;
		SELECT count(*) FROM vqueue.join_many('big', $users);
		SAVEPOINT b;
		SELECT count(*) FROM vqueue.join_many('big', $users, 'high');
		ROLLBACK TO b;
		SELECT vqueue.release('big', 100);
		SAVEPOINT c;
		SELECT count(vqueue.leave(id)) FROM $some[0] s;
		RELEASE a;
		COMMIT},
	'joins that are caught' => qq{
		DO \$\$ BEGIN
			FOR i IN 1 .. 20 LOOP
				BEGIN
					PERFORM vqueue.join_many('big', (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 100)));
					RAISE EXCEPTION 'no';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END LOOP;
		END \$\$},
	'release' => q{SELECT vqueue.release('big', 1000)},
	'complete' => "SELECT count(vqueue.complete(id)) FROM $some[1] s",
	'leave' => "SELECT count(vqueue.leave(id)) FROM $some[0] s",
	'rows moved by hand' => qq{UPDATE vqueue.user_sessions SET priority = CASE priority WHEN 'high' THEN 'low' ELSE 'high' END
		WHERE id IN $some[0]},
	'rows deleted by hand' => "DELETE FROM vqueue.user_sessions WHERE id IN $some[0]",
	'rows written by hand' => q{INSERT INTO vqueue.user_sessions (queue_id, user_id)
		SELECT vqueue._queue('big'), gen_random_uuid() FROM generate_series(1, 2000)},
	'rebuild' => 'SELECT vqueue.rebuild() FROM generate_series(1, 20)',
	'check' => 'SELECT count(c) FROM generate_series(1, 10), LATERAL (SELECT vqueue.check() AS c OFFSET 0) l',
	'queues made and dropped' => q{
		DO $$ BEGIN
			FOR i IN 1 .. 30 LOOP
				PERFORM vqueue.create_queue('brief');
				PERFORM vqueue.join_many('brief', (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 20)));
				PERFORM vqueue.alter_queue('brief', release_rate_per_minute => 60 + i);
				PERFORM vqueue.drop_queue('brief', force => true);
			END LOOP;
		END $$});

# What is in the table and nothing else is in memory; else it has leaked.
sub nothing_is_left
{
	my ($when) = @_;

	check_clean($node, 'postgres', "$when: memory is right");
	ok($node->poll_query_until('postgres', q{
		SELECT bool_and((o.waiting, o.serving) = (
			SELECT count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status IN ('ready', 'serving'))
			  FROM vqueue.user_sessions WHERE queue_id = o.id))
		  FROM vqueue.overview o}), "$when: and holds nothing else");
	return;
}

# How long a statement takes when nobody cuts it short.
sub time_of
{
	my ($session, $sql) = @_;
	my $start = time;

	$session->query_safe($sql);
	return time - $start;
}

# Cut a statement short, if it does not end before; returns its error.
sub strike
{
	my ($sql, $takes, $function) = @_;
	my $session = psql_session($node);
	my $pid = $session->backend_pid;

	$session->send($sql);
	sleep(rand($takes));
	$operator->query_safe("SELECT $function($pid)");
	my $ended = eval { $session->wait; 1 };
	my $error = $ended ? $session->error : '57P01';

	$error =~ /57P01/ ? $session->abandon : $session->quit;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid")
	  or die "backend $pid is still there";
	return $error;
}

# Both are tried on each statement, anywhere in its time, and earlier if it has ended
# before, as where the machine has become faster than it was when the time was taken.
sub cut_short
{
	my ($name, $takes, $function) = @_;
	my $error;

	for (my $tries = 0; $tries < 5; $tries++)
	{
		$error = strike($statements{$name}, $takes / 2**$tries, $function);
		last if $error ne '';
	}
	like($error, qr/^$|57014|57P01/, "$name, $function: either done or cut short");
	return $error ne '';
}

$node->safe_psql('postgres', q{SELECT vqueue.pause('big')});
my $cut = 0;
my $tries = 0;
foreach my $name (sort keys %statements)
{
	my $session = psql_session($node);
	my $takes = time_of($session, $statements{$name});

	$session->quit;
	foreach my $function (('pg_cancel_backend', 'pg_terminate_backend') x $longer)
	{
		$tries++;
		$cut++ if cut_short($name, $takes, $function);
		nothing_is_left("$name, $function");
	}
}
note("$cut of $tries statements were cut short");
cmp_ok($cut, '>=', $tries / 4, 'many statements were cut short');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.queues WHERE name = 'brief'}), '0', 'no queue is left behind');
$node->safe_psql('postgres', q{SELECT vqueue.resume('big')});

# ---- rain on everybody ----

# The names of the processes that a drop may hit, and how often it does.  A
# worker takes a second to come back, so it must not be hit all the time.
my %targets = (
	clients => "backend_type = 'client backend' AND pid <> pg_backend_pid()",
	worker => "backend_type = 'vqueue worker'",
	launcher => "backend_type = 'vqueue launcher'");
my %hits = map { ("$_ canceled" => 0, "$_ terminated" => 0) } keys %targets;

sub drop
{
	my $chance = rand(100);
	my $target = $chance < 94 ? 'clients' : $chance < 98 ? 'worker' : 'launcher';
	my ($function, $done) = rand() < 0.6 ? ('pg_cancel_backend', 'canceled') : ('pg_terminate_backend', 'terminated');
	my $random = rand();
	my $hit = $operator->query_safe(qq{
		SELECT $function((array_agg(pid ORDER BY pid))[1 + floor($random * count(*))]) FROM pg_stat_activity WHERE $targets{$target}});

	$hits{"$target $done"}++ if $hit eq 't';
	return;
}

sub served
{
	return $node->safe_psql('postgres', 'SELECT count(served_at) FROM vqueue.user_sessions');
}

my $storm = start_storm($node,
	seconds => 300 * $longer, clients => 10, queues => 2, faults => 1, seed => $seed, prefix => 'rain');
ok($node->poll_query_until('postgres', q{
	SELECT count(served_at) > 20 FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id WHERE q.name LIKE 'rain%'}),
	'a crowd is there');
foreach my $shower (1 .. 3 * $longer)
{
	my $before = served();

	foreach (1 .. 50)
	{
		drop();
		sleep(rand(0.06));
	}
	ok(wait_for_worker($node), "shower $shower: there is a worker");
	ok($node->poll_query_until('postgres', "SELECT count(served_at) > $before FROM vqueue.user_sessions"),
		"shower $shower: people come in");
	check_clean($node, 'postgres', "shower $shower: memory is right");
}
# Each kind of process is hit at least once, in any short rain.
foreach my $target (qw(worker launcher))
{
	foreach my $function (qw(pg_cancel_backend pg_terminate_backend))
	{
		ok($node->poll_query_until('postgres', "SELECT bool_or($function(pid)) FROM pg_stat_activity WHERE $targets{$target}"),
			"$function() hits the $target");
	}
}
note("$_: $hits{$_}") foreach sort keys %hits;
ok(wait_for_worker($node), 'there is a worker after the rain');
$storm->finish('in the rain');

ok($node->poll_query_until('postgres', 'SELECT sum(failures) = 0 FROM vqueue.overview'), 'no queue counts as failing');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), 'health is fine');
nothing_is_left('after the rain');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT FROM vqueue.user_sessions GROUP BY queue_id, ticket HAVING count(*) > 1) d}), '0',
	'no ticket is there twice');

$operator->quit;
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|terminating any other active/, 'nothing crashed');
done_testing();
