#
# What happens by the clock: silent sessions are abandoned, uncalled slots go
# on, leases expire, and queues open and close.
#
# Ends come up to a few seconds late, never early: early is what is judged here.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main');

# What has its time begins without, so that the test need not make haste before it can
# give the signs of life that keep it.
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('silent', 6000, 2);
	SELECT vqueue.create_queue('called', 10000000, 2, burst => 100, claim_timeout => '1 hour');
	SELECT vqueue.create_queue('lease', 10000000, 2, burst => 100);
	SELECT vqueue.create_queue('patient', 10000000, 1)});
wait_for_worker($node);

# Sessions by status, as "status:number" of a queue.
sub by_status
{
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(status || ':' || n, ' ' ORDER BY status)
		  FROM (SELECT status, count(*) AS n FROM vqueue.sessions WHERE queue = '$_[0]' GROUP BY status) s});
}

# ---- all clocks start together, so that the test need not wait for each in turn ----

my $listener = psql_session($node);
$listener->query_safe('LISTEN vqueue');
$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many($$' . $_ . '$$, ' . users(substr('abcd', index('sclp', substr($_, 0, 1)), 1), 1, 6) . ')')
  foreach qw(silent called lease patient);
my $poller = psql_session($node);
my $kept = $node->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'silent' AND position = 2});
my $renewed = $node->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'lease' AND position = 0 ORDER BY ticket LIMIT 1});
my $claimed = $node->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'called' AND position = 0 ORDER BY ticket LIMIT 1});

is($node->safe_psql('postgres', "SELECT status FROM vqueue.claim('$claimed')"), 'serving', 'one of those called claims its slot');
is(by_status('silent'), 'serving:2 waiting:4', 'four wait and will be silent, but one');

# One goes on to poll, and to renew, until the others have ended.
my $others_ended = 0;
my $longest_pause = 0;
my $began = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
my $last = time;
$poller->query_safe(q{
	SELECT vqueue.alter_queue('silent', waiting_timeout => '12 s'), vqueue.alter_queue('called', claim_timeout => '4 s'),
	       vqueue.alter_queue('lease', serving_timeout => '8 s')});
for my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	my $state = $poller->query_safe(qq{
		SELECT vqueue.heartbeat('$kept') IS NOT NULL;
		SELECT status FROM vqueue.extend('$renewed');
		SELECT (SELECT count(*) FILTER (WHERE status = 'abandoned') FROM vqueue.sessions WHERE queue = 'silent') || ' ' ||
		       (SELECT count(*) FILTER (WHERE status = 'no_show') FROM vqueue.sessions WHERE queue = 'called') || ' ' ||
		       (SELECT count(*) FILTER (WHERE status = 'expired') FROM vqueue.sessions WHERE queue = 'lease');
		SELECT pg_sleep(0.1)});

	$longest_pause = time - $last if time - $last > $longest_pause;
	$last = time;
	if ($state =~ /^3 [4-9] [2-9]/m)
	{
		$others_ended = $try;
		last;
	}
}
ok($others_ended, 'those who were silent, did not claim or let their lease run out have ended');
SKIP:
{
	skip "the machine stood still for $longest_pause s, so the signs of life came too late", 2 if $longest_pause > 6;
	is(by_status('silent'), 'abandoned:3 serving:2 waiting:1', 'who gave signs of life waits, who is inside stays');
	is($node->safe_psql('postgres', "SELECT status FROM vqueue.status('$renewed')"), 'serving', 'who renewed the lease is inside');
}
is($node->safe_psql('postgres', "SELECT status FROM vqueue.status('$claimed')"), 'serving', 'who claimed the slot is inside');
is(by_status('patient'), 'serving:1 waiting:5', 'a queue without timeouts ends nobody');
is($node->safe_psql('postgres', qq{
	SELECT count(*) FROM vqueue.user_sessions
	 WHERE (status = 'abandoned' AND left_at < '$began'::timestamptz + interval '12 s')
	    OR (status = 'no_show' AND left_at < ready_at + interval '4 s')
	    OR (status = 'expired' AND left_at < greatest(extended_at, served_at, '$began') + interval '8 s')}),
	'0', 'nobody was ended before time');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.sessions WHERE queue = 'called' AND status IN ('waiting', 'ready')}),
	'one after the other is called and does not come');
is(by_status('called'), 'no_show:5 serving:1', 'all but the one who claimed are no-shows');
check_clean($node, 'postgres', 'memory follows');

my @notes = $listener->notes;
$listener->query_safe('SELECT 1');
push @notes, $listener->notes;
my $payloads = join("\n", map { $_->{payload} } @notes);
like($payloads, qr/"event":"ended".*"status":"$_"/, "the event tells of $_") foreach qw(abandoned no_show expired);

# Readmitted, a no-show is called again.
my $no_show = $node->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'called' AND status = 'no_show' LIMIT 1});
$node->safe_psql('postgres', "SELECT status FROM vqueue.readmit('$no_show', 'was on the phone')");
ok($node->poll_query_until('postgres', "SELECT status = 'ready' FROM vqueue.status('$no_show')"), 'a readmitted no-show is called again');
is($node->safe_psql('postgres', "SELECT status FROM vqueue.claim('$no_show')"), 'serving', 'and comes in this time');

# ---- a locked row is left for later, and holds up nobody ----

sub newcomers_abandoned
{
	my ($n) = @_;

	return $node->poll_query_until('postgres', qq{SELECT count(*) = $n FROM vqueue.sessions
		WHERE queue = 'silent' AND status = 'abandoned' AND user_id::text LIKE 'e%'});
}

