#
# Logical replication to a second server, which follows under load and takes
# over when the first one is killed.
#
# How it is set up.  The second server must let nobody in while it follows, so
# the state of a queue is not published, and is "closed" there until somebody
# opens the queue.  On the first server:
#
#   CREATE PUBLICATION vqueue FOR TABLE vqueue.tenants, vqueue.secrets, vqueue.pass_keys, vqueue.ticket_ceilings, vqueue.user_sessions, vqueue.draws, vqueue.tenant_features, vqueue.audit_log, vqueue.client_joins,
#       vqueue.queues (id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
#                      burst, max_waiting, method, lane_weights, session_retention, pass_lifetime, client_limit, client_window,
#                      version, created_at, updated_at);
#
# On the second one, which preloads vqueue as well:
#
#   CREATE EXTENSION vqueue;
#   DELETE FROM vqueue.tenants;          -- the first server's tenants come instead
#   ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'closed';
#   CREATE SUBSCRIPTION vqueue CONNECTION '...' PUBLICATION vqueue WITH (synchronous_commit = on);
#
# So that nothing acknowledged is lost, synchronous_standby_names of the first
# server then names the subscription.  To take over, once the first server is down for
# good (two servers that both let in know nothing of each other):
#
#   ALTER SUBSCRIPTION vqueue DISABLE;
#   ALTER SUBSCRIPTION vqueue SET (slot_name = NONE);
#   DROP SUBSCRIPTION vqueue;
#   ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'open';
#   SELECT vqueue.open(queue) FROM vqueue.overview;        -- or some of them
#
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $rounds = $ENV{VQ_TORTURE} || 1;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $conf = "max_worker_processes = 16\nmax_logical_replication_workers = 8";
my $first = new_vqueue_node('first', init => { allows_streaming => 'logical' }, conf => $conf);
my $second = new_vqueue_node('second', conf => $conf);

$first->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name, domain) VALUES ('other', 'example.org');
	SELECT vqueue.create_queue('hall', 6000, 40);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused');
	SELECT vqueue.create_queue('slow', 60, 1000, burst => 20);
	SELECT vqueue.create_queue('past', 60, 100000, state => 'paused');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('shop', 600, 10, state => 'paused');
	SELECT vqueue.set_feature('board', false)});
wait_for_worker($first);
$first->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('a', 1, 3000) . ')');
$first->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('b', 1, 10) . ", 'vip')");
$first->safe_psql('postgres', q{SET vqueue.tenant = 'other'; SELECT count(*) FROM vqueue.join_many('shop', } . users('a', 1, 9) . ')');
$first->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('past', " . users('a', 1, 301) . ')');

# ---- load ----

append_to_file("$dir/crowd.sql", <<'SQL');
SELECT id FROM vqueue.join('hall') \gset
SELECT vqueue.poll(':id');
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions
 WHERE status = 'serving' AND queue_id = vqueue._queue('hall') LIMIT 1 FOR UPDATE SKIP LOCKED) s;
SELECT id FROM vqueue.join('hall', priority => 'high') \gset
SELECT vqueue.leave(':id');
BEGIN;
SELECT id FROM vqueue.join('hall');
ROLLBACK;
SQL
append_to_file("$dir/operator.sql", <<'SQL');
\set n random(1, 1000000000)
SELECT vqueue.create_queue('brief' || :n, 6000, 10, state => 'open');
SELECT count(*) FROM vqueue.join_many('brief' || :n, ARRAY[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()]);
SELECT vqueue.drop_queue('brief' || :n, true);
SELECT vqueue.alter_queue('hall', max_waiting => 100000 + :n / 10);
SQL

sub start_load
{
	my ($rounds) = @_;

	return IPC::Run::start(
		[
			'pgbench', '-n', '-c', '3', '-t', $rounds, '-f', "$dir/crowd.sql\@5", '-f', "$dir/operator.sql\@5",
			'-h', $first->host, '-p', $first->port, 'postgres'
		],
		'<', \'', '>', "$dir/load.out", '2>', "$dir/load.err");
}

# ---- the second server begins to follow in the middle of it ----

my $load = start_load(100 * $rounds);
$first->safe_psql('postgres', q{
	CREATE PUBLICATION vqueue FOR TABLE vqueue.tenants, vqueue.secrets, vqueue.pass_keys, vqueue.ticket_ceilings, vqueue.user_sessions, vqueue.draws, vqueue.tenant_features, vqueue.audit_log, vqueue.client_joins,
	    vqueue.queues (id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
	                   burst, max_waiting, method, lane_weights, session_retention, pass_lifetime, client_limit, client_window,
	                   version, created_at, updated_at)});
$second->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	DELETE FROM vqueue.tenants;
	ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'closed'});
wait_for_worker($second);
$second->safe_psql('postgres', 'CREATE SUBSCRIPTION vqueue CONNECTION $$' . $first->connstr('postgres') . '$$ PUBLICATION vqueue WITH (synchronous_commit = on)');
$second->wait_for_subscription_sync($first, 'vqueue');
check_clean($second, 'postgres', 'memory follows while the crowd is busy');
$load->finish;
is(slurp_file("$dir/load.err") =~ /error/i ? slurp_file("$dir/load.err") : '', '', 'the crowd met no error');

