#
# The rate and the cap are hard bounds, by the times on the rows; and within
# them nothing waits longer than it must.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('even', 600, 1000000);
	SELECT vqueue.create_queue('burst', 600, 1000000, burst => 25);
	SELECT vqueue.create_queue('altered', 600, 1000000, burst => 5);
	SELECT vqueue.create_queue('halted', 6000, 1000000);
	SELECT vqueue.create_queue('byhand', 600, 1000000);
	SELECT vqueue.create_queue('capped', 60000, 7);
	SELECT vqueue.create_queue('chain', 1000000, 1);
	SELECT vqueue.create_queue('storm', 10000000, 2);
	SELECT vqueue.create_queue('undone', 60000, 1000000, burst => 1000)});
wait_for_worker($node);

sub served
{
	my ($queue) = @_;

	return "(SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$queue'))";
}

# ---- tokens that a rolled back transaction gives back ----

# All tokens are taken by a transaction, and the bucket fills up again before
# it ends: what it gives back must not come on top.
my $undoer = psql_session($node);
is($undoer->query_safe(q{BEGIN; SELECT count(*) FROM vqueue.join_many('undone', } . users('a', 1, 1000)
		  . q{) WHERE status = 'serving'}), '1000', 'a transaction takes all tokens of a burst');

# ---- even pacing, with all the others under way at the same time ----

foreach my $queue (qw(even burst altered halted byhand))
{
	$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('$queue', " . users('a', 1, 1000) . ')');
}

# Released by hand, past the rate.
$node->safe_psql('postgres', q{
	CREATE TABLE hand AS SELECT clock_timestamp() AS at, vqueue.release('byhand', 25) AS n});
is($node->safe_psql('postgres', 'SELECT n FROM hand'), '25', 'release() by hand goes past the rate');

# Settings change while it runs.
my $operator = psql_session($node);
foreach my $round (1 .. 40)
{
	my ($rate, $burst) = $round % 2 ? (3000, 20) : (300, 5);

	$operator->query_safe("SELECT vqueue.alter_queue('altered', release_rate_per_minute => $rate, burst => $burst)");
	$operator->query_safe('SELECT vqueue.pause(\'halted\')');
	$operator->query_safe('SELECT vqueue.resume(\'halted\')');
}

ok($node->poll_query_until('postgres', 'SELECT ' . served('even') . ' >= 40'), 'releases are made');
$node->safe_psql('postgres', "SELECT vqueue.pause('$_')") foreach qw(even burst altered halted);
cmp_ok(count_over_rate($node, 'postgres', 'even', 600), '<=', 1,
	'600 a minute: never more than 1 + rate * w in any window');
cmp_ok(count_over_rate($node, 'postgres', 'burst', 600), '<=', 25,
	'burst 25: never more than 25 + rate * w');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('burst')
	AND served_at <= (SELECT min(joined_at) + '1 ms' FROM vqueue.user_sessions WHERE queue_id = s.queue_id AND served_at IS NOT NULL)}),
	'>=', 1, 'and the burst comes at once');
cmp_ok(count_over_rate($node, 'postgres', 'altered', 3000), '<=', 20,
	'alter_queue while it runs: within the higher of the rates and bursts');
cmp_ok(count_over_rate($node, 'postgres', 'halted', 6000), '<=', 10,
	'pause and resume do not add to the rate');

is($node->safe_psql('postgres', q{
	SELECT count(*) FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('even') AND served_at IS NOT NULL
	 AND EXISTS (SELECT FROM vqueue.user_sessions e WHERE e.queue_id = s.queue_id AND e.ticket < s.ticket
	              AND (e.served_at IS NULL OR e.served_at > s.served_at))}), '0', 'all in order');

# What was released by hand is paid back: after 25 by hand the k-th release by
# the worker comes when (25 + k) tokens have been gained.
ok($node->poll_query_until('postgres', 'SELECT ' . served('byhand') . ' >= 32'), 'the worker goes on after a release by hand');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (
		SELECT served_at - (SELECT at FROM hand) AS after, row_number() OVER (ORDER BY ticket) AS k
		  FROM (SELECT * FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('byhand') AND served_at >= (SELECT at FROM hand)
		         ORDER BY ticket OFFSET 25) l) r
	 WHERE after < (24 + k - 1) * interval '0.1 s'}), '0', 'once the rate has made up for it');

# ---- the rolled back tokens, some seconds later ----

is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('undone', } . users('b', 1, 1000)
		  . q{) WHERE status = 'serving'}), '1000', 'the bucket is full again');
$undoer->query_safe('ROLLBACK');
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('undone', } . users('c', 1, 3000) . ')');
ok($node->poll_query_until('postgres', 'SELECT ' . served('undone') . ' >= 2000'), 'releases go on');
cmp_ok(count_over_rate($node, 'postgres', 'undone', 60000), '<=', 1000,
	'tokens given back by a rolled back transaction do not add to the burst');
