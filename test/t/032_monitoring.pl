#
# Monitoring with the real parts: exporter, Prometheus, Alertmanager, promtool.
#
# The files of docker/monitoring are used as they are, but for addresses and for
# durations, which are shortened; vqueue.rules.test.yml tries the true ones.  All
# listens on the loopback and lives in directories of the test.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes;
use VqueueNode;

my @programs = qw(prometheus prometheus-alertmanager prometheus-postgres-exporter promtool amtool);

sub is_there
{
	my ($program) = @_;

	return scalar grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my @missing = grep { !is_there($_) } @programs;
plan skip_all => "@missing cannot be found: install the packages prometheus, prometheus-alertmanager and prometheus-postgres-exporter"
  if @missing;

my $files = "$FindBin::RealBin/../../docker/monitoring";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $http = HTTP::Tiny->new(timeout => 10);

# ---- the files as they are ----

command_ok(['promtool', 'check', 'config', "$files/prometheus.yml"], 'the configuration of Prometheus is valid');
command_ok(['promtool', 'check', 'rules', "$files/vqueue.rules.yml"], 'so are the rules');
command_ok(['promtool', 'test', 'rules', "$files/vqueue.rules.test.yml"], 'alerts fire when their time is up, and clear');
command_ok(['amtool', 'check-config', "$files/alertmanager.yml"], 'the configuration of Alertmanager is valid');

# ---- servers ----

my $node = new_vqueue_node('main', init => { allows_streaming => 1 }, conf => <<CONF);
vqueue.memory_limit = 4MB
autovacuum = off
wal_receiver_status_interval = 1s
CONF
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	CREATE ROLE exporter LOGIN IN ROLE pg_monitor;
	INSERT INTO vqueue.tenants (name) VALUES ('shop');
	SELECT vqueue.create_queue('onsale', 600000, 20, burst => 100);
	SELECT vqueue.create_queue('full', 600000, 1);
	SELECT vqueue.create_queue('dull', 600000, 100, state => 'paused');
	SELECT vqueue.create_queue('large', 60, 1, state => 'paused');
	SELECT vqueue.create_queue('sick', 600000, 100, state => 'paused');
	SELECT vqueue.create_queue('lease', 600000, 10, serving_timeout => '1 s');
	SELECT vqueue.create_queue('steady', 600, 1000000, burst => 1);
	SET vqueue.tenant = 'shop';
	SELECT vqueue.create_queue('onsale', 60, 1, state => 'paused'), vqueue.join('onsale'), vqueue.join('onsale', priority => 'vip')});
wait_for_worker($node);

# The last of them wait for so long that what they were told can be scored.
$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many($$steady$$, ' . users('e', 1, 120) . ')');
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;

# ---- who watches ----

my %port = map { $_ => PostgreSQL::Test::Cluster::get_free_port() } qw(main standby prometheus alertmanager receiver);
my @running;

sub start_program
{
	my ($name, $environment, @command) = @_;
	local %ENV = (%ENV, %$environment);
	my $log = "$PostgreSQL::Test::Utils::log_path/032_$name.log";

	push @running, IPC::Run::start(\@command, '<', \undef, '>', $log, '2>&1');
	return;
}

# A web hook that notes what it is told, one message a line.
my $told = "$dir/told";
append_to_file($told, '');
my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port{receiver}, Listen => 20, ReuseAddr => 1) or die $!;
my $receiver = fork();
if (!$receiver)
{
	while (my $client = $socket->accept)
	{
		my ($length, $body) = (0, '');

		while (defined(my $line = <$client>))
		{
			$length = $1 if $line =~ /^Content-Length: (\d+)/i;
			last if $line =~ /^\r?$/;
		}
		read $client, $body, $length;
		append_to_file($told, "$body\n");
		print $client "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
		close $client;
	}
	POSIX::_exit(0);
}
close $socket;

# End what was started, by its process.
sub end_programs
{
	local $?;
	$_->signal('TERM') foreach grep { $_->pumpable } @running;
	$_->finish foreach @running;
	@running = ();
	kill 'KILL', $receiver if $receiver;
	waitpid $receiver, 0 if $receiver;
	$receiver = 0;
	return;
}
END { end_programs() if defined $receiver && $receiver }

