#
# Statements: random SQL against everything that schema vqueue offers.
#
# What there is to call comes from the catalog, so that a new function, table
# or view is attacked from the day it exists.  Arguments are chosen by their
# type: about half of them mean something that exists, in whatever state it is,
# the rest is what no sane caller passes.  A statement is one line, by whose
# number psql reports an error.  The same seed gives the same lines; what they
# pick on the server follows setseed().
#
package Statements;

use strict;
use warnings;

# SQL expressions by type.  hostile.* are the pickers that hostile.pl makes.
my %values = (
	'text' => [
		q{''}, q{' '}, q{'default'}, q{'normal'}, q{'low'}, q{'high'}, q{'vip'}, q{'waiting'},
		q{'serving'}, q{'completed'}, q{'open'}, q{'closed'}, q{'NULL'}, q{'%s%n%d'}, q{'..'},
		q{'%'}, q{'_'}, q{E'\\x01'}, q{E'a\\nb\\tc'}, q{U&'\\+01F600\\0301'}, q{E'\\\\'},
		q{'";DROP TABLE vqueue.queues;--'}, q{$$'$$}, q{'{}'}, q{'[]'}, q{'null'},
		q{'00000000-0000-0000-0000-000000000000'}, q{'{00000000-0000-7000-8000-000000000001}'},
		q{'00000000000000000000000000000000'}, q{'0000-0000-0000-0000-0000-0000-0000-0000'},
		q{'0000-'}, q{'-1'}, q{'9223372036854775808'}, q{upper(hostile.queue())},
		q{hostile.queue() || ' '}, q{upper(hostile.queue_id()::text)}, q{'{' || hostile.queue_id() || '}'},
		q{hostile.session()::text}, q{repeat('x', 56)}, q{repeat('x', 57)}, q{repeat('x', 63)},
		q{repeat('x', 64)}, q{repeat('x', 200)}, q{repeat('x', 201)}, q{repeat('y', 1000)},
		q{repeat('y', 1001)}, q{repeat(U&'\\00E9', 100)}, q{repeat(U&'\\00E9', 101)},
		q{repeat('a', 8192)}, q{repeat('z', 10001)}, q{repeat('z', 3000000)}, q{hostile.new_name()},
		q{'hostile_caller'}, q{'hostile_nobody'}, q{'other'}, q{'app'}, q{'monitor'}, q{'operator'}, q{'admin'},
		q{'EdDSA'}, q{'HS256'}, q{'eyJhbGciOiJub25lIn0.e30.'}, q{vqueue.pass(hostile.session())}, q{vqueue.pass(hostile.session()) || 'A'}
	],
	'uuid' => [
		q{'00000000-0000-0000-0000-000000000000'::uuid}, q{'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid},
		q{'00000000-0000-7000-8000-000000000001'::uuid}, q{gen_random_uuid()}, q{hostile.queue_id()},
		q{hostile.session()}, q{hostile.user_id()}
	],
	'bigint' => [
		qw(0 1 2 -1 -2 63 64 511 512 1023 1024 1025 2147483647 2147483648 4294967296 1099511627776
		  9007199254740993 1152921504606846975 1152921504606846976 1152921504606846977
		  4611686018427387904 9223372036854775807 -2147483649 -4611686018427387904),
		q{'-9223372036854775808'::bigint}, q{hostile.ticket()}, q{hostile.ticket() + 1}, q{-hostile.ticket()}
	],
	'integer' => [
		qw(0 1 2 3 -1 10 59 60 61 100 1000 10000 100000 999999 1000000 1000001 10000000 10000001
		  100000000 100000001 1000000000 1000000001 2147483647 -2147483647),
		q{'-2147483648'::int}
	],
	'smallint' => [qw(0::int2 1::int2 -1::int2 32767::int2), q{'-32768'::int2}],
	'boolean' => [qw(true false)],
	'double precision' => [
		qw(0 1 -1 0.5 1e-320 1e308 -1e308), q{'NaN'}, q{'Infinity'}, q{'-Infinity'}, q{'-0'}
	],
	'numeric' => [qw(0 1 -1 1e1000 -1e1000 1e-1000), q{'NaN'}, q{'Infinity'}, q{'-Infinity'}],
	'timestamp with time zone' => [
		q{'infinity'}, q{'-infinity'}, q{'epoch'}, q{'2000-01-01 00:00:00+00'},
		q{'2000-01-01 00:00:00.000001+00'}, q{'1999-12-31 23:59:59.999999+00'}, q{now()},
		q{clock_timestamp()}, q{now() + interval '1 s'}, q{now() - interval '1 year'},
		q{'294276-12-31 23:59:59.999999+00'}, q{'4714-11-24 00:00:00+00 BC'}
	],
	'interval' => [
		q{'0'}, q{'1 us'}, q{'-1 us'}, q{'1 s'}, q{'1 day -1 s'}, q{'1 mon'}, q{'-1 year'},
		q{'178000000 years'}, q{'-178000000 years'}, q{'2147483647 days'}, q{'2562047788:00:54.775807'}
	],
	'uuid[]' => [
		q{'{}'::uuid[]}, q{ARRAY[NULL]::uuid[]}, q{ARRAY[gen_random_uuid(), NULL]},
		q{ARRAY[hostile.user_id(), hostile.user_id(), hostile.user_id()]},
		q{ARRAY[[gen_random_uuid(), gen_random_uuid()], [gen_random_uuid(), gen_random_uuid()]]},
		q{'[-5:-4]={00000000-0000-0000-0000-000000000000,00000000-0000-0000-0000-000000000001}'::uuid[]},
		q{array_fill(hostile.user_id(), ARRAY[100])}, q{array_fill(gen_random_uuid(), ARRAY[1, 1, 2, 1])},
		q{array_fill(gen_random_uuid(), ARRAY[2], ARRAY[2147483645])},
		q{(SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 600))},
		q{(SELECT array_agg(user_id) FROM hostile.users)},
		q{(SELECT array_agg(user_id) FILTER (WHERE n > 5) FROM hostile.users WHERE n < 0)}
	],
	'jsonb' => [
		q{'null'}, q{'{}'}, q{'[]'}, q{'0'}, q{'""'}, q{'{"a": null}'}, q{'{"queue": 1e999999}'},
		q{jsonb_build_object(repeat('k', 100000), 1)}, q{(repeat('[', 500) || repeat(']', 500))::jsonb}
	],
	'bytea' => [q{''}, q{'\\x00'}, q{decode(repeat('ff', 100000), 'hex')}, q{'\\xdeadbeef'}],
	'inet' => [q{'0.0.0.0/0'}, q{'::/0'}, q{'127.0.0.1'}, q{'ffff::1/128'}],
	'vqueue.place' => [
		q{ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::vqueue.place},
		q{vqueue.status(hostile.session())}
	],
);
$values{'character varying'} = $values{'name'} = $values{'json'} = $values{'text'};

# What a value of the type likely means to exist, before anything strange.
my %meant = (
	'text' => [ (q{hostile.queue()}) x 6, (q{hostile.queue_id()::text}) x 2, q{'normal'} ],
	'uuid' => [ (q{hostile.session()}) x 4, q{hostile.user_id()}, q{hostile.queue_id()} ],
	'bigint' => [ (q{hostile.ticket()}) x 2, q{1} ],
	'integer' => [qw(1 2 10 60 600)],
	'timestamp with time zone' => [q{clock_timestamp()}],
	'uuid[]' => [q{(SELECT array_agg(user_id) FROM hostile.users WHERE n <= 7)}],
);

# functions: [{ name, args => [[name, type, optional], ...], set, trigger }]
# tables: [{ name, view, columns => [[name, type], ...] }]; parallel: the
# setting that makes the server use parallel workers
sub new
{
	my ($class, %self) = @_;

	srand($self{seed});
	return bless {%self}, $class;
}

sub pick
{
	return $_[ int(rand(@_)) ];
}

sub one_in
{
	my ($n) = @_;

	return rand() * $n < 1;
}

# ---- arguments ----

sub value
{
	my ($type) = @_;
	my $choices = $values{$type};

	return "NULL::$type" if one_in(12);
	if (!defined $choices)
	{
		# An array or a domain nobody thought of: its emptiness, and text that may fit.
		return $type =~ /\[\]$/
		  ? pick("'{}'::$type", "'{NULL}'::$type", "'{{1},{2}}'::$type", "'[3:3]={1}'::$type")
		  : pick("''::$type", "'0'::$type", "'x'::$type", "NULL::$type");
	}
	return pick(@{ $meant{$type} }) if $meant{$type} && one_in(2);

	my $expression = pick(@$choices);
	return $expression =~ /^[-'(\d]/ && $type ne 'text' ? "($expression)::$type" : $expression;
}

# All arguments by position, or some of them by name.
sub arguments
{
	my ($function) = @_;
	my @args = @{ $function->{args} };

	return join(', ', map { value($_->[1]) } @args)
	  if one_in(3) || grep { $_->[0] eq '' } @args;
	return join(', ', map { qq{"$_->[0]" => } . value($_->[1]) }
		  grep { !$_->[2] || one_in(2) } @args);
}

# ---- statements ----

sub call
{
	my ($self) = @_;
	my $function = pick(@{ $self->{functions} });
	my $call = qq{vqueue."$function->{name}"(} . arguments($function) . ')';

	return "SELECT $call" if $function->{trigger} || $function->{void};
	return pick(
		("SELECT $call") x 4, ("SELECT * FROM $call") x 4,
		"SELECT $call FROM generate_series(1, 3)", "SELECT $call, $call",
		"SELECT * FROM $call LIMIT 1", "SELECT 1 WHERE ($call) IS NULL",
		"SELECT count(*) FROM hostile.users u, LATERAL (SELECT $call OFFSET 0) f WHERE u.n < 4",
		"SELECT CASE WHEN random() < 0.5 THEN ($call)::text END",
		"EXPLAIN (ANALYZE, TIMING OFF) SELECT $call",
		"COPY (SELECT $call) TO STDOUT",
		"CREATE TEMP TABLE t ON COMMIT DROP AS SELECT $call AS x",
		"DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT * FROM $call; FETCH 1 FROM c; CLOSE c");
}

# In subtransactions of PL/pgSQL, where errors are caught; but not internal ones.
sub block
{
	my ($self) = @_;
	my $body = join(' ', map {
		my $function = pick(grep { !$_->{trigger} } @{ $self->{functions} });
		'BEGIN PERFORM vqueue."' . $function->{name} . '"(' . arguments($function) . ');'
		  . (one_in(4) ? q{ RAISE 'enough' USING ERRCODE = 'P0999';} : '')
		  . q{ EXCEPTION WHEN OTHERS THEN IF SQLSTATE LIKE 'XX%' THEN RAISE; END IF; END;}
	} 1 .. 1 + int(rand(4)));

	$body = "FOR i IN 1..5 LOOP $body END LOOP;" if one_in(4);
	return "DO \$do\$ BEGIN $body" . (one_in(5) ? ' RAISE division_by_zero;' : '') . ' END $do$';
}

# By hand on the tables.
sub change
{
	my ($self) = @_;
	my $table = pick(grep { !$_->{view} } @{ $self->{tables} });
	my @columns = @{ $table->{columns} };
	my $one = "ctid = (SELECT ctid FROM $table->{name} ORDER BY ctid DESC OFFSET " . int(rand(8)) . ' LIMIT 1)';
	my $some = one_in(30) ? 'true' : $one;

	if (one_in(3))
	{
		my @given = grep { one_in(2) } @columns;

		@given = @columns if !@given;
		return "INSERT INTO $table->{name} (" . join(', ', map { qq{"$_->[0]"} } @given) . ') VALUES ('
		  . join(', ', map { value($_->[1]) } @given) . ')'
		  . (one_in(4) ? ' ON CONFLICT DO NOTHING' : '');
	}
	return "DELETE FROM $table->{name} WHERE $some" if one_in(5);
	return "TRUNCATE $table->{name} CASCADE" if one_in(300);

	my %set = map { $_->[0] => $_ } map { pick(@columns) } 1 .. 1 + int(rand(2));
	return "UPDATE $table->{name} SET "
	  . join(', ', map { qq{"$_" = } . value($set{$_}->[1]) } sort keys %set)
	  . " WHERE $some";
}

sub look
{
	my ($self) = @_;

	return 'SELECT * FROM ' . pick(map { $_->{name} } @{ $self->{tables} });
}

sub setting
{
	my ($self, $local) = @_;

	return "SET $local" . pick(
		(q{vqueue.tenant = 'default'}) x 4,
		q{vqueue.tenant = 'other'}, q{vqueue.tenant = 'Gr. "quoted" '}, q{vqueue.tenant = ''},
		q{vqueue.tenant = 'nobody'},
		(q{ROLE NONE}) x 6, q{ROLE hostile_caller}, q{ROLE hostile_writer}, q{ROLE hostile_nobody},
		q{search_path = ''}, q{search_path = hostile, vqueue, pg_catalog}, q{search_path = pg_catalog, public},
		(q{session_replication_role = origin}) x 3, q{session_replication_role = replica},
		q{statement_timeout = } . pick(1, 3, 10, 3000, 3000), q{lock_timeout = } . pick(1, 300),
		q{work_mem = '64kB'}, q{default_transaction_isolation = 'read committed'},
		q{default_transaction_isolation = 'serializable'}, q{default_transaction_read_only = off},
		q{TimeZone = 'Pacific/Kiritimati'}, q{DateStyle = 'German'}, q{IntervalStyle = 'iso_8601'},
		qq{$self->{parallel} = on}, qq{$self->{parallel} = off}, q{plan_cache_mode = force_generic_plan});
}

sub statement
{
	my ($self) = @_;
	my $choice = rand(100);

	return $choice < 62 ? $self->call
	  : $choice < 78 ? $self->block
	  : $choice < 92 ? $self->change
	  : $self->look;
}

sub transaction
{
	my ($self, $tag) = @_;
	my @lines = (pick(('BEGIN') x 4, 'BEGIN READ ONLY', 'BEGIN ISOLATION LEVEL REPEATABLE READ',
			'BEGIN ISOLATION LEVEL SERIALIZABLE', 'BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY'));
	my $depth = 0;

	foreach my $i (0 .. int(rand(7)))
	{
		push @lines, $self->setting('LOCAL ') if one_in(5);
		push @lines, $self->statement;
		push @lines, 'SAVEPOINT s' . ++$depth if one_in(3);
		next if !$depth || !one_in(3);

		my $to = 1 + int(rand($depth));
		my $back = one_in(2);

		push @lines, ($back ? 'ROLLBACK TO s' : 'RELEASE s') . $to;
		$depth = $back ? $to : $to - 1;
	}
	return (@lines, "PREPARE TRANSACTION '$tag'", "ROLLBACK PREPARED '$tag'", 'ROLLBACK') if one_in(10);
	return (@lines, 'COMMIT AND CHAIN', $self->statement, 'ROLLBACK') if one_in(12);
	return (@lines, pick('COMMIT', 'COMMIT', 'ROLLBACK'));
}

# A script of at least so many lines.
sub script
{
	my ($self, $n, $tag) = @_;
	my @lines = ('\set VERBOSITY verbose', '\set ON_ERROR_ROLLBACK ' . pick('off', 'on', 'on'),
		'SELECT setseed(' . sprintf('%.6f', rand()) . ')', q{SET client_min_messages = warning},
		q{SET statement_timeout = 3000}, q{SET lock_timeout = 300});

	while (@lines < $n)
	{
		push @lines, one_in(12) ? $self->setting('') : one_in(3) ? $self->transaction($tag) : $self->statement;
	}
	return map { /^\\/ ? "$_\n" : "$_;\n" } @lines;
}

1;
