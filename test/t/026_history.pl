#
# Statistics say what the tables say, minute by minute, though the server is
# killed while they are counted; what is purged is counted before; and no ticket
# comes twice after everything was purged.
#
# VQ_SEED repeats what is drawn here; it is noted first.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $seed = $ENV{VQ_SEED} || 1 + int(rand(1000000000));
my $rounds = 4 * ($ENV{VQ_TORTURE} || 1);
srand($seed);
note("seed $seed");

my $node = new_vqueue_node('main', conf => 'autovacuum = off');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('gate', 60000, 20, burst => 50);
	SELECT vqueue.create_queue('call', 60000, 20, burst => 50, claim_timeout => '1 hour');
	SELECT vqueue.create_queue('idle')});
wait_for_worker($node);

my $script = q{
\set q random(0, 1)
\set r random(1, 10)
SELECT status FROM vqueue.join((ARRAY['gate', 'call'])[1 + :q], gen_random_uuid());
BEGIN;
SELECT count(vqueue.claim(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'ready' AND left_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) s;
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'serving' AND left_at IS NULL LIMIT 2 FOR UPDATE SKIP LOCKED) s;
\if :r < 4
SELECT count(vqueue.leave(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' AND left_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) s;
SELECT status FROM vqueue.join('gate', gen_random_uuid());
\sleep 5 ms
\endif
\if :r = 5
ROLLBACK;
\else
COMMIT;
\endif
};

# ---- counted at random moments, and killed in the middle of that ----

foreach my $round (1 .. $rounds)
{
	my $crowd = pgbench_crowd($node, 'postgres', $script, 3);
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions');

	foreach my $part (1 .. 3)
	{
		my $more = 40 + int(rand(60));
		$node->poll_query_until('postgres', "SELECT count(*) > $before + $part * $more FROM vqueue.user_sessions") or die 'nothing happens';
		$node->safe_psql('postgres', 'SELECT vqueue._count_now()');
	}
	if ($round % 2)
	{
		# Between the read and the mark of the log, say.
		my $counted = $node->safe_psql('postgres', 'SELECT sum(counted_ticket) FROM vqueue.event_marks');
		$node->poll_query_until('postgres', "SELECT sum(counted_ticket) > $counted FROM vqueue.event_marks") or die 'nothing is counted'
		  if rand() < 0.5 && $node->safe_psql('postgres', 'SELECT vqueue._count_now()') eq '';
		$node->stop('immediate');
		eval { $crowd->stop };
		$node->start;
		wait_for_worker($node);
	}
	else
	{
		$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node) . ')');
		$crowd->stop;
	}
}

# A join that commits only when others have been counted.
my $late = psql_session($node);
$late->query_safe(q{BEGIN; SELECT status FROM vqueue.join('gate', gen_random_uuid())});
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('gate', } . users('e', 1, 20) . ')');

# Everything told, and counted after that.
sub count_all
{
	ok($node->poll_query_until('postgres', 'SELECT NOT bool_or(vqueue._untold(queue_id, ticket, \'-infinity\')) FROM vqueue.user_sessions'), 'all is told');
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$node->safe_psql('postgres', 'SELECT vqueue._count_now()');
	ok($node->poll_query_until('postgres', "SELECT counted_at >= '$now' FROM vqueue.event_log"), 'and counted');
	return;
}

my $figures = 'joined, released, completed, "left", abandoned, no_shows, expired, removed';
my $by_rows = q{
	SELECT queue_id, date_trunc('minute', at), count(*) FILTER (WHERE what = 'joined'), count(*) FILTER (WHERE what = 'released'),
	       count(*) FILTER (WHERE what = 'completed'), count(*) FILTER (WHERE what = 'left'), count(*) FILTER (WHERE what = 'abandoned'),
	       count(*) FILTER (WHERE what = 'no_show'), count(*) FILTER (WHERE what = 'expired'), count(*) FILTER (WHERE what = 'removed')
	  FROM (SELECT queue_id, joined_at, 'joined' FROM vqueue.user_sessions
	        UNION ALL SELECT queue_id, coalesce(ready_at, served_at), 'released' FROM vqueue.user_sessions WHERE coalesce(ready_at, served_at) IS NOT NULL
	        UNION ALL SELECT queue_id, left_at, status FROM vqueue.user_sessions WHERE left_at IS NOT NULL) s (queue_id, at, what)
	 GROUP BY 1, 2 ORDER BY 1, 2};
my $by_stats = "SELECT queue_id, minute, $figures FROM vqueue.queue_stats ORDER BY 1, 2";

$node->safe_psql('postgres', q{SELECT vqueue.pause('gate'); SELECT vqueue.pause('call')});
count_all();
$late->query_safe('COMMIT');
$late->quit;
count_all();
my $rows = $node->safe_psql('postgres', $by_rows);
same_lines($node->safe_psql('postgres', $by_stats), $rows, 'each minute has what the tables have');
cmp_ok($node->safe_psql('postgres', 'SELECT sum(joined) FROM vqueue.queue_stats'), '>', 100 * $rounds, 'which is much');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.stats WHERE queue = 'idle'}), '0', 'no row for a queue where nothing happens');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.queue_stats WHERE peak_serving > 20}), '0', 'nor a peak above the cap');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.queue_stats WHERE (released > 0) <> (wait_p50 IS NOT NULL)
	OR NOT (wait_p50 <= wait_p90 AND wait_p90 <= wait_p99 AND wait_p50 >= '0') OR NOT (stay_p50 <= stay_p90 AND stay_p90 <= stay_p99)}), '0', 'percentiles are in order');

