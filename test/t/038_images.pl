#
# docker/: what the images are made of, without Docker.
#
# The scripts that the Dockerfile runs and that start the containers are run here as
# they are: vqueue is built, a primary and a replica of the production environment
# start with secrets, TLS and the roles of the compose stack, and nginx hands out
# boards.  Compose files are validated where Compose is installed.  make image-check
# does the rest in a fresh Debian.
#
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Find;
use File::Path;
use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes;

my $source = abs_path("$FindBin::RealBin/../..");
my $docker = "$source/docker";
my $dir = PostgreSQL::Test::Utils::tempdir();

# A folder for sockets, whose names must be short.
my $sockets = PostgreSQL::Test::Utils::tempdir_short();

sub is_there
{
	my ($program) = @_;

	return scalar grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin';
}

# Runs a command; returns its status and all that it said.
sub run_command_with
{
	my ($environment, @command) = @_;
	local %ENV = (%ENV, %$environment);
	my ($out, $err);

	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8, $out . $err);
}

sub write_file
{
	my ($name, $text) = @_;

	open my $file, '>', $name or die "$name: $!";
	print $file $text;
	close $file;
	return $name;
}

sub wait_until
{
	my ($test) = @_;

	foreach my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $test->();
		Time::HiRes::usleep(100_000);
	}
	return 0;
}

# ---- the files ----

my %text;

find({ no_chdir => 1, wanted => sub { $text{ substr($_, 1 + length $docker) } = slurp_file($_) if -f } }, $docker);
my @scripts = grep { /\.sh$/ } sort keys %text;

