#
# The environments of docker/env and the drill of docker/deploy/dr-drill.sh.
#
# A server runs with the fragment of each environment, and preflight() finds in
# production and staging nothing that fails; sample data is refused where it must be.
# In the middle of a crowd on the production server a drill restores it from a
# base backup and its archive, and a storm with all its checks runs on the copy.
# Then the production server is killed, and the same script brings back what the
# archive has: what every visitor was told until then holds.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;
use VqueueVisitors;

my $docker = "$FindBin::RealBin/../../docker";
my $drill = "$docker/deploy/dr-drill.sh";
my $archive = PostgreSQL::Test::Utils::tempdir() . '/the archive';
my $small = "shared_buffers = 16MB\nmax_connections = 60\nlisten_addresses = ''\nfsync = off";

mkdir $archive or die "$archive: $!";

# A server with an environment's settings as they are, but for its size and places.
# The last word is what the test itself needs.
sub start_environment
{
	my ($environment, $conf) = @_;
	# which becomes its cluster_name, on the command line
	my $node = PostgreSQL::Test::Cluster->new("vqueue-$environment");

	$node->init(allows_streaming => 1, extra => [ '--data-checksums', '--wal-segsize=1' ]);
	system_or_bail('openssl', 'req', '-new', '-x509', '-nodes', '-days', '2', '-subj', '/CN=localhost',
		'-keyout', $node->data_dir . '/server.key', '-out', $node->data_dir . '/server.crt');
	chmod 0600, $node->data_dir . '/server.key';
	$node->append_conf('postgresql.conf', "include '$docker/env/$environment/postgresql.conf'\n$small\nlog_statement = none\n$conf");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION vqueue');
	wait_for_worker($node) or die 'no worker';
	return $node;
}

# Names of the checks with this status.
sub found
{
	my ($node, $status) = @_;

	return $node->safe_psql('postgres', qq{SELECT string_agg("check", ' ' ORDER BY "check") FROM vqueue.preflight() WHERE status = '$status'});
}

# ---- environments ----

my %settings;

foreach my $environment (qw(development staging production dr))
{
	my $text = slurp_file("$docker/env/$environment/postgresql.conf");

	$settings{$environment} = { $text =~ /^(\S+) = (.*)$/mg };
	unlike($text, qr/^vqueue\.(?!tenant|memory_limit|event_retention|stats_retention|poll_budget|release_batch|old_snapshot)/m,
		"$environment: there are no other settings of vqueue");
	is($settings{$environment}{cluster_name}, "'vqueue-$environment'", 'it says which environment it is');
}
foreach my $name (qw(max_connections max_worker_processes max_wal_senders max_prepared_transactions max_locks_per_transaction))
{
	my %default = (max_prepared_transactions => 0, max_locks_per_transaction => 64);
	my $there = defined $settings{production}{$name} ? $settings{production}{$name} : $default{$name};

	cmp_ok($settings{dr}{$name}, '>=', $there, "disaster recovery has no lower $name than production, or it would stop");
}
foreach my $name (grep { /^vqueue\./ } sort keys %{ $settings{production} })
{
	is($settings{dr}{$name}, $settings{production}{$name}, "and the same $name");
}

