#
# One sick queue never holds up the others, nor one locked row those behind it.
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
	SELECT vqueue.create_queue('held', 10000000, 100000, state => 'paused');
	SELECT vqueue.create_queue('sick', 10000000, 100000, state => 'paused');
	SELECT vqueue.create_queue('well', 10000000, 100000)});
wait_for_worker($node);

sub waiting
{
	my ($queue, $n) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return $node->poll_query_until('postgres',
		qq{SELECT waiting = $n FROM vqueue.overview WHERE queue = '$queue'});
}

# The well one lets somebody in whom it could not serve inside join.
my $turn = 0;
sub well_goes_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$turn++;
	$node->safe_psql('postgres', q{
		SELECT vqueue.pause('well');
		SELECT count(*) FROM vqueue.join_many('well', } . users('e', $turn * 10, $turn * 10 + 4) . q{);
		SELECT vqueue.resume('well')});
	return ok(waiting('well', 0), $name);
}

# ---- a locked row at the head ----

$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('held', " . users('a', 1, 50) . ')');
my $holder = psql_session($node);
$holder->query_safe(q{BEGIN; SELECT id FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('held') AND ticket = 1 FOR UPDATE});
$node->safe_psql('postgres', q{SELECT vqueue.resume('held')});
ok(waiting('held', 1), 'those behind a locked row are let in');
is($node->safe_psql('postgres', q{SELECT position, status FROM vqueue.sessions WHERE queue = 'held' AND ticket = 1}),
	'1|waiting', 'the locked one waits at the head');
is($node->safe_psql('postgres', q{SELECT failures, last_error FROM vqueue.overview WHERE queue = 'held'}),
	'0|', 'a locked row is no failure');
well_goes_on('other queues go on');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.join('held')}), 'waiting',
	'a newcomer does not overtake inside join');
ok(waiting('held', 1), 'but is let in by the worker');
$holder->query_safe('ROLLBACK');
ok(waiting('held', 0), 'when the lock is gone the head comes in');

# The holder ends the session it has locked.
$node->safe_psql('postgres', q{SELECT vqueue.pause('held')});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('held', " . users('b', 1, 5) . ')');
$holder->query_safe(q{BEGIN; SELECT status FROM vqueue.leave((SELECT id FROM vqueue.user_sessions
	WHERE user_id = 'b0000000-0000-0000-0000-000000000001'))});
$node->safe_psql('postgres', q{SELECT vqueue.resume('held')});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 4 FROM vqueue.user_sessions
	WHERE user_id::text LIKE 'b0000000%' AND status = 'serving'}), 'those behind one who is leaving are let in');
$holder->query_safe('COMMIT');
ok(waiting('held', 0), 'and he is gone');
check_clean($node, 'postgres', 'memory is right after locks');

# With a cap, the slots go to those behind, and no more than the cap.
$node->safe_psql('postgres', q{SELECT vqueue.create_queue('tight', 10000000, 3, state => 'paused')});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('tight', " . users('c', 1, 10) . ')');
$holder->query_safe(q{BEGIN; SELECT id FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('tight') AND ticket IN (1, 2, 3, 4) FOR UPDATE});
$node->safe_psql('postgres', q{SELECT vqueue.resume('tight')});
ok($node->poll_query_until('postgres', q{SELECT string_agg(ticket::text, ' ' ORDER BY ticket) = '5 6 7'
	FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('tight') AND status = 'serving'}),
	'with all of the first locked, as many as the cap allows come in from behind');
$holder->query_safe('ROLLBACK');
$node->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('tight') AND status = 'serving'});
ok($node->poll_query_until('postgres', q{SELECT string_agg(ticket::text, ' ' ORDER BY ticket) = '1 2 3'
	FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('tight') AND status = 'serving'}),
	'and the first ones next');
is(count_over_cap($node, 'postgres', 'tight'), '3', 'the cap was kept');

# A locked queue row, and locked ceilings, hold up neither joins nor releases.
$holder->query_safe(q{BEGIN; SELECT id FROM vqueue.queues FOR UPDATE; SELECT * FROM vqueue.ticket_ceilings FOR UPDATE});
is($node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('well', " . users('c', 1, 3000) . ')'),
	'3000', 'joins go on while the rows of all queues are locked');
ok(waiting('well', 0), 'and releases too');
$holder->query_safe('ROLLBACK');

# Locked tables hold up the queues, not the worker: it is not stuck in a lock.
$holder->query_safe('BEGIN; LOCK TABLE vqueue.user_sessions IN EXCLUSIVE MODE');
my $joiner = psql_session($node);
$joiner->send(q{SELECT status FROM vqueue.join('well')});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted}) or die 'join does not wait';
my $worker = worker_pid($node);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $worker AND NOT granted"), '0',
	'the worker does not wait for a lock of the table');
$holder->query_safe('COMMIT');
is($joiner->wait, 'serving', 'the join goes on when the table is free');
well_goes_on('and so does the worker');

# ---- a trigger that raises ----

$node->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN RAISE EXCEPTION 'this queue is sick'; END$$});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('sick', " . users('d', 1, 20) . ')');
my $sick_id = $node->safe_psql('postgres', q{SELECT vqueue._queue('sick')});
$node->safe_psql('postgres', qq{
	CREATE TRIGGER refuse BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW
		WHEN (NEW.queue_id = '$sick_id' AND NEW.status = 'serving') EXECUTE FUNCTION refuse()});
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT vqueue.resume('sick')});
ok($node->poll_query_until('postgres', q{SELECT failures >= 3 AND last_error LIKE '%this queue is sick%'
	FROM vqueue.overview WHERE queue = 'sick'}), 'the overview shows failures and error of a sick queue');