SKIP:
{
	skip 'shellcheck is not installed', 1 unless is_there('shellcheck');
	my ($status, $said) = run_command_with({}, 'sh', '-c', 'cd "$0" && exec shellcheck -x "$@"', $source, map { "docker/$_" } @scripts);

	is($status, 0, 'shellcheck has nothing to say about ' . @scripts . ' scripts') or diag($said);
}
is(join(' ', grep { $text{$_} =~ /^#!/ && !-x "$docker/$_" } @scripts), '', 'what is not to be sourced can be run');
foreach my $name (sort keys %text)
{
	unlike($text{$name}, qr/BEGIN [A-Z ]*PRIVATE KEY|SCRAM-SHA-256\$\d|(?i:password|secret|token)\w*['"]?[ \t]*(?:=|:(?=[ \t]))[ \t]*['"]?[0-9a-zA-Z]{6,}/,
		"$name: no secret is in it") unless $name =~ /^(?:README\.md|grafana-dashboard)/;
}
is(join(' ', $text{'.env.example'} =~ /^(\w+)=(?=\s*$)/mg), 'VQUEUE_SECRETS VQUEUE_ENVIRONMENT VQUEUE_BOARDS', 'the example of .env has names');
unlike($text{'.env.example'}, qr/^\w+=./m, 'and no values');
like(slurp_file("$source/$_"), qr/^\/?docker\/\.env$/m, "$_ keeps the true one out") foreach grep { -e "$source/$_" } qw(.gitignore .dockerignore);

# ---- the Dockerfile and the stack ----

my @images = ($text{Dockerfile} =~ /^FROM (\S+)/mg, $text{'compose.yaml'} =~ /^\s+image: (\S+)/mg);
ok(!(grep { !/:(?:v?[\$0-9{]|bookworm|official|debian|pgbouncer|nginx)/ || /latest/ } @images), "every image has the tag of a version: @images");
is(join(' ', grep { !/^build/ } $text{Dockerfile} =~ /^FROM \S+ AS (\S+)/mg), 'official debian pgbouncer nginx', 'the Dockerfile has these targets');
foreach my $target (split /^(?=FROM )/m, $text{Dockerfile})
{
	my ($name) = $target =~ /^FROM \S+ AS (\S+)/ or next;

	next if $name =~ /^build/;
	like($target, qr/^ENTRYPOINT \["/m, "$name: has an entrypoint, that gets signals itself");
	unlike($target, qr/gcc|make |server-dev/, "$name: has no compiler");
	unlike($target, qr/^(?:ADD|USER root)|curl|wget/m, "$name: fetches nothing past the package manager");
}
foreach my $from ($text{Dockerfile} =~ /^COPY (?!\.)(\S+) /mg, map { "docker/$_" } $text{'compose.yaml'} =~ /- \.\/(\S+?):/g)
{
	ok(-e "$source/$from", "$from is there");
}
my %services = map { $_ => 1 } $text{'compose.yaml'} =~ /^services:\n(.*?)^\S/ms ? $1 =~ /^  (\w+):$/mg : ();
is(join(' ', sort keys %services), 'alertmanager board exporter grafana nginx pgbouncer postgres prometheus replica', 'the stack has these services');
foreach my $address ($text{'monitoring/prometheus.yml'} =~ /'(\w+):\d+'/g, $text{'grafana/provisioning/datasources/prometheus.yml'} =~ m{http://(\w+):}g)
{
	ok($services{$address}, "$address is the name of one");
}
foreach my $name (map { s/^image\///r } grep { /^image\/[^\/]+\.sh$/ } sort keys %text)
{
	like($text{'runtime.sh'} . $text{Dockerfile}, qr/image\/\Q$name\E/, "$name gets into an image");
}

my @compose = is_there('docker-compose') ? ('docker-compose')
  : is_there('docker') && (run_command_with({}, qw(docker compose version)))[0] == 0 ? qw(docker compose) : ();
SKIP:
{
	skip 'Compose is not installed', 4 unless @compose;
	my %all = (VQUEUE_ENVIRONMENT => 'development', VQUEUE_BOARDS => 'onsale', VQUEUE_SECRETS => "$dir/secrets");
	my @command = (@compose, '--file', "$docker/compose.yaml", 'config', '--quiet');
	my ($status, $said) = run_command_with(\%all, @command);

	is($status, 0, 'the stack is valid') or diag($said);
	foreach my $name (sort keys %all)
	{
		($status, $said) = run_command_with({ %all, $name => '' }, @command);
		isnt($status, 0, "without $name it does not start");
		like($said, qr/docker\/\.env/, 'and says where to put that');
	}
}

# ---- build.sh ----

my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my ($status, $said) = run_command_with({ PG_CONFIG => $pg_config }, "$docker/build.sh", "$dir/built");
is($status, 0, 'build.sh builds') or diag($said);
my @built;
find(sub { push @built, $_ if -f }, "$dir/built");
is(join(' ', sort @built), join(' ', sort('vqueue.so', 'vqueue.control', map { s/.*\///r } glob "$source/sql/vqueue--*.sql")),
	'and installs what make install does, without code for the JIT');

# ---- secrets ----

($status, $said) = run_command_with({ VQUEUE_CN => 'localhost' }, "$docker/make-secrets.sh", "$dir/secrets");
is($status, 0, 'make-secrets.sh makes secrets') or diag($said);
my %secret = map { my $name = $_; $name => slurp_file("$dir/secrets/$name") } map { s/.*\///r } glob "$dir/secrets/*";
is(join(' ', sort keys %secret), 'app_password board_password exporter_password grafana_password postgres_password replication_password server.crt server.key', 'all of them');
my ($wanted) = $text{'compose.yaml'} =~ /^secrets:\n(.*?)^\S/ms;
is(join(' ', sort $wanted =~ /^  (\S+):/mg), join(' ', sort keys %secret), 'which are those that the stack wants');
run_command_with({}, "$docker/make-secrets.sh", "$dir/secrets");
is(slurp_file("$dir/secrets/$_"), $secret{$_}, "$_ stays when it is run again") foreach qw(app_password server.key);
is((stat "$dir/secrets")[2] & 07777, 0700, 'nobody else may enter the folder');

# ---- entrypoint.sh ----

my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(primary replica nginx pgbouncer);
my %running;

# Starts a container's server, with data and settings of its own; what a container has
# at fixed places is told by variables.
sub start_server
{
	my ($name, %environment) = @_;
	my $port = $environment{port};
	my $log = "$PostgreSQL::Test::Utils::log_path/038_$name.log";

	local %ENV = (%ENV, environment_of($name, $port), %environment);
	delete @ENV{qw(PGHOST PGDATABASE PGUSER)};
	$running{$name} = IPC::Run::start([ "$docker/image/entrypoint.sh" ], '<', \undef, '>>', $log, '2>&1');
	return;
}

sub environment_of
{
	my ($name, $port) = @_;

	return (
		PGDATA => "$dir/$name/data", PGPORT => $port, VQUEUE_SHARE => $docker, VQUEUE_INITDB => "$docker/image/initdb.d",
		VQUEUE_SOCKETS => $sockets, VQUEUE_SECRETS => "$dir/secrets", VQUEUE_CONFIG => "$dir/$name.conf",
		VQUEUE_NETWORK => '127.0.0.1/32', VQUEUE_ENVIRONMENT => 'production', VQUEUE_USERLIST => "$dir/userlist");
}

sub prepare
{
	my ($name, $port) = @_;

	mkdir "$dir/$name" or die $!;
	write_file("$dir/$name.conf", <<CONF);
listen_addresses = '127.0.0.1'
port = $port
shared_buffers = 16MB
max_connections = 40
archive_command = '$docker/deploy/archive-wal.sh "$dir/archive" "%p" "%f"'
vqueue.poll_budget = 1
CONF
	return;
}

sub is_well
{
	my ($name, $port) = @_;

	return (run_command_with({ environment_of($name, $port) }, "$docker/image/healthcheck.sh"))[0] == 0;
}

# It becomes well; without it there is no point in going on.
sub starts
{
	my ($name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ended = sub { my $run = $running{$name}; $run->pump_nb; return !$run->pumpable };

	wait_until(sub { return $ended->() || is_well($name, $port{$name}) });
	ok(!$ended->() && is_well($name, $port{$name}), $what) and return;
	die 'it does not: ' . slurp_file("$PostgreSQL::Test::Utils::log_path/038_$name.log");
}

sub stop_server
{
	my ($name) = @_;
	my $run = delete $running{$name} or return;

	$run->signal('INT');
	return $run->finish;
}

END
{
	local $?;
	stop_server($_) foreach sort keys %running;
}

prepare($_, $port{$_}) foreach qw(primary replica);
mkdir "$dir/$_" foreach qw(archive userlist boards);

my @entry = ("$docker/image/entrypoint.sh");
my %primary = environment_of('primary', $port{primary});

foreach my $bad (
	[ { VQUEUE_ENVIRONMENT => 'prod' }, qr/there is no environment "prod": VQUEUE_ENVIRONMENT may be .*production/ ],
	[ { VQUEUE_ENVIRONMENT => 'dr' }, qr/for a server that was restored/ ],
	[ { VQUEUE_SECRETS => "$dir/none" }, qr/the secret "server.crt" is missing or empty: put it into a file of that name in \Q$dir\E\/none/ ],
	[ { VQUEUE_SECRETS => "$dir/none", VQUEUE_ENVIRONMENT => 'development' }, qr/the secret "postgres_password" is missing or empty/ ],
	[ { VQUEUE_REPLICA_NAME => "a'b" }, qr/takes lower case letters/ ],
	[ { VQUEUE_PRIMARY => '127.0.0.1', VQUEUE_PRIMARY_PORT => $port{replica}, VQUEUE_TRIES => 1 }, qr/does not answer/ ])
{
	($status, $said) = run_command_with({ %primary, %{ $bad->[0] } }, @entry);
	isnt($status, 0, 'refused: ' . join ' ', map { "$_=$bad->[0]{$_}" } sort keys %{ $bad->[0] });
	like($said, $bad->[1], 'with a reason');
	ok(!-e "$dir/primary/data/PG_VERSION", 'and nothing is set up');
}

start_server('primary', port => $port{primary});
starts('primary', 'a primary sets itself up, and is well');

# As a role, over the network; returns status and what was said.
sub ask_as
{
	my ($role, $sql, %other) = @_;
	my $port = delete $other{port} || $port{primary};

	return run_command_with({ PGHOST => '127.0.0.1', PGPORT => $port, PGUSER => $role, PGDATABASE => 'vqueue', PGSSLMODE => 'require',
			PGPASSWORD => $secret{"${role}_password"} || '', %other }, 'psql', '-XAtq', '-c', $sql);
}

sub answer
{
	my ($status, $said) = ask_as(@_);

	diag($said) if $status;
	$said =~ s/\n\z//;
	return $said;
}

is(answer('postgres', q{SELECT extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'vqueue') FROM pg_extension WHERE extname = 'vqueue'}), 't', 'vqueue is there');
is(answer('postgres', 'SHOW cluster_name'), 'vqueue-production', 'with the settings of the environment');
is(answer('postgres', 'SHOW data_checksums'), 'on', 'and checksums');
is(answer('postgres', 'SELECT pg_switch_wal() IS NOT NULL'), 't', 'it archives');
ok(wait_until(sub { answer('postgres', 'SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver') eq 't' }), 'into the volume');
is(answer('postgres', q{SELECT string_agg("check", ' ') FROM vqueue.preflight() WHERE status = 'fail'}), '', 'preflight() finds nothing that fails');
is(answer('postgres', q{SELECT vqueue.create_queue('onsale', 60, 2) IS NOT NULL}), 't', 'a queue');
like(answer('app', q{SELECT status, position FROM vqueue.join('onsale')}), qr/^serving\|0$/, 'somebody joins');
isnt((ask_as('app', 'SELECT * FROM vqueue.user_sessions'))[0], 0, 'the application has no right on the tables');
isnt((ask_as('board', q{SELECT vqueue.join('onsale')}))[0], 0, 'what writes boards may not join');
like(answer('exporter', q{SELECT count(*) > 0 FROM vqueue.metrics}), qr/^t$/, 'the exporter reads metrics');
like((ask_as('app', 'SELECT 1', PGPASSWORD => 'wrong'))[1], qr/password authentication failed/, 'a wrong password is refused');
like((ask_as('app', 'SELECT 1', PGSSLMODE => 'disable'))[1], qr/no encryption/, 'and a connection in the clear');
like(slurp_file("$dir/userlist/userlist.txt"), qr/^"app" "SCRAM-SHA-256\$[^"]+"$/, 'PgBouncer learns the role');

SKIP:
{
	skip 'PgBouncer is not installed', 2 unless is_there('pgbouncer');
	local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
	my $ini = $text{'pgbouncer/pgbouncer.ini'};

	# its true addresses, and what docker/README.md says of TLS
	$ini =~ s/host=postgres port=5432/host=127.0.0.1 port=$port{primary}/ or die;
	$ini =~ s/listen_addr = \*/listen_addr = 127.0.0.1/ or die;
	$ini =~ s/listen_port = 6432/listen_port = $port{pgbouncer}/ or die;
	$ini =~ s/\/etc\/pgbouncer\/userlist.txt/$dir\/userlist\/userlist.txt/ or die;
	write_file("$dir/pgbouncer.ini", "$ini\nserver_tls_sslmode = require\n");
	my $pooler = IPC::Run::start([ 'pgbouncer', "$dir/pgbouncer.ini" ], '<', \undef, '>', "$PostgreSQL::Test::Utils::log_path/038_pgbouncer.log", '2>&1');

	ok(wait_until(sub { (ask_as('app', 'SELECT 1', port => $port{pgbouncer}, PGSSLMODE => 'disable'))[0] == 0 }), 'the role comes in through PgBouncer');
	like(answer('app', q{SELECT status FROM vqueue.join('onsale')}, port => $port{pgbouncer}, PGSSLMODE => 'disable'), qr/^(?:serving|waiting)$/, 'and joins');
	$pooler->signal('TERM');
	$pooler->finish;
}

# ---- replica ----

start_server('replica', port => $port{replica}, VQUEUE_PRIMARY => '127.0.0.1', VQUEUE_PRIMARY_PORT => $port{primary});
starts('replica', 'a replica sets itself up, and is well');
is(answer('postgres', 'SELECT pg_is_in_recovery()', port => $port{replica}), 't', 'it is a standby');
is(answer('postgres', q{SELECT slot_name, active FROM pg_replication_slots}), 'replica|t', 'with a slot of its own');
is(answer('postgres', 'SELECT ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)'), 't', 'by TLS');
answer('app', q{SELECT count(vqueue.join('onsale')) FROM generate_series(1, 200)});
ok(wait_until(sub { answer('app', q{SELECT vqueue.position('onsale', 100) > 0}, port => $port{replica}) eq 't' }), 'it follows, and answers readers');
like((ask_as('app', q{SELECT vqueue.join('onsale')}, port => $port{replica}))[1], qr/read-only|recovery/, 'and refuses writers');

# ---- restarts ----

stop_server('replica');
start_server('replica', port => $port{replica}, VQUEUE_PRIMARY => '127.0.0.1', VQUEUE_PRIMARY_PORT => $port{primary});
starts('replica', 'the replica starts again');
is(answer('postgres', 'SELECT pg_is_in_recovery()', port => $port{replica}), 't', 'as one');
stop_server('replica');
ok(stop_server('primary'), 'the primary stops at once, without an error');
start_server('primary', port => $port{primary}, VQUEUE_ENVIRONMENT => 'staging');
starts('primary', 'it starts again');
is(answer('postgres', 'SHOW cluster_name'), 'vqueue-staging', 'in another environment');
is(answer('postgres', 'SELECT count(*) > 150 FROM vqueue.user_sessions'), 't', 'with everybody in it');

foreach my $name (grep { /_password$/ } sort keys %secret)
{
	unlike(slurp_file("$PostgreSQL::Test::Utils::log_path/038_$_.log"), qr/$secret{$name}/, "$name is not in the log of the $_") foreach qw(primary replica);
}
mkdir "$dir/broken";
mkdir "$dir/broken/data";
write_file("$dir/broken/data/set-up-unfinished", '');
($status, $said) = run_command_with({ environment_of('broken', 1) }, @entry);
isnt($status, 0, 'what was interrupted while it was set up does not start');
like($said, qr/was interrupted: empty the volume/, 'and says what to do');

# ---- boards ----

my %board = (PGHOST => '127.0.0.1', PGPORT => $port{primary}, PGUSER => 'board', PGDATABASE => 'vqueue', PGSSLMODE => 'require',
	VQUEUE_PASSWORD_FILE => "$dir/secrets/board_password", VQUEUE_BOARD_ROUNDS => 1, VQUEUE_BOARD_PAUSE => 0);
my @board = ("$docker/image/board.sh", "$dir/boards");
my $before = Time::HiRes::time();
($status, $said) = run_command_with(\%board, @board, 'nothing-there', 'onsale');
my $after = Time::HiRes::time();
is($status, 0, 'the board is written') or diag($said);
like($said, qr/queue "nothing-there" does not exist/, 'though another queue is not there');
($status, $said) = run_command_with(\%board, @board, '../onsale');
is($status, 2, 'no name gets out of the folder');
my $written = decode_json(slurp_file("$dir/boards/onsale.json"));
my ($soonest) = sort { $a <=> $b } map { $_->[1] } map { @{ $_->{next_poll_after} } } values %{ $written->{lanes} };
cmp_ok($soonest, '>', 10, 'with so small a budget of polls nobody is to ask soon');
my $good = (Time::HiRes::stat("$dir/boards/onsale.json"))[9] + 1;
cmp_ok($good, '>=', $before + $soonest - 0.01, 'and the file says until when it is good');
cmp_ok($good, '<=', $after + $soonest + 0.01, 'which is not longer than that');

SKIP:
{
	skip 'nginx is not installed', 1 unless is_there('nginx');
	local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
	my $conf = $text{'nginx/nginx.conf'};

	$conf =~ s/listen 8080;/listen 127.0.0.1:$port{nginx};/ or die;
	$conf =~ s/\/var\/lib\/vqueue\/boards/$dir\/boards/ or die;
	$conf =~ s/\/tmp\/nginx/$dir\/nginx/g or die;
	$conf =~ s/worker_processes auto/worker_processes 1/ or die;
	write_file("$dir/nginx.conf", $conf);
	($status, $said) = run_command_with({}, 'nginx', '-t', '-q', '-c', "$dir/nginx.conf");
	is($status, 0, 'nginx finds its configuration right') or diag($said);
	my $nginx = IPC::Run::start([ 'nginx', '-c', "$dir/nginx.conf", '-g', 'daemon off;' ], '<', \undef,
		'>', "$PostgreSQL::Test::Utils::log_path/038_nginx.log", '2>&1');
	my $http = HTTP::Tiny->new(timeout => 10);
	my $get = sub { my ($path, %headers) = @_; return $http->get("http://127.0.0.1:$port{nginx}$path", { headers => \%headers }) };

	ok(wait_until(sub { $get->('/healthz')->{status} == 200 }), 'it runs');

	# The database may be gone: nobody who looks asks it.
	my $ticket = answer('postgres', q{SELECT ticket FROM vqueue.sessions WHERE queue = 'onsale' AND position = 77});
	my $counted = answer('postgres', 'SELECT vqueue.position_from_board($b$' . $get->('/board/onsale.json')->{content} . "\$b\$, $ticket)");
	cmp_ok(abs($counted - 77), '<=', 3, 'a position is computed from the board that it hands out');
	stop_server('primary');
	my $answer = $get->('/board/onsale.json');
	is($answer->{status}, 200, 'a board is handed out without the database');
	is_deeply(decode_json($answer->{content}), $written, 'as it was written');
	is($answer->{headers}{'content-type'}, 'application/json', 'as JSON');
	Time::HiRes::utime($good + 100, $good + 100, "$dir/boards/onsale.json");
	$before = Time::HiRes::time();
	$answer = $get->('/board/onsale.json');
	$after = Time::HiRes::time();
	my ($age) = ($answer->{headers}{'cache-control'} || '') =~ /^max-age=(\d+)$/;
	cmp_ok($age, '<=', $good + 101 - $before + 1, 'it may be kept until then');
	cmp_ok($age, '>=', $good + 101 - $after - 1, 'and no shorter');
	is($answer->{headers}{'last-modified'}, undef, 'it is not modified in the future');
	is($answer->{headers}{'access-control-allow-origin'}, '*', 'any page may read it');
	is($get->('/board/onsale.json', 'If-None-Match' => $answer->{headers}{etag})->{status}, 304, 'who has it already does not get it again');
	is($get->('/board/onsale.json', 'Accept-Encoding' => 'gzip')->{headers}{'content-encoding'}, 'gzip', 'it is compressed');
	foreach my $path ('/board/none.json', '/', '/board/', '/board/..%2fsecrets%2fapp_password', '/board/.onsale.part')
	{
		is($get->($path)->{status}, 404, "$path is not there");
	}
	is($http->request('POST', "http://127.0.0.1:$port{nginx}/board/onsale.json")->{status}, 403, 'nobody writes one');
	utime time - 5, time - 5, "$dir/boards/onsale.json";
	is($get->('/board/onsale.json')->{headers}{'cache-control'}, 'no-cache', 'an old one is not kept');
	($status, $said) = run_command_with(\%board, @board, 'onsale');
	is($status, 0, 'what writes them goes on without the server');
	like($said, qr/the server does not answer/, 'and says so');
	is($get->('/board/onsale.json')->{status}, 200, 'and the last one is kept');
	$nginx->signal('QUIT');
	$nginx->finish;
}
stop_server('primary');

# ---- the replica takes over, and the old primary follows it ----

my @as_replica = (VQUEUE_PRIMARY => '127.0.0.1', VQUEUE_PRIMARY_PORT => $port{primary});
start_server('replica', port => $port{replica}, @as_replica);
starts('replica', 'the replica starts without its primary');
is(answer('postgres', 'SELECT pg_promote()', port => $port{replica}), 't', 'it is promoted');
like(answer('app', q{SELECT status FROM vqueue.join('onsale')}, port => $port{replica}), qr/^waiting$/, 'and people join there');
is(answer('postgres', q{SELECT count(*) FROM vqueue.check()}, port => $port{replica}), '0', 'memory is right');
stop_server('replica');
start_server('replica', port => $port{replica}, @as_replica);
starts('replica', 'started again');
is(answer('postgres', 'SELECT pg_is_in_recovery()', port => $port{replica}), 'f', 'it stays what it is');
File::Path::rmtree("$dir/primary/data");
start_server('primary', port => $port{primary}, VQUEUE_PRIMARY => '127.0.0.1', VQUEUE_PRIMARY_PORT => $port{replica}, VQUEUE_REPLICA_NAME => 'old_primary');
starts('primary', 'the old primary, emptied, starts anew');
is(answer('postgres', 'SELECT pg_is_in_recovery()'), 't', 'as a replica of the new one');
stop_server('primary');
stop_server('replica');
unlike(slurp_file("$PostgreSQL::Test::Utils::log_path/038_$_.log"), qr/PANIC|TRAP|was terminated by signal/, "the $_ has not crashed") foreach qw(primary replica);
done_testing();