my $archiving = qq{archive_command = '$docker/deploy/archive-wal.sh "$archive" "%p" "%f"'};
my $sample = sub {
	my ($node) = @_;
	my ($out, $err);
	my $rc = IPC::Run::run([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', "$docker/env/sample-data.sql" ],
		'<', \undef, '>', \$out, '2>', \$err);

	return ($rc, $out, $err);
};

foreach my $environment (qw(development staging))
{
	# What is archived in staging does not matter here.
	my $node = start_environment($environment, 'archive_command = true');

	$node->safe_psql('postgres', 'SELECT pg_switch_wal()') if $environment eq 'staging';
	$node->poll_query_until('postgres', 'SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver') if $environment eq 'staging';
	$node->append_conf('postgresql.conf', 'fsync = on');
	$node->reload if $environment eq 'staging';
	$node->poll_query_until('postgres', "SELECT current_setting('fsync') = 'on'") if $environment eq 'staging';
	is(found($node, 'fail'), $environment eq 'staging' ? '' : 'durability', "$environment: what preflight() finds is what was chosen");
	foreach my $time (qw(once again))
	{
		my ($rc, $out, $err) = $sample->($node);

		ok($rc, "$environment: sample data, $time") or diag($err);
		like($out, qr/^hotline\|paused\|200\|0\|.*\nonsale\|open\|4\d\d\d\|.*\npresale\|paused\|1000\|0\|.*\nyesterday\|closed\|0\|0\|/, 'and there it is');
	}
	check_clean($node, 'postgres', "$environment: memory is right with it");
	$node->stop;
}

my $main = start_environment('production', "fsync = on\n$archiving\nlog_min_duration_statement = -1");

my $crowded = sub { return $main->safe_psql('postgres', $_[0]) };
{
	my ($rc, $out, $err) = $sample->($main);

	ok(!$rc, 'production: sample data is refused');
	like($err, qr/no sample data on this server, whose cluster_name is "vqueue-production"/, 'and it says why');
	local $ENV{PGOPTIONS} = '-c cluster_name=vqueue-staging';
	($rc, $out, $err) = $sample->($main);
	ok(!$rc, 'nor can a session say that it is somewhere else');
	like($err, qr/"cluster_name" cannot be changed/, 'as the server knows');
	delete local $ENV{PGOPTIONS};
	is($crowded->(q{SELECT count(*) FROM vqueue.tenants WHERE name = 'sample'}), '0', 'nothing of it is there');
}
$crowded->('SELECT pg_switch_wal()');
$main->poll_query_until('postgres', 'SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver') or die 'nothing is archived';
is(found($main, 'fail'), '', 'production: preflight() finds nothing that fails');
is(found($main, 'warn'), 'synchronous_replication', 'and warns of the standby that is not there');

# ---- archiving ----

my ($wal) = glob "'$archive'/0*";
my $archive_it = sub { return IPC::Run::run([ "$docker/deploy/archive-wal.sh", $archive, @_ ], '>', \my $out, '2>', \my $err) };

ok($archive_it->($wal, $wal =~ s/.*\///r), 'a file that is archived already is no failure');
ok(!$archive_it->("$docker/README.md", $wal =~ s/.*\///r), 'but another one of its name is');
ok(!$archive_it->("$archive/nothing", 'nothing'), 'and one that cannot be read');
ok(!-e "$archive/nothing", 'of which nothing is kept');

# ---- a drill ----

my $rate = 3000;
my $burst = 10;
my $cap = 7;
my $dir = PostgreSQL::Test::Utils::tempdir();

my ($status, $figures, $said) = run_drill('--target', "$dir/drill", '--verify', 'exit 3');
is($status, 1, 'a drill fails by a check that fails');
like($said, qr/verdict wrong.*that check: status 3/s, 'and says so');
ok(!-e "$dir/drill", 'the copy is gone all the same');

prepare_ledger($main);
$crowded->(qq{
	SELECT vqueue.create_queue('paced', $rate, 1000000, burst => $burst);
	SELECT vqueue.create_queue('tight', 600000, $cap);
	SELECT vqueue.create_queue('still', 60, 2, state => 'paused')});
my $crowd = start_visitors($main, tag => 1, queues => [qw(paced tight tight)], completed => [qw(tight tight paced)]);
releases_go_on($main, 'before the drill', qw(paced tight));

# Runs the script; returns its exit status, its figures, and all that it said.
sub run_drill
{
	my (@options) = @_;
	my ($out, $err);
	local %ENV = (%ENV, PGHOST => $main->host, PGPORT => $main->port, PGDATABASE => 'postgres');

	IPC::Run::run([ $drill, '--archive', $archive, '--timeout', $PostgreSQL::Test::Utils::timeout_default,
			(map { ('--set', $_) } 'shared_buffers=16MB', 'fsync=off'), @options ], '<', \undef, '>', \$out, '2>', \$err);
	my $status = $? >> 8;

	note($out, $err);
	return ($status, { $out =~ /^\t?(\w+) (\S+)$/mg }, "$out$err");
}

($status, $figures, $said) = run_drill('--target', "$dir/dry", '--dry-run');
is($status, 0, 'a dry run finds that it can be done');
like($said, qr/would take a base backup.*would restore the backup.*would promote.*nothing was done/s, 'and says what it would do');
ok(!-e "$dir/dry", 'but does nothing');

foreach my $refused (
	[ [ '--target', $archive ], qr/exists already/ ],
	[ [ '--target', "$dir/x", '--database', 'template1' ], qr/has no vqueue/ ],
	[ [ '--target', "$dir/x", '--backup', $archive ], qr/no base backup/ ],
	[ [ '--target', "$dir/x", '--lost-at', 'now' ], qr/goes with --backup/ ],
	[ [ '--target', "$dir/x", '--set', 'nonsense' ], qr/NAME=VALUE/ ],
	[ [ '--target', "$dir/x", '--set', 'max_connections=10' ], qr/production has max_connections = 60, and here it would be 10: recovery would stop/ ],
	[ [ '--target', "$dir/x", '--set', 'shared_buffers=lots' ], qr/are wrong/ ],
	[ [ '--target', "$dir/none/x" ], qr/no folder that can be written/ ],
	[ ['--sideways'], qr/there is no option/ ])
{
	($status, $figures, $said) = run_drill(@{ $refused->[0] });
	is($status, 2, "refused: @{ $refused->[0] }");
	like($said, $refused->[1], 'with a reason');
}
ok(!-e "$dir/x", 'and nothing is left of that');

my $program = VqueueNode::Storm::program();
($status, $figures, $said) = run_drill('--target', "$dir/a drill", '--seconds', 1,
	'--verify', "$program --storm --seconds 2 --clients 6 --queues 2 --prefix drill");
is($status, 0, 'a drill in the middle of a crowd, and a storm on what it restored') or diag($said);
is($figures->{verdict}, 'right', 'all is right there');
cmp_ok($figures->{recovery_time_seconds}, '>', 0, "it takes $figures->{recovery_time_seconds} s until somebody joins");
cmp_ok($figures->{recovery_point_seconds}, '>=', 0, "and loses the last $figures->{recovery_point_seconds} s");
cmp_ok($figures->{transactions_lost}, '>=', 0, "which are $figures->{transactions_lost} transactions");
cmp_ok($figures->{live_sessions}, '>', 20, 'many are there');
ok(!-e "$dir/a drill", 'the copy is gone');
ok(!(grep { !/\/00000001[0-9A-F]{16}(\.[0-9A-F]{8}\.backup)?$/ } glob "'$archive'/*"), 'nothing but production has archived');
is($crowd->errors, '', 'no visitor of production had an error');
releases_go_on($main, 'after the drills', qw(paced tight));

# ---- the disaster ----

$main->backup('b');
releases_go_on($main, 'after the backup', qw(paced tight));
my $first = $crowded->('SELECT pg_walfile_name(pg_current_wal_lsn())');
$main->poll_query_until('postgres', "SELECT last_archived_wal > '$first' FROM pg_stat_archiver") or die 'the crowd fills no file';
$main->kill9;
my $lost_at = Time::HiRes::time();
$crowd->wait_for_end;

my $restored = PostgreSQL::Test::Cluster->new('restored');
($status, $figures, $said) = run_drill('--target', "$dir/x", '--backup', $main->backup_dir . '/b', '--set', 'max_wal_senders=3');
is($status, 2, 'a backup tells what its server had');
like($said, qr/production has max_wal_senders = 10, and here it would be 3/, 'and what is less is refused');
($status, $figures, $said) = run_drill('--target', "$dir/kept", '--backup', $main->backup_dir . '/b', '--lost-at', "\@$lost_at", '--keep',
	'--port', $restored->port, '--set', "unix_socket_directories=$dir/kept/socket," . $restored->host);
is($status, 0, 'production is killed, and brought back from its archive') or diag($said);
is($figures->{verdict}, 'right', 'all is right there');
cmp_ok($figures->{recovery_point_seconds}, '>=', 0, "$figures->{recovery_point_seconds} s are lost");

load_ledger($restored, $crowd);
$restored->safe_psql('postgres', qq{
	ALTER TABLE ledger ADD COLUMN kept bool;
	UPDATE ledger SET kept = xid IS NOT NULL AND xid::text::bigint < $figures->{recovered_to_transaction}
		AND pg_xact_status(xid::text::xid8) = 'committed'});
my $lines = 'SELECT l.* FROM ledger l LEFT JOIN vqueue.user_sessions s ON s.id = l.id';
cmp_ok($restored->safe_psql('postgres', q{SELECT count(*) FROM ledger WHERE verb = 'joined' AND kept}), '>', 100, 'many joins had been archived');
none_found($restored, "SELECT * FROM ledger WHERE verb IN ('joined', 'left', 'completed') AND xid IS NOT NULL
	AND answered_at < us('$figures->{recovered_to}') AND NOT kept", 'all that was answered before the recovery point');
none_found($restored, "$lines WHERE l.verb = 'joined' AND l.kept AND s.id IS NULL", 'whose join was archived is there');
none_found($restored, "$lines WHERE l.verb = 'joined' AND NOT l.kept AND s.id IS NOT NULL", 'whose was not is not');
none_found($restored, "$lines WHERE l.verb IN ('left', 'completed') AND l.xid IS NOT NULL AND NOT l.kept AND s.left_at IS NOT NULL",
	'and who left after it is live');
none_found($restored, q{SELECT queue, ticket FROM vqueue.sessions WHERE queue LIKE 'dr drill%'}, 'who joined to try it is gone');
cmp_ok($restored->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('paced')}), '>',
	$restored->safe_psql('postgres', q{SELECT max(ticket) FROM ledger WHERE queue = 'paced' AND kept}), 'tickets go on above all of them');
releases_go_on_there($restored);
$restored->safe_psql('postgres', 'DELETE FROM ledger WHERE NOT kept');
stand_still($restored);
ledger_holds($restored, 'restored');
cmp_ok(count_over_rate($restored, 'postgres', 'paced', $rate), '<=', $burst, 'the rate was kept over it');
cmp_ok(count_over_cap($restored, 'postgres', 'tight'), '<=', $cap, 'and the cap');
check_clean($restored, 'postgres', 'memory is right');
answers_by_table($restored, 'restored');
is($restored->safe_psql('postgres', q{SELECT current_setting('cluster_name')}), 'vqueue-dr', 'it knows where it is');
system_or_bail('pg_ctl', '-D', "$dir/kept/data", '-m', 'fast', '-s', '-w', 'stop');

# Then it is started as a container would start it, for everybody.
system_or_bail("$docker/make-secrets.sh", "$dir/secrets");
append_to_file("$dir/conf", "port = " . $restored->port . "\nshared_buffers = 16MB\nlisten_addresses = ''\narchive_command = true\n");
{
	local %ENV = (%ENV, PGDATA => "$dir/kept/data", VQUEUE_SHARE => $docker, VQUEUE_SOCKETS => $restored->host,
		VQUEUE_SECRETS => "$dir/secrets", VQUEUE_CONFIG => "$dir/conf", VQUEUE_ENVIRONMENT => 'dr', VQUEUE_NETWORK => '127.0.0.1/32');
	my $server = IPC::Run::start([ "$docker/image/entrypoint.sh" ], '<', \undef, '>', "$dir/kept/log2", '2>&1');

	ok($restored->poll_query_until('postgres', 'SELECT vqueue.is_healthy()'), 'the entrypoint starts what was restored');
	is($restored->safe_psql('postgres', q{SELECT current_setting('ssl') || pg_is_in_recovery()}), 'onfalse', 'as a primary with the settings for that');
	check_clean($restored, 'postgres', 'memory is right there');
	$server->signal('INT');
	ok($server->finish, 'it stops in order');
}
unlike(slurp_file("$dir/kept/log"), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();

# Newcomers of the restored server are let in.
sub releases_go_on_there
{
	my ($node) = @_;
	my $newcomers = start_visitors($node, tag => 2, queues => ['paced'], completed => ['tight']);

	releases_go_on($node, 'restored', 'paced');
	$newcomers->send_away($node);
	return is($newcomers->errors, '', 'no newcomer had an error');
}
