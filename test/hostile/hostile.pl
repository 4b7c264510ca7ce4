#
# Every function, table and view of vqueue under hostile arguments.
#
# Several clients at a time, of several roles and tenants, in and out of
# transactions, send random statements (see Statements.pm).  Most of them fail,
# as they should; but none may crash a process or meet an internal error, and
# memory must agree with the tables in the end, with the server still in service.
#
# VQ_SEED chooses the statements, else the clock does; the seed is shown.  Who
# is faster at a lock differs from run to run all the same.  VQ_TORTURE=N runs
# 10 N rounds with a seed each instead of one.
#
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t", $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Statements;
use Test::More;
use VqueueNode;

my $clients = 4;
my $lines = $ENV{VQ_HOSTILE_LINES} || 3000;
my $rounds = $ENV{VQ_TORTURE} ? 10 * $ENV{VQ_TORTURE} : 1;
my $seed = defined $ENV{VQ_SEED} ? $ENV{VQ_SEED} : time % 100000000;

my $node = new_vqueue_node('hostile', conf => <<CONF);
fsync = off
deadlock_timeout = 50ms
max_prepared_transactions = 10
max_locks_per_transaction = 256
log_line_prefix = '%m [%p] %b %e '
log_min_messages = warning
log_min_error_statement = panic
vqueue.memory_limit = 64MB
CONF

# ---- what there is to attack ----

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('other'), ('Gr. "quoted" ');
	SELECT vqueue.create_queue('room', 600000, 3, burst => 5);
	SELECT vqueue.create_queue('fast', 10000000, 1000000);
	SELECT vqueue.create_queue('shut', 60, 1, state => 'closed');
	SELECT vqueue.create_queue('still', 60, 1, max_waiting => 5, state => 'paused');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('room', 1, 1);
	SELECT vqueue.create_queue(repeat('n', 200), 60000, 100000000, state => 'draining');

	CREATE SCHEMA hostile;
	GRANT USAGE ON SCHEMA hostile TO PUBLIC;
	CREATE TABLE hostile.users AS
		SELECT n, ('0000000a-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid AS user_id FROM generate_series(1, 40) n;
	GRANT SELECT ON hostile.users TO PUBLIC;
	CREATE FUNCTION hostile.queue() RETURNS text STABLE SECURITY DEFINER PARALLEL SAFE LANGUAGE sql AS
		'SELECT name FROM vqueue.queues ORDER BY random() LIMIT 1';
	CREATE FUNCTION hostile.queue_id() RETURNS uuid STABLE SECURITY DEFINER PARALLEL SAFE LANGUAGE sql AS
		'SELECT id FROM vqueue.queues ORDER BY random() LIMIT 1';
	CREATE FUNCTION hostile.session() RETURNS uuid STABLE SECURITY DEFINER PARALLEL SAFE LANGUAGE sql AS
		'SELECT id FROM (SELECT id FROM vqueue.user_sessions ORDER BY id DESC LIMIT 100) s ORDER BY random() LIMIT 1';
	CREATE FUNCTION hostile.ticket() RETURNS bigint STABLE SECURITY DEFINER PARALLEL SAFE LANGUAGE sql AS
		'SELECT ticket FROM (SELECT ticket FROM vqueue.user_sessions ORDER BY id DESC LIMIT 100) s ORDER BY random() LIMIT 1';
	CREATE FUNCTION hostile.user_id() RETURNS uuid STABLE SECURITY DEFINER PARALLEL SAFE LANGUAGE sql AS
		'SELECT user_id FROM hostile.users ORDER BY random() LIMIT 1';
	CREATE FUNCTION hostile.new_name() RETURNS text STABLE PARALLEL SAFE LANGUAGE sql AS
		'SELECT chr(97 + (random() * 25)::int) || (random() * 20)::int';

	CREATE ROLE hostile_nobody;
	CREATE ROLE hostile_caller;
	GRANT USAGE ON SCHEMA vqueue TO hostile_caller;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vqueue TO hostile_caller;
	CREATE ROLE hostile_writer IN ROLE hostile_caller;
	GRANT ALL ON ALL TABLES IN SCHEMA vqueue TO hostile_writer;
	SELECT vqueue.grant_access('hostile_caller', 'default', 'operator'), vqueue.grant_access('hostile_writer', 'other', 'admin')});
wait_for_worker($node);

# Rows of text into a list of lists.
sub rows
{
	my ($sql) = @_;

	return map { [ split /\t/, $_, -1 ] }
	  split /\n/, $node->safe_psql('postgres', $sql, extra_params => [ '-F', "\t" ]);
}

# Functions of the schema, with the arguments that a caller gives.
sub functions
{
	my %functions;

	foreach my $row (rows(q{
		SELECT p.oid, p.proname, p.prorettype = 'trigger'::regtype, p.prorettype = 'void'::regtype,
		       coalesce(p.proargnames[a.n], ''), format_type(a.type, NULL), a.n > p.pronargs - p.pronargdefaults
		  FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, n) ON true
		 WHERE p.pronamespace = 'vqueue'::regnamespace AND p.prokind = 'f'
		 ORDER BY p.proname, p.oid, a.n}))
	{
		my ($oid, $name, $trigger, $void, $arg, $type, $optional) = @$row;

		$functions{$oid} ||= { name => $name, trigger => $trigger eq 't', void => $void eq 't', args => [] };
		push @{ $functions{$oid}->{args} }, [ $arg, $type, $optional eq 't' ] if $type ne '';
	}
	return [ map { $functions{$_} } sort { $a <=> $b } keys %functions ];
}

