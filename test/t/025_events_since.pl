#
# No event is missed: a listener that goes on from its cursor gets each release
# and each end once and in order, though it is killed at random, and the server
# too, in the middle of a crowd and with events that it has not told yet.
#
# VQ_SEED repeats what is drawn here; it is noted first.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $seed = $ENV{VQ_SEED} || 1 + int(rand(1000000000));
my $crashes = 4 * ($ENV{VQ_TORTURE} || 1);
srand($seed);
note("seed $seed");

my $node = new_vqueue_node('main', conf => 'autovacuum = off');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('gate', 60000, 20, burst => 50);
	SELECT vqueue.create_queue('call', 60000, 20, burst => 50, claim_timeout => '1 hour');
	SELECT vqueue.create_queue('hand', 60, 1000000, state => 'paused')});
wait_for_worker($node);

# Visitors join, come in, some by hand, claim, are done, walk away; some hold their transactions open.
my $script = q{
\set q random(0, 1)
\set r random(1, 10)
SELECT status FROM vqueue.join((ARRAY['gate', 'call'])[1 + :q], gen_random_uuid());
\if :r = 1
SELECT status FROM vqueue.join('hand', gen_random_uuid());
SELECT vqueue.release('hand', 1);
\endif
BEGIN;
SELECT count(vqueue.claim(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'ready' AND left_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) s;
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'serving' AND left_at IS NULL LIMIT 2 FOR UPDATE SKIP LOCKED) s;
\if :r < 4
SELECT count(vqueue.leave(id)) FROM (SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' AND left_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) s;
\sleep 5 ms
\endif
COMMIT;
};

# ---- the listener: what it has stored, as a durable store would have it ----

my @stored;    # events, in the order in which they came
my $cursor = 0;
my $killed = 0;
my %heard;     # seq -> payload of each that NOTIFY brought
my $listener;

sub die_if_mad
{
	my ($listener) = @_;
	die $listener->error if $listener->error =~ /ERROR/;
	return;
}

# Read on; now and then the listener is killed before or after it stored what it read.
sub listen_once
{
	unless (defined $listener)
	{
		$listener = psql_session($node);
		$listener->query_safe('LISTEN vqueue');
	}
	my $max = 1 + int(rand(40));
	my $out = $listener->query("SELECT seq, payload FROM vqueue.events_since(NULL, $cursor, $max)");
	die_if_mad($listener);
	my $kill = rand() < 0.15;
	my $late = rand() < 0.5;
	my $rows = 0;

	if (!$kill || $late)
	{
		foreach my $row (split /\n/, $out)
		{
			my ($seq, $payload) = split /\|/, $row, 2;
			my $event = decode_json($payload);

			$event->{seq} == $seq or die 'an event tells another seq than the log';
			push @stored, $event;
			$cursor = $seq;
			$rows++;
		}
	}
	foreach my $note ($listener->notes)
	{
		my $event = decode_json($note->{payload});
		$heard{ $event->{seq} } = $event if defined $event->{seq};
	}
	if ($kill)
	{
		$listener->abandon;
		undef $listener;
		$killed++;
	}
	return $rows;
}

# ---- crashes in the middle of it ----

my @crashed;    # moments
foreach my $round (1 .. $crashes)
{
	my $crowd = pgbench_crowd($node, 'postgres', $script, 3);
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.events');
	my $more = 20 + int(rand(40));

	$node->poll_query_until('postgres', "SELECT count(*) > $before + $more FROM vqueue.events")
	  or die 'nothing happens';
	listen_once() foreach 1 .. 5;
	# However fast the machine is: many come and go, and some of it is heard.
	$node->poll_query_until('postgres', "SELECT count(*) > 80 * $round FROM vqueue.user_sessions WHERE served_at IS NOT NULL OR left_at IS NOT NULL")
	  or die 'nobody comes and goes';
	for (my $tries = 0; keys %heard <= 5 * $round && $tries < 10 * $PostgreSQL::Test::Utils::timeout_default; $tries++)
	{
		listen_once();
	}
	$node->safe_psql('postgres', $round % 2 ? q{SELECT vqueue.pause('gate')} : q{SELECT vqueue.open('gate')});
	if ($round == 2)
	{
		$node->safe_psql('postgres', 'SELECT pg_terminate_backend(' . worker_pid($node) . ')');
		listen_once() foreach 1 .. 5;
	}
	if ($round % 2 == 0)
	{
		# One that began long before, and events that the worker cannot tell.
		my $slow = psql_session($node);
		my $holder = psql_session($node);

		$slow->query_safe(q{BEGIN; SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions
			WHERE status = 'serving' AND left_at IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) s});
		my $told = $node->safe_psql('postgres', 'SELECT vqueue.event_cursor()');
		$node->poll_query_until('postgres', "SELECT vqueue.event_cursor() > $told") or die 'nothing is told';
		$holder->query_safe('BEGIN; LOCK TABLE vqueue.events IN SHARE MODE');
		$slow->query_safe('COMMIT');
		$node->safe_psql('postgres', q{SELECT vqueue.pause('call'); SELECT vqueue.open('call')}) if $round % 4 == 0;
		my $since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
		$node->poll_query_until('postgres', "SELECT count(*) > 10 FROM vqueue.user_sessions WHERE left_at > '$since' OR served_at > '$since'")
		  or die 'nothing happens';
		push @crashed, $node->safe_psql('postgres', 'SELECT clock_timestamp()');
		$node->stop('immediate');
		$_->abandon foreach ($slow, $holder);
	}
	elsif ($round == 3)
	{
		$node->stop('fast');
	}
	else
	{
		push @crashed, $node->safe_psql('postgres', 'SELECT clock_timestamp()');
		$node->stop('immediate');
	}
	eval { $crowd->stop };
	$listener->abandon if defined $listener;
	undef $listener;
	$node->start;
	wait_for_worker($node);
	listen_once() foreach 1 .. 3;
}
note("killed the listener $killed times, the server " . @crashed . ' times');

