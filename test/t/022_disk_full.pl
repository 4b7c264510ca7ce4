#
# No space left: in the table space of the sessions, in pg_wal, and in the file
# system that dynamic shared memory lives in.  Joins fail cleanly meanwhile
# (without WAL the server goes down), whoever was told a place has it, and when
# there is space again the room goes on.
#
# The full file systems are real ones, of a few megabytes, mounted in a mount
# namespace of the test's own.  Where the system does not let a user have one,
# as in most containers, this file is skipped.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

my ($small, $plan);

# Run this file once more inside of the namespace, before any module of the
# tests opens its files.  There the user is root to mount, and then, one
# namespace further down, himself again, as PostgreSQL refuses to run as root.
BEGIN
{
	$small = $ENV{VQ_SMALL_DISKS};
	if (!defined $small)
	{
		require File::Temp;
		my $dir = File::Temp::tempdir('vqXXXXXX', TMPDIR => 1, CLEANUP => 1);
		my $mount = 'for d in wal space; do mkdir "$0/$d" && mount -t tmpfs -o size=24m tmpfs "$0/$d" || exit 1; done;'
		  . ' mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"';
		my @inside = ('unshare', '--user', "--map-user=$>", '--map-group=' . (split / /, $))[0]);

		$plan = 'small file systems cannot be mounted here';
		if (system("unshare --map-root-user --mount sh -c '$mount' '$dir' @inside true >'$dir/out' 2>&1") == 0)
		{
			rmdir "$dir/$_" foreach qw(wal space);
			local $ENV{VQ_SMALL_DISKS} = $dir;
			local $ENV{PERL5LIB} = join(':', @INC);
			exit(system('unshare', '--map-root-user', '--mount', 'sh', '-c', $mount, $dir, @inside, $^X, $0) >> 8);
		}
	}
}

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

plan skip_all => $plan unless defined $small;

my $clients = 4;
my $turns = 400 * ($ENV{VQ_TORTURE} || 1);
my $dir = PostgreSQL::Test::Utils::tempdir();

mkdir "$small/space/ts" or die $!;
my $node = new_vqueue_node('main',
	init => { extra => [ '--waldir', "$small/wal/pg_wal", '--wal-segsize', '1' ] },
	conf => "min_wal_size = 2MB\nmax_wal_size = 4MB\nautovacuum = off\nlog_checkpoints = off\n");
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$small/space/ts'");
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	ALTER TABLE vqueue.user_sessions SET TABLESPACE small;
	ALTER INDEX vqueue.user_sessions_pkey SET TABLESPACE small;
	ALTER INDEX vqueue.user_sessions_live_key SET TABLESPACE small;
	ALTER INDEX vqueue.user_sessions_queue_id_ticket_key SET TABLESPACE small;
	SELECT vqueue.create_queue('room', 10000000, 50);
	SELECT vqueue.create_queue('line', 10000000, 1000000, state => 'paused')});
wait_for_worker($node);

# ---- filling and freeing ----

# Write a file until there is no space but for so many kilobytes.
sub fill
{
	my ($where, $leave) = @_;
	my $block = "\0" x 4096;

	open(my $ballast, '>', "$where/ballast") or die $!;
	binmode $ballast;
	while (defined syswrite($ballast, $block)) { }
	truncate($ballast, (-s "$where/ballast") - 1024 * $leave) or die $!;
	close $ballast;
	return;
}

sub free
{
	my ($where) = @_;

	unlink "$where/ballast" or die $!;
	return;
}

# ---- a crowd of psql clients, and what they were told ----

sub start_psql
{
	my ($file) = @_;
	my $client = { out => '', err => '' };

	$client->{run} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', \$client->{out}, '2>', \$client->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $client;
}

sub start_crowd
{
	my ($tag, $turns) = @_;
	my @crowd;

	foreach my $c (1 .. $clients)
	{
		my $sql = "\\set VERBOSITY verbose\n";
		foreach my $turn (1 .. $turns)
		{
			$sql .= sprintf("SELECT id, user_id, ticket FROM vqueue.join('%s', '%s%07d-0000-0000-0000-%012d');\n",
				$turn % 2 ? 'room' : 'line', $tag, $c, $turn);
			$sql .= "BEGIN;\nSELECT count(*) FROM vqueue.join_many('room', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100))) HAVING false;\nROLLBACK;\n"
			  if $turn % 20 == 0;
		}
		append_to_file("$dir/$tag$c.sql", $sql);
		push @crowd, start_psql("$dir/$tag$c.sql");
	}
	return @crowd;
}

sub finish
{
	IPC::Run::finish($_->{run}) foreach @_;
	return map { /(?:ERROR|FATAL|PANIC):  (\w{5}):/g } map { $_->{err} } @_;
}

# All who were told a place have it; at most $more have one without being told.
sub ledger_holds
{
	my ($tag, $more, $name, @crowd) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @told = grep { /^[0-9a-f]{8}-/ } map { split /\n/, $_->{out} } @crowd;
	my %rows = map { $_ => 1 } split /\n/,
	  $node->safe_psql('postgres', "SELECT id, user_id, ticket FROM vqueue.user_sessions WHERE user_id::text LIKE '$tag%-0000-0000-0000-%'");
	my @lost = grep { !$rows{$_} } @told;

	cmp_ok(scalar(@told), '>', 0, "$name: some were told a place");
	is(scalar(@lost), 0, "$name: they all have it");
	return cmp_ok(scalar(keys %rows) - @told, '<=', $more, "$name: and nobody else");
}