$undoer->quit;

# ---- paused means nobody is let in ----

$node->safe_psql('postgres', q{
	CREATE TABLE halts (since timestamptz, until timestamptz);
	SELECT vqueue.resume('halted')});
foreach my $round (1 .. 30)
{
	$operator->query_safe('SELECT vqueue.pause(\'halted\')');
	$operator->query_safe('INSERT INTO halts VALUES (clock_timestamp(), NULL)');
	$operator->query_safe('UPDATE halts SET until = clock_timestamp() WHERE until IS NULL');
	$operator->query_safe('SELECT vqueue.resume(\'halted\')');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions s JOIN halts h ON s.served_at BETWEEN h.since AND h.until
	WHERE s.queue_id = vqueue._queue('halted')}), '0', 'nobody is let in between pause() and resume()');

# ---- the cap ----

$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('capped', " . users('a', 1, 600) . ')');
$node->safe_psql('postgres', q{
	CREATE PROCEDURE complete_all(wanted uuid, upto int) LANGUAGE plpgsql AS $$
	DECLARE
		done int := 0;
		n int;
		deadline timestamptz := clock_timestamp() + interval '} . $PostgreSQL::Test::Utils::timeout_default . q{ s';
	BEGIN
		WHILE done < upto AND clock_timestamp() < deadline LOOP
			SELECT count(vqueue.complete(s.id)) INTO n
			  FROM (SELECT id FROM vqueue.user_sessions WHERE queue_id = wanted AND status = 'serving' ORDER BY ticket LIMIT 3) s;
			done := done + n;
			COMMIT;
		END LOOP;
		IF done < upto THEN
			RAISE EXCEPTION 'only % of % came in', done, upto;
		END IF;
	END $$});
my $completer = psql_session($node);
$completer->send(q{SELECT vqueue._queue('capped') AS q \gset
CALL complete_all(:'q', 600)});
foreach my $round (1 .. 20)
{
	my $cap = $round % 2 ? 3 : 7;
	$operator->query_safe("SELECT vqueue.alter_queue('capped', max_concurrent_users => $cap)");
	$operator->query_safe("SELECT vqueue.release('capped', 5)");
}
$operator->query_safe("SELECT vqueue.alter_queue('capped', max_concurrent_users => 7)");
$completer->wait;
is($completer->error, '', 'everybody gets in and out under a changing cap');
cmp_ok(count_over_cap($node, 'postgres', 'capped'), '<=', 7, 'the cap was never passed');
is(count_over_cap($node, 'postgres', 'capped') > 3, 1, 'though it was used');

# ---- a chain: each freed slot goes to the next ----

$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('chain', " . users('a', 1, 200) . ')');
$completer->query(q{SELECT vqueue._queue('chain') AS q \gset
CALL complete_all(:'q', 200)});
is($completer->error, '', 'a chain of 200 goes through one slot');
is(count_over_cap($node, 'postgres', 'chain'), '1', 'one at a time');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT served_at, lag(left_at) OVER (ORDER BY ticket) AS freed
	FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('chain')) c WHERE served_at < freed}), '0',
	'each after the one before, in order');

# ---- small storms: when all is quiet again no slot is left unused ----

my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/join.sql", "SELECT status FROM vqueue.join('storm');\n");
append_to_file("$dir/slow.sql", "BEGIN;\nSELECT status FROM vqueue.join('storm');\nSELECT pg_backend_pid();\nEND;\n");
append_to_file("$dir/undo.sql", "BEGIN;\nSELECT status FROM vqueue.join('storm');\nROLLBACK;\n");
append_to_file("$dir/end.sql", "SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions\n"
	  . " WHERE status = 'serving' AND queue_id = vqueue._queue('storm') FOR UPDATE SKIP LOCKED) s;\n");
my $stuck = 0;
foreach my $round (1 .. 15)
{
	$node->command_ok(
		[
			'pgbench', '-n', '-c', '6', '-t', '25', '-f', "$dir/join.sql\@2", '-f', "$dir/slow.sql\@2",
			'-f', "$dir/undo.sql\@1", '-f', "$dir/end.sql\@5", 'postgres'
		],
		"storm $round");
	$stuck++ unless $node->poll_query_until('postgres', q{
		SELECT serving = least(2, waiting + serving) FROM vqueue.overview WHERE queue = 'storm'});
}
is($stuck, 0, 'after a storm all slots are used if anybody waits');
is(count_over_cap($node, 'postgres', 'storm') <= 2, 1, 'and the cap was kept');
check_clean($node, 'postgres', 'memory is right');

is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE failures > 0}), '0', 'no queue failed');

$_->quit foreach ($operator, $completer);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