# ---- nothing moves any more: what was told is what the tables say ----

$node->safe_psql('postgres', q{SELECT vqueue.pause('gate'); SELECT vqueue.pause('call')});
my $told_all = q{
	SELECT (SELECT count(*) FROM vqueue.user_sessions WHERE coalesce(ready_at, served_at) IS NOT NULL)
	     = (SELECT count(DISTINCT s ->> 'id') FROM vqueue.events, jsonb_array_elements(payload -> 'sessions') s WHERE event = 'released')
	   AND (SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NOT NULL)
	     = (SELECT count(DISTINCT s ->> 'id') FROM vqueue.events, jsonb_array_elements(payload -> 'sessions') s WHERE event = 'ended')
	   AND (SELECT count(*) FROM vqueue.event_marks WHERE state <> 'paused') = 0};
ok($node->poll_query_until('postgres', $told_all), 'everything is told in the end');
my $idle = 0;
$idle = listen_once() > 0 ? 0 : $idle + 1 while ($idle < 20);

my $rows = $node->safe_psql('postgres', q{
	SELECT id, coalesce(ready_at, served_at) IS NOT NULL, CASE WHEN left_at IS NOT NULL THEN status END, ticket, queue_id, user_id
	  FROM vqueue.user_sessions ORDER BY id});
my (%released, %ended, %order, %state, $wrong_order, $state_twice);
my %initial = map { split /\|/ } split /\n/, $node->safe_psql('postgres',
	q{SELECT id, CASE name WHEN 'hand' THEN 'paused' ELSE 'open' END FROM vqueue.queues});
my $last_seq = 0;
my $disorder = 0;
$wrong_order = $state_twice = 0;
%state = %initial;
foreach my $event (@stored)
{
	$disorder++ if $event->{seq} <= $last_seq;
	$last_seq = $event->{seq};
	if ($event->{event} eq 'state')
	{
		$state_twice++ if $state{ $event->{queue_id} } eq $event->{state};
		$state{ $event->{queue_id} } = $event->{state};
	}
	foreach my $session (@{ $event->{sessions} || [] })
	{
		my $id = $session->{id};
		$wrong_order++ if $event->{event} eq 'released' && $ended{$id};
		push @{ $released{$id} }, "$session->{ticket} $event->{queue_id} $session->{user_id}" if $event->{event} eq 'released';
		push @{ $ended{$id} }, $session->{status} if $event->{event} eq 'ended';
	}
}
my $wrong = '';
my $n = 0;
foreach my $row (split /\n/, $rows)
{
	my ($id, $in, $status, $ticket, $queue, $user) = split /\|/, $row;
	my $told = join(',', @{ $released{$id} || [] }) . ' / ' . join(',', @{ $ended{$id} || [] });
	my $wanted = ($in eq 't' ? "$ticket $queue $user" : '') . " / $status";

	$n++ if $in eq 't' || $status ne '';
	$wrong .= "$id: told $told, in the table $wanted\n" if $told ne $wanted;
	delete $released{$id};
	delete $ended{$id};
}
cmp_ok($n, '>', 200, "of $n sessions");
is($wrong, '', 'each release and each end came once, as the tables have them');
is(keys(%released) + keys(%ended), 0, 'and no other');
is($disorder, 0, 'seq rises');
is($wrong_order, 0, 'nobody ends before the release');
is($state_twice, 0, 'no state is told twice');
is(join(',', sort values %state), 'paused,paused,paused', 'the last states told are the true ones');

