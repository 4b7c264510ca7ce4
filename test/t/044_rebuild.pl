#
# What is under way when memory begins to be built anew, after it has seen that
# memory was ready: nobody takes the line that is not there yet for an empty one.
#
# Each is held up by a lock on a table that it reads, and who builds by another,
# after clearing memory and taking a snapshot, and before loading any session.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'vqueue.release_batch = 1');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name, max_waiting_sessions) VALUES ('acme', 3);
	SELECT vqueue.create_queue('full', 6000000, 2, burst => 1000, client_limit => 10);
	SELECT vqueue.create_queue('moves', state => 'paused');
	SELECT vqueue.create_queue('paused', 6000000, 100, state => 'paused');
	SELECT vqueue.create_queue('draw', 10, 100, state => 'paused');
	SELECT vqueue.prepare_draw('draw');
	SET vqueue.tenant = 'acme';
	SELECT vqueue.create_queue('other', state => 'paused')});
wait_for_worker($node);
foreach my $queue (qw(full moves paused draw))
{
	$node->safe_psql('postgres', "SELECT vqueue.join_many('$queue', " . users('a', 1, $queue eq 'full' ? 5 : 3) . ')');
}
ok($node->poll_query_until('postgres', q{SELECT waiting = 3 AND serving = 2 FROM vqueue.overview WHERE queue = 'full'}),
	'two are inside, and three stand behind them');

my ($locker, $door, $actor, $builder) = map { psql_session($node) } 1 .. 4;

sub wait_at_lock
{
	my ($session_pid, $table) = @_;

	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_locks WHERE pid = $session_pid AND NOT granted AND relation = 'vqueue.$table'::regclass");
}

my ($actor_pid, $builder_pid) = map { $_->backend_pid } ($actor, $builder);

# Have who builds come to where it has loaded nobody.
sub begin_building
{
	$locker->query_safe('BEGIN; LOCK TABLE vqueue.ticket_ceilings');
	$builder->send('SELECT vqueue.rebuild() > 0');
	wait_at_lock($builder_pid, 'ticket_ceilings') or die 'nobody builds';
	return;
}

sub end_building
{
	$locker->query_safe('COMMIT');
	is($builder->wait, 't', 'memory is built');
	return;
}

# The answer to a statement that comes to this table before memory is built, and
# goes on from there while it is, until it waits, or as is said.
sub in_between
{
	my ($table, $sql, $until) = @_;
	my $answer;

	$until = q{wait_event_type = 'Extension'} unless defined $until;

	$door->query_safe("BEGIN; LOCK TABLE vqueue.$table");
	$actor->send($sql);
	wait_at_lock($actor_pid, $table) or die "\"$sql\" does not come to $table";
	begin_building();
	$door->query_safe('COMMIT');
	$node->poll_query_until('postgres', "SELECT state <> 'active' OR $until
		FROM pg_stat_activity WHERE pid = $actor_pid") or die "\"$sql\" does not go on";
	end_building();
	$answer = $actor->wait;
	is($actor->error, '', 'no error');
	return $answer;
}

sub session_of
{
	my ($queue, $n) = @_;

	return $node->safe_psql('postgres', "SELECT id FROM vqueue.user_sessions
		WHERE queue_id = vqueue._queue('$queue') AND ticket = $n");
}

my $last = session_of('full', 5);

is(in_between('client_joins', q{SELECT status, position FROM vqueue.join('full', client_key => 'x')}), 'waiting|4', 'a join goes to the end of the line');
is(in_between('user_sessions', "SELECT status, position FROM vqueue.poll('$last')"), 'waiting|3', 'a poll gives the place in the line');
is(in_between('user_sessions', q{SELECT vqueue.release('paused', 3)}), '3', 'a release by hand lets in all that it is to');

# What it takes for a difference would by then have lasted.
is(in_between('user_sessions', 'SELECT * FROM vqueue.check()', q{clock_timestamp() > query_start + interval '1 s'}),
	'', 'check() waits for what it compares');
is(in_between('draws', q{SELECT vqueue.open('draw')}), '', 'a draw is held');
is($node->safe_psql('postgres', q{SELECT count(*), max(place) FROM vqueue.draw_entrants('draw')}), '3|3', 'among all who stood there');
is($node->safe_psql('postgres', q{SELECT commitment_ok AND entrants_ok AND hash_ok AND key_ok FROM vqueue.verify_draw('draw')}), 't', 'and rightly');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('full') AND status = 'serving'}),
	'2', 'and nobody has come in beyond the cap');
check_clean($node, 'postgres', 'memory is right after all this');

# ---- stale once more while it is built ----

$actor->query_safe(q{BEGIN; UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'acme') WHERE name = 'moves'});
begin_building();
$actor->query_safe('COMMIT');
end_building();
fails_with($node, 'postgres', q{SET vqueue.tenant = 'acme'; SELECT vqueue.join('other')}, '53000', undef,
	'a queue that changes its tenant meanwhile counts for its new one');
check_clean($node, 'postgres', 'and memory is right');

$_->quit foreach ($locker, $door, $actor, $builder);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
