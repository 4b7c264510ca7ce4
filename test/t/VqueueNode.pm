#
# VqueueNode: what the TAP tests of vqueue share.
#
# A cluster that preloads vqueue, background psql sessions that work alike on
# every supported server version (and collect notifications), and the few
# questions that most tests ask.
#
package VqueueNode;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  new_vqueue_node
  wait_for_worker
  worker_pid
  launcher_pid
  check_clean
  fails_with
  psql_session
  start_storm
  count_over_rate
  count_over_cap
  users
  row_state
  same_lines
  positions_right
  pgbench_crowd
);

# psql reads the query from a pipe.  If the server refuses it at once, as while
# it recovers from a crash, psql may have ended before all of that was written,
# which is an error of the pipe rather than an answer: ask again.
{
	no warnings 'redefine';
	my $poll = \&PostgreSQL::Test::Cluster::poll_query_until;

	*PostgreSQL::Test::Cluster::poll_query_until = sub {
		my @arguments = @_;

		foreach my $try (1 .. 1000)
		{
			my $answer;

			return $answer if eval { $answer = $poll->(@arguments); 1 };
			die $@ unless $@ =~ /Broken pipe/;
		}
		die 'psql has ended 1000 times before it read its query';
	};
}

# A running cluster; conf is appended to its configuration, and path is where its
# programs are, if they are not those of the PATH.
sub new_vqueue_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, defined $params{path} ? (install_path => $params{path}) : ());

	$node->init(%{ $params{init} || {} });
	$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'vqueue'
shared_buffers = 16MB
max_connections = 40
log_statement = none
# where replay lags, as on a slow machine, it waits for who reads rather than end him
max_standby_streaming_delay = -1
max_standby_archive_delay = -1
CONF
	$node->append_conf('postgresql.conf', $params{conf})
	  if defined $params{conf};
	$node->start;
	return $node;
}

# ---- workers ----

sub wait_for_worker
{
	my ($node, $db, $other_than) = @_;

	$db = 'postgres' unless defined $db;
	$other_than = 0 unless defined $other_than && $other_than ne '';
	return $node->poll_query_until('template1', qq{
		SELECT count(*) = 1 FROM pg_stat_activity
		 WHERE backend_type = 'vqueue worker' AND datname = '$db'
		   AND application_name = 'vqueue worker' AND pid <> $other_than});
}

sub worker_pid
{
	my ($node, $db) = @_;

	$db = 'postgres' unless defined $db;
	return $node->safe_psql('template1', qq{
		SELECT pid FROM pg_stat_activity
		 WHERE backend_type = 'vqueue worker' AND datname = '$db'});
}

sub launcher_pid
{
	my ($node) = @_;

	return $node->safe_psql('template1', q{
		SELECT pid FROM pg_stat_activity WHERE backend_type = 'vqueue launcher'});
}

# ---- questions ----

