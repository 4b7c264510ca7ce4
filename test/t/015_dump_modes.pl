#
# A dump taken under load, in each of pg_dump's modes, restored into another
# cluster: into fresh databases, and into such as have the extension, and maybe
# rooms, already.
#
# pg_dump treats vqueue's tables as the data of an extension.  They are in a
# dump of the whole database, in one with --data-only, of the extension
# (-e vqueue) and of the tables (-t 'vqueue.*').  They are NOT in one of the
# schema (-n vqueue), which pg_dump makes without a word: the schema belongs to
# the extension.  To dump some schemas and vqueue: -n app -e vqueue.
#
# 008_dump.pl restores within one cluster and looks at single rows more closely.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $source = new_vqueue_node('source');
my $target = new_vqueue_node('target', conf => 'max_worker_processes = 24');

# ---- rooms, a crowd, and a dump in the middle ----

$source->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	CREATE SCHEMA app;
	CREATE TABLE app.orders (session uuid);
	INSERT INTO app.orders VALUES (gen_random_uuid());
	INSERT INTO vqueue.tenants (name, domain) VALUES ('other', 'example.org');
	SELECT vqueue.create_queue('full', 6000, 3, 'about ''full''', 4, 100000);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused');
	SELECT vqueue.create_queue('once', 60, 1000, burst => 30);
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('shop', 6000, 3, state => 'closed')});
wait_for_worker($source);
$source->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('full', " . users('a', 1, 30) . ')');
$source->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('b', 1, 2000) . ')');
$source->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('c', 1, 10) . ", 'vip')");
$source->poll_query_until('postgres', q{SELECT serving = 3 FROM vqueue.overview WHERE queue = 'full'}) or die 'the room does not fill';

# The last tickets of all were rolled back and purged.
my ($highest) = sort { $b <=> $a } split /\n/, $source->safe_psql('postgres', q{
	SELECT ticket FROM vqueue.join('still');
	DELETE FROM vqueue.user_sessions WHERE ticket = (SELECT max(ticket) FROM vqueue.user_sessions);
	BEGIN; SELECT ticket FROM vqueue.join('still'); ROLLBACK});

my $storm = start_storm($source, seconds => 600, prefix => 'busy', queues => 2, clients => 8, settings => 0);
ok($source->poll_query_until('postgres', q{SELECT count(*) > 50 FROM vqueue.user_sessions WHERE status = 'completed'}),
	'sessions come and go');
is($source->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('once', } . users('e', 1, 30) . q{) WHERE status = 'serving'}),
	'30', 'one queue has just let in as many as may come at once');

# Busy rooms go on at once where they are restored, so of their sessions we ask who they are.
my $queues = q{SELECT 'queue', q::text FROM (SELECT id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute,
		burst, max_waiting, is_active, created_at FROM vqueue.queues) q
	UNION ALL SELECT 'tenant', t::text FROM (SELECT id, name, domain FROM vqueue.tenants) t
	UNION ALL SELECT 'secret', s::text FROM (SELECT * FROM vqueue.secrets ORDER BY made_at LIMIT 1) s};
my $busy = q{(SELECT id FROM vqueue.queues WHERE name LIKE 'busy%')};
my $tables = qq{$queues
	UNION ALL SELECT 'standing', s::text FROM vqueue.user_sessions s WHERE queue_id NOT IN $busy
	UNION ALL SELECT 'moving', (id, user_id, ticket, priority, joined_at)::text FROM vqueue.user_sessions s WHERE queue_id IN $busy
	ORDER BY 1, 2};

# Everybody's position as a naive count gives it, and as memory has it.
my $counted = qq{SELECT id, CASE status WHEN 'waiting' THEN row_number() OVER (PARTITION BY queue_id, status
		ORDER BY array_position(ARRAY['vip', 'high', 'normal', 'low'], priority), ticket) ELSE 0 END
	FROM vqueue.user_sessions WHERE left_at IS NULL AND queue_id NOT IN $busy ORDER BY id};
my $remembered = qq{SELECT id, vqueue._position(queue_id, ticket)
	FROM vqueue.user_sessions WHERE left_at IS NULL AND queue_id NOT IN $busy ORDER BY id};

