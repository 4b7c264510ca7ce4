#
# docker/deploy/rolling.sh on real servers with a crowd on them: the standby gets
# what is new first, the two change places, the old primary follows, and the SQL is
# updated; then the same again the other way, back to 1.0.0.
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

my $dir = PostgreSQL::Test::Utils::tempdir();
my $bindir = qx{pg_config --bindir};
chomp $bindir;

my $one = new_vqueue_node('one', init => { allows_streaming => 1 }, conf => "max_worker_processes = 16\nhot_standby_feedback = on\n");
$one->safe_psql('postgres', q{
	CREATE EXTENSION vqueue VERSION '1.0.0';
	CREATE ROLE visitor LOGIN;
	SELECT vqueue.grant_access('visitor', 'default', 'app');
	SELECT vqueue.create_queue('door', 60000, 1000000)});
wait_for_worker($one);
$one->backup('base');
my $two = PostgreSQL::Test::Cluster->new('two');
$two->init_from_backup($one, 'base', has_streaming => 1);
$two->start;
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));

# PostgreSQL::Test::Cluster must know of servers that others start and stop.
sub note_pids
{
	$_->_update_pid(1) foreach ($one, $two);
	return;
}

# A library cannot be exchanged here, but that it would be, where and when.
sub roll
{
	my ($from, $to, $version, @more) = @_;

	return deploy_script('rolling.sh',
		'--primary', $from->connstr('postgres'), '--standby', $to->connstr('postgres'),
		'--primary-data', $from->data_dir, '--standby-data', $to->data_dir,
		'--primary-log', $from->logfile, '--standby-log', $to->logfile,
		'--follow', $to->connstr . ' application_name=' . $from->name, '--pg-ctl', "$bindir/pg_ctl",
		'--install', qq{echo "\$VQUEUE_DATA" >> $dir/installed}, '--slot', 'follower', '--update-to', $version, '--patience', '40', @more);
}

my ($status, $said) = roll($one, $two, '1.1.0', '--dry-run');
is($status, 0, 'a dry run finds nothing wrong');
like($said, qr/would run: .*-m fast restart.*-m fast stop.*pg_promote.*standby\.signal.*ALTER EXTENSION vqueue UPDATE TO '1\.1\.0'/s, 'and says what would be done');
ok(!-e "$dir/installed", 'and does nothing');
is($one->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'vqueue'}), '1.0.0', 'not even in SQL');
($status, $said) = roll($two, $one, '1.1.0');
is($status, 1, 'the wrong way round it is refused');
like($said, qr/the primary is a standby/, 'with words');

my $storm = start_storm($one, nodes => [ $one, $two ], seconds => 3600, clients => 4, queues => 2, faults => 1);
my $joiners = start_joiners([ $one, $two ], user => 'visitor', queue => 'door');
ok($joiners->await(10), 'people join');

($status, $said) = roll($one, $two, '1.1.0');
is($status, 0, 'rolled');
note_pids();
like($said, qr/they have changed places in \d+ ms/, 'the two have changed places');
diag('rolling: ' . ($said =~ /(they have changed places in \d+ ms)/)[0]);
is(slurp_file("$dir/installed"), $two->data_dir . "\n" . $one->data_dir . "\n", 'the standby got the library first');
is($two->safe_psql('postgres', q{SELECT pg_is_in_recovery(), extversion FROM pg_extension WHERE extname = 'vqueue'}), 'f|1.1.0', 'the new primary has the new SQL');
is($one->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the old one follows');
ok($joiners->await(10), 'people join on the new one');

# What is switched off on the one is so for sessions of the other, as of what it has replayed.
my $reader = psql_session($one);
is($reader->query(q{SELECT vqueue.feature('board')}), 't', 'a session of the standby knows of a feature');
$two->safe_psql('postgres', q{SELECT vqueue.set_feature('board', false)});
$two->wait_for_catchup($one, 'replay', $two->lsn('flush'));
is($reader->query(q{SELECT vqueue.feature('board')}), 'f', 'and that it is switched off');
is($reader->query(q{SELECT string_agg(feature, ',') FROM vqueue.features WHERE NOT enabled}), 'board', 'as the view has it');
is($reader->query(q{SELECT count(*) FROM vqueue.canaries}), '0', 'trials can be read there');
$reader->quit;

# ---- back, the same way: the SQL first, then the library ----

$two->safe_psql('postgres', q{ALTER EXTENSION vqueue UPDATE TO '1.0.0'});
($status, $said) = roll($two, $one, 'no');
is($status, 0, 'rolled back');
note_pids();
diag('rolling back: ' . ($said =~ /(they have changed places in \d+ ms)/)[0]);
is($one->safe_psql('postgres', q{SELECT pg_is_in_recovery(), extversion FROM pg_extension WHERE extname = 'vqueue'}), 'f|1.0.0', 'the first is primary again, with the old SQL');
ok($joiners->await(10), 'people join there');

$joiners->finish($one, 'rolling, twice');
$storm->finish('through both changes');
check_clean($one, 'postgres', 'memory is right');
is($one->safe_psql('postgres', q{SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'}), 't', 'and a standby streams');
$_->stop foreach ($two, $one);
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ' did not crash') foreach ($one, $two);
done_testing();
