#
# The examples of test/drivers: each visits a room, is called while its connection
# that listens is lost, goes in, and is done; all say the same. Then all of them once
# more through PgBouncer, and listen beside it.
#
# They run side by side, each in a queue of its own; who lacks compiler or library is
# skipped.
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

my $sources = "$FindBin::RealBin/../drivers";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $jar = '/usr/share/java/postgresql.jar';
my $nobody = '00000000-0000-7000-8000-0000000000aa';

# Run a command until its end; whether it succeeded.
sub works
{
	my (@command) = @_;
	my $out = '';

	return scalar eval { IPC::Run::run(\@command, '<', \undef, '>&', \$out) };
}

sub is_there
{
	my ($program) = @_;

	return scalar grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

sub output_of
{
	my (@command) = @_;
	my $out = '';

	eval { IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \my $err) };
	chomp $out;
	return $out;
}

# node-postgres is Debian's, or npm's where it installs for all.
my $npm_root = is_there('npm') ? output_of('npm', 'root', '--global') : '';
$ENV{NODE_PATH} = join ':', grep { $_ ne '' } $npm_root, '/usr/local/lib/node_modules', '/usr/share/nodejs', $ENV{NODE_PATH} || '';
$ENV{GOCACHE} = "$dir/gocache";
$ENV{GOPATH} = '/usr/share/gocode';
$ENV{GO111MODULE} = 'off';

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my ($python) = grep { works($_, '-c', 'import psycopg') } '/usr/bin/python3', 'python3';
my $includes = output_of($pg_config, '--includedir');
my $libraries = output_of($pg_config, '--libdir');

# name, what it takes, whether that is there, how it is built and run, and what it makes
# of an id, a bigint, an interval, a timestamptz, a board and a null.
my @drivers = (
	{
		name => 'libpq', takes => 'a C compiler and libpq-dev', there => is_there('cc') && -e "$includes/libpq-fe.h",
		build => [ 'cc', '-Wall', '-Wextra', '-Werror', "-I$includes", '-o', "$dir/visit_c", "$sources/visit.c", "-L$libraries", '-lpq' ],
		run => [ 'env', "LD_LIBRARY_PATH=$libraries", "$dir/visit_c" ]
	},
	{
		name => 'psycopg', takes => 'python3-psycopg', there => defined $python, run => [ $python, "$sources/visit.py" ],
		types => 'UUID int timedelta datetime dict NoneType'
	},
	{
		name => 'node-postgres', takes => 'node with node-pg, or npm install -g pg', there => works('node', '-e', 'require("pg")'),
		run => [ 'node', "$sources/visit.js" ], types => 'string bigint PostgresInterval Date Object null'
	},
	{
		name => 'JDBC', takes => 'default-jdk-headless and libpostgresql-jdbc-java', there => is_there('javac') && -e $jar,
		build => [ 'javac', '-cp', $jar, '-d', $dir, "$sources/Visit.java" ],
		run => [ 'java', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', "$jar:$dir", 'Visit' ],
		types => 'UUID Long Duration OffsetDateTime String null'
	},
	{
		name => 'lib/pq', takes => 'golang-go and golang-github-lib-pq-dev', there => is_there('go') && -e '/usr/share/gocode/src/github.com/lib/pq',
		build => [ 'go', 'build', '-o', "$dir/visit_go", "$sources/visit.go" ],
		run => ["$dir/visit_go"], types => 'string int64 float64 time.Time map[string]interface {} sql.NullInt64'
	},
	{
		name => 'DBD::Pg', takes => 'libdbd-pg-perl', there => works($^X, '-MDBD::Pg', '-e', '1'), run => [ $^X, "$sources/visit.pl" ],
		types => 'text number number number HASH undef'
	});

my @there = grep { $_->{there} } @drivers;

# ---- built while the server starts ----

$_->{building} = IPC::Run::start($_->{build}, '<', \undef, '>', \$_->{said}, '2>&1') foreach grep { $_->{build} } @there;

my $node = new_vqueue_node('main', conf => "autovacuum = off\nlisten_addresses = '127.0.0.1'\n");
my $hba = slurp_file($node->data_dir . '/pg_hba.conf');

unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', "host all app 127.0.0.1/32 scram-sha-256\n$hba");
$node->reload;
$node->safe_psql('postgres', q{
	SET password_encryption = 'scram-sha-256';
	CREATE ROLE app LOGIN PASSWORD 'secret';
	CREATE DATABASE vqueue});
$node->safe_psql('vqueue', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.rotate_key('HS256');
	SELECT vqueue.create_queue('Full room', max_waiting => 1, state => 'paused'), vqueue.create_queue('Closed room', state => 'closed');
	SELECT vqueue.join('Full room');
	SELECT vqueue.grant_access('app', 'default', 'app')});
