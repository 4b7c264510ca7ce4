#
# docker/deploy/blue-green.sh on real servers with a crowd on them: the green server
# follows by logical replication, takes over, and has everybody; undone before that,
# both are as they were.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueJoiners;
use VqueueNode;

my $conf = "max_worker_processes = 16\nmax_logical_replication_workers = 8\n";
my $blue = new_vqueue_node('blue', init => { allows_streaming => 'logical' }, conf => $conf);
my $green = new_vqueue_node('green', conf => $conf);

$blue->safe_psql('postgres', q{
	CREATE EXTENSION vqueue VERSION '1.0.0';
	CREATE ROLE visitor LOGIN;
	CREATE ROLE crowd SUPERUSER LOGIN;
	SELECT vqueue.grant_access('visitor', 'default', 'app');
	INSERT INTO vqueue.tenants (name) VALUES ('other');
	SELECT vqueue.create_queue('door', 60000, 1000000);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused', waiting_timeout => '1 day', opens_at => '2999-01-01');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('shop', 600, 10, claim_timeout => '12 hours')});
wait_for_worker($blue);
$blue->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('a', 1, 500) . ')');
$green->safe_psql('postgres', q{
	CREATE ROLE visitor LOGIN;
	CREATE ROLE crowd SUPERUSER LOGIN;
	CREATE TABLE storm_orders (id uuid PRIMARY KEY)});

sub move
{
	my ($what, @more) = @_;

	return deploy_script('blue-green.sh', $what, '--blue', $blue->connstr('postgres'), '--green', $green->connstr('postgres'),
		'--blue-link', $blue->connstr('postgres'), '--patience', '40', @more);
}

my @tables = ('--tables', 'public.storm_orders');
my ($status, $said) = move('prepare', '--dry-run');
is($status, 0, 'a dry run finds nothing wrong');
like($said, qr/CREATE PUBLICATION.*CREATE SUBSCRIPTION/s, 'and says what would be done');
is($green->safe_psql('postgres', q{SELECT to_regnamespace('vqueue') IS NULL}), 't', 'and does nothing');
($status, $said) = move('switch');
is($status, 1, 'nothing is switched that was not prepared');
is($blue->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE state = 'closed'}), '0', 'and nothing frozen');

my $storm;
{
	local $ENV{PGUSER} = 'crowd';
	$storm = start_storm($blue, nodes => [ $blue, $green ], seconds => 3600, clients => 4, queues => 2, settings => 0, faults => 1);
}
$blue->poll_query_until('postgres', q{SELECT to_regclass('storm_orders') IS NOT NULL}) or die 'no storm';

# ---- tried, and given up ----

$_->safe_psql('postgres', 'CREATE TABLE bare (n int)') foreach ($blue, $green);
($status, $said) = move('prepare', '--tables', 'public.bare');
is($status, 1, 'a table from which nobody could delete any more, once published, is refused');
like($said, qr/has no replica identity/, 'with words');

($status, $said) = move('prepare', @tables);
is($status, 0, 'prepared');
($status, $said) = move('undo');
is($status, 0, 'and undone');
is($blue->safe_psql('postgres', 'SELECT count(*) FROM pg_publication UNION ALL SELECT count(*) FROM pg_replication_slots'), "0\n0", 'blue has nothing left of it');
is($green->safe_psql('postgres', q{SELECT count(*), to_regnamespace('vqueue') IS NULL FROM pg_db_role_setting GROUP BY 2 UNION ALL SELECT 0, true}),
	'0|t', 'nor has green');
$green->safe_psql('postgres', 'TRUNCATE storm_orders');

# ---- done ----

($status, $said) = move('prepare', @tables);
is($status, 0, 'prepared again');
my $joiners = start_joiners([ $green, $blue ], user => 'visitor', queue => 'door');
ok($joiners->await(10), 'people join on blue, though green is asked first');
is($green->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ',') FROM vqueue.queues}), 'closed', 'green lets nobody in meanwhile');

# Something on green keeps it from following to the end: blue goes on.
my $locker = psql_session($green);
$locker->query_safe(q{SET default_transaction_read_only = off; BEGIN; LOCK TABLE vqueue.queues IN EXCLUSIVE MODE});
($status, $said) = move('switch', '--patience', '2');
is($status, 1, 'where green does not follow to the end, nothing is switched');
like($said, qr/green did not get all in time.*blue goes on as before|blue goes on as before.*green did not get all in time/s, 'and that is said');
$locker->query('ROLLBACK');
$locker->quit;
is($blue->safe_psql('postgres', q{SELECT q.name, q.state, q.waiting_timeout, q.opens_at IS NOT NULL FROM vqueue.queues q WHERE q.name IN ('door', 'still') ORDER BY 1}),
	"door|open|00:00:00|f\nstill|paused|1 day|t", 'queues of blue are as they were');
ok($joiners->await(10), 'people join there again');
$joiners->finish($blue, 'blue-green, tried in vain for 2 seconds');

$joiners = start_joiners([ $green, $blue ], user => 'visitor', queue => 'door');
ok($joiners->await(10), 'others come');

($status, $said) = move('switch');
is($status, 0, 'switched');
diag('blue-green: ' . ($said =~ /(green has taken over in \d+ ms)/)[0]);
ok($joiners->await(10), 'people join on green');
is($green->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'vqueue'}), '1.1.0', 'which has the newest version');
is($green->safe_psql('postgres', q{SELECT q.name, q.state, q.waiting_timeout, q.claim_timeout, q.opens_at IS NOT NULL FROM vqueue.queues q
	WHERE q.name IN ('door', 'still', 'shop') ORDER BY 1}),
	"door|open|00:00:00|00:00:00|f\nshop|open|00:00:00|12:00:00|f\nstill|paused|1 day|00:00:00|t", 'queues have their states and timeouts');
is($green->safe_psql('postgres', q{SELECT count(*), max(vqueue.position(id)) FROM vqueue.sessions WHERE queue = 'still'}), '500|500', 'who waits is there');
is($blue->safe_psql('postgres', q{SET default_transaction_read_only = off; SELECT string_agg(DISTINCT state, ',') FROM vqueue.queues}), 'closed', 'blue is frozen');
$joiners->finish($green, 'blue-green');
$storm->finish('over the change');

# What blue counted comes along.
$blue->safe_psql('postgres', q{SELECT vqueue._count_now()});
$blue->poll_query_until('postgres', q{SELECT sum(joined) >= 500 FROM vqueue.stats WHERE queue = 'still'}) or die 'blue does not count';
$blue->safe_psql('postgres', q{INSERT INTO vqueue.queue_stats SELECT queue_id, minute - interval '1 day', 7, released, completed, "left", abandoned, no_shows, expired, removed,
	wait_p50, wait_p90, wait_p99, stay_p50, stay_p90, stay_p99, peak_waiting, peak_serving FROM vqueue.queue_stats WHERE queue_id = vqueue._queue('still') LIMIT 1});
($status, $said) = move('finish');
is($status, 0, 'finished');
is($green->safe_psql('postgres', q{SELECT joined FROM vqueue.stats WHERE queue = 'still' AND minute < now() - interval '23 hours'}), '7', 'statistics are there');
is($blue->safe_psql('postgres', 'SELECT count(*) FROM pg_publication UNION ALL SELECT count(*) FROM pg_replication_slots'), "0\n0", 'and nothing is left on blue');
check_clean($green, 'postgres', 'memory is right on green');
$_->stop foreach ($blue, $green);
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ' did not crash') foreach ($blue, $green);
done_testing();
