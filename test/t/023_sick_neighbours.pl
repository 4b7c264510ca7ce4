#
# Queues on one worker do not feel each other: while one of them is sick, for
# whatever reason, the others let people in, one after the other, and at their pace.
# How long they have to wait is noted.  The sick one is reported, retried, and
# recovers.  A storm of clients, on queues of its own, sees that every law is kept
# meanwhile.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'shared_buffers = 64MB');

# Each neighbour lets one in every 100 ms, for a quarter of an hour.
my @neighbours = qw(n1 n2 n3);

sub set_up
{
	my ($db) = @_;

	$node->safe_psql($db, q{
		CREATE EXTENSION vqueue;
		SELECT vqueue.create_queue('sick', 600, 100000)});
	wait_for_worker($node, $db);
	foreach my $queue (@neighbours)
	{
		$node->safe_psql($db, "SELECT vqueue.create_queue('$queue', 600, 100000)");
		$node->safe_psql($db, "SELECT count(*) FROM vqueue.join_many('$queue', " . users('a', 1, 10000) . ')');
	}
	$node->safe_psql($db, "SELECT count(*) FROM vqueue.join_many('sick', " . users('a', 1, 3000) . ')');
	return;
}

my $own;

sub clock
{
	return $own->query_safe('SELECT clock_timestamp()');
}

# In each queue, how many have come in.
sub served
{
	my ($asker, $like) = @_;

	return $asker->query_safe(qq{SELECT string_agg(n::text, ' ' ORDER BY name) FROM (SELECT q.name, count(s.served_at) AS n
		FROM vqueue.queues q LEFT JOIN vqueue.user_sessions s ON s.queue_id = q.id WHERE q.name LIKE '$like' GROUP BY q.name) c});
}

