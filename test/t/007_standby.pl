#
# On a hot standby readers answer from the tables and writers get the usual
# error; after promotion everything goes on where it was.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $primary = new_vqueue_node('primary', init => { allows_streaming => 1 });

$primary->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('other');
	SELECT vqueue.create_queue('hall', 6000, 5);
	SELECT vqueue.create_queue('lanes', 600, 10, state => 'paused');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('hall', 6000, 5)});
wait_for_worker($primary);
$primary->safe_psql('postgres', 'CREATE SCHEMA old CREATE TABLE queues (id uuid, name text)');
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('lanes', " . users('a', 1, 30) . ')');
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('lanes', " . users('b', 1, 5) . ", 'vip')");

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;

# More of everything while the standby follows.
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('hall', " . users('a', 1, 20) . ')');
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('lanes', " . users('c', 1, 5) . ", 'low')");
$primary->safe_psql('postgres', q{SELECT vqueue.release('lanes', 3)});
$primary->poll_query_until('postgres', q{SELECT serving = 5 FROM vqueue.overview WHERE queue = 'hall'})
  or die 'the hall does not fill';
$primary->safe_psql('postgres', q{SELECT vqueue.pause('hall')});
$primary->safe_psql('postgres', q{SELECT vqueue.complete((SELECT id FROM vqueue.user_sessions WHERE status = 'serving' LIMIT 1))});
my $rolled_back = $primary->safe_psql('postgres',
	q{BEGIN; SELECT ticket FROM vqueue.join('lanes'); ROLLBACK});
$primary->poll_query_until('postgres', q{SELECT NOT (SELECT bool_or(vqueue._untold(queue_id, ticket, '-infinity')) FROM vqueue.user_sessions)
	AND EXISTS (SELECT FROM vqueue.events_since('hall') WHERE payload ->> 'state' = 'paused')}) or die 'not all is told';
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

# ---- readers ----

my $figures = q{SELECT queue, id, state, waiting, serving, max_concurrent_users, release_rate_per_minute, head
	FROM vqueue.overview};
my $places = q{SELECT p.id, p.queue, p.user_id, p.status, p.priority, p.ticket, p.position, p.joined_at, p.served_at, p.left_at
	FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id, vqueue.%s(s.id) p
	WHERE q.tenant_id = vqueue._tenant() ORDER BY p.queue, p.ticket};

is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');
is($standby->safe_psql('postgres', $figures), $primary->safe_psql('postgres', $figures),
	'overview answers as on the primary');
foreach my $function (qw(status poll))
{
	is($standby->safe_psql('postgres', sprintf($places, $function)),
		$primary->safe_psql('postgres', sprintf($places, $function)), "$function answers as on the primary");
}
foreach my $expression ('vqueue.position(id)', '(vqueue.positions(ARRAY[id]))[1]', 'vqueue.heartbeat(id)', 'position',
	'vqueue.position(queue, ticket)', 'vqueue.position(queue_id::text, ticket)')
{
	my $sql = "SELECT ticket, $expression FROM vqueue.sessions ORDER BY queue, ticket";
	is($standby->safe_psql('postgres', $sql), $primary->safe_psql('postgres', $sql),
		"$expression answers as on the primary");
}
is($standby->safe_psql('postgres', q{SELECT vqueue.position('lanes', 999999) IS NULL}), 't', 'a ticket never issued has no position');
is($standby->safe_psql('postgres', q{SELECT vqueue.channel('hall')}), 'vqueue_hall', 'channel answers');
foreach my $events (q{SELECT * FROM vqueue.events_since(NULL)}, q{SELECT * FROM vqueue.events_since('lanes')}, 'SELECT vqueue.event_cursor()')
{
	is($standby->safe_psql('postgres', $events), $primary->safe_psql('postgres', $events), "$events as on the primary");
}
is($standby->safe_psql('postgres', 'SELECT * FROM vqueue.check()'), '', 'check answers');
is($standby->safe_psql('postgres', q{SELECT value FROM vqueue.health() WHERE "check" = 'role'}), 'standby', 'health knows the role');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), 'and finds nothing');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM vqueue.memory()'), '1', 'memory answers');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'vqueue%'}), '0',
	'no vqueue process runs there');