wait_for_worker($node, 'vqueue');

foreach my $driver (grep { $_->{build} } @there)
{
	$driver->{building}->finish;
	$driver->{built} = !$driver->{building}->result;
	ok($driver->{built}, "$driver->{name}: the example can be built") || diag($driver->{said});
}
@there = grep { !$_->{build} || $_->{built} } @there;

# ---- visits, all at once ----

# Queue of a driver on a way, with somebody ahead, and capitals and spaces in its name.
sub queue_of
{
	my ($driver, $way) = @_;
	return "Room of $driver->{name} $way";
}

sub start_visit
{
	my ($driver, $queue, %environment) = @_;
	local %ENV = (%ENV, PGHOST => '127.0.0.1', PGDATABASE => 'vqueue', PGUSER => 'app', PGPASSWORD => 'secret', PGSSLMODE => 'disable', %environment);

	delete @ENV{qw(PGOPTIONS PGAPPNAME)};
	$driver->{log} = "$dir/" . ($driver->{name} =~ s/\W/_/gr) . ".$environment{PGPORT}";
	$driver->{running} = IPC::Run::start([ @{ $driver->{run} }, address_of($driver), $nobody, 'Full room', 'Closed room', $queue ],
		'<', \undef, '>', "$driver->{log}.out", '2>', "$driver->{log}.err", IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return;
}

sub address_of
{
	my ($driver) = @_;
	return "$driver->{name}\@example.com";
}

sub visit_all
{
	my ($way, %environment) = @_;
	my $n = @there;
	my @queues = map { queue_of($_, $way) } @there;
	my $mine = "SELECT id FROM vqueue.queues WHERE name ~ ' $way\$'";

	$node->safe_psql('vqueue', "SELECT vqueue.create_queue('$_', state => 'paused', claim_timeout => '10 min'), vqueue.join('$_')") foreach @queues;
	start_visit($there[$_], $queues[$_], %environment) foreach 0 .. $#there;

	# All wait and listen; then their listeners are cut off while they are called.
	# Some ask for nothing now and then, to take what was told.
	my $listens = qq{(query ~ '^LISTEN.* $way"' OR query = 'SELECT 1') AND usename = 'app' AND datname = 'vqueue'};
	my $is_so = $node->poll_query_until('vqueue', qq{
		SELECT (SELECT count(*) FROM vqueue.user_sessions WHERE queue_id IN ($mine)) = 2 * $n
		   AND (SELECT count(*) FROM pg_stat_activity WHERE $listens AND state = 'idle') = $n});
	ok($is_so, "$way: all wait, and listen") || diag(map { "$_->{name}: " . slurp_file("$_->{log}.out") . slurp_file("$_->{log}.err") . "\n" } @there);
	$node->safe_psql('vqueue', qq{
		ALTER ROLE app CONNECTION LIMIT 0;
		SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE $listens});
	$node->poll_query_until('vqueue', "SELECT count(*) = 0 FROM pg_stat_activity WHERE $listens");
	$node->safe_psql('vqueue', "SELECT vqueue.release('$_', 2)") foreach @queues;
	ok($node->poll_query_until('vqueue', qq{SELECT count(*) = $n FROM vqueue.events WHERE event = 'released' AND queue_id IN ($mine)}),
		"$way: all are called while nobody listens");
	$node->safe_psql('vqueue', 'ALTER ROLE app CONNECTION LIMIT -1');

	foreach my $driver (@there)
	{
		my $name = "$way, $driver->{name}";
		my $address = address_of($driver);
		my $queue = queue_of($driver, $way);

		my $succeeded = eval { $driver->{running}->finish };
		my $out = slurp_file("$driver->{log}.out");

		ok($succeeded, "$name: the visit comes to its end") || diag($@ . slurp_file("$driver->{log}.err"));
		my ($user, $served, $nobody_named) = split /\|/, $node->safe_psql('vqueue', qq{
			SELECT user_id, floor(extract(epoch FROM served_at) * 1000), user_name IS NULL AND status = 'completed'
			  FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$queue') AND user_id = vqueue.user_id('$address')});
		my ($said) = $out =~ /^claimed \w+ (\d+)$/m;
		my $types = $out =~ s/^types (.*)\n//m ? $1 : undef;

		cmp_ok(abs(($said || 0) - $served), '<=', 1, "$name: the time is right, to the millisecond");
		is($nobody_named, 't', "$name: a null was stored as null");
		is($types, $driver->{types}, "$name: id, bigint, interval, timestamptz, board and null are what they should be");
		$out =~ s/^(claimed \w+) \d+$/$1 then/m;
		is($out, <<OUT, "$name: it says what all say");
unknown session
full
closed
joined waiting 2 $user
called
polled ready 0 null
claimed serving then
pass good 300
board 1 0
done completed null
OUT
	}
	return;
}

visit_all('direct', PGPORT => $node->port);

SKIP:
{
	my ($program) = grep { -x $_ } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
	skip 'pgbouncer cannot be found: install the package pgbouncer', 1 unless defined $program;

	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $ini = slurp_file("$sources/../../docker/pgbouncer/pgbouncer.ini");
	my $server = 'host=127.0.0.1 port=' . $node->port;

	$ini =~ s/host=postgres port=5432/$server/;
	$ini =~ s/listen_addr = \*/listen_addr = 127.0.0.1/;
	$ini =~ s/listen_port = 6432/listen_port = $port/;
	$ini =~ s,/etc/pgbouncer/userlist.txt,$dir/userlist.txt,;
	$ini =~ s/default_pool_size = 20/default_pool_size = 2/;
	append_to_file("$dir/pgbouncer.ini", $ini);
	append_to_file("$dir/userlist.txt", $node->safe_psql('postgres', q{SELECT format('"app" "%s"', rolpassword) FROM pg_authid WHERE rolname = 'app'}) . "\n");
	my $log = "$PostgreSQL::Test::Utils::log_path/034_pgbouncer.log";
	my $pooler = IPC::Run::start([ $program, "$dir/pgbouncer.ini" ], '<', \undef, '>', $log, '2>&1');

	my $up = 0;
	for (my $try = 0; $try < 20 * $PostgreSQL::Test::Utils::timeout_default && !$up; $try++)
	{
		select(undef, undef, undef, 0.05) unless $up = slurp_file($log) =~ /process up/;
	}
	ok($up, 'PgBouncer has come up');
	eval { visit_all('pooled', PGPORT => $port, DIRECT_PORT => $node->port); 1 } || fail("through PgBouncer: $@");
	$pooler->signal('KILL');
	$pooler->finish;
}

foreach my $driver (grep { !$_->{there} } @drivers)
{
	SKIP: { skip "$driver->{name}: $driver->{takes} cannot be found", 1 }
}
check_clean($node, 'vqueue', 'memory is right');
$node->stop;
done_testing();
