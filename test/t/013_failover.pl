#
# A streaming standby answers readers within its lag and refuses writers; when
# the primary is killed under load and the standby promoted, nobody is lost who
# was acknowledged with synchronous_commit = remote_apply, and cap, rate and
# order hold over the change; the old primary comes back by pg_rewind, and the
# next time takes over itself.
#
# VQ_TORTURE=N: N times as many changes.
#
use strict;
use warnings;

use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;
use VqueueVisitors;

# Nobody completes in "paced", so that its rate counts; "tight" is held by its
# cap.  What "burst" has used up at once it must not get anew by a change.
my $rate = 3000;
my $burst = 10;
my $cap = 7;

my $primary = new_vqueue_node('alpha', init => { allows_streaming => 1 }, conf => q{
synchronous_commit = remote_apply
wal_keep_size = 256MB
});
prepare_ledger($primary);
$primary->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('paced', $rate, 1000000, burst => $burst);
	SELECT vqueue.create_queue('tight', 600000, $cap);
	SELECT vqueue.create_queue('burst', 60, 1000000, burst => 100);
	SELECT vqueue.create_queue('still', 60, 2, state => 'paused')});
wait_for_worker($primary);
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('beta');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;
make_synchronous($primary, $standby);

# ---- the two servers ----

sub set_conf
{
	my ($node, $line) = @_;

	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	return;
}

# From now on what the one acknowledges has been applied on the other.
sub make_synchronous
{
	my ($on, $with) = @_;
	my $name = $with->name;

	set_conf($on, "synchronous_standby_names = '$name'");
	$on->poll_query_until('postgres', "SELECT sync_state = 'sync' AND state = 'streaming' FROM pg_stat_replication WHERE application_name = '$name'")
	  or die "$name does not follow";
	return;
}

# kill -9, and wait until none of its children can acknowledge anything any more.
sub kill_all
{
	my ($node) = @_;
	my @pids = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity');

	$node->kill9;
	foreach my $pid (@pids)
	{
		my $tries = 0;

		while (kill(0, $pid) && $tries++ < 100 * $PostgreSQL::Test::Utils::timeout_default)
		{
			select(undef, undef, undef, 0.01);
		}
	}
	return;
}

# pg_rewind brings along the other's configuration, port and all; keep our own.
sub rewind
{
	my ($node, $source) = @_;
	my $conf = $node->data_dir . '/postgresql.conf';
	my $kept = $node->basedir . '/postgresql.conf.kept';

	$source->safe_psql('postgres', 'CHECKPOINT');
	copy($conf, $kept) or die "copy of $conf: $!";
	command_ok(
		[
			'pg_rewind', '--target-pgdata', $node->data_dir, '--source-server',
			$source->connstr('postgres')
		],
		$node->name . ' is rewound');
	copy($kept, $conf) or die "copy of $kept: $!";
	chmod 0600, $conf;
	$node->append_conf('postgresql.conf', q{synchronous_standby_names = ''});
	$node->enable_streaming($source);
	$node->start;
	return;
}

# ---- readers on the standby ----

# Who was told on the primary is known on the standby at once.
sub followed_at_once
{
	my ($on, $with) = @_;
	my $unknown = 0;

	foreach my $round (1 .. 5)
	{
		my ($id, $ticket, $position) = split /\|/, $on->safe_psql('postgres',
			q{SELECT id, ticket, position FROM vqueue.join('still', priority => 'low')});
		my $there = $with->safe_psql('postgres', "SELECT ticket, position FROM vqueue.status('$id')");

		$unknown++ unless $there eq "$ticket|$position";
	}
	is($unknown, 0, 'who was answered with remote_apply is known on the standby at once');
	return;
}

