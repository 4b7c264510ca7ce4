#
# A base backup taken in the middle of a crowd, and recovery from it and the
# archived WAL to a moment that is also in its middle: exactly what had
# committed by then is there, memory equals the tables, and the room goes on
# from there with rate, cap, order and tickets as they should be.
#
# VQ_TORTURE=N: N times as many moments.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;
use VqueueVisitors;

# Nobody completes in "paced", so that its rate counts; "tight" is held by its
# cap.  What "burst" has used up at once it must not get anew by a recovery.
my $rate = 3000;
my $burst = 10;
my $cap = 7;

my $main = new_vqueue_node('main', init => { allows_streaming => 1, has_archiving => 1 });
prepare_ledger($main);
$main->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('paced', $rate, 1000000, burst => $burst);
	SELECT vqueue.create_queue('tight', 600000, $cap);
	SELECT vqueue.create_queue('burst', 60, 1000000, burst => 100);
	SELECT vqueue.create_queue('still', 60, 2, state => 'paused')});
foreach my $queue (qw(still burst))
{
	$main->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('$queue', " . users('a', 1, 500) . ')');
}
wait_for_worker($main);

# ---- a crowd, a backup and some moments ----

# A moment is one to recover to: by a name in the WAL or by the clock.  at is a
# time before which all that was answered has to be there, undone a ticket that
# was rolled back before.
sub moment
{
	my ($name) = @_;
	my $undone = $main->safe_psql('postgres', q{BEGIN; SELECT ticket FROM vqueue.join('still'); ROLLBACK});
	my $at = $main->safe_psql('postgres', 'SELECT clock_timestamp()');
	my $lsn = $main->safe_psql('postgres', "SELECT pg_create_restore_point('$name')") if defined $name;

	return { name => $name, lsn => $lsn, at => $at, undone => $undone };
}

# So many that a recovery to a moment before must not know.
sub others_join
{
	my ($since) = @_;

	$main->poll_query_until('postgres', qq{SELECT count(*) >= 100 FROM vqueue.user_sessions
		WHERE joined_at > '$since' AND queue_id IN (vqueue._queue('paced'), vqueue._queue('tight'))}) or die 'nobody joins';
	return;
}

my $crowd = start_visitors($main, tag => 1, queues => [qw(paced tight tight)], completed => [qw(tight tight paced)]);
my @moments;

releases_go_on($main, 'before the backup', qw(paced tight));
others_join('-infinity');
$main->backup('b');
foreach my $n (1 .. ($ENV{VQ_TORTURE} || 1))
{
	releases_go_on($main, 'after the backup', qw(paced tight));
	push @moments, moment("middle $n");
	releases_go_on($main, "after moment $n", qw(paced tight));
	push @moments, moment();
}
releases_go_on($main, 'after all moments', qw(paced tight));
others_join($moments[-1]{at});
$crowd->send_away($main);
is($crowd->errors, '', 'no visitor had an error');

my $segment = $main->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
$main->safe_psql('postgres', 'SELECT pg_switch_wal()');
$main->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver")
  or die "$segment is not archived";
$main->stop;

# When which transaction ended, in the order of the WAL, which alone is exact.
sub ends_of_transactions
{
	my ($first) = sort grep { /^[0-9A-F]{24}$/ } map { s/.*\///r } glob $main->archive_dir . '/*';
	my ($out, $err);

	# It complains of where the last segment ends.
	local $ENV{TZ} = 'UTC';
	IPC::Run::run([ $main->installed_command('pg_waldump'), '-r', 'Transaction', '-p', $main->archive_dir, $first, $segment ],
		'>', \$out, '2>', \$err);
	return join '',
	  map { /tx: *(\d+), lsn: ([0-9A-F\/]+), .* desc: (COMMIT|ABORT) ([0-9:. -]+ UTC)/ ? "$1|$2|$3|$4\n" : () } split /\n/, $out;
}

my $ends = ends_of_transactions();

# ---- recovery ----

sub recover
{
	my ($name, $moment) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $target = defined $moment->{name} ? "recovery_target_name = '$moment->{name}'" : "recovery_target_time = '$moment->{at}'";

	$node->init_from_backup($main, 'b', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', qq{
archive_mode = off
$target
recovery_target_timeline = current
recovery_target_action = pause
});
	$node->start;
	$node->poll_query_until('postgres', q{SELECT pg_get_wal_replay_pause_state() = 'paused'}) or die 'the moment is not reached';
	return $node;
}

# Load the ledger, and forget what was not to be: kept are the transactions that
# ended before the moment, and answers that were given before it.
sub load_kept_ledger
{
	my ($node, $moment) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/ends';
	my $is_before = defined $moment->{name} ? "e.lsn < '$moment->{lsn}'"
	  : "e.lsn < (SELECT min(lsn) FROM ends WHERE at > '$moment->{at}')";

	append_to_file($file, $ends);
	load_ledger($node, $crowd);
	$node->safe_psql('postgres', qq{
		CREATE TABLE ends (xid xid, lsn pg_lsn, what text, at timestamptz);
		\\copy ends FROM '$file' (DELIMITER '|')
		ALTER TABLE ledger ADD COLUMN kept bool, ADD COLUMN answered_before bool;
		UPDATE ledger l SET answered_before = l.answered_at < us('$moment->{at}'),
		       kept = l.xid IN (SELECT xid FROM ends e WHERE what = 'COMMIT' AND $is_before) IS TRUE});
	return;
}

sub exactly_those_before
{
	my ($node, $name) = @_;
	my $lines = 'SELECT l.* FROM ledger l LEFT JOIN vqueue.user_sessions s ON s.id = l.id';

	cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM ledger WHERE verb = 'joined' AND answered_before}),
		'>', 100, "$name: many were answered before it");
	cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM ledger WHERE verb = 'joined' AND NOT kept}),
		'>', 50, "$name: and many after");
	none_found($node, q{SELECT * FROM ledger WHERE verb IN ('joined', 'left', 'completed') AND xid IS NOT NULL
		AND answered_before AND NOT kept}, "$name: what was answered before had committed before");
	none_found($node, "$lines WHERE l.verb = 'joined' AND l.kept AND s.id IS NULL", "$name: who had joined is there");
	none_found($node, "$lines WHERE l.verb = 'joined' AND NOT l.kept AND s.id IS NOT NULL", "$name: who joined later is not");
	none_found($node, q{SELECT * FROM vqueue.sessions s WHERE queue IN ('paced', 'tight')
		AND NOT EXISTS (SELECT FROM ledger l WHERE l.id = s.id AND l.verb = 'joined')}, "$name: nor is anybody else");
	none_found($node, "$lines WHERE l.verb IN ('left', 'completed') AND l.xid IS NOT NULL AND NOT l.kept AND s.left_at IS NOT NULL",
		"$name: who left later is live");
	return;
}