fails_with($standby, 'postgres', q{SELECT * FROM vqueue.poll('00000000-0000-0000-0000-000000000000')}, '42704',
	qr/session "00000000-0000-0000-0000-000000000000" does not exist/, 'poll of nobody');
fails_with($standby, 'postgres', q{SELECT vqueue.position('nowhere', 1)}, '42704',
	qr/queue "nowhere" does not exist/, 'position in no queue');
fails_with($standby, 'postgres', q{SET vqueue.tenant = 'other'; SELECT vqueue.status((SELECT id FROM vqueue.user_sessions LIMIT 1))}, '42704',
	undef, 'status of another tenant\'s session');
is($standby->safe_psql('postgres', q{SET vqueue.tenant = 'other'; SELECT queue, waiting FROM vqueue.overview}), 'hall|0',
	'another tenant sees its own queue');

is($standby->safe_psql('postgres', q{SELECT vqueue.user_id('a@b.c')}), $primary->safe_psql('postgres', q{SELECT vqueue.user_id('a@b.c')}),
	'user_id answers as on the primary');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM vqueue.schedules'), '0', 'schedules answers');

# ---- writers ----

my $waiting = '(SELECT id FROM vqueue.user_sessions WHERE status = \'waiting\' LIMIT 1)';
my $serving = '(SELECT id FROM vqueue.user_sessions WHERE status = \'serving\' LIMIT 1)';
foreach my $writer (
	q{join('lanes')},
	q{join('lanes', 'a0000000-0000-0000-0000-000000000009')},
	q{join_many('lanes', ARRAY[gen_random_uuid()])},
	"leave($waiting)", "complete($serving)", "remove($waiting, 'test')",
	q{release('lanes', 1)}, q{create_queue('new')}, q{alter_queue('lanes', 5)},
	q{drop_queue('lanes')}, q{drop_queue('lanes', true)},
	q{open('lanes')}, q{pause('hall')}, q{resume('lanes')}, q{drain('hall')}, q{close('hall')},
	q{import_sessions('old')}, q{import_sessions('old', false)}, q{rebuild()}, q{purge(older_than => '0')})
{
	fails_with($standby, 'postgres', "SELECT vqueue.$writer", '25006', undef, $writer =~ s/\(SELECT.*?LIMIT 1\)/…/r);
}

# A read-only transaction on the primary is much the same, but memory may be written.
is($primary->safe_psql('postgres', "BEGIN READ ONLY; SELECT (vqueue.poll($waiting)).status; SELECT vqueue.heartbeat($serving); COMMIT"),
	"waiting\n0", 'poll and heartbeat work in a read-only transaction');
fails_with($primary, 'postgres', q{BEGIN READ ONLY; SELECT vqueue.join('lanes')}, '25006', undef, 'join in a read-only transaction');

# The standby follows what happens.
$primary->safe_psql('postgres', q{SELECT vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'lanes' AND position = 1))});
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT queue, ticket, position FROM vqueue.sessions ORDER BY queue, ticket'),
	$primary->safe_psql('postgres', 'SELECT queue, ticket, position FROM vqueue.sessions ORDER BY queue, ticket'),
	'positions follow');

# ---- settings on trial ----

# Who is in the share is told by the tickets, there and here and afterwards.
$primary->safe_psql('postgres', q{
	SELECT vqueue.create_queue('tried', method => 'passthrough', serving_timeout => '1 hour'), vqueue.rotate_key();
	SELECT vqueue.canary('tried', '{"serving_timeout": "2 min"}', 1, watch_for => '1 day', share => 0.5)});