# What NOTIFY brought is in the log.
my %stored = map { $_->{seq} => $_ } @stored;
my $json = JSON::PP->new->canonical;
my @differ = grep { !$stored{$_} || $json->encode($stored{$_}) ne $json->encode($heard{$_}) } keys %heard;
cmp_ok(scalar(keys %heard), '>', 10, 'NOTIFY was heard');
is(scalar(@differ), 0, 'and the log has each event that it brought');

# That something had to be recalled at all: changed before a crash, told after it.
my $recalled = 0;
foreach my $crash (@crashed)
{
	$recalled += $node->safe_psql('postgres', qq{
		SELECT count(*) FROM vqueue.events e, jsonb_array_elements(e.payload -> 'sessions') j
		  JOIN vqueue.user_sessions s ON s.id = (j ->> 'id')::uuid
		 WHERE e.at > '$crash' AND CASE e.event WHEN 'ended' THEN s.left_at ELSE coalesce(s.ready_at, s.served_at) END < '$crash'});
}
note("$recalled were told after a crash only");
cmp_ok($recalled, '>', 10, 'some were told only after a crash');
check_clean($node, 'postgres', 'memory is right');

# ---- ended while the worker recalls what it had not told ----

# Thousands end before a crash, which keeps it busy, and as many while it is.
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('hand', } . users('b', 1, 8000) . q{); SELECT vqueue.release('hand', 8000)});
my $untold = 'SELECT count(*) = 0 FROM vqueue.user_sessions WHERE vqueue._untold(queue_id, ticket, \'-infinity\')';
$node->poll_query_until('postgres', $untold) or die 'not all is told';
my $locker = psql_session($node);
$locker->query_safe('BEGIN; LOCK TABLE vqueue.events IN SHARE MODE');
my $inside = "SELECT id FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('hand') AND status = 'serving' AND user_id::text LIKE 'b%' ORDER BY ticket";
is($node->safe_psql('postgres', "SELECT count(vqueue.complete(id)) FROM ($inside LIMIT 5000) s"), '5000', 'five thousand end untold');
$node->stop('immediate');
$locker->abandon;
$node->start;
my $completer = psql_session($node);
$completer->query_safe("DO \$\$ DECLARE s uuid; BEGIN FOR s IN $inside LOOP PERFORM vqueue.complete(s); COMMIT; END LOOP; END \$\$");
$completer->quit;
ok($node->poll_query_until('postgres', $untold), 'the server was killed, and three thousand end while that is recalled');
is($node->safe_psql('postgres', q{
	SELECT count(*) FILTER (WHERE n = 1), count(*) FILTER (WHERE n <> 1)
	  FROM (SELECT count(e.id) AS n FROM vqueue.user_sessions s
	          LEFT JOIN (SELECT (jsonb_array_elements(payload -> 'sessions') ->> 'id')::uuid AS id FROM vqueue.events WHERE event = 'ended') e ON e.id = s.id
	         WHERE s.user_id::text LIKE 'b0000000-%' AND s.status = 'completed' GROUP BY s.id) t}), '8000|0', 'each of them is told once');

# ---- retention ----

my $end = $node->safe_psql('postgres', 'SELECT vqueue.event_cursor()');
$node->append_conf('postgresql.conf', q{vqueue.event_retention = '1s'});
$node->reload;
$node->safe_psql('postgres', 'SELECT vqueue._count_now()');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM vqueue.events'), 'old events are deleted when they are counted, but for the newest');
fails_with($node, 'postgres', 'SELECT vqueue.events_since(NULL, 1)', '55000', qr/not kept any more.*event_cursor/s, 'an old cursor');
is($node->safe_psql('postgres', "SELECT count(*) FROM vqueue.events_since(NULL, $end)"), '0', 'one at the end has missed nothing');
is($node->safe_psql('postgres', "SELECT count(*) FROM vqueue.events_since('hand', $end)"), '0', 'nor for a queue');
$node->restart;
$node->safe_psql('postgres', q{SELECT vqueue.open('hand')});
ok($node->poll_query_until('postgres', "SELECT string_agg(payload ->> 'state', ' ') = 'open' FROM vqueue.events_since('hand', $end)"),
	'and goes on after a restart');

$listener->quit if defined $listener;
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed by itself');
done_testing();
