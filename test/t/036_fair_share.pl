#
# One tenant's crowd takes nothing that is another's: while a queue of one is flooded
# with joins and lets in as fast as it can, and then while hundreds of queues do, the
# paced queue of another goes on.  Judged by served_at alone: how many of the crowd
# came in between the moment at which the other queue had a token again, and the
# release that it was for.
#
# With VQ_TORTURE a million join, and there are a thousand queues rather than 300.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';
use VqueueNode;

my $joins = $ENV{VQ_TORTURE} ? 1_000_000 : 100_000;
my $clients = 4;
my $each = 1000;
my $queues = $ENV{VQ_TORTURE} ? 1000 : 300;

# Of a round that was under way when the token came, and of the one that brings the release.
my $most_passed = 2 * 500;

my $node = new_vqueue_node('main', conf => "max_wal_size = 2GB\nautovacuum = off\nrestart_after_crash = on\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name, max_queues, max_waiting_sessions) VALUES ('crowd', NULL, NULL), ('calm', 10, 10000);
	SET vqueue.tenant = 'crowd';
	SELECT vqueue.create_queue('flood', 10000000, 100000000, state => 'paused');
	SET vqueue.tenant = 'calm';
	SELECT vqueue.create_queue('paced', 600, 1000000, state => 'paused');
	SELECT vqueue.create_queue('paced 2', 600, 1000000, state => 'paused');
	SELECT count(*) FROM vqueue.join_many('paced', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3000)));
	SELECT count(*) FROM vqueue.join_many('paced 2', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 3000)))});
wait_for_worker($node);

sub id
{
	my ($queue) = @_;

	return "(SELECT id FROM vqueue.queues WHERE name = '$queue')";
}

# The greatest number of the crowd's releases between a token of the paced queue, which
# comes 100 ms after its last release, and the release that it was for; and how many
# releases that was found of.
sub passed_while_waiting
{
	my ($paced, $crowd) = @_;

	return $node->safe_psql('postgres', qq{
		WITH paced AS (
			SELECT lag(served_at) OVER (ORDER BY served_at) + interval '100 ms' AS token, served_at
			  FROM vqueue.user_sessions WHERE queue_id = } . id($paced) . qq{ AND served_at IS NOT NULL),
		crowd AS (
			SELECT served_at, count(*) AS n FROM vqueue.user_sessions
			 WHERE queue_id IN (SELECT id FROM vqueue.queues WHERE name LIKE '$crowd') AND served_at IS NOT NULL GROUP BY served_at),
		span AS (SELECT min(served_at) AS first, max(served_at) AS last FROM crowd)
		SELECT max((SELECT coalesce(sum(c.n), 0) FROM crowd c WHERE c.served_at >= p.token AND c.served_at < p.served_at)) || ' ' || count(*)
		  FROM paced p, span WHERE p.token > span.first AND p.served_at < span.last});
}

sub judge
{
	my ($paced, $crowd, $what) = @_;
	my ($passed, $releases) = split / /, passed_while_waiting($paced, $crowd);

	cmp_ok($releases, '>=', 1, "$what: the other tenant has gone on letting in ($releases)");
	cmp_ok($passed, '<=', $most_passed, "$what: nobody there waited while more than a round or two of the crowd passed by ($passed)");
	cmp_ok(count_over_rate($node, 'postgres', $paced, 600), '<=', 1, "$what: nor came in above the rate");
	return;
}

# ---- a flood of joins ----

my @flood = map { psql_session($node) } 1 .. $clients;
my $began = time;
$_->query_safe("SET vqueue.tenant = 'crowd'") foreach @flood;
$_->send(q{DO $$BEGIN FOR i IN 1 .. } . ($joins / $clients / $each) . q{ LOOP
	PERFORM count(*) FROM vqueue.join_many('flood', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, } . $each . q{)));
	COMMIT; END LOOP; END$$}) foreach @flood;