sub all_is_right
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	check_clean($node, 'postgres', "$name: memory is right");
	cmp_ok(count_over_cap($node, 'postgres', 'room'), '<=', 50, "$name: the cap was kept");
	return is($node->safe_psql('postgres', q{
		SELECT count(*) FROM (SELECT FROM vqueue.user_sessions GROUP BY queue_id, ticket HAVING count(*) > 1) t}), '0',
		"$name: no ticket is there twice");
}

# The first 50 of those inside are done, and as many come in.
sub releases_go_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $node->safe_psql('postgres', 'SELECT count(served_at) FROM vqueue.user_sessions');
	$node->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions
		WHERE status = 'serving' AND queue_id = vqueue._queue('room')});
	return ok($node->poll_query_until('postgres', "SELECT count(served_at) >= $before + 50 FROM vqueue.user_sessions"),
		"$name: people come in");
}

sub room_goes_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('room', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 200)))"),
		'200', "$name: people join");
	return releases_go_on($name);
}

# ---- the table space ----

$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('line', " . users('e', 1, 5000) . ')');
$node->safe_psql('postgres', 'CHECKPOINT');
fill("$small/space", 128);
my @crowd = start_crowd('a', $turns);
my @errors = finish(@crowd);
cmp_ok(scalar(grep { $_ eq '53100' } @errors), '>=', $clients, 'with the table space full joins are refused as such');
is(join(' ', grep { $_ ne '53100' } @errors), '', 'and not otherwise');
ledger_holds('a', 0, 'table space full', @crowd);
all_is_right('table space full');

# Those who wait cannot be let in either, of which the worker makes no secret.
my $offset = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT vqueue.resume('line')});
ok($node->poll_query_until('postgres', q{SELECT failures >= 2 AND last_error LIKE 'could not extend file%'
	FROM vqueue.overview WHERE queue = 'line'}), 'the overview tells why nobody comes in');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.health() WHERE "check" = 'queues'}), 'fail', 'and health');
$node->wait_for_log(qr/queue "line" could not be moved: could not extend file/, $offset);
is($node->safe_psql('postgres', q{SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('line')}),
	'0', 'nobody is half let in');
is($node->safe_psql('postgres', q{SELECT position FROM vqueue.poll((SELECT id FROM vqueue.user_sessions
	WHERE queue_id = vqueue._queue('line') AND ticket = 7))}), '7', 'polls are answered');
all_is_right('nobody comes in');
free("$small/space");
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 AND failures = 0 FROM vqueue.overview WHERE queue = 'line'}),
	'with space again they come in by themselves');
room_goes_on('space again');
all_is_right('space again');

# ---- dynamic shared memory ----

# Queues with one session each take a lot of memory.  Returns errors' SQLSTATEs.
sub add_queues
{
	my ($from, $to) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', join('', "\\set VERBOSITY verbose\n",
			map { "SELECT vqueue.create_queue('m$_', state => 'paused') IS NULL;\nSELECT ticket FROM vqueue.join('m$_');\n" } ($from .. $to)),
		on_error_stop => 0, stdout => \$out, stderr => \$err);
	my @states = $err =~ /(?:ERROR|FATAL|PANIC):  (\w{5}):/g;
	return @states;
}

sub in_small_queues
{
	return $node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = queue_id
		WHERE q.name LIKE 'm%'});
}

my $used = $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()');
my $made = 0;
@errors = ();
for (; !@errors && $made < 5000; $made += 200)
{
	@errors = add_queues($made + 1, $made + 200);
}
cmp_ok(scalar(grep { $_ eq '53100' } @errors), '>=', 1, 'with no space for shared memory joins are refused as such');
is(join(' ', grep { $_ !~ /^(53100|53200|42704)$/ } @errors), '', 'and not otherwise');
my $fit = in_small_queues();
my $full = $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()');
@errors = add_queues($made + 1, $made + 200);
cmp_ok(scalar(@errors), '>=', 200, 'again and again');
cmp_ok($node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'), '<=', $full + 65536,
	'and what was refused does not count as used');
all_is_right('shared memory full');
releases_go_on('shared memory full');
$node->safe_psql('postgres', q{SELECT count(vqueue.drop_queue(name, true)) FROM vqueue.queues WHERE name LIKE 'm%'});
ok($node->poll_query_until('postgres', "SELECT used <= $used + 65536 FROM vqueue.memory()"),
	'all of it is given back when the queues are dropped')
  or diag("before: $used, full: $full, now: " . $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'));

# But queues' own memory remains theirs, of which there were more in the end.
@errors = add_queues(1, int($fit / 2));
is(in_small_queues(), int($fit / 2), 'and can be used again');
room_goes_on('shared memory again');
all_is_right('shared memory again');

# ---- WAL ----

# No checkpoint shall make old WAL files over into new ones meanwhile.
$node->safe_psql('postgres', q{ALTER SYSTEM SET max_wal_size = '1GB'});
$node->reload;
$node->safe_psql('postgres', 'CHECKPOINT');
fill("$small/wal", 512);
@crowd = start_crowd('b', 10 * $turns);

# However many files are there already: more WAL than the file system could hold.
append_to_file("$dir/wal.sql", "SELECT pg_logical_emit_message(true, '', repeat('x', 250000)), pg_sleep(0.01);\n" x 120);
@errors = finish(@crowd, start_psql("$dir/wal.sql"));
ok($node->log_contains(qr/PANIC:  could not write to file "pg_wal.*No space left on device/),
	'with no space for WAL the server goes down');
$node->stop('immediate', fail_ok => 1);
free("$small/wal");
$node->start;
ok(wait_for_worker($node), 'with space again it starts');
ledger_holds('b', $clients, 'WAL full', @crowd);
all_is_right('WAL full');
room_goes_on('WAL full');
all_is_right('at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/TRAP|signal 11|signal 7/, 'nothing else crashed');
done_testing();