sub tables
{
	my %tables;

	foreach my $row (rows(q{
		SELECT c.oid::regclass, c.relkind = 'v', a.attname, format_type(a.atttypid, NULL), a.attgenerated <> ''
		  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		 WHERE c.relnamespace = 'vqueue'::regnamespace AND c.relkind IN ('r', 'p', 'v')
		 ORDER BY 1, a.attnum}))
	{
		my ($name, $view, $column, $type, $generated) = @$row;

		$tables{$name} ||= { name => $name, view => $view eq 't', columns => [] };
		push @{ $tables{$name}->{columns} }, [ $column, $type ] if $generated ne 't';
	}
	return [ map { $tables{$_} } sort keys %tables ];
}

# ---- the attack ----

# States that tell of a bug: internal errors, system errors, a lost server.
my $bad = qr/(?:ERROR|FATAL|PANIC|WARNING):  (?:XX|58|08|57P02|57P03)|server closed the connection|could not connect/;

# What psql complained of beyond what is to be expected, with the statement.
sub bad_lines
{
	my ($script, $errors) = @_;
	my @found;

	foreach my $error (grep { /$bad/ } split /\n/, $errors)
	{
		my ($line) = $error =~ /^psql:[^:]*:(\d+):/;

		push @found, $error . (defined $line ? "\n  by: $script->[$line - 1]" : "\n");
	}
	return @found;
}

# One round; returns what went wrong, and how many lines were sent and errors met.
sub attack
{
	my ($functions, $tables, $round_seed) = @_;
	my $parallel = $node->safe_psql('postgres', q{SHOW server_version_num}) >= 160000 ?
	  'debug_parallel_query' : 'force_parallel_mode';
	my (@running, @found, $sent, $errors);

	foreach my $client (1 .. $clients)
	{
		my $file = "$PostgreSQL::Test::Utils::tmp_check/hostile_$client";
		my @script = Statements->new(seed => $round_seed * 10 + $client, functions => $functions,
			tables => $tables, parallel => $parallel)->script($lines, "p$client");

		open my $handle, '>', "$file.sql" or die "$file.sql: $!";
		print $handle @script;
		close $handle;
		push @running, {
			script => \@script, errors => "$file.err",
			run => IPC::Run::start(
				[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', "$file.sql" ],
				'<', '/dev/null', '>', '/dev/null', '2>', "$file.err")
		};
	}
	foreach my $client (@running)
	{
		IPC::Run::finish($client->{run});
		my $text = slurp_file($client->{errors});

		push @found, bad_lines($client->{script}, $text);
		$sent += @{ $client->{script} };
		$errors += () = $text =~ /^psql:[^:]*:\d+: ERROR:/mg;
	}
	return (\@found, $sent, $errors);
}

# What processes without a client, the worker above all, wrote of bugs.
sub bad_log
{
	my ($log) = @_;

	return grep { /PANIC|TRAP|terminated by signal|\] (?!client backend)[a-z ]+ XX/ } split /\n/, $log;
}

my $functions = functions();
my $tables = tables();
my $log_at = 0;

cmp_ok(scalar(@$functions), '>', 20, 'functions were found');
foreach my $round (1 .. $rounds)
{
	my $round_seed = $seed + $round - 1;
	my ($found, $sent, $errors) = attack($functions, $tables, $round_seed);
	my $log = slurp_file($node->logfile, $log_at);
	my @bad = (@$found, bad_log($log));

	$log_at += length $log;
	note("seed $round_seed: $sent lines, $errors errors");
	ok(!@bad, "nobody met an internal error (VQ_SEED=$round_seed)")
	  or diag(join("\n", map { substr($_, 0, 2000) } @bad[ 0 .. ($#bad > 19 ? 19 : $#bad) ]));
	last if @bad && !$node->safe_psql('postgres', 'SELECT true');
	check_clean($node, 'postgres', "memory agrees with the tables (VQ_SEED=$round_seed)") or last;
}

# ---- still in service ----

# Those that did not touch vqueue, and whose role had changed when they were to be rolled back.
foreach my $row (rows('SELECT gid FROM pg_prepared_xacts'))
{
	$node->safe_psql('postgres', "ROLLBACK PREPARED '$row->[0]'");
}
is($node->safe_psql('postgres', q{
	INSERT INTO vqueue.tenants (name) VALUES ('after');
	SET vqueue.tenant = 'after';
	SELECT 1 FROM vqueue.create_queue('after', 600, 1);
	SELECT status FROM vqueue.join('after')}), "1\nserving", 'a new queue lets its first visitor in');
ok($node->poll_query_until('postgres', q{
	SELECT count(*) = 0 FROM vqueue.health() WHERE "check" IN ('launcher', 'worker') AND status <> 'ok'}),
	'launcher and worker are well');
$node->stop;

done_testing();
