#
# docker/deploy/canary.sh on a real server with a crowd on it: settings that make
# people give up are taken back by the worker, over its own death; good ones are kept.
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

my $node = new_vqueue_node('node');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('well', 60000, 1000000);
	SELECT vqueue.create_queue('sick', 600, 3);
	SELECT vqueue.create_queue('mixed', 60, 1);
	INSERT INTO vqueue.tenants (name) VALUES ('the "other"');
	SET vqueue.tenant = 'the "other"';
	SELECT vqueue.create_queue('shop', 600, 3)});
wait_for_worker($node);

# Those of one queue come in and are done; those of the other wait, and are never heard of again.
my $well = pgbench_crowd($node, 'postgres', <<'SQL', 1);
SELECT id FROM vqueue.join('well') \gset
SELECT vqueue.complete(':id');
\sleep 50 ms
SQL
my $mixed = pgbench_crowd($node, 'postgres', "SELECT id FROM vqueue.join('mixed');\n\\sleep 20 ms\n", 1);
my $sick = pgbench_crowd($node, 'postgres', "SELECT id FROM vqueue.join('sick');\n\\sleep 100 ms\n", 1);

sub canary
{
	return deploy_script('canary.sh', $_[0], '--server', $node->connstr('postgres'), '--every', '1', '--look-every', '1 s', @_[1 .. $#_]);
}

sub setting
{
	my ($queue, $name) = @_;

	return $node->safe_psql('postgres', "SELECT $name FROM vqueue.queues WHERE name = '$queue'");
}

# ---- said, refused, by hand ----

my @shop = ('--tenant', 'the "other"', '--queue', 'shop', '--settings', '{"burst": 3, "claim_timeout": "30 s"}', '--abandonment', '0.5');
my ($status, $said) = canary('start', @shop, '--dry-run');
is($status, 0, 'a dry run finds nothing wrong');
like($said, qr/would run.*vqueue\.canary\('shop', '\{"burst": 3/s, 'and says what would be done');
is(setting('shop', 'burst'), '0', 'and does nothing');
($status, $said) = canary('start', '--queue', 'nowhere', '--settings', '{"burst": 3}', '--abandonment', '0.5');
is($status, 1, 'an unknown queue is refused');
like($said, qr/queue "nowhere" does not exist/, 'with words');
($status, $said) = canary('start', '--queue', 'well', '--settings', '{"cake": 3}', '--abandonment', '0.5');
is($status, 1, 'so is an unknown setting');
($status, $said) = canary('revert', '--queue', 'well');
is($status, 1, 'and to take back what is not on trial');
$node->safe_psql('postgres', q{SET vqueue.tenant = 'the "other"'; SELECT vqueue.canary('shop', '{"burst": 3, "claim_timeout": "30 s"}', 0.5)});
is(setting('shop', 'burst, claim_timeout'), '3|00:00:30', 'settings are on trial');
($status, $said) = canary('revert', @shop[ 0 .. 3 ], '--reason', "it's enough");
is($status, 0, 'they are taken back by hand');
like($said, qr/reverted: .*it's enough/, 'and that is said');
is(setting('shop', 'burst, claim_timeout'), '0|00:00:00', 'and so they are');

# ---- a share of newcomers ----

my @mixed = ('--queue', 'mixed', '--settings', '{"waiting_timeout": "2 s"}', '--abandonment', '0.3', '--share', '0.4');
($status, $said) = canary('start', @mixed, '--dry-run');
like($said, qr/would run.*vqueue\.canary\('mixed', .*'0\.4'\)/s, 'a dry run says for which share');
($status, $said) = canary('start', @mixed[ 0 .. 5 ], '--share', '1.4');
is($status, 1, 'one above 1 is refused');
($status, $said) = canary('start', '--queue', 'mixed', '--settings', '{"burst": 3}', '--abandonment', '0.3', '--share', '0.4');
is($status, 1, 'so is a setting that all share');
like($said, qr/settings burst cannot be tried on a share of newcomers/, 'with words');
# Another one is watched at the same time, and the worker begins anew, so that it looks at once.
$node->safe_psql('postgres', q{
	SELECT vqueue.canary('well', '{"serving_timeout": "10 min"}', 0.3, watch_for => '8 s', min_ended => 5, look_every => '1 s', share => 0.5);
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vqueue worker'});
# And one who, on trial, need not be heard of, is silent for longer than the queue allows.
$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('calm', state => 'paused', waiting_timeout => '3 s');
	SELECT vqueue.canary('calm', '{"waiting_timeout": "0"}', 0.9, share => 0.999999);
	SELECT id FROM vqueue.join('calm')});
my $before = $node->safe_psql('postgres', q{SELECT max(ticket) FROM vqueue.sessions WHERE queue = 'mixed'});
($status, $said) = canary('start', @mixed, '--min-ended', '20');
is($status, 3, 'what makes the share give up is taken back');
like($said, qr/reverted: .*gave up, more than a share of 0\.3; of the other newcomers 0 of/, 'as those in it gave up, and the others did not');
is(setting('mixed', 'waiting_timeout'), '00:00:00', 'the queue never had it');
my $ended = $node->safe_psql('postgres', qq{
	SELECT count(*) >= 20, bool_and(s.ticket > $before), bool_and(vqueue._on_trial(c.id, c.share, c.from_ticket, s.ticket)), bool_and(s.left_at >= s.joined_at + interval '2 s')
	  FROM vqueue.sessions s JOIN vqueue.canaries c USING (queue_id) WHERE s.queue = 'mixed' AND s.status = 'abandoned'});
is($ended, 't|t|t|t', 'only newcomers in the share were ended, and in their time');
($status, $said) = deploy_script('canary.sh', 'watch', '--server', $node->connstr('postgres'), '--every', '1', '--queue', 'well');
is($status, 0, 'what does the share no harm is kept');
like($said, qr/kept: .*0 of them gave up, and of \d+ other newcomers 0/, 'as nobody gave up');
is(setting('well', 'serving_timeout'), '00:10:00', 'and the queue has it');
ok($node->poll_query_until('postgres', q{SELECT status = 'waiting' AND joined_at < now() - interval '8 s' FROM vqueue.sessions WHERE queue = 'calm'}),
	'who need not be heard of while settings are on trial may be silent');
$node->safe_psql('postgres', q{SELECT vqueue.canary_revert('calm')});

# ---- taken back by the worker, which dies meanwhile ----

my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vqueue worker'});
($status, $said) = canary('start', '--queue', 'sick', '--settings', '{"waiting_timeout": "1 s", "max_concurrent_users": 2}', '--abandonment', '0.3', '--min-ended', '10');
is($status, 3, 'settings that make people give up are taken back');
like($said, qr/watching: /, 'after they were watched');
like($said, qr/reverted: .*gave up, more than a share of 0\.3/, 'with the reason');
is(setting('sick', 'waiting_timeout, max_concurrent_users'), '00:00:00|3', 'and the queue is as it was');
ok($node->log_contains(qr/the settings on trial in queue "sick" were reverted: \d+ of \d+ gave up/, $offset), 'the log says so');
my $abandoned = $node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'sick' AND status = 'abandoned'});
cmp_ok($abandoned, '>=', 10, 'some had given up');

ok($node->poll_query_until('postgres', q{SELECT status = 'abandoned' FROM vqueue.sessions WHERE queue = 'calm'}), 'and no longer when they are taken back');
is($node->safe_psql('postgres', q{SELECT s.left_at - c.decided_at >= interval '3 s' FROM vqueue.sessions s JOIN vqueue.canaries c USING (queue_id) WHERE s.queue = 'calm'}),
	't', 'but after as long as the queue allows');

# ---- kept ----

($status, $said) = canary('start', '--queue', 'well', '--settings', '{"release_rate_per_minute": 120000}', '--abandonment', '0.3', '--min-ended', '5', '--watch-for', '5 s');
is($status, 0, 'settings that do no harm are kept');
like($said, qr/kept: .*0 of them gave up/, 'as nobody gave up');
is(setting('well', 'release_rate_per_minute'), '120000', 'for good');

# ---- over a crash: what is on trial is looked after by the next server ----

$node->safe_psql('postgres', q{SELECT vqueue.canary('sick', '{"burst": 9}', 0.1, watch_for => '1 s', min_ended => 1000000);
	SELECT vqueue.canary('mixed', '{"waiting_timeout": "1 s"}', 0.1, share => 0.2, look_every => '1 s', min_ended => 10)});
is($well->stop . $sick->stop . $mixed->stop, '', 'no client met an error');
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('mixed', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 300)))});
$node->stop('immediate');
$node->start;
ok($node->poll_query_until('postgres', q{SELECT state = 'reverted' FROM vqueue.canaries WHERE queue = 'sick' ORDER BY started_at DESC LIMIT 1}), 'after a crash too, one is decided');
like($node->safe_psql('postgres', q{SELECT reason FROM vqueue.canaries WHERE queue = 'sick' ORDER BY started_at DESC LIMIT 1}), qr/^only \d+ of the 1000000/, 'as too few had ended');
is(setting('sick', 'burst'), '0', 'and taken back');
ok($node->poll_query_until('postgres', q{SELECT state = 'reverted' FROM vqueue.canaries WHERE queue = 'mixed' ORDER BY started_at DESC LIMIT 1}), 'that of a share as well');
is($node->safe_psql('postgres', q{
	SELECT bool_and(vqueue._on_trial(c.id, c.share, c.from_ticket, s.ticket))
	  FROM vqueue.sessions s, (SELECT * FROM vqueue.canaries WHERE queue = 'mixed' ORDER BY started_at DESC LIMIT 1) c
	 WHERE s.queue = 'mixed' AND s.status = 'abandoned' AND s.left_at > c.started_at}), 't', 'by those who were in it before the crash');