# Of each neighbour three more come in from now on, and of the sick queue nobody does
# unless it is odd rather than sick; and since then it was never too early.
sub neighbours_go_on
{
	my ($since, $name, %how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $asker = $how{asker} || $own;
	my $sick = served($own, 'sick');
	my @wanted = map { $_ + 3 } split / /, served($asker, 'n_');
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	my @got;

	for (;;)
	{
		@got = split / /, served($asker, 'n_');
		last if $tries-- == 0 || !grep { $got[$_] < $wanted[$_] } 0 .. $#wanted;
		select(undef, undef, undef, 0.1);
	}
	is(scalar(grep { $got[$_] >= $wanted[$_] } 0 .. $#wanted), scalar(@neighbours), "$name: all neighbours go on");
	is(served($own, 'sick'), $sick, "$name: while nobody comes in beside them") unless $how{odd};
	my ($longest, $shortest) = split /\|/, $asker->query_safe(qq{
		WITH steps AS (
			SELECT at, 1000 * extract(epoch FROM at - lag(at) OVER (PARTITION BY queue ORDER BY at)) AS wait
			  FROM (SELECT queue, served_at AS at FROM vqueue.sessions WHERE served_at IS NOT NULL AND queue LIKE 'n_') s)
		SELECT round(max(wait) - 100), min(wait) FROM steps WHERE at >= '$since'});

	note("$name: the neighbours wait $longest ms at most");
	return cmp_ok($shortest, '>=', 100, "$name: at their pace");
}

# Changing a table locks it, and all queues wait: that is over when this returns
# the time at which the queue began to be sick.
sub make_sick_by
{
	my ($sql) = @_;
	my $began;

	$node->safe_psql('postgres', q{SELECT vqueue.pause('sick')});
	$node->safe_psql('postgres', $sql);
	$began = clock();
	$node->poll_query_until('postgres', qq{SELECT count(DISTINCT queue) = 3 FROM vqueue.sessions
		WHERE queue LIKE 'n_' AND served_at > '$began'}) or die 'the neighbours do not go on';
	$began = clock();
	$node->safe_psql('postgres', q{SELECT vqueue.resume('sick')});
	return $began;
}

sub sick_one_fails
{
	my ($times, $error, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok($node->poll_query_until('postgres', qq{SELECT failures >= $times AND last_error LIKE '%$error%'
		FROM vqueue.overview WHERE queue = 'sick'}), "$name: the overview tells");
	# The storm's may have failed for the lock on the table, until they are tried again.
	ok($node->poll_query_until('postgres', q{SELECT string_agg(queue, ' ') = 'sick' FROM vqueue.overview WHERE failures > 0}),
		"$name: of no other queue");
	return is($node->safe_psql('postgres', q{SELECT status, detail LIKE '%' || (SELECT last_error FROM vqueue.overview WHERE queue = 'sick') || '%'
		FROM vqueue.health() WHERE "check" = 'queues'}), 'fail|t', "$name: health does too");
}

sub sick_one_recovers
{
	my ($name, $odd) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $served = "SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('sick')";
	my $before = $node->safe_psql('postgres', $served);

	ok($node->poll_query_until('postgres', "SELECT ($served) > $before + 2"), "$name: people come in again");
	ok($node->poll_query_until('postgres', q{SELECT failures = 0 AND coalesce(last_error, '') = '' FROM vqueue.overview WHERE queue = 'sick'}),
		"$name: the overview says so");
	cmp_ok(count_over_rate($node, 'postgres', 'sick', 600), '<=', 1, "$name: without a burst") unless $odd;
	return check_clean($node, 'postgres', "$name: memory is right");
}

set_up('postgres');
$own = psql_session($node);
my $holder = psql_session($node);
my $storm = start_storm($node, queues => 2, clients => 6, seconds => 600);

# ---- rows locked by a client that is idle in its transaction ----

my $since = clock();
$holder->query_safe(q{BEGIN; SELECT count(*) FROM (SELECT FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('sick') AND status = 'waiting' FOR UPDATE) l});
neighbours_go_on($since, 'rows locked');
$holder->query_safe('ROLLBACK');
sick_one_recovers('rows locked');

# ---- a trigger that raises ----

$node->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not today'; END$$;
	CREATE TABLE stock (n int);
	INSERT INTO stock VALUES (0);
	CREATE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN UPDATE public.stock SET n = n + 1; RETURN NULL; END$$});
my $sick_id = $node->safe_psql('postgres', q{SELECT vqueue._queue('sick')});
my $offset = -s $node->logfile;
$since = make_sick_by(qq{CREATE TRIGGER refuse AFTER INSERT OR UPDATE ON vqueue.user_sessions FOR EACH ROW
	WHEN (NEW.queue_id = '$sick_id') EXECUTE FUNCTION refuse()});
sick_one_fails(4, 'not today', 'trigger raises');
$node->wait_for_log(qr/vqueue: queue "sick" could not be moved: not today/, $offset);
neighbours_go_on($since, 'trigger raises');
my $last = $node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview WHERE queue = 'sick'});
fails_with($node, 'postgres', q{SELECT vqueue.join('sick')}, 'P0001', qr/not today/, 'a join that the trigger refuses');
fails_with($node, 'postgres', q{SELECT count(*) FROM vqueue.join_many('sick', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3000)))},
	'P0001', qr/not today/, 'and many');
is($node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview WHERE queue = 'sick'}), $last, 'leave nobody in the line');
check_clean($node, 'postgres', 'nor anything else');
$node->safe_psql('postgres', 'DROP TRIGGER refuse ON vqueue.user_sessions');
sick_one_recovers('trigger raises');

# ---- a trigger that waits for a lock of a client that is idle in its transaction ----

$holder->query_safe('BEGIN; SELECT n FROM stock FOR UPDATE');
$offset = -s $node->logfile;
$since = make_sick_by(qq{CREATE TRIGGER count_stock AFTER UPDATE ON vqueue.user_sessions FOR EACH ROW
	WHEN (NEW.queue_id = '$sick_id') EXECUTE FUNCTION count_stock()});
sick_one_fails(4, 'lock timeout', 'trigger waits');
$node->wait_for_log(qr/vqueue: queue "sick" could not be moved: canceling statement due to lock timeout/, $offset);
neighbours_go_on($since, 'trigger waits');
$holder->query_safe('ROLLBACK');
sick_one_recovers('trigger waits');
cmp_ok($node->safe_psql('postgres', 'SELECT n FROM stock'), '>=', 3, 'trigger waits: and does its work in the end');
$node->safe_psql('postgres', 'DROP TRIGGER count_stock ON vqueue.user_sessions');