# A session that stays connected to the standby sees queues come, change and go.
sub follows_queues
{
	my ($on, $with) = @_;
	my $reader = psql_session($with);
	my $figures = q{SELECT queue, state, max_concurrent_users FROM vqueue.overview WHERE queue LIKE 'new%'};

	is($reader->query($figures), '', 'a queue is not there yet');
	$on->safe_psql('postgres', q{SELECT vqueue.create_queue('new', 60, 5)});
	is($reader->query($figures), 'new|open|5', 'a queue is made');
	is($reader->query(q{SELECT vqueue.position('new', 1) IS NULL}), 't', 'and known by its name');
	$on->safe_psql('postgres', q{SELECT vqueue.alter_queue('new', max_concurrent_users => 7, name => 'newer'); SELECT vqueue.pause('newer')});
	is($reader->query($figures), 'newer|paused|7', 'it is altered');
	$reader->query(q{SELECT vqueue.position('new', 1)});
	like($reader->error, qr/42704: queue "new" does not exist/, 'and not known by its old name');
	$on->safe_psql('postgres', q{SELECT vqueue.drop_queue('newer')});
	is($reader->query($figures), '', 'and dropped');
	$reader->quit;
	return;
}

# While nothing is replayed the standby answers as of then, and afterwards as of now.
sub answers_within_lag
{
	my ($on, $with) = @_;
	my $places = q{SELECT ticket, status, position FROM vqueue.sessions WHERE queue = 'still' ORDER BY ticket};

	$with->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$with->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'replay goes on';
	my $then = $with->safe_psql('postgres', $places);
	my $later = $on->safe_psql('postgres', q{SET synchronous_commit = local; SELECT id FROM vqueue.join('still', priority => 'vip')});

	is($with->safe_psql('postgres', $places), $then, 'while replay is paused the standby answers as of then');
	is_standby($with, 'replay paused');
	fails_with($with, 'postgres', "SELECT vqueue.poll('$later')", '42704', undef, 'who is not there yet');
	$with->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	$on->wait_for_catchup($with, 'replay', $on->lsn('insert'));
	is($with->safe_psql('postgres', "SELECT position FROM vqueue.poll('$later')"), '1', 'and then as of now');
	return;
}

# All that writes, by functions, by plain SQL and inside blocks.
sub refuses_writers
{
	my ($node) = @_;
	my $id = $node->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'still' LIMIT 1});

	foreach my $writer (
		q{SELECT vqueue.join('still')}, q{SELECT vqueue.join_many('still', ARRAY[gen_random_uuid()])},
		"SELECT vqueue.leave('$id')", "SELECT vqueue.complete('$id')", "SELECT vqueue.remove('$id', 'why')",
		q{SELECT vqueue.release('still', 1)}, q{SELECT vqueue.create_queue('new')}, q{SELECT vqueue.alter_queue('still', 5)},
		q{SELECT vqueue.drop_queue('still', true)}, q{SELECT vqueue.resume('still')}, q{SELECT vqueue.pause('tight')},
		q{SELECT vqueue.rebuild()},
		q{INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT id, gen_random_uuid() FROM vqueue.queues},
		"UPDATE vqueue.user_sessions SET priority = 'vip' WHERE id = '$id'", "DELETE FROM vqueue.user_sessions WHERE id = '$id'",
		'TRUNCATE vqueue.user_sessions', q{UPDATE vqueue.queues SET state = 'open'}, 'DELETE FROM vqueue.queues',
		q{INSERT INTO vqueue.tenants (name) VALUES ('new')}, 'UPDATE vqueue.ticket_ceilings SET ceiling = 1',
		"SELECT 1 FROM vqueue.user_sessions WHERE id = '$id' FOR UPDATE", 'COPY vqueue.tenants (name) FROM stdin',
		'DROP EXTENSION vqueue', 'LISTEN vqueue', q{BEGIN; SAVEPOINT s; SELECT vqueue.join('still')},
		q{DO $$ BEGIN PERFORM vqueue.join('still'); EXCEPTION WHEN unique_violation THEN NULL; END $$},
		q{PREPARE p AS SELECT vqueue.join($1); EXECUTE p ('still')})
	{
		my ($out, $err);

		$node->psql('postgres', "\\set VERBOSITY verbose\n$writer", stdout => \$out, stderr => \$err);
		like($err, qr/ERROR:  25006:/, 'standby refuses: ' . $writer =~ s/'[0-9a-f-]{36}'/…/r);
	}
	return;
}