# Its own collectors, of which each version has others, are not what is looked at.
IPC::Run::run([ 'prometheus-postgres-exporter', '--help' ], '<', \undef, '>&', \my $help);
my @no_collectors = map { "--no-collector.$_" } $help =~ /--(?:\[no-\])?collector\.([a-z_]+)\s/g;

foreach my $server ($node, $standby)
{
	my $name = $server->name;

	start_program("exporter_$name",
		{ DATA_SOURCE_NAME => "host='" . $server->host . "' port=" . $server->port . " user=exporter dbname=postgres sslmode=disable" },
		'prometheus-postgres-exporter', "--web.listen-address=127.0.0.1:$port{$name}", "--extend.query-path=$files/postgres_exporter.yml",
		'--disable-default-metrics', '--disable-settings-metrics', @no_collectors);
}

# A file with some of its text replaced, which all must be there.
sub adapted
{
	my ($name, @replacements) = @_;
	my $text = slurp_file("$files/$name");

	while (my ($from, $to) = splice @replacements, 0, 2)
	{
		$text =~ s/$from/$to/g or die "$name has no $from";
	}
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

adapted('vqueue.rules.yml',
	qr/for: \d+m/ => 'for: 1s', qr/round_age_seconds > 30/ => 'round_age_seconds > 4', qr/release_lag_seconds > 30/ => 'release_lag_seconds > 3',
	qr/\[5m\]/ => '[3s]', qr/\[10m\]/ => '[6s]', qr/replication_lag_seconds > 30/ => 'replication_lag_seconds > 1',
	qr/queue_ratio > 0\.05/ => 'queue_ratio > 0.005');
my $prometheus_conf = adapted('prometheus.yml',
	qr/interval: 15s/ => 'interval: 1s', qr/'alertmanager:9093'/ => "'127.0.0.1:$port{alertmanager}'",
	qr/'exporter:9187'/ => "'127.0.0.1:$port{main}', '127.0.0.1:$port{standby}'");
my $alertmanager_conf = adapted('alertmanager.yml',
	qr/group_wait: \d+s/ => 'group_wait: 1s', qr/group_interval: 5m/ => 'group_interval: 1s',
	qr/alerts:8080/ => "127.0.0.1:$port{receiver}");
start_program('alertmanager', {}, 'prometheus-alertmanager', "--config.file=$alertmanager_conf", "--storage.path=$dir/alertmanager",
	"--web.listen-address=127.0.0.1:$port{alertmanager}", '--cluster.listen-address=');
start_program('prometheus', {}, 'prometheus', "--config.file=$prometheus_conf", "--storage.tsdb.path=$dir/prometheus",
	"--web.listen-address=127.0.0.1:$port{prometheus}");

# ---- asking ----

sub ask
{
	my ($path, %parameters) = @_;
	my $answer;

	# A machine that is busy may answer late.
	foreach my $try (1 .. 5)
	{
		$answer = $http->get("http://127.0.0.1:$port{prometheus}/api/v1/$path?" . $http->www_form_urlencode(\%parameters));
		last if $answer->{status} < 500;
		Time::HiRes::sleep(1);
	}
	my $said = eval { decode_json($answer->{content}) };

	return defined $said && $said->{status} eq 'success' ? $said->{data} : undef;
}

# The values that an expression has now; undef for an expression that is wrong.
sub values_of
{
	my ($expr) = @_;
	my $data = ask('query', query => $expr);

	return defined $data ? [map { $_->{value}[1] } @{ $data->{result} }] : undef;
}

# Wait until the expression has this one value.
sub value_is
{
	my ($expr, $wanted, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got = '';

	$wanted = 0 + $wanted;
	return ok(wait_until(sub { my $v = values_of($expr); $got = defined $v ? "@$v" : ''; return $got ne '' && $got !~ / / && abs($got - $wanted) < 1e-6 }), $name)
	  || diag("$expr is \"$got\", not $wanted");
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

# Names of the alerts that fire, each once.
sub firing
{
	my $data = ask('alerts') || return 'unknown';
	my %names = map { $_->{labels}{alertname} => 1 } grep { $_->{state} eq 'firing' } @{ $data->{alerts} };

	return join(' ', sort keys %names);
}

sub all_fire
{
	my ($wanted, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got;
	my $seen;
	my %wanted = map { $_ => 1 } split / /, $wanted;

	return ok(wait_until(sub { $got = firing(); my %got = map { $_ => 1 } split / /, $got; return !grep { !$got{$_} } keys %wanted }), $name)
	  || diag("firing: $got");
}

# ---- figures arrive, and agree with the tables ----

my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $main = qq{instance="127.0.0.1:$port{main}"};
my $replica = qq{instance="127.0.0.1:$port{standby}"};

ok(wait_until(sub { my $v = values_of('sum(pg_up)'); return defined $v && "@$v" eq '2' }), 'both servers are scraped');
value_is(qq(vqueue_in_recovery{$main}), 0, 'the primary is one');
value_is(qq(vqueue_in_recovery{$replica}), 1, 'the standby is one');

$sql->('SELECT count(*) FROM vqueue.join_many($$onsale$$, ' . users('a', 1, 60) . ')');
$sql->(q{SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE queue = 'onsale' AND status = 'serving'});
$node->poll_query_until('postgres', q{SELECT serving = 20 AND waiting = 20 FROM vqueue.overview WHERE queue = 'onsale'}) or die 'they do not come in';
$sql->(q{SELECT vqueue.pause('onsale');
	SELECT vqueue.complete((SELECT id FROM vqueue.sessions WHERE queue = 'onsale' AND status = 'serving' LIMIT 1));
	SELECT count(vqueue.leave(id)) FROM vqueue.sessions WHERE queue = 'onsale' AND position BETWEEN 1 AND 3;
	SELECT vqueue.remove(id) FROM vqueue.sessions WHERE queue = 'onsale' AND position = 1});

my $of = qq({tenant="default",queue="onsale",$main});
my $where = q{FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('onsale')};
value_is("vqueue_waiting$of", $sql->("SELECT count(*) $where AND status = 'waiting'"), 'waiting');
value_is("vqueue_serving$of", $sql->("SELECT count(*) $where AND status = 'serving'"), 'serving');
value_is("vqueue_released_total$of", $sql->("SELECT count(served_at) $where"), 'released');
value_is("vqueue_tickets_issued_total$of", $sql->("SELECT max(ticket) $where"), 'tickets');
value_is("vqueue_max_concurrent_users$of", 20, 'cap');
value_is("vqueue_release_rate_per_second$of", 10000, 'rate');
value_is(qq(vqueue_ended_total{queue="onsale",tenant="default",status="$_",$main}), $sql->("SELECT count(*) $where AND status = '$_'"), $_)
  foreach qw(completed left removed abandoned expired no_show);
value_is("vqueue_wait_seconds_count$of", $sql->("SELECT count(served_at) $where"), 'waits');
value_is("vqueue_wait_seconds_sum$of", $sql->("SELECT sum(extract(epoch FROM served_at - joined_at)) $where"), 'time waited');
# Prometheus 3 writes 1 as 1.0.
value_is(qq(vqueue_wait_seconds_bucket{queue="onsale",tenant="default",le=~"$_([.]0)?",$main}),
	$sql->("SELECT count(*) $where AND served_at - joined_at <= interval '$_ s'"), "waits up to $_ s") foreach qw(0.1 1 5 7200);
value_is(qq(vqueue_wait_seconds_bucket{queue="onsale",tenant="default",le="+Inf",$main}), $sql->("SELECT count(served_at) $where"), 'all waits');
value_is(qq(vqueue_waiting{queue="onsale",tenant="default",$replica}), $sql->("SELECT count(*) $where AND status = 'waiting'"), 'waiting, by the standby');
value_is(qq(vqueue_waiting{queue="onsale",tenant="shop",$main}), 2, 'those of another tenant');
value_is("vqueue_memory_bytes{$main}", $sql->('SELECT used FROM vqueue.memory()'), 'memory');
value_is("vqueue_memory_limit_bytes{$main}", 4 * 1024 * 1024, 'its limit');
value_is("vqueue_worker_up{$main}", 1, 'the worker is up');
value_is(qq(vqueue_sample_sessions{result="differing",$main}), 0, 'nothing differs');
ok(wait_until(sub { my $v = values_of("rate(vqueue_worker_round_seconds_count{$main}[5s])"); return defined $v && @$v && $v->[0] >= 0 }), 'rounds');

ok(wait_until(sub { my $v = values_of(qq(vqueue_estimate_error_ratio{queue="steady",$main})); return defined $v && @$v && $v->[0] >= 0 }),
	'the error of estimates');

# What Prometheus has of an exporter is what the view has, name by name.
my %known = map { $_ => 1 } @{ ask('label/__name__/values') };
is($sql->('SELECT string_agg(DISTINCT name, E\'\n\' ORDER BY name) FROM vqueue.metrics WHERE name NOT IN (' . (join(',', map { "'$_'" } grep { /^vqueue_/ } keys %known)) . ')'),
	'', 'every metric of the view arrives');
# But that Prometheus did not wait for the end of an answer.
is(join("\n", grep { /level=error/ && !/error encoding and sending metric family/ }
		split /\n/, slurp_file("$PostgreSQL::Test::Utils::log_path/032_exporter_main.log")), '', 'the exporter has no error to tell');

ok(!(grep { /nan/i } @{ values_of('{__name__=~"vqueue_.+"}') }), 'no figure is missing');
my $names;
wait_until(sub {
	my $data = ask('query', query => qq({__name__=~"vqueue_.+",$replica})) or return 0;

	$names = join(' ', sort keys %{ { map { $_->{metric}{__name__} => 1 } @{ $data->{result} } } });
	return $names ne '';
});
is($names, 'vqueue_in_recovery vqueue_max_concurrent_users vqueue_memory_bytes vqueue_memory_limit_bytes vqueue_release_rate_per_second vqueue_replication_lag_seconds vqueue_serving vqueue_waiting',
	'and a standby tells these');

# ---- who sees what ----

$sql->(q{CREATE ROLE shopkeeper; SELECT vqueue.grant_access('shopkeeper', 'shop', 'monitor')});
my $seen = q{SELECT string_agg(DISTINCT labels->>'tenant', ' ') FROM vqueue.metrics WHERE name IN ('vqueue_waiting', 'vqueue_released_total')};
is($sql->("SET vqueue.tenant = 'shop'; SET ROLE shopkeeper; $seen"), 'shop', 'who is not of pg_monitor sees the queues of the tenant only');
is($sql->("SET vqueue.tenant = 'shop'; SET ROLE exporter; $seen"), 'default shop', 'a member sees all');

# ---- alerts ----

ok(wait_until(sub { return firing() eq '' }), 'all is well: no alert fires') or diag(firing());

my %session = map { $_ => psql_session($node) } qw(lease listener);
my $lessee = $sql->(q{SELECT id FROM vqueue.join('lease')});
$session{lease}->query_safe("BEGIN; SELECT id FROM vqueue.user_sessions WHERE id = '$lessee' FOR UPDATE");
$session{listener}->query_safe('LISTEN nothing; BEGIN; SELECT 1');
$sql->(q{SELECT count(pg_notify('flood', repeat('x', 7900) || i)) FROM generate_series(1, 6000) i});
$sql->('SELECT count(*) FROM vqueue.join_many($$full$$, ' . users('b', 1, 3) . ')');
$sql->('SELECT count(*) FROM vqueue.join_many($$dull$$, ' . users('c', 1, 60) . ')');
$sql->(q{SELECT count(vqueue.leave(id)) FROM vqueue.sessions WHERE queue = 'dull'});

# Far apart in the line, few sessions take much memory.
$sql->(q{INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket)
	SELECT vqueue._queue('large'), gen_random_uuid(), i * 1024 FROM generate_series(1, 650) i});
cmp_ok($sql->('SELECT used / memory_limit::float8 FROM vqueue.memory()'), '>', 0.8, 'memory is nearly full');
$sql->(q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not today'; END$$;
	CREATE TRIGGER refuse BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW
		WHEN (OLD.status = 'waiting' AND NEW.status = 'serving' AND OLD.user_id::text LIKE 'd%') EXECUTE FUNCTION refuse()});
$sql->('SELECT count(*) FROM vqueue.join_many($$sick$$, ' . users('d', 1, 3) . ')');
$sql->(q{SELECT vqueue.resume('sick')});
$sql->(qq{BEGIN; ALTER TABLE vqueue.user_sessions DISABLE TRIGGER session_after;
	DELETE FROM vqueue.user_sessions WHERE user_id = 'a0000000-0000-0000-0000-000000000060';
	ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_after; COMMIT});
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$sql->(q{SELECT vqueue.alter_queue('dull', description => 'something to replay')});

my $faults = 'VqueueAbandonmentSurge VqueueCapReached VqueueLineDiffers VqueueMemoryNearLimit VqueueNotificationsPileUp '
  . 'VqueueReleaseFails VqueueReleaseStalled VqueueSessionsLate VqueueStandbyLag';
my %fired;
ok(wait_until(sub { $fired{$_} = 1 foreach split / /, firing(); return !grep { !$fired{$_} } split / /, $faults }),
	'each alert fires when its fault is there') or diag('fired: ' . join(' ', sort keys %fired));

# ---- the dashboard ----

my $dashboard = decode_json(slurp_file("$files/grafana-dashboard.json"));
foreach my $panel (grep { $_->{targets} } @{ $dashboard->{panels} })
{
	foreach my $target (@{ $panel->{targets} })
	{
		my $expr = $target->{expr} =~ s/\$__rate_interval/1m/gr =~ s/\$(instance|tenant|queue)/.*/gr;

		# Waits are those of the last minute, in which somebody has to come in.
		ok(wait_until(sub {
			my $values = values_of($expr);
			my $there = defined $values && grep { !/nan/i } @$values;

			$sql->(q{SELECT count(*) FROM vqueue.join_many('steady', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 10)))}) unless $there;
			return $there;
		}), "dashboard, $panel->{title}: $target->{refId} has data")
		  or diag($expr);
	}
}
foreach my $variable (grep { $_->{type} eq 'query' } @{ $dashboard->{templating}{list} })
{
	my ($metric, $label) = $variable->{definition} =~ /^label_values\((\w+)(?:\{.*\})?, (\w+)\)$/;
	my $values = defined $metric ? ask("label/$label/values", 'match[]' => $metric) : undef;

	ok(defined $values && @$values, "dashboard, variable $variable->{name} has values");
}

