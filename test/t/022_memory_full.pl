#
# vqueue.memory_limit is reached in the middle of a crowd of joining clients:
# each of them gets a place or a clean error, nobody is half there, those who
# are in line are not disturbed, and when people leave there is room again,
# all of it.
#
# VQ_TORTURE=N has the crowd do N times as much.
#
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $queues = 8;
my $clients = 8;
my $turns = 300 * ($ENV{VQ_TORTURE} || 1);
my $node = new_vqueue_node('main', conf => "vqueue.memory_limit = 1MB\nmax_wal_size = 2GB\nshared_buffers = 128MB\nautovacuum = off");
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT count(vqueue.create_queue('q' || i, 10000000, 50)) FROM generate_series(1, $queues) i;
	SELECT vqueue.create_queue('filler', state => 'paused');
	SELECT count(*) FROM vqueue.queues q, vqueue.join_many(q.name, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)))
	 WHERE q.name LIKE 'q%'});
wait_for_worker($node);
my $empty = $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()');

# ---- a crowd of psql clients, and what they were told ----

# Until memory is not full any more.
my $await_room = q{DO $$ BEGIN
	FOR i IN 1 .. 1000 LOOP
		EXIT WHEN (SELECT used < 0.97 * memory_limit FROM vqueue.memory());
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
};

# What one client does: single joins, many at once, and transactions of which a
# part is rolled back.  Each line of output is a place: id, user, ticket.  With
# patience it waits for room now and then.
sub script_of
{
	my ($tag, $client, $patient) = @_;
	my $file = "$dir/$tag$client.sql";
	my $sql = "\\set VERBOSITY verbose\n";

	# Half of them go on after an error inside of a transaction.
	$sql .= "\\set ON_ERROR_ROLLBACK on\n" if $client % 2;
	foreach my $turn (1 .. ($patient ? $turns / 3 : $turns))
	{
		my $queue = "'q" . (($turn + $client) % $queues + 1) . "'";
		my $user = sprintf("%s%07d-0000-0000-0000-%012d", $tag, $client, $turn);
		my $many = "ARRAY(SELECT ('$tag' || lpad('$client', 7, '0') || '00000000' || lpad('$turn', 8, '0') || lpad(i::text, 8, '0'))::uuid FROM generate_series(1, 200) i)";
		my $join = "SELECT id, user_id, ticket FROM vqueue.join($queue, '$user');\n";
		my $kind = $turn % 10;

		$sql .= $await_room if $patient && $kind == 3;
		$sql .= $join if $kind > 2;
		$sql .= "SELECT id, user_id, ticket FROM vqueue.join_many($queue, $many);\n" if $kind == 0;
		$sql .= "BEGIN;\nSAVEPOINT s;\nSELECT count(*) FROM vqueue.join_many($queue, $many) HAVING false;\nROLLBACK TO s;\n${join}COMMIT;\n"
		  if $kind == 1;
		$sql .= "BEGIN;\nSELECT count(*) FROM vqueue.join_many($queue, $many) HAVING false;\nROLLBACK;\n" if $kind == 2;
	}
	append_to_file($file, $sql);
	return $file;
}

sub start_psql
{
	my ($file) = @_;
	my $client = { out => '', err => '' };

	$client->{run} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', \$client->{out}, '2>', \$client->{err},
		IPC::Run::timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
	return $client;
}

# All clients of a crowd at once; each script of @with is done by one more.
sub run_crowd
{
	my ($tag, @with) = @_;
	my @crowd = map { start_psql(script_of($tag, $_, scalar(@with))) } 1 .. $clients;

	foreach my $i (0 .. $#with)
	{
		append_to_file("$dir/$tag-with$i.sql", "\\set VERBOSITY verbose\n$with[$i]");
		push @crowd, start_psql("$dir/$tag-with$i.sql");
	}
	IPC::Run::finish($_->{run}) foreach @crowd;
	return @crowd;
}

# Errors by SQLSTATE.
sub errors_of
{
	my %errors;

	foreach my $client (@_)
	{
		$errors{$_}++ foreach $client->{err} =~ /(?:ERROR|FATAL|PANIC):  (\w{5}):/g;
	}
	return %errors;
}

# The table has exactly those whom the clients of the crowd were told of.
sub ledger_holds
{
	my ($tag, $name, @crowd) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @told = sort grep { /^[0-9a-f]{8}-/ } map { split /\n/, $_->{out} } @crowd;
	my $table = $node->safe_psql('postgres', qq{
		SELECT id, user_id, ticket FROM vqueue.user_sessions WHERE user_id::text ~ '^$tag.{7}-0000-0000-0000-' ORDER BY id});

	cmp_ok(scalar(@told), '>', 0, "$name: some have joined");
	return same_lines($table, join("\n", @told), "$name: exactly they are in the table");
}

sub all_is_right
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	check_clean($node, 'postgres', "$name: memory is right");
	is($node->safe_psql('postgres', 'SELECT used <= memory_limit FROM vqueue.memory()'), 't', "$name: the limit is kept");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.overview WHERE failures > 0'), '0', "$name: no queue has failed");
	return;
}