sub go_on
{
	my ($node, $name, $moment) = @_;

	# Tickets of before, also of those rolled back.
	my $highest = $node->safe_psql('postgres', q{
		SELECT string_agg(format('%s > %s', queue, ticket), ', ' ORDER BY queue)
		  FROM (SELECT queue, max(ticket) AS ticket
		          FROM (SELECT queue, ticket FROM vqueue.sessions
		                UNION ALL SELECT queue, ticket FROM ledger WHERE kept OR answered_before) t GROUP BY queue) m});

	$node->safe_psql('postgres', 'DELETE FROM ledger WHERE NOT kept AND answered_before IS NOT TRUE');
	foreach my $above (split /, /, $highest)
	{
		my ($queue, $ticket) = split / > /, $above;

		cmp_ok($node->safe_psql('postgres', "SELECT ticket FROM vqueue.join('$queue')"), '>', $ticket,
			"$name: tickets go on above all of $queue");
	}
	cmp_ok($node->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('still')}), '>', $moment->{undone},
		"$name: and above one that was rolled back last");
	my $storm = start_storm($node, seconds => 3600, clients => 6, queues => 2, prefix => 'storm');
	my $newcomers = start_visitors($node, tag => 2, queues => [qw(paced tight tight)], completed => [qw(tight tight paced)]);

	releases_go_on($node, "$name, with newcomers", qw(paced tight));
	$storm->finish("$name, a storm after it");
	$newcomers->send_away($node);
	stand_still($node);
	is($newcomers->errors, '', "$name: no newcomer had an error");
	load_ledger($node, $newcomers);
	ledger_holds($node, $name);
	cmp_ok(count_over_rate($node, 'postgres', 'paced', $rate), '<=', $burst, "$name: the rate was kept");
	cmp_ok(count_over_rate($node, 'postgres', 'burst', 60), '<=', 100, "$name: and no burst came twice");
	cmp_ok(count_over_cap($node, 'postgres', 'tight'), '<=', $cap, "$name: the cap was kept by the table");
	cmp_ok(clients_inside($node, 'tight'), '<=', $cap, "$name: and by what clients knew");
	check_clean($node, 'postgres', "$name: memory is right with them");
	answers_by_table($node, "$name, with them");
	return;
}

my $n = 0;
foreach my $moment (@moments)
{
	my $name = defined $moment->{name} ? $moment->{name} : 'a time';
	my $node = recover('recovered' . ++$n, $moment);

	is_standby($node, "$name, paused there");
	fails_with($node, 'postgres', q{SELECT vqueue.join('paced')}, '25006', undef, "$name: join while it is paused");
	my $places = $node->safe_psql('postgres', q{SELECT s FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('still') ORDER BY ticket});

	$node->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	ok(wait_for_worker($node), "$name: the worker starts");
	check_clean($node, 'postgres', "$name: memory is right");
	is($node->safe_psql('postgres', q{SELECT s FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('still') ORDER BY ticket}),
		$places, "$name: who stood in line stands there");
	load_kept_ledger($node, $moment);
	exactly_those_before($node, $name);
	go_on($node, $name, $moment);
	$node->stop;
	unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, "$name: nothing crashed");
}
unlike(slurp_file($main->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nor before');
done_testing();
