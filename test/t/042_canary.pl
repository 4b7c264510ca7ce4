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

# ---- kept ----

($status, $said) = canary('start', '--queue', 'well', '--settings', '{"release_rate_per_minute": 120000}', '--abandonment', '0.3', '--min-ended', '5', '--watch-for', '5 s');
is($status, 0, 'settings that do no harm are kept');
like($said, qr/kept: .*0 of them gave up/, 'as nobody gave up');
is(setting('well', 'release_rate_per_minute'), '120000', 'for good');

# ---- over a crash: what is on trial is looked after by the next server ----

$node->safe_psql('postgres', q{SELECT vqueue.canary('sick', '{"burst": 9}', 0.1, watch_for => '1 s', min_ended => 1000000)});
is($well->stop . $sick->stop, '', 'no client met an error');
$node->stop('immediate');
$node->start;
ok($node->poll_query_until('postgres', q{SELECT state = 'reverted' FROM vqueue.canaries WHERE queue = 'sick' ORDER BY started_at DESC LIMIT 1}), 'after a crash too, one is decided');
like($node->safe_psql('postgres', q{SELECT reason FROM vqueue.canaries WHERE queue = 'sick' ORDER BY started_at DESC LIMIT 1}), qr/^only \d+ of the 1000000/, 'as too few had ended');
is(setting('sick', 'burst'), '0', 'and taken back');
check_clean($node, 'postgres', 'memory is right');
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|could not be looked after/, 'the log tells of nothing bad');
done_testing();