$node->wait_for_log(qr/vqueue: queue "sick" could not be moved: this queue is sick/, $offset);
pass('the log does too');
is($node->safe_psql('postgres', q{SELECT status, hint IS NOT NULL FROM vqueue.health() WHERE "check" = 'queues'}),
	'fail|t', 'and health');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE failures > 0}), '1',
	'no other queue is blamed');
well_goes_on("other queues go on, turn $_") foreach 1 .. 3;
is($node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview WHERE queue = 'sick'}), '20',
	'all in the sick one still wait');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('sick') AND served_at IS NOT NULL}),
	'0', 'and nobody is half let in');
check_clean($node, 'postgres', 'memory is right while it is sick');

# Clients are still answered.
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.join('sick')}), 'waiting', 'the sick queue is joined');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.leave((SELECT id FROM vqueue.user_sessions
	WHERE user_id = 'd0000000-0000-0000-0000-000000000020'))}), 'left', 'and left');
is($node->psql('postgres', q{SELECT vqueue.release('sick', 1)}), 3, 'releasing by hand tells the error');

# It is backed off rather than tried all the time.
my @tries = slurp_file($node->logfile, $offset) =~ /queue "sick" could not be moved/g;
my $failures = $node->safe_psql('postgres', q{SELECT failures FROM vqueue.overview WHERE queue = 'sick'});
cmp_ok(scalar(@tries), '<=', $failures, 'not every failure is logged');
cmp_ok($failures, '<', 50, 'it is backed off');

$node->safe_psql('postgres', 'DROP TRIGGER refuse ON vqueue.user_sessions');
ok(waiting('sick', 0), 'it recovers when the trigger is dropped');
is($node->safe_psql('postgres', q{SELECT failures, last_error FROM vqueue.overview WHERE queue = 'sick'}), '0|',
	'and the overview says so');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.health() WHERE "check" = 'queues'}), 'ok', 'and health');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions s WHERE queue_id = vqueue._queue('sick')
	AND EXISTS (SELECT FROM vqueue.user_sessions e WHERE e.queue_id = s.queue_id AND e.ticket < s.ticket AND e.served_at > s.served_at)}),
	'0', 'in the right order');

# ---- a trigger that silently skips the update ----

$node->safe_psql('postgres', q{SELECT vqueue.pause('sick')});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('sick', " . users('f', 1, 5) . ')');
$node->safe_psql('postgres', qq{
	CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN RETURN NULL; END\$\$;
	CREATE TRIGGER skip BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW
		WHEN (NEW.user_id = 'f0000000-0000-0000-0000-000000000001') EXECUTE FUNCTION skip();
	SELECT vqueue.resume('sick')});
ok(waiting('sick', 1), 'an update that a trigger skips is passed over like a locked row');
well_goes_on('other queues go on');
$node->safe_psql('postgres', 'DROP TRIGGER skip ON vqueue.user_sessions');
ok(waiting('sick', 0), 'and made up for');
check_clean($node, 'postgres', 'memory is right at the end');

# ---- settings of the database do not make the worker sick ----

$node->safe_psql('postgres', q{
	CREATE DATABASE odd;
	ALTER DATABASE odd SET search_path = evil, pg_catalog;
	ALTER DATABASE odd SET default_transaction_read_only = on;
	ALTER DATABASE odd SET default_transaction_isolation = 'serializable';
	ALTER DATABASE odd SET statement_timeout = '1ms';
	ALTER DATABASE odd SET session_replication_role = 'replica';
	ALTER DATABASE odd SET vqueue.tenant = 'nobody';
	ALTER DATABASE odd SET DateStyle = 'German, DMY';
	ALTER DATABASE odd SET TimeZone = 'Asia/Tokyo';
	ALTER DATABASE odd SET synchronous_commit = off;
	ALTER DATABASE odd SET enable_indexscan = off});
my $sane = q{SET default_transaction_read_only = off; SET statement_timeout = 0;
	SET session_replication_role = 'origin'; SET vqueue.tenant = 'default'; SET search_path = public;};
$node->safe_psql('odd', "$sane BEGIN; SET TRANSACTION READ WRITE; CREATE EXTENSION vqueue; COMMIT;");
wait_for_worker($node, 'odd');
my $sane_session = psql_session($node, 'odd');
$sane_session->query_safe($_) foreach split /;/, $sane;
$sane_session->query_safe(q{SELECT vqueue.create_queue('q', 10000000, 100000, state => 'paused')});
$sane_session->query_safe(q{SELECT count(*) FROM vqueue.join_many('q', } . users('a', 1, 500) . ')');
$sane_session->query_safe(q{SELECT vqueue.resume('q')});
for (my $tries = 0; $tries < 10 * $PostgreSQL::Test::Utils::timeout_default
	&& $sane_session->query_safe('SELECT waiting FROM vqueue.overview') ne '0'; $tries++)
{
	select(undef, undef, undef, 0.1);
}
is($sane_session->query_safe('SELECT waiting, serving, failures FROM vqueue.overview'), '0|500|0',
	'odd settings of a database do not reach its worker');
is($sane_session->query_safe('SELECT * FROM vqueue.check()'), '', 'and memory is right there');
$_->quit foreach ($holder, $joiner, $sane_session);

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