# All that the second server is to have; it says in which state a queue is itself.
my $tables = q{
	SELECT 'queue', q::text FROM (SELECT id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
		burst, max_waiting, method, lane_weights, session_retention, pass_lifetime, client_limit, client_window,
		version, created_at, updated_at FROM vqueue.queues) q
	UNION ALL SELECT 'tenant', t::text FROM vqueue.tenants t
	UNION ALL SELECT 'feature', f::text FROM vqueue.tenant_features f
	UNION ALL SELECT 'secret', s::text FROM (SELECT * FROM vqueue.secrets ORDER BY made_at LIMIT 1) s
	UNION ALL SELECT 'session', s::text FROM vqueue.user_sessions s ORDER BY 1, 2};

# Both servers have the same once the first one stands still.
sub same_on_both
{
	my ($when) = @_;

	$first->poll_query_until('postgres', q{SELECT bool_and(serving = least(40, waiting + serving)) FROM vqueue.overview WHERE queue = 'hall'})
	  or die 'the hall does not fill';
	$first->wait_for_catchup('vqueue');
	same_lines($second->safe_psql('postgres', $tables), $first->safe_psql('postgres', $tables), "$when: all rows are the same");
	same_lines(row_state($second, 'postgres'), row_state($first, 'postgres'), "$when: all places are the same");
	check_clean($second, 'postgres', "$when: memory is right");
	is($second->safe_psql('postgres', q{SELECT DISTINCT state FROM vqueue.queues}), 'closed',
		"$when: the second server keeps its queues closed");
	return;
}

same_on_both('followed from the beginning');

# What is switched off comes along, for sessions that have asked before too.
my $asker = psql_session($second);
is($asker->query(q{SET vqueue.tenant = 'other'; SELECT vqueue.feature('board'), vqueue.feature('draw')}), 'f|t', 'a feature is off on both');
$first->safe_psql('postgres', q{SELECT vqueue.set_feature('draw', false, 'other'), vqueue.set_feature('board', true, 'other')});
$first->wait_for_catchup('vqueue');
is($asker->query(q{SELECT vqueue.feature('board'), vqueue.feature('draw')}), 't|f', 'and again, or another one');
$asker->quit;

# Changes by hand, then a backlog.
$first->safe_psql('postgres', q{
	UPDATE vqueue.user_sessions SET status = 'serving', served_at = now() - interval '1 hour'
	 WHERE queue_id = vqueue._queue('past') AND ticket <= 300;
	UPDATE vqueue.user_sessions SET priority = 'high' WHERE queue_id = vqueue._queue('still') AND ticket % 100 = 0;
	DELETE FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('still') AND ticket % 100 = 1;
	SELECT vqueue.release('still', 5)});
$second->safe_psql('postgres', 'ALTER SUBSCRIPTION vqueue DISABLE');
$load = start_load(30 * $rounds);
$load->finish;
$second->safe_psql('postgres', 'ALTER SUBSCRIPTION vqueue ENABLE');
same_on_both('caught up');

# ---- the first server is killed under load, and the second takes over ----

# A storm of clients that go where they find a server; the second one does not
# let them in before it has taken over.  Their own table is replicated with ours.
$first->safe_psql('postgres', 'CREATE ROLE crowd SUPERUSER LOGIN');
$second->safe_psql('postgres', 'CREATE ROLE crowd SUPERUSER NOLOGIN; CREATE TABLE storm_orders (id uuid PRIMARY KEY)');
my $storm;
{
	local $ENV{PGUSER} = 'crowd';
	$storm = start_storm($first, nodes => [ $first, $second ], seconds => 600, queues => 2, clients => 8, settings => 0, faults => 1);
}
$first->poll_query_until('postgres', q{SELECT to_regclass('storm_orders') IS NOT NULL}) or die 'no storm';
$first->safe_psql('postgres', 'ALTER PUBLICATION vqueue ADD TABLE storm_orders');
$second->safe_psql('postgres', 'ALTER SUBSCRIPTION vqueue REFRESH PUBLICATION');
$second->wait_for_subscription_sync($first, 'vqueue');

# From here on what is acknowledged is on both.
$first->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'vqueue'});
$first->reload;
$first->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'})
  or die 'replication does not become synchronous';

# Clients that write down each answer, those of rolled back joins too.
my $joins = join("\n", map { "SELECT id, ticket FROM vqueue.join('hall', user_name => 'told');\n"
	. "BEGIN;\nSELECT 'undone', ticket FROM vqueue.join('still', priority => 'low');\nROLLBACK;" } 1 .. 5000);
append_to_file("$dir/joins.sql", $joins);
my @clients = map {
	IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $first->connstr('postgres'), '-f', "$dir/joins.sql" ],
		'<', \'', '>', "$dir/told.$_", '2>', "$dir/told_errors.$_")
} 1 .. 2;
ok($first->poll_query_until('postgres', 'SELECT count(*) > ' . 200 * $rounds . q{ FROM vqueue.user_sessions WHERE user_name = 'told'}),
	'clients join under load');