# ---- the worker, and a server ----

my $worker = worker_pid($node);
kill 'STOP', $worker;
$standby->stop;
all_fire('VqueueServerDown VqueueWorkerDown', 'a worker that hangs and a server that is down are told');
kill 'CONT', $worker;
$standby->start;

# ---- all is mended ----

$session{$_}->query_safe('ROLLBACK') foreach qw(lease listener);
$sql->(q{SELECT vqueue.alter_queue('full', max_concurrent_users => 10)});
$sql->(q{DELETE FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('large'); SELECT vqueue.drop_queue('large', force => true)});
$sql->(q{DROP TRIGGER refuse ON vqueue.user_sessions});
$sql->('SELECT vqueue.rebuild()');
ok(wait_until(sub { return firing() eq '' }), 'and each clears when it is mended') or diag(firing());

# ---- who was told ----

my %heard;
ok(wait_until(sub {
	%heard = ();
	foreach my $line (split /\n/, slurp_file($told))
	{
		my $message = eval { decode_json($line) } or next;

		$heard{"$_->{status} $_->{labels}{alertname} $message->{receiver}"} = 1 foreach @{ $message->{alerts} };
	}
	return !grep { my $name = $_; !grep { /^resolved $name / } keys %heard } split / /, "$faults VqueueServerDown VqueueWorkerDown";
}), 'Alertmanager has told of each that it is over') or diag(join("\n", sort keys %heard));
is(join(' ', sort map { (split / /)[1] } grep { /^firing .* pages$/ } keys %heard),
	'VqueueReleaseFails VqueueReleaseStalled VqueueServerDown VqueueWorkerDown', 'where people do not get in, it pages');
is(scalar(grep { /^firing .* tickets$/ } keys %heard), 7, 'and the rest are tickets');

check_clean($node, 'postgres', 'memory is right at the end');
$_->quit foreach values %session;
end_programs();
$standby->stop;
$node->stop;
done_testing();