# ---- purged: what was counted stays counted, tickets are new ----

my $highest = $node->safe_psql('postgres', q{SELECT max(ticket) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('gate')});
my $finished = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NOT NULL');
my $live = row_state($node, 'postgres');
my $stats = $node->safe_psql('postgres', $by_stats);
cmp_ok($finished, '>', 100, 'many have ended');
my $holder = psql_session($node);
$holder->query_safe('BEGIN; SELECT id FROM vqueue.user_sessions WHERE left_at IS NOT NULL ORDER BY left_at LIMIT 7 FOR UPDATE');
is($node->safe_psql('postgres', q{SELECT vqueue.purge(older_than => '0', max_rows => 60)}), '60', 'a bounded purge, past rows that are locked');
is($node->safe_psql('postgres', q{SELECT vqueue.purge(older_than => '0')}), $finished - 67, 'and the rest');
$holder->query_safe('ROLLBACK');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue(name, session_retention => '1 second') FROM vqueue.queues});
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM vqueue.user_sessions WHERE left_at IS NOT NULL'), 'the worker purges what was locked before');
same_lines(row_state($node, 'postgres'), $live, 'the live ones are as they were');
check_clean($node, 'postgres', 'memory is right');
$node->safe_psql('postgres', 'SELECT count(vqueue.remove(id)) FROM vqueue.user_sessions');
count_all();
is($node->safe_psql('postgres', q{SELECT sum(removed) FROM vqueue.queue_stats}), scalar(split /\n/, $live), 'those removed are counted');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM vqueue.user_sessions'), 'and purged');
$node->stop('immediate');
$node->start;
cmp_ok($node->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('gate')}), '>', $highest, 'with no row left, the next ticket is a new one');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.queue_stats WHERE released > 0}),
	scalar(grep { (split /\|/)[3] > 0 } split /\n/, $stats), 'statistics stay');
check_clean($node, 'postgres', 'memory is right after that');

# ---- a worker that ends in the midst of writing: the next one counts nobody again ----

my $many = 200;
$node->safe_psql('postgres', qq{SELECT count(vqueue.create_queue('many' || i, state => 'paused')) FROM generate_series(1, $many) i});
foreach my $round (1 .. 4)
{
	ok(wait_for_worker($node), "round $round: there is a worker");
	count_all();
	$node->safe_psql('postgres', qq{SELECT count(vqueue.join('many' || i)) FROM generate_series(1, $many) i});
	$node->safe_psql('postgres', q{
		DO $$
		DECLARE
			before bigint := (SELECT sum(counted_ticket) FROM vqueue.event_marks);
		BEGIN
			PERFORM vqueue._count_now();
			WHILE (SELECT sum(counted_ticket) FROM vqueue.event_marks) = before LOOP
				PERFORM pg_sleep(0.001);
			END LOOP;
			PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vqueue worker';
		END $$});
}
count_all();
is($node->safe_psql('postgres', q{SELECT sum(joined) FROM vqueue.stats WHERE queue LIKE 'many%'}), 4 * $many, 'each join is counted once');

# Of a queue that is locked meanwhile nothing is lost.
my $locker = psql_session($node);
$node->safe_psql('postgres', q{SELECT count(vqueue.remove(id)) FROM vqueue.sessions WHERE queue = 'many7'});
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('many7', } . users('f', 1, 10) . ')');
$locker->query_safe(q{BEGIN; SELECT id FROM vqueue.queues WHERE name = 'many7' FOR UPDATE});
$node->poll_query_until('postgres', 'SELECT NOT bool_or(vqueue._untold(queue_id, ticket, \'-infinity\')) FROM vqueue.user_sessions') or die 'not told';
foreach my $round (1 .. 2)
{
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	$node->safe_psql('postgres', 'SELECT vqueue._count_now()');
	ok($node->poll_query_until('postgres', "SELECT counted_at >= '$now' FROM vqueue.event_log"), 'others are counted');
}
is($node->safe_psql('postgres', q{SELECT sum(joined), sum(removed) FROM vqueue.stats WHERE queue = 'many7'}), '4|0', 'those of the locked one are not');
$locker->query_safe('ROLLBACK');
count_all();
is($node->safe_psql('postgres', q{SELECT sum(joined), sum(removed) FROM vqueue.stats WHERE queue = 'many7'}), '14|4', 'until it is not locked any more');
is($node->safe_psql('postgres', q{SELECT sum(joined) FROM vqueue.stats WHERE queue LIKE 'many%'}), 4 * $many + 10, 'and the others are counted once');

# ---- statistics have their retention too ----

$node->safe_psql('postgres', q{INSERT INTO vqueue.queue_stats SELECT id, '2000-01-01', 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0 FROM vqueue.queues});
$node->restart;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.queue_stats WHERE minute < '2001-01-01'}), 'old statistics are deleted');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|could not be/, 'nothing crashed or failed by itself');
done_testing();