# Readers that go on through the promotion: what has ended stays as it is, unless
# somebody changed its row since (a readmission does), and who waits has a position,
# whichever way it is answered.  They let go of their snapshots, lest replay has to
# wait for them.
my $through_promotion = q{
	DO $$
	DECLARE
		rounds_after int := 0;
		wrong bigint;
		doubtful uuid[];
		ends timestamptz[];
	BEGIN
		WHILE rounds_after < 3 LOOP
			SELECT count(*) FILTER (WHERE p.id <> s.id OR p.status = 'waiting' AND p.position IS NULL OR p.position < 0),
			       array_agg(s.id) FILTER (WHERE p.status = 'waiting' AND %2$s),
			       array_agg(s.left_at) FILTER (WHERE p.status = 'waiting' AND %2$s)
			  INTO wrong, doubtful, ends
			  FROM (SELECT * FROM vqueue.user_sessions WHERE %1$s LIMIT 1000) s, vqueue.status(s.id) p;
			COMMIT;
			wrong := wrong + (SELECT count(*) FROM unnest(doubtful, ends) AS d (id, left_at) JOIN vqueue.user_sessions s USING (id)
			                   WHERE s.left_at IS NOT DISTINCT FROM d.left_at);
			IF wrong > 0 THEN
				RAISE EXCEPTION '%% wrong answers', wrong;
			END IF;
			COMMIT;
			IF NOT pg_is_in_recovery() THEN
				rounds_after := rounds_after + 1;
			END IF;
		END LOOP;
	END $$};

