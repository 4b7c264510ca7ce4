#
# The reference in README.md against what is really there, both ways: functions,
# views and columns, settings with defaults and ranges, events, metrics, health
# checks, and SQLSTATEs.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $root = "$FindBin::RealBin/../..";
my $node = new_vqueue_node('main');
$node->safe_psql('postgres', q{CREATE EXTENSION vqueue; SELECT vqueue.create_queue('q')});
wait_for_worker($node);

my $readme = slurp_file("$root/README.md");
my @lines = split /\n/, $readme;

# Lines of the section with that heading, down to the next one of that level or above.
sub section
{
	my ($heading) = @_;
	my ($level) = $heading =~ /^(#+)/;
	my @found;
	my $inside = 0;

	foreach (@lines)
	{
		if (/^(#+) / && length($1) <= length($level))
		{
			$inside = $_ eq $heading;
		}
		push @found, $_ if $inside;
	}
	die "README.md has no section \"$heading\"" unless @found;
	return @found;
}

# Rows of the tables there whose head begins with those columns, as arrays of cells.
sub rows
{
	my ($heading, @head) = @_;
	my @found;
	my $inside = 0;

	foreach (section($heading))
	{
		my @cells = split / \| /;

		$inside = 0 if $_ eq '';
		push @found, \@cells if $inside && !/^---/;
		$inside = 1 if join('|', map { $_ // '' } @cells[ 0 .. $#head ]) eq join('|', @head);
	}
	die "\"$heading\" has no table of @head" unless @found;
	return @found;
}

sub code
{
	return $_[0] =~ /`([^`]+)`/g;
}

sub ask
{
	return split /\n/, $node->safe_psql('postgres', $_[0]);
}

# Both lists without order; says what only one of them has.
sub same_names
{
	my ($documented, $real, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %documented = map { $_ => 1 } @$documented;
	my %real = map { $_ => 1 } @$real;
	my @missing = sort grep { !$documented{$_} } keys %real;
	my @gone = sort grep { !$real{$_} } keys %documented;

	isnt(scalar(keys %real), 0, "$name: there are some");
	diag("$name: not in README.md: $_") foreach @missing;
	diag("$name: only in README.md: $_") foreach @gone;
	return is(@missing + @gone, 0, "$name: README.md has just those that there are");
}

# ---- functions ----

my %short = ('integer' => 'int', 'boolean' => 'bool', 'timestamp with time zone' => 'timestamptz');

# Name, arguments and result as README.md writes them.
sub signature
{
	my ($name, $arguments, $result, $outs, $is_set) = @_;

	foreach ($arguments, $result)
	{
		s/\bSETOF\b/setof/;
		s/\bvqueue\.//g;
		s/"(\w+)"/$1/g;
		s/'00:(\d+):00'::interval/"'" . ($1 + 0) . ($1 > 0 ? ' min' : '') . "'"/eg;
		s/::[a-z][a-z ]*(?:\[\])?(?=,|$)//g;
		s/ DEFAULT / = /g;
		my $types = join('|', keys %short);
		s/\b($types)\b/$short{$1}/g;
	}
	$result = ($is_set eq 't' ? 'setof ' : '') . "($outs)" if $outs ne '';
	return "$name($arguments) → $result";
}

my @real = map { signature(split /\t/, $_, 5) } ask(q{
	SELECT concat_ws(E'\t', p.proname,
	         coalesce((SELECT string_agg(argument, ', ' ORDER BY n)
	                     FROM unnest(string_to_array(pg_get_function_arguments(p.oid), ', ')) WITH ORDINALITY AS a (argument, n)
	                    WHERE argument NOT LIKE 'OUT %'), ''),
	         pg_get_function_result(p.oid),
	         coalesce((SELECT string_agg(name, ', ' ORDER BY n)
	                     FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY AS a (name, mode, n)
	                    WHERE mode IN ('o', 't')), ''), p.proretset)
	  FROM pg_proc p
	 WHERE p.pronamespace = 'vqueue'::regnamespace AND p.proname NOT LIKE '\_%'
	   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)});
same_names([ grep { /^\w+\(.*\) → / } map { code($_) } section('## Reference') ], \@real, 'functions');

my @uncommented = ask(q{
	SELECT p.oid::regprocedure FROM pg_proc p
	 WHERE p.pronamespace = 'vqueue'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL});
is("@uncommented", '', 'each function has a comment');

# ---- tables, views, columns ----

my $reference = join("\n", section('## Reference'));
my @relations = ask(q{
	SELECT relname FROM pg_class
	 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname NOT LIKE '\_%'
	   AND obj_description(oid, 'pg_class') NOT LIKE 'internal%'});
foreach my $relation (@relations)
{
	ok($readme =~ /`(?:vqueue\.)?\Q$relation\E`/, "relation $relation is mentioned");
}
my @bare = ask(q{
	SELECT oid::regclass FROM pg_class
	 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'p', 'v') AND obj_description(oid, 'pg_class') IS NULL});
is("@bare", '', 'each table and view has a comment');
my %shown = map { $_->[0] =~ /^view `(\w+)`$/ ? ($1 => $_->[1]) : () } rows('### Watching', 'Name', 'What it shows');
same_names([ keys %shown ], [ ask(q{SELECT viewname FROM pg_views WHERE schemaname = 'vqueue' AND viewname NOT LIKE '\_%'}) ], 'views');

# Columns that a view has of its own are named in its line; the others with their table.
my %of = (sessions => 'user_sessions', stats => 'queue_stats');
foreach my $view (sort keys %shown)
{
	my $table = $of{$view} || 'none';
	my @own = ask(qq{
		SELECT attname FROM pg_attribute
		 WHERE attrelid = 'vqueue.$view'::regclass AND attnum > 0 AND NOT attisdropped
		   AND attname NOT IN (SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('vqueue.$table') AND attnum > 0)});
	my %named = map { $_ => 1 } code($shown{$view});

	is(join(' ', grep { !$named{$_} } @own), '', "view $view: all its columns are named");
}

sub columns
{
	my ($relation) = @_;

	return ask(qq{SELECT attname FROM pg_attribute
		WHERE attrelid = 'vqueue.$relation'::regclass AND attnum > 0 AND NOT attisdropped});
}

same_names([ map { s/ .*//r } map { code($_->[0]) } rows('### Sessions', 'Column', 'What it is') ], [ columns('place') ], 'columns of place');
same_names([ map { code($_->[0]) } rows('### Statistics', 'Column', 'What it is') ], [ columns('queue_stats') ], 'columns of queue_stats');
foreach my $table (qw(tenants queues user_sessions))
{
	my ($row) = grep { $_->[0] eq "`$table`" } rows('### Tables', 'Table', 'Columns');

	same_names([ code($row->[1]) ], [ columns($table) ], "columns of $table");
}

# ---- settings of the server ----

# '1 MB' in units of the setting.
my %seconds = (s => 1, min => 60, h => 3600, day => 86400, days => 86400, years => 365.25 * 86400);
my %megabytes = (kB => 1 / 1024, MB => 1, GB => 1024, TB => 1024 * 1024);

sub amount
{
	my ($number, $unit) = @_;

	return $number * ($seconds{ $unit || '' } || $megabytes{ $unit || '' } || 1);
}

# The two ends of '1 s to 1 day'.
sub range
{
	my ($low, $low_unit, $high, $high_unit) = $_[0] =~ /^(\d+)(?: (\S+))? to (\d+)(?: (\S+))?/;

	return unless defined $high;
	return (amount($low, $low_unit || $high_unit), amount($high, $high_unit));
}

my @settings = rows('### Settings', 'Setting', 'Default');
same_names([ map { code($_->[0]) } @settings ], [ ask(q{SELECT name FROM pg_settings WHERE name LIKE 'vqueue.%'}) ], 'settings');
foreach (@settings)
{
	my ($name) = code($_->[0]);
	my ($default) = code($_->[1]);
	my ($low, $high) = split /\|/, ($node->safe_psql('postgres', "SELECT min_val, max_val FROM pg_settings WHERE name = '$name'"));

	is($node->safe_psql('postgres', "SHOW $name"), $default, "default of $name");
	is(join(' to ', range($_->[2])), "$low to $high", "range of $name") if defined $low && $low ne '';
}

# ---- settings of a queue ----

my @queue_settings = rows('### Operators', 'Setting of a queue', 'Default');
same_names([ map { code($_->[0]) } @queue_settings ], [ ask(q{
	SELECT name FROM pg_proc, unnest(proargnames) AS name
	 WHERE pronamespace = 'vqueue'::regnamespace AND proname = 'create_queue' AND name <> 'state'}) ], 'settings of a queue');

# A setting is taken at both ends of its range, and refused beyond.
my %by_seconds = map { $_ => 1 } ask(q{
	SELECT attname FROM pg_attribute WHERE attrelid = 'vqueue.queues'::regclass AND atttypid = 'interval'::regtype});
my %by_number = map { $_ => 1 } ask(q{
	SELECT attname FROM pg_attribute WHERE attrelid = 'vqueue.queues'::regclass AND atttypid IN ('int'::regtype, 'bigint'::regtype)});
foreach (@queue_settings)
{
	my ($name) = code($_->[0]);
	my $default = (code($_->[1]))[0] // $_->[1];
	my ($low, $high) = $_->[2] =~ /^(\d.*?) to (\d+(?: (?:s|min|h|day|days|years)\b)?)/;
	my $from_one = $by_number{$name} || $by_seconds{$name};

	next if $name eq 'name';
	if ($from_one)
	{
		my $type = $by_seconds{$name} ? 'interval' : 'int';

		is($node->safe_psql('postgres', "SELECT $name = '$default'::$type FROM vqueue.queues WHERE name = 'q'"), 't', "default of $name")
		  unless $default eq 'null';
		foreach my $case ([ $low, 0, '' ], [ $high, 0, '' ], [ $low, -1, '22023' ], [ $high, 1, '22023' ])
		{
			my ($end, $beyond, $state) = @$case;
			my $value = $type eq 'interval' ? "'$end'::interval + '$beyond s'::interval" : $end + $beyond;
			my ($result, $out, $error) = $node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; SELECT vqueue.alter_queue('q', $name => $value)");
			my ($got) = $error =~ /ERROR:  (\w{5}):/;

			is($got || '', $state, "$name " . ($beyond ? $beyond > 0 ? 'above' : 'below' : 'of') . " $end");
		}
	}
	else
	{
		is($node->safe_psql('postgres', "SELECT coalesce($name\::text, 'null') FROM vqueue.queues WHERE name = 'q'"), $default, "default of $name");
	}
}
my ($methods) = map { $_->[2] } grep { $_->[0] eq '`method`' } @queue_settings;
my $def = q{SELECT (regexp_matches(pg_get_constraintdef(oid), '''(\w+)''::text', 'g'))[1] FROM pg_constraint
	WHERE conrelid = 'vqueue.queues'::regclass AND pg_get_constraintdef(oid) LIKE 'CHECK (((%s = ANY%%'};
same_names([ code($methods) ], [ ask(sprintf($def, 'method') =~ s/\(\(\(method/((method/r) ], 'methods');
same_names([ map { code($_->[0]) } rows('### Operators', 'State of a queue', 'Joins') ],
	[ ask(sprintf($def, 'state') =~ s/\(\(\(state/((state/r) ], 'states of a queue');

# ---- statuses and events ----

my $c_sources = join("\n", map { slurp_file($_) } glob("$root/src/*.[ch]"));
my ($status_names) = $c_sources =~ /vq_status_names\[[^\]]*\] = \{(.*?)\}/s;
same_names([ map { code($_->[0]) } rows('### Sessions', 'Status of a session', 'Meaning') ], [ $status_names =~ /"(\w+)"/g ], 'statuses');
same_names([ map { code($_->[0]) } rows('## Events', '`event`', 'Rest') ], [ $c_sources =~ /\bbegin\(&event, "(\w+)"/g ], 'events');
my ($reasons) = $c_sources =~ /\breasons\[\] = \{(.*?)\}/s;
same_names([ map { code($_->[0]) } rows('## Passes', '`reason`', 'Meaning') ], [ $reasons =~ /"([^"]+)"/g ], 'verdicts on passes');

# ---- metrics and checks ----

my @metrics = map {
	my @names = code($_->[0]);
	my @found;

	# `vqueue_wait_seconds_bucket`, `_sum`, `_count`
	foreach my $name (@names)
	{
		push @found, $name =~ /^_/ ? $found[0] =~ s/_[a-z]+$/$name/r : $name;
	}
	my $type = $_->[1];
	map { "$_ $type" } @found;
} rows('### Monitoring', 'Metric', 'Type');

# Some tell nothing while there is nothing to tell.
my %quiet = map { $_ => 1 } ('vqueue_replication_lag_seconds gauge', 'vqueue_estimate_error_ratio gauge');
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('q', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20)))});
my @reported = ask(q{SELECT DISTINCT name || ' ' || type FROM vqueue.metrics});
my $view = $node->safe_psql('postgres', q{SELECT pg_get_viewdef('vqueue.metrics')});
foreach my $name (map { s/ .*//r } keys %quiet)
{
	like($view, qr/'\Q$name\E'/, "$name is in the view");
}
same_names([ grep { !$quiet{$_} } @metrics ], [ grep { !$quiet{$_} } @reported ], 'metrics');
same_names([ map { code($_->[0]) } rows('### Health', 'Check', 'Not ok when') ], [ ask(q{SELECT "check" FROM vqueue.health()}) ], 'health checks');
my ($preflight) = join("\n", section('### Health')) =~ /vqueue\.preflight\(\)`(.*?)(?:\n\n|$)/s;
same_names([ code($preflight) ], [ ask(q{SELECT "check" FROM vqueue.preflight()}) ], 'preflight checks');

# ---- errors ----

# Those of C by their macros, those of the script by the names of their conditions.
my (%macro, %condition);
foreach (split /\n/, slurp_file($node->config_data('--sharedir') . '/errcodes.txt'))
{
	if (/^(\w{5})\s+E\s+(\w+)(?:\s+(\w+))?/)
	{
		$macro{$2} = $1;
		$condition{$3} //= $1 if defined $3;
	}
}
my $script = join("\n", map { slurp_file($_) } grep { !/--.*--.*--/ } glob("$root/sql/*.sql"));
my %raised = map { $_ => 1 } grep { defined } (map { $macro{$_} } $c_sources =~ /\b(ERRCODE_\w+)/g),
  (map { $condition{$_} } grep { defined } $script =~ /(?:ERRCODE = '([a-z_]+)'|'([a-z_]+)'\);)/g);

# What only a bug, or nothing outside, ever sees; and what the server itself raises.
delete @raised{qw(XX000 57014 55P03 39P01 23505)};
my @documented = map { code($_->[0]) } rows('### Errors', 'SQLSTATE', 'When');
my %server = map { $_ => 1 } qw(53100 25006 23514 23503);
same_names([ grep { !$server{$_} } @documented ], [ grep { !$server{$_} } keys %raised ], 'SQLSTATEs');

# ---- links ----

my %anchor = map { my $name = lc($_); $name =~ s/^#+ //; $name =~ s/[^\w -]//g; $name =~ s/ /-/g; ($name => 1) } grep { /^#+ / } @lines;
foreach my $link ($readme =~ /\]\(([^)]+)\)/g)
{
	next if $link =~ /^https?:/;
	ok($link =~ /^#(.*)/ ? $anchor{$1} : -e "$root/" . ($link =~ s/#.*//r), "link to $link");
}

$node->stop;
done_testing();