check_clean($node, 'postgres', 'memory is right');

# ---- dumped and restored ----

$node->safe_psql('postgres', q{
	SELECT vqueue.drop_queue('sick', true), vqueue.drop_queue('well', true);
	SELECT vqueue.canary('mixed', '{"waiting_timeout": "2 s"}', 0.9, share => 0.3, look_every => '1 s')});
my $dump = $node->data_dir . '/../canary.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'a queue with a share on trial is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'and restored');
wait_for_worker($node, 'restored');
my $trial = q{SELECT q.version, q.updated_at, c.* FROM vqueue.queue_canaries c JOIN vqueue.queues q ON q.id = c.queue_id WHERE c.state = 'watching'};
is($node->safe_psql('restored', $trial =~ s/c\.\*/c.id, c.share, c.from_ticket, c.settings/r),
	$node->safe_psql('postgres', $trial =~ s/c\.\*/c.id, c.share, c.from_ticket, c.settings/r), 'as it was');
check_clean($node, 'restored', 'memory is right there');
$node->safe_psql('restored', q{SELECT count(*) FROM vqueue.join_many('mixed', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)))});
$node->safe_psql('restored', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'vqueue worker' AND datname = 'restored'});
ok($node->poll_query_until('restored', q{SELECT ended > 0 AND others_ended = 0 FROM vqueue.canaries WHERE state = 'watching'}), 'and it goes on there');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|could not be looked after/, 'the log tells of nothing bad');
done_testing();