sub start_readers
{
	my ($node) = @_;
	my @readers = map { psql_session($node) } 1 .. 6;

	foreach my $i (0 .. $#readers)
	{
		$readers[$i]->send(sprintf $through_promotion, $i % 3
			? ('left_at IS NOT NULL', 'true')
			: (q{queue_id = vqueue._queue('still') AND left_at IS NULL}, 'vqueue.position(p.queue, p.ticket) IS NULL'));
	}
	return @readers;
}

# ---- one change of roles ----

my @visitors;

# cut: the connection between the two is lost some time before the primary is,
# so that commits hang that nobody may have been told of.
sub change_roles
{
	my ($old, $new, $cut, $name) = @_;
	my $still = $new->safe_psql('postgres', q{SELECT id FROM vqueue.sessions WHERE queue = 'still' AND position = 2});
	my $open = psql_session($new);
	my $undone = $old->safe_psql('postgres', q{BEGIN; SELECT ticket FROM vqueue.join('still'); ROLLBACK});

	$open->query_safe('BEGIN');
	is($open->query_safe("SELECT position FROM vqueue.poll('$still')"), '2', "$name: a transaction polls the standby");
	my @readers = start_readers($new);

	if ($cut)
	{
		set_conf($new, q{primary_conninfo = ''});
		ok($old->poll_query_until('postgres', q{SELECT count(*) >= 3 FROM pg_stat_activity
			WHERE application_name IN ('visitor', 'vqueue worker') AND wait_event = 'SyncRep'}),
			"$name: without the standby nobody is answered");
	}
	kill_all($old);
	$_->wait_for_end foreach @visitors;
	$new->promote;
	ok(wait_for_worker($new), "$name: after promotion the worker starts");
	foreach my $reader (@readers)
	{
		$reader->wait;
		is($reader->error, '', "$name: a reader noticed nothing");
		$reader->quit;
	}

	# Of a transaction that was begun on a standby, the rest is read-only still.
	is($open->query_safe("SELECT position FROM vqueue.poll('$still')"), '2', "$name: the transaction polls on");
	$open->query(q{SELECT vqueue.join('still')});
	like($open->error, qr/ERROR:  25006:/, "$name: and may not join");
	$open->query_safe('ROLLBACK');
	cmp_ok($open->query_safe(q{SELECT ticket FROM vqueue.join('still', priority => 'low')}), '>', $undone,
		"$name: but the next one may, with a ticket above all, also those rolled back");
	$open->quit;
	check_clean($new, 'postgres', "$name: memory is right");
	return;
}

sub come_back
{
	my ($old, $new, $name) = @_;

	rewind($old, $new);
	make_synchronous($new, $old);
	$new->wait_for_catchup($old, 'replay', $new->lsn('insert'));
	is($old->safe_psql('postgres', q{SELECT s FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('still') ORDER BY ticket}),
		$new->safe_psql('postgres', q{SELECT s FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('still') ORDER BY ticket}),
		"$name: the old primary follows the new one");
	fails_with($old, 'postgres', q{SELECT vqueue.join('still')}, '25006', undef, "$name: join on the old primary");
	return;
}

# ---- the standby ----

my $tag = 1;

sub send_visitors
{
	my ($node) = @_;

	push @visitors, start_visitors($node, tag => $tag++, queues => [qw(paced paced tight)], completed => [qw(tight tight paced)]);
	return;
}

$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('a', 1, 100) . ", 'high')");
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('burst', " . users('a', 1, 1000) . ')');
send_visitors($primary);
followed_at_once($primary, $standby);
follows_queues($primary, $standby);
releases_go_on($primary, 'at first', qw(paced tight));
answers_within_lag($primary, $standby);
refuses_writers($standby);

# ---- changes ----

# A crowd of its own goes from server to server through all changes.
my $storm = start_storm($primary, nodes => [ $primary, $standby ], seconds => 3600, clients => 6, queues => 2,
	prefix => 'storm', faults => 1);

foreach my $round (1 .. 2 * ($ENV{VQ_TORTURE} || 1))
{
	my $cut = $round % 2 == 0;
	my $name = 'change ' . $round . ($cut ? ', cut off' : '');

	change_roles($primary, $standby, $cut, $name);
	($primary, $standby) = ($standby, $primary);
	send_visitors($primary);
	releases_go_on($primary, $name, qw(paced tight));
	come_back($standby, $primary, $name);
	releases_go_on($primary, "$name, standby back", qw(paced tight));
}
$primary->poll_query_until('postgres', q{SELECT count(*) > 1200 FROM vqueue.user_sessions
	WHERE queue_id IN (vqueue._queue('paced'), vqueue._queue('tight'))}) or die 'nobody joins';
$storm->finish('a storm through all changes');
$visitors[-1]->send_away($primary);
stand_still($primary);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is_standby($standby, 'old primary at the end');

# ---- what is left in the end ----

is(join('', map { $_->errors } @visitors), '', 'no visitor had an error but for the servers\' end');
cmp_ok(load_ledger($primary, @visitors), '>', 1000, 'there was a crowd');
ledger_holds($primary, 'after all changes');
cmp_ok(count_over_rate($primary, 'postgres', 'paced', $rate), '<=', $burst, 'the rate was kept over all changes');
cmp_ok(count_over_rate($primary, 'postgres', 'burst', 60), '<=', 100, 'and so was a burst');
is($primary->safe_psql('postgres', q{SELECT count(served_at) >= 100 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('burst')}),
	't', 'which had been used up');
cmp_ok(count_over_cap($primary, 'postgres', 'tight'), '<=', $cap, 'the cap was kept by the table');
cmp_ok(clients_inside($primary, 'tight'), '<=', $cap, 'and by what clients knew');
cmp_ok(clients_inside($primary, 'tight'), '>', 1, 'though it was used');
check_clean($primary, 'postgres', 'memory is right');
answers_by_table($primary, 'in the end');

$_->stop foreach ($standby, $primary);
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ' did not crash') foreach ($standby, $primary);
done_testing();