check_clean($second, 'postgres', 'memory follows meanwhile');
is($first->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('slow', } . users('c', 1, 20) . q{) WHERE status = 'serving'}),
	'20', 'the slow queue has just let in as many as may come at once');
$first->stop('immediate');
$_->finish foreach @clients;

$second->safe_psql('postgres', $_) foreach (
	'ALTER SUBSCRIPTION vqueue DISABLE',
	'ALTER SUBSCRIPTION vqueue SET (slot_name = NONE)',
	'DROP SUBSCRIPTION vqueue',
	q{ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'open'});
check_clean($second, 'postgres', 'memory is right on the second server');

my %told;
my $highest = 0;
foreach my $line (map { split /\n/, slurp_file("$dir/told.$_") } 1 .. 2)
{
	my ($id, $ticket) = split /\|/, $line;

	next unless defined $ticket;
	$told{"$id|$ticket"} = 1 if $id ne 'undone';
	$highest = $ticket if $id eq 'undone' && $ticket > $highest;
}
my %there = map { $_ => 1 } split /\n/,
  $second->safe_psql('postgres', q{SELECT id, ticket FROM vqueue.user_sessions WHERE user_name = 'told'});
cmp_ok(scalar(keys %told), '>=', 200 * $rounds, 'joins were acknowledged until the end');
is(scalar(grep { !$there{$_} } keys %told), 0, 'and all of them are on the second server, with their tickets');
cmp_ok($second->safe_psql('postgres', q{SELECT ceiling FROM vqueue.ticket_ceilings WHERE queue_id = vqueue._queue('still')}), '>=', $highest,
	'which knows how far tickets were issued, rolled back ones too');
fails_with($second, 'postgres', q{SELECT vqueue.join('hall')}, '55000', qr/closed/, 'until it is opened nobody joins there');


# ---- the second server lets in ----

my $opened = $second->safe_psql('postgres', 'SELECT clock_timestamp()');
$second->safe_psql('postgres', q{SELECT vqueue.open(queue) FROM vqueue.overview; ALTER ROLE crowd LOGIN});
ok($second->poll_query_until('postgres', q{SELECT bool_and(serving = max_concurrent_users) FROM vqueue.overview WHERE queue IN ('hall', 'still')}),
	'opened, the rooms fill up');
$second->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE queue IN ('hall', 'still') AND status = 'serving'});
ok($second->poll_query_until('postgres', q{SELECT bool_and(serving = max_concurrent_users) FROM vqueue.overview WHERE queue IN ('hall', 'still')}),
	'and again when slots are free');
is($second->safe_psql('postgres', qq{
	SELECT count(*) FROM (SELECT served_at, max(served_at) FILTER (WHERE joined_at < '$opened') OVER (PARTITION BY priority ORDER BY ticket) AS latest
	  FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('hall') AND served_at IS NOT NULL) s
	 WHERE served_at >= '$opened' AND served_at < latest}), '0',
	'nobody was let in before one who waited there already, and earlier');
cmp_ok(count_over_cap($second, 'postgres', 'hall'), '<=', 40, 'the cap was kept over the change');
cmp_ok(count_over_rate($second, 'postgres', 'hall', 6000), '<=', 10, 'and the rate');
is($second->safe_psql('postgres', q{SELECT status, count(*) FROM vqueue.sessions WHERE queue = 'still' AND status = 'serving'
	AND priority NOT IN ('vip', 'high') GROUP BY 1}), '', 'lanes come in their order');

# What the first server has just let in counts here, what it let in long ago does not.
$second->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('slow', " . users('d', 1, 30) . ')');
ok($second->poll_query_until('postgres', q{SELECT count(served_at) > 20 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('slow')}),
	'the slow queue goes on');
cmp_ok(count_over_rate($second, 'postgres', 'slow', 60), '<=', 20, 'without a second burst');
is($second->safe_psql('postgres', q{SELECT coalesce(estimated_wait < interval '1 min', false) FROM vqueue.overview WHERE queue = 'past'}), 't',
	'old releases are not a debt');

$storm->finish('over the change');

# ---- tickets: above all earlier ones, and again after a crash ----

cmp_ok($second->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('still', priority => 'low')}), '>', $highest,
	'tickets are above all that the first server issued');
my $next = $second->safe_psql('postgres', q{BEGIN; SELECT ticket FROM vqueue.join('past'); ROLLBACK});
$second->safe_psql('postgres', q{SET session_replication_role = 'replica'; UPDATE vqueue.ticket_ceilings SET ceiling = 400});
$second->stop('immediate');
$second->start;
ok(wait_for_worker($second), 'the second server crashes, and is back');
cmp_ok($second->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('past')}), '>', $next,
	'a ticket that was rolled back before is not issued again, whatever lower ceiling came late');
check_clean($second, 'postgres', 'memory is right at the end');
ok($second->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), 'health finds nothing');

$second->stop;
unlike(slurp_file($second->logfile), qr/the waiting lines are not ready/, 'nobody had to wait for memory in vain');
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ': nothing crashed') foreach ($first, $second);
done_testing();