my $holder = psql_session($node);
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('silent', waiting_timeout => '3 s')});
$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many($$silent$$, ' . users('e', 1, 3) . ')');
my $locked = $holder->query_safe(q{BEGIN; SELECT id FROM vqueue.user_sessions
	WHERE user_id = 'e0000000-0000-0000-0000-000000000001' FOR UPDATE});
ok(newcomers_abandoned(2), 'others are abandoned past a locked row');
is($node->safe_psql('postgres', "SELECT status FROM vqueue.status('$locked')"), 'waiting', 'the locked one is not');
$holder->query_safe('ROLLBACK');
ok(newcomers_abandoned(3), 'it is when the lock has gone');

# ---- after a restart everybody has a fresh grace ----

$node->safe_psql('postgres', q{
	SELECT vqueue.alter_queue('patient', waiting_timeout => '1 hour', serving_timeout => '1 hour');
	UPDATE vqueue.user_sessions SET joined_at = now() - interval '1 day' WHERE queue_id = vqueue._queue('patient')});
$_->quit foreach $listener, $poller, $holder;
$node->stop('immediate');
$node->start;
wait_for_worker($node);
ok($node->poll_query_until('postgres', q{SELECT bool_and(line = 'ready') FROM vqueue._worker()}), 'memory is built again');
$node->safe_psql('postgres', q{SELECT vqueue.create_queue('probe', 10000000, 1, waiting_timeout => '1 s');
	SELECT vqueue.join('probe'), vqueue.join('probe')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM vqueue.sessions WHERE queue = 'probe' AND status = 'abandoned'}),
	'the worker has looked for silent ones');
is(by_status('patient'), 'serving:1 waiting:5', 'and has ended nobody who was silent before the restart');

# ---- and so it has when a queue gets its first timeout ----

$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('tardy', 10000000, 1);
	SELECT vqueue.join('tardy'), vqueue.join('tardy')});
ok($node->poll_query_until('postgres', q{SELECT clock_timestamp() > min(joined_at) + interval '5 s' FROM vqueue.sessions WHERE queue = 'tardy'}),
	'two were silent for five seconds, as they might');
my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('tardy', waiting_timeout => '3 s', serving_timeout => '3 s')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM vqueue.sessions WHERE queue = 'tardy' AND left_at IS NOT NULL}), 'they end');
is($node->safe_psql('postgres', qq{SELECT bool_and(left_at >= timestamptz '$before' + interval '3 s') FROM vqueue.sessions WHERE queue = 'tardy'}),
	't', 'but not before the timeout has passed since then');

# ---- a queue opens and closes by the clock ----

# Each moment is set when the one before has come, as nobody knows how long a machine takes between them.
$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('not yet', 10000000, 100, prequeue_at => clock_timestamp() + interval '1 hour');
	SELECT vqueue.create_queue('show', 10000000, 100, prequeue_at => clock_timestamp() + interval '1 s',
		opens_at => clock_timestamp() + interval '1 hour', closes_at => clock_timestamp() + interval '2 hours')});
is($node->safe_psql('postgres', q{SELECT state FROM vqueue.queues WHERE name = 'not yet'}), 'closed', 'one is closed at first');
my ($rc) = $node->psql('postgres', q{SELECT vqueue.join('not yet')});
isnt($rc, 0, 'and nobody can join');
ok($node->poll_query_until('postgres', q{SELECT state = 'paused' FROM vqueue.queues WHERE name = 'show'}), 'then people may join');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.join('show', 'f0000000-0000-0000-0000-000000000001')}), 'waiting', 'and wait');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('show', opens_at => clock_timestamp() + interval '1 s')});
ok($node->poll_query_until('postgres', q{SELECT status = 'serving' FROM vqueue.sessions WHERE queue = 'show'}), 'when it opens they come in');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('show', closes_at => clock_timestamp() + interval '1 s')});
ok($node->poll_query_until('postgres', q{SELECT state = 'closed' FROM vqueue.queues WHERE name = 'show'}), 'and it closes');
is($node->safe_psql('postgres', q{SELECT prequeue_at, opens_at, closes_at FROM vqueue.queues WHERE name = 'show'}), '||', 'each moment comes once');

# What comes about a restart comes all the same; a locked row is tried again.
$node->safe_psql('postgres', q{SELECT vqueue.create_queue('late', opens_at => clock_timestamp() + interval '1 s')});
$node->stop('fast');
$node->start;
ok($node->poll_query_until('postgres', q{SELECT state = 'open' FROM vqueue.queues WHERE name = 'late'}), 'a moment that comes about a restart');
# Who locks the row stands in line for it before the moment is known.
my $setter = psql_session($node);
$holder = psql_session($node);
$setter->query_safe(q{BEGIN;
	SELECT vqueue.create_queue('neighbour', closes_at => clock_timestamp() + interval '2 s');
	SELECT vqueue.alter_queue('late', closes_at => clock_timestamp() + interval '2 s')});
$holder->send(q{BEGIN; SELECT id FROM vqueue.queues WHERE name = 'late' FOR UPDATE});
$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM pg_locks WHERE NOT granted') or die 'the row is not locked';
$setter->query_safe('COMMIT');
$holder->wait;
ok($node->poll_query_until('postgres', q{SELECT state = 'closed' FROM vqueue.queues WHERE name = 'neighbour'}), 'a queue closes beside one whose row is locked');
is($node->safe_psql('postgres', q{SELECT state FROM vqueue.queues WHERE name = 'late'}), 'open', 'which does not');
$holder->query_safe('ROLLBACK');
ok($node->poll_query_until('postgres', q{SELECT state = 'closed' FROM vqueue.queues WHERE name = 'late'}), 'but does when the lock has gone');
check_clean($node, 'postgres', 'memory is right at the end');

$_->quit foreach $setter, $holder;
$node->stop;
done_testing();