ok($node->poll_query_until('postgres', "SELECT waiting >= $joins / 5 FROM vqueue.usage WHERE tenant = 'crowd'"), 'a crowd comes');
$node->safe_psql('postgres', q{
	BEGIN;
	SET LOCAL vqueue.tenant = 'crowd';
	SELECT vqueue.open('flood');
	SET LOCAL vqueue.tenant = 'calm';
	SELECT vqueue.open('paced');
	COMMIT});
$_->wait foreach @flood;
is(join('', map { $_->error } @flood), '', "$joins join");
note(sprintf '%d joins took %.1f s', $joins, time - $began);
ok($node->poll_query_until('postgres', 'SELECT count(*) >= 30 FROM vqueue.user_sessions WHERE queue_id = ' . id('paced') . ' AND served_at IS NOT NULL'),
	'the paced queue lets in');
$node->safe_psql('postgres', q{SET vqueue.tenant = 'calm'; SELECT vqueue.pause('paced'); SET vqueue.tenant = 'crowd'; SELECT vqueue.pause('flood')});
judge('paced', 'flood', 'a flood');
check_clean($node, 'postgres', 'memory is right, and the sum of each tenant');
is($node->safe_psql('postgres', q{SELECT sum(waiting) = (SELECT count(*) FROM vqueue.user_sessions WHERE status = 'waiting') FROM vqueue.usage}),
	't', 'who waits is counted by tenant');

# ---- many queues ----

$node->safe_psql('postgres', qq{
	SET vqueue.tenant = 'crowd';
	SELECT vqueue.drop_queue('flood', force => true);
	SELECT count(vqueue.create_queue('one of ' || n, 10000000, 100000000, state => 'paused')) FROM generate_series(1, $queues) n;
	INSERT INTO vqueue.user_sessions (queue_id, user_id)
	SELECT q.id, gen_random_uuid() FROM vqueue.queues q, generate_series(1, 200) WHERE q.name LIKE 'one of %'});
check_clean($node, 'postgres', 'many queues, each with a line');
$node->safe_psql('postgres', q{
	BEGIN;
	UPDATE vqueue.queues SET state = 'open' WHERE name LIKE 'one of %' OR name = 'paced 2';
	COMMIT});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.user_sessions
	WHERE status = 'waiting' AND queue_id IN (SELECT id FROM vqueue.queues WHERE name LIKE 'one of %')}), 'they all come in');
$node->safe_psql('postgres', q{SET vqueue.tenant = 'calm'; SELECT vqueue.pause('paced 2')});
judge('paced 2', 'one of %', 'many queues');
check_clean($node, 'postgres', 'memory is right');

# ---- quotas over a crash ----

$node->safe_psql('postgres', q{SELECT vqueue.alter_tenant('calm', max_waiting_sessions => (SELECT waiting::int + 2 FROM vqueue.usage WHERE tenant = 'calm'))});
my $half_done = psql_session($node);
$half_done->query_safe(q{SET vqueue.tenant = 'calm'; BEGIN; SELECT status FROM vqueue.join('paced'); SELECT status FROM vqueue.join('paced 2')});
fails_with($node, 'postgres', q{SET vqueue.tenant = 'calm'; SELECT vqueue.join('paced')}, '53000', qr/no room/, 'what is not committed counts');
kill 'KILL', $half_done->backend_pid;
$half_done->abandon;
$node->poll_query_until('postgres', 'SELECT true');
wait_for_worker($node);
is($node->safe_psql('postgres', q{SET vqueue.tenant = 'calm';
	SELECT status FROM vqueue.join('paced'); SELECT status FROM vqueue.join('paced 2')}), "waiting\nwaiting", 'and not any more after kill -9');
fails_with($node, 'postgres', q{SET vqueue.tenant = 'calm'; SELECT vqueue.join('paced')}, '53000', qr/no room/, 'the rest is as it was');
$node->restart;
fails_with($node, 'postgres', q{SET vqueue.tenant = 'calm'; SELECT vqueue.join('paced')}, '53000', qr/no room/, 'after a restart too');
check_clean($node, 'postgres', 'memory is right after that');

$node->stop;
done_testing();
