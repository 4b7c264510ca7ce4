#
# docker/deploy/rolling.sh on real servers with a crowd on them, each with a library
# file of its own: the standby gets the new one first, the two change places, the old
# primary gets it and follows, and the SQL is updated; then the same again the other
# way, back to 1.0.0.
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

# ---- two machines, and two packages ----

# Each machine has PostgreSQL in a place of its own, and in that a library of its own.
my %machine = map { $_ => machine($_) } qw(one two);
my $tools = "$FindBin::RealBin/../tools";

sub machine
{
	my ($name) = @_;
	my $pg_config = qx{"$FindBin::RealBin/../tools/private-prefix.sh" "$dir/$name"};

	die 'no copy of PostgreSQL could be made' if $? != 0;
	chomp $pg_config;
	my %machine = (prefix => "$dir/$name", path => $pg_config =~ s{/bin/pg_config$}{}r, run => "$dir/on-$name");
	append_to_file($machine{run}, <<"SH");
#!/bin/bash
PREFIX='$machine{prefix}' PATH='$machine{path}/bin':"\$PATH" exec bash -c "\$1"
SH
	chmod 0755, $machine{run};
	return \%machine;
}

# The old one is built from the same sources, but says that it is of 1.0.0, and has no more SQL than that.
foreach my $package ([ "$dir/old", '1.0.0' ], [ "$dir/new" ])
{
	system("$tools/build-package.sh", @$package) == 0 or die "package $package->[0] could not be built";
}

# A file that is in use must not be written to: it is replaced.
sub install_command
{
	my ($package) = @_;
	my ($library, $share) = map { my $d = qx{pg_config --$_}; chomp $d; $d } qw(pkglibdir sharedir);

	return qq{rm -f "\$PREFIX$library/vqueue.so" "\$PREFIX$share"/extension/vqueue[.-]* && cp -R "$dir/$package/." "\$PREFIX/" && echo "\$VQUEUE_DATA $package" >> $dir/installed};
}
sub library_file
{
	return slurp_file((split /\n/, qx{find "$_[0]" -name vqueue.so})[0]);
}
foreach my $name (qw(one two))
{
	system($machine{$name}{run}, install_command('old')) == 0 or die 'the old package could not be installed';
}
unlink "$dir/installed";
ok(library_file("$dir/old") ne library_file("$dir/new"), 'the two packages have different libraries');
ok(library_file($machine{$_}{prefix}) eq library_file("$dir/old"), "machine $_ has the old one") foreach qw(one two);

my $one = new_vqueue_node('one', path => $machine{one}{path}, init => { allows_streaming => 1 }, conf => "max_worker_processes = 16\nhot_standby_feedback = on\n");
$one->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	CREATE ROLE visitor LOGIN;
	SELECT vqueue.grant_access('visitor', 'default', 'app');
	SELECT vqueue.create_queue('door', 60000, 1000000)});
wait_for_worker($one);
$one->backup('base');
my $two = PostgreSQL::Test::Cluster->new('two', install_path => $machine{two}{path});
$two->init_from_backup($one, 'base', has_streaming => 1);
$two->start;
$one->wait_for_catchup($two, 'replay', $one->lsn('insert'));

# PostgreSQL::Test::Cluster must know of servers that others start and stop.
sub note_pids
{
	$_->_update_pid(1) foreach ($one, $two);
	return;
}

sub roll
{
	my ($from, $to, $package, $version, @more) = @_;

	return deploy_script('rolling.sh',
		'--primary', $from->connstr('postgres'), '--standby', $to->connstr('postgres'),
		'--primary-data', $from->data_dir, '--standby-data', $to->data_dir,
		'--primary-log', $from->logfile, '--standby-log', $to->logfile,
		'--primary-run', $machine{ $from->name }{run}, '--standby-run', $machine{ $to->name }{run},
		'--follow', $to->connstr . ' application_name=' . $from->name,
		'--install', install_command($package), '--slot', 'follower', '--update-to', $version, '--patience', '40', @more);
}

my ($status, $said) = roll($one, $two, 'new', '1.1.0', '--dry-run');
is($status, 0, 'a dry run finds nothing wrong');
like($said, qr/would run, by \S*on-two: pg_ctl .*-m fast restart.*-m fast stop.*pg_promote.*standby\.signal.*ALTER EXTENSION vqueue UPDATE TO '1\.1\.0'/s, 'and says what would be done');
ok(!-e "$dir/installed", 'and does nothing');
is($one->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'vqueue'}), '1.0.0', 'not even in SQL');
($status, $said) = roll($two, $one, 'new', '1.1.0');
is($status, 1, 'the wrong way round it is refused');
like($said, qr/the primary is a standby/, 'with words');

my $storm = start_storm($one, nodes => [ $one, $two ], seconds => 3600, clients => 4, queues => 2, faults => 1);
my $joiners = start_joiners([ $one, $two ], user => 'visitor', queue => 'door');
ok($joiners->await(10), 'people join');

($status, $said) = roll($one, $two, 'new', '1.1.0');
is($status, 0, 'rolled');
note_pids();
like($said, qr/they have changed places in \d+ ms/, 'the two have changed places');
diag('rolling: ' . ($said =~ /(they have changed places in \d+ ms)/)[0]);
is(slurp_file("$dir/installed"), $two->data_dir . " new\n" . $one->data_dir . " new\n", 'the standby got the library first');
like($said, qr/the primary has library 1\.0\.0, the standby 1\.0\.0$/m, 'both began with the old one');
like($said, qr/the standby has library 1\.1\.0, the primary still 1\.0\.0\n.*have changed places/s, 'the new one followed the old one before the two changed places');
like($said, qr/changed places.*the old primary has library 1\.1\.0, the new one 1\.1\.0$/ms, 'and after it both have the new one');
ok(library_file($machine{$_}{prefix}) eq library_file("$dir/new"), "machine $_ has the new file") foreach qw(one two);
is($_->safe_psql('postgres', 'SELECT vqueue._library_version()'), '1.1.0', $_->name . ' has loaded it') foreach ($one, $two);
is($two->safe_psql('postgres', q{SELECT status, value FROM vqueue.preflight() WHERE "check" = 'version'}), 'ok|library 1.1.0, tables and functions 1.1.0', 'preflight says so too');
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
($status, $said) = roll($two, $one, 'old', 'no');
is($status, 0, 'rolled back');
note_pids();
like($said, qr/the standby has library 1\.0\.0, the primary still 1\.1\.0$/m, 'the old library followed the new one');
is($_->safe_psql('postgres', 'SELECT vqueue._library_version()'), '1.0.0', $_->name . ' has the old library') foreach ($one, $two);
ok(library_file($machine{$_}{prefix}) eq library_file("$dir/old"), "machine $_ has the old file") foreach qw(one two);
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