my $reader = psql_session($source);
my $snapshot = $reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot()');
my $wanted = $reader->query_safe($tables);
my $wanted_places = $reader->query_safe($counted);
my %dumps = (
	plain => ['-Fp'],
	custom => ['-Fc'],
	directory => [ '-Fd', '-j', '2' ],
	data => [ '-Fc', '--data-only' ],
	extension => [ '-Fc', '-n', 'app', '-e', 'vqueue' ],
	tables => [ '-Fc', '-t', 'vqueue.*' ],
	schema => [ '-Fp', '-n', 'vqueue' ],);
foreach my $mode (sort keys %dumps)
{
	$source->command_ok([ 'pg_dump', @{ $dumps{$mode} }, "--snapshot=$snapshot", '-f', "$dir/$mode", 'postgres' ], "pg_dump: $mode");
}
$reader->query_safe('COMMIT');
$reader->quit;
$storm->finish('while dumps are taken');
$source->stop('immediate');

# ---- what must be true of a restored database ----

# Everybody is known by the id they have, whichever key it was made with.
sub answers_all
{
	my ($db, $how) = @_;

	is($target->safe_psql($db, q{SELECT count(*) FROM vqueue.sessions s, vqueue.status(s.id) p
		WHERE p.ticket <> s.ticket OR p.user_id <> s.user_id OR p.queue <> s.queue}), '0', "$how: everybody gets an answer");
	return;
}

sub check_restored
{
	my ($db, $how) = @_;

	same_lines($target->safe_psql($db, $tables), $wanted, "$how: all rows are as before");
	same_lines($target->safe_psql($db, $remembered), $wanted_places, "$how: all places are as before");
	answers_all($db, $how);
	ok(wait_for_worker($target, $db), "$how: there is a worker");
	check_clean($target, $db, "$how: memory is right");
	return;
}

# And the rooms go on.
sub check_going_on
{
	my ($db, $how) = @_;

	cmp_ok($target->safe_psql($db, q{SELECT ticket FROM vqueue.join('still')}), '>', $highest,
		"$how: the next ticket is above all earlier ones");
	is($target->safe_psql($db, q{SELECT ticket, status FROM vqueue.join('full', 'a0000000-0000-0000-0000-000000000025')}),
		'25|waiting', "$how: who joins again gets the old place");
	$target->safe_psql($db, "SELECT count(*) FROM vqueue.join_many('once', " . users('f', 1, 60) . ')');
	$target->safe_psql($db, q{SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE (queue = 'full' OR queue LIKE 'busy%') AND status = 'serving';
		SELECT vqueue.resume('still')});
	ok($target->poll_query_until($db, q{
		SELECT string_agg(ticket::text, ' ' ORDER BY ticket) FILTER (WHERE queue = 'full') = '4 5 6'
		       AND count(*) FILTER (WHERE queue = 'still' AND priority = 'vip') = 10
		       AND count(*) FILTER (WHERE queue = 'once') > 30
		  FROM vqueue.sessions WHERE status = 'serving'}), "$how: the next come in, in order");
	cmp_ok(count_over_rate($target, $db, 'once', 60), '<=', 30, "$how: the rate is kept, with what was let in before the dump");
	cmp_ok(count_over_cap($target, $db, $_), '<=', { full => 3, still => 10, busy1 => 60 }->{$_}, "$how: the cap of $_ is kept")
	  foreach qw(full still busy1);
	check_clean($target, $db, "$how: memory is right afterwards");
	return;
}

sub make_database
{
	my ($db, @sql) = @_;

	$target->safe_psql('postgres', "CREATE DATABASE $db");
	$target->safe_psql($db, $_) foreach @sql;
	wait_for_worker($target, $db) if @sql;
	return;
}

# ---- into fresh databases of the other cluster ----

