#
# What was acknowledged is there after a restart and after a crash of the
# server: queues, places and their order; no ticket comes twice, and the pacer
# starts empty.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'autovacuum = off');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	CREATE TABLE issued (how text, ticket bigint);
	INSERT INTO vqueue.tenants (name) VALUES ('other');
	SELECT vqueue.create_queue('lanes', 60, 3, state => 'paused');
	SELECT vqueue.create_queue('paced', 600, 1000000, burst => 20);
	SELECT vqueue.create_queue('still', 1, 1, 'a description', 5, 500000, 'draining')});
wait_for_worker($node);

# Notes each ticket that was ever issued, also those whose join is rolled back.
my $session = psql_session($node);

sub note_tickets
{
	my ($how, $tickets) = @_;
	my @tickets = grep { /^\d+$/ } split /\n/, $tickets;

	die "no tickets" unless @tickets;
	$node->safe_psql('postgres',
		"INSERT INTO issued SELECT '$how', unnest(ARRAY[" . join(',', @tickets) . ']::bigint[])');
	return;
}

sub join_round
{
	my ($how, $tag) = @_;

	note_tickets($how,
		$node->safe_psql('postgres',
			"SELECT ticket FROM vqueue.join_many('lanes', " . users($tag, 1, 50) . ", 'normal')"));
	note_tickets($how,
		$node->safe_psql('postgres',
			"SELECT ticket FROM vqueue.join_many('lanes', " . users($tag, 51, 60) . ", 'vip')"));
	# Rolled back.
	note_tickets("$how, rolled back",
		$session->query_safe("BEGIN; SELECT ticket FROM vqueue.join_many('lanes', "
			  . users($tag, 61, 70) . "); ROLLBACK"));
	# Rolled back to a savepoint.
	note_tickets("$how, savepoint",
		$session->query_safe("BEGIN; SAVEPOINT s; SELECT ticket FROM vqueue.join_many('lanes', "
			  . users($tag, 71, 80) . "); ROLLBACK TO s; COMMIT"));
	# Joined, left and purged: the newest rows are gone.
	note_tickets("$how, purged",
		$node->safe_psql('postgres',
			"SELECT ticket FROM vqueue.join_many('lanes', " . users($tag, 81, 90) . ')'));
	$node->safe_psql('postgres',
		q{DELETE FROM vqueue.user_sessions WHERE ticket > (SELECT max(ticket) - 10 FROM vqueue.user_sessions)});
	return;
}

sub settings
{
	return $node->safe_psql('postgres', q{
		SELECT id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
		       burst, max_waiting, state, version FROM vqueue.queues ORDER BY name});
}

# Restart in one way and compare.
sub restart_and_compare
{
	my ($how, $mode) = @_;
	my $rows = row_state($node, 'postgres');
	my $settings = settings();
	my $history = $node->safe_psql('postgres',
		q{SELECT md5(string_agg(s::text, '' ORDER BY id)) FROM vqueue.user_sessions s});

	$node->stop($mode);
	$node->start;
	same_lines(row_state($node, 'postgres'), $rows, "$how: sessions, order and positions are as before");
	is(settings(), $settings, "$how: queues are as before");
	is($node->safe_psql('postgres',
			q{SELECT md5(string_agg(s::text, '' ORDER BY id)) FROM vqueue.user_sessions s}),
		$history, "$how: no row has changed");
	check_clean($node, 'postgres', "$how: memory is right");
	$session->abandon;
	$session = psql_session($node);
	wait_for_worker($node);
	return;
}

# ---- sessions and tickets ----