$primary->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('tried', } . users('f', 1, 40) . ')');
ok($primary->poll_query_until('postgres', q{SELECT count(*) = 40 FROM vqueue.sessions WHERE queue = 'tried' AND status = 'serving'}), 'all come in');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
my $share = q{SELECT string_agg(s.ticket::text, ' ' ORDER BY s.ticket)
	FROM vqueue.sessions s, LATERAL vqueue.verify_pass(vqueue.pass(s.id)) v WHERE s.queue = 'tried' AND v.expires_at <= s.served_at + interval '2 min'};
my $in_share = $primary->safe_psql('postgres', $share);
like($in_share, qr/^\d+ \d+/, 'some are under settings on trial');
is($standby->safe_psql('postgres', $share), $in_share, 'the same ones on the standby');

# ---- promotion ----

# Tickets up to the end of the primary, and one client that stays connected.
my $last = $primary->safe_psql('postgres', "SELECT max(ticket) FROM vqueue.join_many('lanes', " . users('d', 1, 40) . ')');
$primary->safe_psql('postgres', q{DELETE FROM vqueue.user_sessions WHERE user_id::text LIKE 'd0000000%' AND ticket > (SELECT max(ticket) - 5 FROM vqueue.user_sessions)});
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
my $client = psql_session($standby);
my $mine = $client->query_safe(q{SELECT id FROM vqueue.sessions WHERE queue = 'lanes' AND position = 2});
is($client->query_safe("SELECT position FROM vqueue.poll('$mine')"), '2', 'a client polls the standby');
my $rows = row_state($primary, 'postgres');
my $history = $primary->safe_psql('postgres', 'SELECT s FROM vqueue.user_sessions s ORDER BY id');
$primary->stop('immediate');
$standby->promote;

ok(wait_for_worker($standby), 'after promotion the worker starts');
same_lines(row_state($standby, 'postgres'), $rows, 'everybody is where they were');
is($standby->safe_psql('postgres', 'SELECT s FROM vqueue.user_sessions s ORDER BY id'), $history, 'with all their history');
check_clean($standby, 'postgres', 'memory is right');
is($standby->safe_psql('postgres', $share), $in_share, 'the same ones are under settings on trial');
is($client->query_safe("SELECT position FROM vqueue.poll('$mine')"), '2', 'the client that stayed connected polls on');
is($client->query_safe(q{SELECT status FROM vqueue.leave((SELECT id FROM vqueue.sessions WHERE queue = 'lanes' AND position = 1))}),
	'left', 'and may write');
is($client->query_safe("SELECT position FROM vqueue.poll('$mine')"), '1', 'and sees the effect');
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), 'health finds nothing');
is($standby->safe_psql('postgres', q{SELECT value FROM vqueue.health() WHERE "check" = 'role'}), 'primary', 'and knows the new role');

cmp_ok($standby->safe_psql('postgres', "SELECT min(ticket) FROM vqueue.join_many('lanes', " . users('e', 1, 10) . ')'),
	'>', $last, 'tickets are above all that the old primary issued');
cmp_ok($last, '>', $rolled_back, 'rolled back ones among them');
$standby->safe_psql('postgres', q{SELECT vqueue.resume('hall'); SELECT vqueue.resume('lanes')});
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM vqueue.overview WHERE serving = max_concurrent_users}),
	'releases go on up to the caps');
is(count_over_cap($standby, 'postgres', 'hall'), '5', 'which hold over the promotion');
$standby->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions WHERE status = 'serving'});
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 2 FROM vqueue.overview WHERE serving = max_concurrent_users}),
	'and again when slots are free');
cmp_ok(count_over_rate($standby, 'postgres', 'hall', 6000), '<=', 10, 'the rate was kept over the promotion');
check_clean($standby, 'postgres', 'memory is right at the end');

$client->quit;
$standby->stop;
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