# Tickets that are a chunk of memory apart fill it with few sessions.  Returns
# how many fitted in.
sub fill
{
	my ($tag) = @_;

	return $node->safe_psql('postgres', qq{
		SET client_min_messages = warning;
		DO \$\$
		DECLARE
			first bigint := (SELECT coalesce(max(ticket), 0) / 1024 + 1 FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('filler'));
		BEGIN
			FOR i IN 0 .. 999 LOOP
				BEGIN
					INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket)
					VALUES (vqueue._queue('filler'), ('$tag' || lpad(i::text, 31, '0'))::uuid, (first + i) * 1024);
				EXCEPTION WHEN out_of_memory THEN
					EXIT;
				END;
				COMMIT;
			END LOOP;
		END \$\$;
		SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('filler') AND user_id::text LIKE '$tag%'});
}

# Those who fill it leave, one by one.
sub leaving
{
	my ($times) = @_;

	return q{SELECT vqueue.leave(id) IS NULL FROM (SELECT id FROM vqueue.user_sessions
		WHERE left_at IS NULL AND queue_id = vqueue._queue('filler') ORDER BY ticket LIMIT 1 FOR UPDATE SKIP LOCKED) s;
		} x $times;
}

# Lets somebody out of each queue, for whom another must come in.
sub releases_go_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $node->safe_psql('postgres', 'SELECT sum(released) FROM vqueue.overview');

	is($node->safe_psql('postgres', q{SELECT count(DISTINCT queue) FROM (
		SELECT DISTINCT ON (queue_id) (vqueue.complete(id)).queue FROM vqueue.user_sessions WHERE status = 'serving') c}),
		$queues, "$name: one in each queue is done");
	return ok($node->poll_query_until('postgres', "SELECT sum(released) >= $before + $queues FROM vqueue.overview"),
		"$name: and another one comes in");
}

# ---- until memory is full ----

ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.overview WHERE serving < 50 AND queue LIKE 'q%'}),
	'all rooms are full');
my $fitted = fill('a');
cmp_ok($fitted, '>=', 100, 'memory is full');

# ---- thousands join when it is ----

my @crowd = run_crowd('b');
my %errors = errors_of(@crowd);
note("errors: " . join(', ', map { "$_ $errors{$_}" } sort keys %errors));
cmp_ok($errors{'53200'} || 0, '>=', $clients, 'joins of all clients are refused for want of memory');
is(join(' ', grep { !/^(53200|25P02)$/ } keys %errors), '', 'and for nothing else');
ledger_holds('b', 'full', @crowd);
all_is_right('full');
is($node->safe_psql('postgres', q{SELECT status FROM vqueue.health() WHERE "check" = 'memory'}), 'fail', 'health tells');
releases_go_on('full');

# Building memory anew takes no more than there is, or fails cleanly.
my $live = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NULL');
is($node->safe_psql('postgres', 'SELECT vqueue.rebuild()'), $live, 'memory can be built anew where it is full');
all_is_right('rebuilt');

# ---- they leave while others join ----

@crowd = run_crowd('c', leaving($fitted / 4), leaving($fitted / 4));
%errors = errors_of(@crowd);
note("errors: " . join(', ', map { "$_ $errors{$_}" } sort keys %errors));
is(join(' ', grep { !/^(53200|25P02)$/ } keys %errors), '', 'leaving: memory is all that may lack');
ledger_holds('c', 'leaving', @crowd);
all_is_right('leaving');
releases_go_on('leaving');

# ---- when all of them have left there is room for everybody ----

$node->safe_psql('postgres', q{UPDATE vqueue.user_sessions SET status = 'left'
	WHERE left_at IS NULL AND (user_id::text ~ '^[bc].{7}-0000-0000-0000-' OR queue_id = vqueue._queue('filler'))});
@crowd = run_crowd('d');
is(join(' ', keys %{ { errors_of(@crowd) } }), '', 'everybody can join');
ledger_holds('d', 'room again', @crowd);
all_is_right('room again');

# ---- and when all have gone, all memory is there again ----

$node->safe_psql('postgres', q{UPDATE vqueue.user_sessions SET status = 'left' WHERE left_at IS NULL});
ok($node->poll_query_until('postgres', qq{SELECT used <= $empty + $queues * 16384 FROM vqueue.memory()}),
	'when all have gone memory is free but for what a queue begins with')
  or diag("empty: $empty, now: " . $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'));
all_is_right('empty');
cmp_ok(fill('e'), '>=', $fitted - $queues, 'and as many fit in as in the beginning');
all_is_right('full again');
is(scalar(grep { $_ > 50 } map { count_over_cap($node, 'postgres', "q$_") } 1 .. $queues), 0, 'the cap was kept all the time');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT FROM vqueue.user_sessions GROUP BY queue_id, ticket HAVING count(*) > 1) t}), '0',
	'and no ticket was issued twice');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