# ---- a constraint of a user's that a release breaks ----

$since = make_sick_by(qq{ALTER TABLE vqueue.user_sessions ADD CONSTRAINT never
	CHECK (NOT (queue_id = '$sick_id' AND status = 'serving')) NOT VALID});
sick_one_fails(4, 'violates check constraint "never"', 'constraint');
neighbours_go_on($since, 'constraint');

# Many join it all the same, for whom the worker has to raise its ceiling again
# and again.  That goes well, and is no reason to try a release before its time.
my @failures = map {
	$own->query_safe(q{SELECT count(*) FROM vqueue.join_many('sick', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5000)))});
	$own->query_safe(q{SELECT failures FROM vqueue.overview WHERE queue = 'sick'})
} 1 .. 6;
is(join(' ', @failures), join(' ', sort { $a <=> $b } @failures), 'constraint: joins do not undo the back-off');
$node->safe_psql('postgres', 'ALTER TABLE vqueue.user_sessions DROP CONSTRAINT never');
sick_one_recovers('constraint');

$storm->finish('a storm beside a sick queue');

# ---- settings that no check would have let in ----

my $checks = $node->safe_psql('postgres', q{
	SELECT string_agg(format('ALTER TABLE vqueue.queues ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '; ')
	  FROM pg_constraint WHERE conrelid = 'vqueue.queues'::regclass AND contype = 'c'});
$node->safe_psql('postgres', q{
	DO $$ DECLARE c text; BEGIN
		FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'vqueue.queues'::regclass AND contype = 'c' LOOP
			EXECUTE format('ALTER TABLE vqueue.queues DROP CONSTRAINT %I', c);
		END LOOP;
	END $$});
foreach my $odd ('release_rate_per_minute = 0', 'release_rate_per_minute = -2147483648', 'max_concurrent_users = -2147483648',
	'burst = -1', 'burst = 2147483647', 'max_waiting = -1', q{name = repeat(E'\x01"', 4000)})
{
	$since = clock();
	$node->safe_psql('postgres', "UPDATE vqueue.queues SET $odd WHERE id = '$sick_id'");
	$node->psql('postgres', "SELECT vqueue.join('$sick_id')");
	neighbours_go_on($since, substr($odd, 0, 40), odd => 1);
	$node->safe_psql('postgres', "UPDATE vqueue.queues SET name = 'sick', release_rate_per_minute = 600, max_concurrent_users = 100000,
		burst = 0, max_waiting = 0 WHERE id = '$sick_id'");
}
$node->safe_psql('postgres', $checks);
sick_one_recovers('odd settings', 1);

# ---- a table lock ----

# It stops all queues of its database, and those of no other.
$node->safe_psql('postgres', 'CREATE DATABASE other');
set_up('other');
my $other = psql_session($node, 'other');
$offset = -s $node->logfile;
$since = clock();
$holder->query_safe('BEGIN; LOCK TABLE vqueue.user_sessions IN EXCLUSIVE MODE');
my $pid = worker_pid($node);
$node->wait_for_log(qr/vqueue: nobody can be let in while tables of vqueue are locked/, $offset);
pass('table locked: the log tells');
ok($node->poll_query_until('postgres', q{SELECT status = 'fail' AND detail LIKE '%has locked the table vqueue.user_sessions%' AND hint LIKE '%pg_terminate_backend%'
	FROM vqueue.health() WHERE "check" = 'worker'}), 'table locked: health does too');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $pid AND NOT granted"), '0', 'table locked: the worker does not wait for it');
is($node->safe_psql('postgres', q{SELECT position FROM vqueue.poll((SELECT id FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('n1') AND ticket = (SELECT head FROM vqueue.overview WHERE queue = 'n1')))}), '1', 'table locked: polls are answered');
neighbours_go_on($since, 'table locked', asker => $other);
$holder->query_safe('COMMIT');
sick_one_recovers('table locked', 1);
is($node->safe_psql('postgres', q{SELECT status, detail FROM vqueue.health() WHERE "check" = 'worker'}), 'ok|', 'table locked: health says so');
is(worker_pid($node), $pid, 'it is the same worker all the time');

$_->quit foreach ($own, $other, $holder);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