# Memory and tables agree.
sub check_clean
{
	my ($node, $db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is($node->safe_psql($db, 'SELECT * FROM vqueue.check()'),
		'', $name);
}

# The statement fails with this SQLSTATE and, if given, a matching message,
# detail or hint.
sub fails_with
{
	my ($node, $db, $sql, $state, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err);
	my $rc =
	  $node->psql($db, "\\set VERBOSITY verbose\n$sql",
		stdout => \$out, stderr => \$err);

	isnt($rc, 0, "$name: it fails");
	like($err, qr/ERROR:  $state:/, "$name: with SQLSTATE $state");
	like($err, $pattern, "$name: and says so") if defined $pattern;
	return;
}

# How far releases exceed the rate: over all pairs of served_at, the greatest
# number of releases above rate_per_minute * w.  Must be at most burst.
# f(k) = k - rate * t(k) in units of 1/60000000 of a release, so that the
# greatest excess over all windows is the greatest rise of f, plus one.
sub count_over_rate
{
	my ($node, $db, $queue, $rate) = @_;

	return $node->safe_psql($db, qq{
		WITH served AS (
			SELECT row_number() OVER (ORDER BY s.served_at) * 60000000::numeric
			       - $rate * (extract(epoch FROM s.served_at) * 1000000)::numeric AS f,
			       s.served_at
			  FROM vqueue.user_sessions s
			  JOIN vqueue.queues q ON q.id = s.queue_id
			 WHERE q.name = '$queue' AND s.served_at IS NOT NULL),
		rises AS (
			SELECT f - min(f) OVER (ORDER BY f_order) AS rise
			  FROM (SELECT f, row_number() OVER (ORDER BY served_at, f) AS f_order FROM served) o)
		SELECT coalesce(ceil(max(rise) / 60000000 + 1), 0) FROM rises});
}

# The greatest number of sessions that were inside at one time, by the table.
sub count_over_cap
{
	my ($node, $db, $queue) = @_;

	return $node->safe_psql($db, qq{
		WITH steps AS (
			SELECT s.served_at AS at, 1 AS step
			  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id
			 WHERE q.name = '$queue' AND s.served_at IS NOT NULL
			UNION ALL
			SELECT s.left_at, -1
			  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id
			 WHERE q.name = '$queue' AND s.served_at IS NOT NULL AND s.left_at IS NOT NULL)
		SELECT coalesce(max(inside), 0)
		  FROM (SELECT sum(step) OVER (ORDER BY at, step) AS inside FROM steps) i});
}

# SQL for an array of n user ids that are the same in every run: tag is a
# digit or letter a to f that tells one crowd from another.
sub users
{
	my ($tag, $from, $to) = @_;

	return qq{(SELECT array_agg(('$tag' || lpad(i::text, 31, '0'))::uuid ORDER BY i) FROM generate_series($from, $to) i)};
}

# All that must survive, as text: one line a live session.
sub row_state
{
	my ($node, $db) = @_;

	return $node->safe_psql($db, q{
		SELECT q.tenant_id, q.name, s.id, s.user_id, s.ticket, s.status, s.priority,
		       vqueue._position(s.queue_id, s.ticket)
		  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id
		 WHERE s.left_at IS NULL
		 ORDER BY q.tenant_id, q.name, s.ticket});
}

# Two long texts are the same; if not, the first lines that differ are shown.
sub same_lines
{
	my ($got, $wanted, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @got = split /\n/, $got;
	my @wanted = split /\n/, $wanted;
	my $i = 0;

	return pass($name) if $got eq $wanted;
	$i++ while ($i < @got && $i < @wanted && $got[$i] eq $wanted[$i]);
	return is('line ' . ($i + 1) . ' of ' . @got . ': ' . (defined $got[$i] ? $got[$i] : ''),
		'line ' . ($i + 1) . ' of ' . @wanted . ': ' . (defined $wanted[$i] ? $wanted[$i] : ''), $name);
}

# Everybody who waits, in this queue or in all, has the position that counting
# the table gives.  Right while nothing moves there.
sub positions_right
{
	my ($node, $db, $name, $queue) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $where = defined $queue ? "AND queue_id = vqueue._queue('$queue')" : '';

	return is($node->safe_psql($db, qq{
		SELECT queue_id, ticket, memory, counted
		  FROM (SELECT queue_id, ticket, vqueue._position(queue_id, ticket) AS memory,
		               row_number() OVER (PARTITION BY queue_id
		                   ORDER BY array_position('{vip,high,normal,low}'::text[], priority), coalesce(place_key, 0), ticket) AS counted
		          FROM vqueue.user_sessions WHERE status = 'waiting' $where) p
		 WHERE memory IS DISTINCT FROM counted
		 ORDER BY queue_id, ticket LIMIT 10}), '', $name);
}

# ---- background sessions ----

sub psql_session
{
	my ($node, $db) = @_;

	return VqueueNode::Session->new($node, $db);
}

# ---- storms ----

# A storm of clients (test/crowd) on a node, or on several for failover, given
# as nodes => [...].  Other options are those of the program without their
# dashes, such as seconds => 600, faults => 1, prefix => 'a', and db and seed.
sub start_storm
{
	my ($node, %options) = @_;

	return VqueueNode::Storm->new($node, %options);
}

# Clients that run a pgbench script until ->stop, which returns their errors;
# more options of pgbench may follow.
sub pgbench_crowd
{
	my ($node, $db, $script, $clients, @options) = @_;

	return VqueueNode::Crowd->new($node, $db, $script, $clients, @options);
}

package VqueueNode::Session;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

# A psql that stays connected.  Statements are sent, then waited for by a
# marker that psql echoes after them on both of its outputs.
sub new
{
	my ($class, $node, $db) = @_;
	my $self = bless {
		in => '', out => '', err => '', marks => 0, pending => 0,
		notes => [], last_error => ''
	}, $class;

	$self->{timer} =
	  IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$self->{run} = IPC::Run::start(
		[
			$node->installed_command('psql'), '-XAtq',
			'-v', 'VERBOSITY=verbose',
			'-d', $node->connstr(defined $db ? $db : 'postgres'),
			'-f', '-'
		],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		$self->{timer});
	$self->query('SELECT 1');
	return $self;
}

# Send statements and return at once.
sub send
{
	my ($self, $sql) = @_;

	die "a statement is already under way" if $self->{pending};
	$self->{pending} = 1;
	$self->{timer}->start;
	$self->{marks}++;
	$sql .= ';' unless $sql =~ /;\s*$/;
	$self->{in} .= "$sql\n\\echo -- done $self->{marks}\n\\warn -- done $self->{marks}\n";
	$self->{run}->pump_nb;
	return;
}

# Wait for what was sent; returns its output without notifications.
sub wait
{
	my ($self) = @_;
	my $mark = qr/^-- done $self->{marks}\n/m;

	while ($self->{out} !~ $mark || $self->{err} !~ $mark)
	{
		die "psql has ended: $self->{err}" unless $self->{run}->pumpable;
		$self->{run}->pump;
	}
	$self->{pending} = 0;

	my $out = $self->{out};
	my $err = $self->{err};
	my @rest;

	$self->{out} = $self->{err} = '';
	$err =~ s/^-- done \d+\n//mg;
	$self->{last_error} = $err;
	$out =~ s/^-- done \d+\n//mg;
	foreach my $line (split /\n/, $out)
	{
		if ($line =~ /^Asynchronous notification "(.*?)" with payload "(.*)" received from server process with PID (\d+)\.$/)
		{
			push @{ $self->{notes} },
			  { channel => $1, payload => $2, pid => $3 };
		}
		else
		{
			push @rest, $line;
		}
	}
	return join("\n", @rest);
}

sub query
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->wait;
}

# As query, but an error ends the test.
sub query_safe
{
	my ($self, $sql) = @_;
	my $out = $self->query($sql);

	die "\"$sql\" failed: $self->{last_error}"
	  if $self->{last_error} =~ /ERROR|FATAL/;
	return $out;
}

sub backend_pid
{
	my ($self) = @_;

	return $self->query_safe('SELECT pg_backend_pid()');
}

# What the last statement wrote to stderr.
sub error
{
	my ($self) = @_;

	return $self->{last_error};
}

# Notifications until now, oldest first; each is returned once.
sub notes
{
	my ($self) = @_;

	$self->query_safe('SELECT 1');
	my @notes = @{ $self->{notes} };
	$self->{notes} = [];
	return @notes;
}

sub quit
{
	my ($self) = @_;

	$self->{timer}->start;
	$self->{in} .= "\\q\n";
	$self->{run}->finish;
	return;
}

# For a psql whose server is gone.
sub abandon
{
	my ($self) = @_;

	$self->{run}->kill_kill;
	return;
}

package VqueueNode::Storm;

use strict;
use warnings;

use Fcntl qw(:flock);
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $storms = 0;

# The program is built on first use, by the pg_config that the tests run with.  Test
# files may run side by side, but only one at a time builds.
sub program
{
	my $dir = dirname(__FILE__) . '/../crowd';
	local %ENV = %ENV;

	open(my $lock, '<', "$dir/Makefile") or die "$dir/Makefile: $!";
	flock($lock, LOCK_EX) or die "lock of $dir/Makefile: $!";

	delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	system('make', '--silent', '-C', $dir, "PG_CONFIG=$pg_config") == 0
	  or die 'the crowd could not be built';
	return "$dir/build/crowd";
}

sub new
{
	my ($class, $node, %options) = @_;
	my @nodes = @{ delete $options{nodes} || [$node] };
	my $seed = delete $options{seed} || $ENV{VQ_SEED} || 1 + int(rand(1000000000));
	local %ENV = %ENV;

	$ENV{PGHOST} = join(',', map { $_->host } @nodes);
	$ENV{PGPORT} = join(',', map { $_->port } @nodes);
	$ENV{PGTARGETSESSIONATTRS} = 'read-write' if @nodes > 1;
	$ENV{PGDATABASE} = delete $options{db} || 'postgres';
	$ENV{VQ_SEED} = $seed;
	$storms++;
	my $self = bless {
		out => PostgreSQL::Test::Utils::tempdir() . "/storm$storms.out",
		seed => $seed
	}, $class;
	my @command = (program(), '--storm');
	foreach my $option (sort keys %options)
	{
		my $name = $option eq 'settings' ? 'no-settings' : $option;

		if ($name =~ /^(?:faults|sick|no-settings)$/)
		{
			push @command, "--$name" if $option eq 'settings' ? !$options{$option} : $options{$option};
		}
		else
		{
			push @command, "--$name", $options{$option};
		}
	}
	$self->{run} = IPC::Run::start(\@command, '<', \undef, '>', $self->{out}, '2>&1');
	return $self;
}

# End it, wait for its checks, and report them as one test.
sub finish
{
	my ($self, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$name = 'the storm' unless defined $name;
	$self->{run}->signal('USR1');
	return $self->wait($name);
}

# The same, but it ends by itself after its seconds.
sub wait
{
	my ($self, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$self->{run}->finish;
	my $status = $self->{run}->full_result;
	my $out = slurp_file($self->{out});

	delete $self->{run};
	$out =~ s/^/| /mg;
	note($out);
	return ok($status == 0, "$name: every law held") || diag("status $status, seed $self->{seed}\n$out");
}

sub DESTROY
{
	my ($self) = @_;

	$self->{run}->kill_kill if $self->{run};
	return;
}

package VqueueNode::Crowd;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, $db, $script, $clients, @options) = @_;
	my $self = bless { err => '', out => '' }, $class;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/crowd.sql';

	PostgreSQL::Test::Utils::append_to_file($file, $script);
	$self->{run} = IPC::Run::start(
		[
			$node->installed_command('pgbench'), '-n', '-c', $clients || 2, '-T', '3600', '-f', $file, @options,
			'-h', $node->host, '-p', $node->port, $db
		],
		'<', \undef, '>', \$self->{out}, '2>', \$self->{err});
	return $self;
}

sub stop
{
	my ($self) = @_;

	$self->{run}->signal('TERM');
	$self->{run}->finish;
	return join("\n", grep { /error|abort/i } split /\n/, $self->{err});
}

# Wait until all clients have ended by themselves.
sub finish
{
	my ($self) = @_;

	$self->{run}->finish;
	return $self->{err};
}

1;