join_round('first', 'a');
$node->safe_psql('postgres', q{
	SELECT vqueue.release('lanes', 3);
	SELECT status FROM vqueue.complete((SELECT id FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket LIMIT 1));
	SELECT status FROM vqueue.leave((SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' ORDER BY ticket OFFSET 5 LIMIT 1));
	SELECT status FROM vqueue.remove((SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' ORDER BY ticket OFFSET 9 LIMIT 1), 'test');
	UPDATE vqueue.user_sessions SET priority = 'high'
	 WHERE id = (SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' AND priority = 'normal' ORDER BY ticket OFFSET 20 LIMIT 1)});
check_clean($node, 'postgres', 'memory is right before');

restart_and_compare('fast restart', 'fast');
join_round('after a restart', 'b');
restart_and_compare('crash', 'immediate');
join_round('after a crash', 'c');
restart_and_compare('second crash', 'immediate');
join_round('after a second crash', 'd');

is($node->safe_psql('postgres', 'SELECT ticket FROM issued GROUP BY ticket HAVING count(*) > 1'),
	'', 'no ticket was issued twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM issued a JOIN issued b
	ON a.how LIKE 'first%' AND b.how LIKE 'after a restart%' AND b.ticket <= a.ticket}),
	'0', 'tickets rise over a restart');

# One user's live session survives as one.
is($node->safe_psql('postgres', q{SELECT p.ticket = s.ticket FROM vqueue.user_sessions s,
	vqueue.join('lanes', s.user_id) p WHERE s.left_at IS NULL AND s.queue_id = vqueue._queue('lanes')
	ORDER BY s.ticket LIMIT 1}), 't', 'who joins again after a crash gets the session from before');

# More than the ceilings are ahead of the tickets at a time, then a crash.
note_tickets('many', $node->safe_psql('postgres',
	"SELECT ticket FROM vqueue.join_many('lanes', " . users('e', 1, 20000) . ')'));
$node->stop('immediate');
$node->start;
note_tickets('after many', $node->safe_psql('postgres',
	"SELECT ticket FROM vqueue.join_many('lanes', " . users('e', 20001, 20010) . ')'));
is($node->safe_psql('postgres', 'SELECT ticket FROM issued GROUP BY ticket HAVING count(*) > 1'),
	'', 'nor past the first ceiling');
check_clean($node, 'postgres', 'memory is right with many');

# A finished row that an operator inserted above the ceiling, and then a crash.
my $far = $node->safe_psql('postgres',
	q{SELECT ceiling + 3 FROM vqueue.ticket_ceilings WHERE queue_id = vqueue._queue('lanes')});
$node->safe_psql('postgres', qq{
	INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket, status, left_at)
	VALUES (vqueue._queue('lanes'), gen_random_uuid(), $far, 'left', now())});
$node->stop('immediate');
$node->start;
is($node->psql('postgres',
		"SELECT count(*) FROM vqueue.join_many('lanes', " . users('e', 30001, 50000) . ')'),
	0, 'a row inserted by hand above the ceiling is in nobody\'s way after a crash');
check_clean($node, 'postgres', 'memory is right after it');

# ---- the pacer ----

# 20 at once, then one every 100 ms; the restarts come while 3000 wait.
$session->abandon;
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('paced', " . users('f', 1, 3000) . ')');
foreach my $mode (qw(immediate fast immediate))
{
	my $released = $node->safe_psql('postgres',
		q{SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('paced')});
	ok($node->poll_query_until('postgres', qq{SELECT count(served_at) > $released + 2
		FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('paced')}), "releases go on before stop $mode");
	$node->stop($mode);
	$node->start;
}
# A hand at the join just after the start, when memory has just been built.
$node->safe_psql('postgres', 'SELECT vqueue.rebuild()');
ok($node->poll_query_until('postgres', q{SELECT count(served_at) >= 45 FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('paced')}), 'releases go on after all of them');
$node->safe_psql('postgres', q{SELECT vqueue.pause('paced')});
cmp_ok(count_over_rate($node, 'postgres', 'paced', 600), '<=', 20,
	'rate and burst were kept in every window across the restarts');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions s
	WHERE s.queue_id = vqueue._queue('paced') AND s.served_at IS NOT NULL
	  AND EXISTS (SELECT FROM vqueue.user_sessions e WHERE e.queue_id = s.queue_id
	               AND e.ticket < s.ticket AND e.status = 'waiting')}),
	'0', 'nobody was passed over');
check_clean($node, 'postgres', 'memory is right at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed by itself');
done_testing();