make_database($_) foreach qw(plain directory extension);
$target->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", 'plain' ], 'plain');
check_restored('plain', 'plain');
check_going_on('plain', 'plain');
$target->command_ok([ 'pg_restore', '-e', '-d', 'directory', "$dir/directory" ], 'directory');
check_restored('directory', 'directory');
check_going_on('directory', 'directory');
$target->command_ok([ 'pg_restore', '-e', '-d', 'extension', "$dir/extension" ], 'one schema and the extension');
check_restored('extension', 'extension');
is($target->safe_psql('extension', 'SELECT count(*) FROM app.orders'), '1', 'the schema is there as well');

unlike(slurp_file("$dir/schema"), qr/vqueue\./, 'a dump of the schema vqueue has nothing of it, as the head of this file says');

# ---- into databases that have the extension ----

my $install = 'CREATE EXTENSION vqueue';
my $own = q{SELECT vqueue.create_queue('own', 600, 1); SELECT status FROM vqueue.join('own'); SELECT status FROM vqueue.join('own')};

make_database('there', $install);
$target->command_ok([ 'pg_restore', '-e', '-d', 'there', "$dir/custom" ], 'custom, where the extension is there');
check_restored('there', 'custom');
check_going_on('there', 'custom');

make_database('tables', $install);
$target->command_ok([ 'pg_restore', '-e', '-d', 'tables', "$dir/tables" ], 'tables alone');
check_restored('tables', 'tables');

make_database('cleaned', $install, $own);
$target->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', 'cleaned', "$dir/custom" ],
	'custom with --clean, where other rooms are');
check_restored('cleaned', 'cleaned');

# Rooms of both, side by side.
make_database('merged', $install, $own);
$target->command_ok([ 'pg_restore', '-e', '--data-only', '-t', 'tenants', '-t', 'secrets', '-t', 'queues', '-t', 'ticket_ceilings', '-t', 'user_sessions', '-t', 'draws',
	'-d', 'merged', "$dir/data" ], 'data only, where other rooms are');
answers_all('merged', 'merged, with other rooms');
is($target->safe_psql('merged', q{SELECT waiting, serving FROM vqueue.overview WHERE queue = 'own'}), '1|1', 'those stay as they were');
$target->safe_psql('merged', q{SELECT vqueue.drop_queue('own', true)});
check_restored('merged', 'merged');
check_going_on('merged', 'merged');
start_storm($target, db => 'merged', seconds => 3 * ($ENV{VQ_TORTURE} || 1), prefix => 'after', queues => 2, clients => 8)->wait('after a restore');

# ---- where the same rooms are already: refused, and no room is changed ----

# Rooms and sessions; tenants and the key may come where a restore goes on after errors.
sub rooms_of
{
	my ($db) = @_;

	return join("\n", grep { !/^(?:tenant|secret)/ } split /\n/, $target->safe_psql($db, "$tables; $remembered"));
}

sub refused
{
	my ($db, $pattern, $how) = @_;
	my $before = rooms_of($db);

	foreach my $options ([ '-1', '-e' ], [])
	{
		my $what = @$options ? "$how, as one transaction" : "$how, going on after errors";

		$target->command_checks_all([ 'pg_restore', @$options, '--data-only', '-d', $db, "$dir/tables" ], 1,
			[qr/^$/], [$pattern], "$what: refused");
		same_lines(rooms_of($db), $before, "$what: no room has changed");
		answers_all($db, $what);
		check_clean($target, $db, "$what: memory is right");
	}
	return;
}

refused('tables', qr/duplicate key value violates unique constraint "(tenants|queues|secrets)_pkey"/, 'the same rooms');
make_database('named', $install, q{INSERT INTO vqueue.tenants (name) VALUES ('third'); SELECT vqueue.create_queue('busy1', 600, 1)},
	q{SELECT status FROM vqueue.join('busy1')});
refused('named', qr/duplicate key value violates unique constraint "queues_tenant_id_name_key"/, 'a room of the same name');
is($target->safe_psql('tables', q{SELECT count(*) FROM (SELECT FROM vqueue.user_sessions WHERE left_at IS NULL
	GROUP BY queue_id, user_id HAVING count(*) > 1) d}), '0', 'nobody is there twice');
check_going_on('tables', 'after a refused restore');

$target->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ': nothing crashed') foreach ($source, $target);
done_testing();
