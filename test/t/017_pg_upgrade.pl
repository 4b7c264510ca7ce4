#
# pg_upgrade with live sessions: rooms, places, tickets and history come over,
# memory is built from them, and the rooms go on.  While pg_upgrade has a server
# in its hands, no process of vqueue runs there.
#
# Without more ado the upgrade is from this major version to itself, which
# pg_upgrade allows and which moves everything the same way.  Across versions:
#
#   VQ_OLD_PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config   to the present one
#   VQ_NEW_PG_CONFIG=/usr/lib/postgresql/17/bin/pg_config   from the present one
#
# vqueue must have been installed in that server too.
#
use strict;
use warnings;

use File::Basename;
use File::Find;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $hidden = PostgreSQL::Test::Utils::tempdir_short();
my $registered = qr/registering background worker "vqueue/;

sub output_of
{
	my $output = qx{@_};

	die "@_ failed" if $?;
	chomp $output;
	return $output;
}

sub bindir_of
{
	my ($config) = @_;

	return output_of(defined $config ? $config : 'pg_config', '--bindir');
}

my $old_bindir = bindir_of($ENV{VQ_OLD_PG_CONFIG});
my $new_bindir = bindir_of($ENV{VQ_NEW_PG_CONFIG});

# A cluster of one of the two servers, not started.
sub make_node
{
	my ($name, $config, $bindir, @extra) = @_;
	my %where = defined $config ? (install_path => dirname($bindir)) : ();
	my $node = PostgreSQL::Test::Cluster->new($name, %where);

	$node->init(extra => [@extra]);
	$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'vqueue'
shared_buffers = 16MB
max_connections = 40
max_worker_processes = 12
log_statement = none
log_min_messages = debug1
CONF
	return $node;
}

# From 18 on data checksums are the default, and both clusters must be alike.
my $has_choice = qr/--no-data-checksums/;
my @alike = output_of("$new_bindir/initdb", '--help') =~ $has_choice
  && output_of("$old_bindir/initdb", '--help') !~ $has_choice ? ('--no-data-checksums') : ();
my $old = make_node('old', $ENV{VQ_OLD_PG_CONFIG}, $old_bindir);
my $new = make_node('new', $ENV{VQ_NEW_PG_CONFIG}, $new_bindir, @alike);

note('from ' . $old->pg_version . ' to ' . $new->pg_version);

# ---- rooms with a crowd, and a storm over it all ----

$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE second');
$old->safe_psql($_, 'CREATE EXTENSION vqueue') foreach qw(postgres second);
$old->safe_psql('postgres', q{
	INSERT INTO vqueue.tenants (name, domain) VALUES ('other', 'example.org');
	SELECT vqueue.create_queue('full', 6000, 3, 'about ''full''', 4, 100000);
	SELECT vqueue.create_queue('still', 600, 10, state => 'paused');
	SELECT vqueue.create_queue('closed', 600, 10);
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('hall', 6000, 3)});
$old->safe_psql('second', q{SELECT vqueue.create_queue('full', 600, 5)});
wait_for_worker($old, $_) foreach qw(postgres second);
$old->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('full', " . users('a', 1, 30) . ')');
$old->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('b', 1, 3000) . ')');
$old->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', " . users('c', 1, 10) . ", 'vip')");
$old->safe_psql('postgres', q{SELECT ticket FROM vqueue.join('closed'); SELECT vqueue.close('closed')});
$old->safe_psql('postgres', q{SET vqueue.tenant = 'other'; SELECT count(*) FROM vqueue.join_many('hall', } . users('a', 1, 9) . ')');
$old->safe_psql('second', "SELECT count(*) FROM vqueue.join_many('full', " . users('a', 1, 20) . ')');

# The last tickets of all were rolled back and purged.
my ($highest) = sort { $b <=> $a } split /\n/, $old->safe_psql('postgres', q{
	SELECT ticket FROM vqueue.join('still');
	DELETE FROM vqueue.user_sessions WHERE ticket = (SELECT max(ticket) FROM vqueue.user_sessions);
	BEGIN; SELECT ticket FROM vqueue.join('still'); ROLLBACK});

# Clients who are told nothing: they lose their connections, and find those of the new server one day.
my $storm = start_storm($old, nodes => [ $old, $new ], seconds => 600, prefix => 'busy', queues => 2, clients => 8, faults => 1);
ok($old->poll_query_until('postgres', q{SELECT count(*) > 100 FROM vqueue.user_sessions WHERE status = 'completed'}),
	'sessions come and go');
$old->stop;
like(slurp_file($old->logfile), $registered, 'the launcher is there in everyday life');

# ---- as pg_upgrade starts a server ----

# Started with -b, and where nobody else looks for it.
sub start_for_upgrade
{
	my ($node, $bindir) = @_;
	local %ENV = $node->_get_env;

	PostgreSQL::Test::Utils::system_or_bail("$bindir/pg_ctl", '-w', '-D', $node->data_dir,
		'-l', $node->logfile, '-o', "-b -k $hidden", 'start');
	$node->_update_pid(1);
	return;
}

# Ask it; all that it answers.
sub ask
{
	my ($node, $db, $sql) = @_;

	return $node->safe_psql($db, $sql, connstr => "host=$hidden port=" . $node->port . " dbname=$db");
}

# All that must come over; positions as memory has them.
my $places = q{SELECT s.id, vqueue._position(s.queue_id, s.ticket) FROM vqueue.user_sessions s WHERE s.left_at IS NULL ORDER BY 1};
my $tables = q{
	SELECT 'queue', q::text FROM vqueue.queues q
	UNION ALL SELECT 'tenant', t::text FROM vqueue.tenants t
	UNION ALL SELECT 'secret', s::text FROM (SELECT * FROM vqueue.secrets ORDER BY made_at LIMIT 1) s
	UNION ALL SELECT 'ceiling', c::text FROM vqueue.ticket_ceilings c
	UNION ALL SELECT 'session', s::text FROM vqueue.user_sessions s ORDER BY 1, 2};
my $log_end = -s $old->logfile;
my %rows;
my %places;

start_for_upgrade($old, $old_bindir);
foreach my $db (qw(postgres second))
{
	$rows{$db} = ask($old, $db, $tables);
	$places{$db} = ask($old, $db, $places);
}
is(ask($old, 'postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'vqueue%'}), '0',
	'no process of vqueue is in a server that was started for an upgrade');
$old->stop;
unlike(slurp_file($old->logfile, $log_end), $registered, 'and none was to be started');

# ---- the upgrade ----

my @upgrade = (
	"$new_bindir/pg_upgrade", '--no-sync', '--retain',
	'-d', $old->data_dir, '-D', $new->data_dir, '-b', $old_bindir, '-B', $new_bindir,
	'-s', $hidden, '-p', $old->port, '-P', $new->port);

# What pg_upgrade and its servers have written down, in all runs.
sub logs_of_upgrade
{
	my $text = '';

	find({ no_chdir => 1, wanted => sub { $text .= slurp_file($_) if -f $_ && /\.(log|txt)$/ } },
		$new->data_dir . '/pg_upgrade_output.d');
	return $text;
}

chdir $dir;						# pg_upgrade writes into the current folder
$new->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
command_fails([ @upgrade, '--check' ], 'pg_upgrade --check where the new server does not preload vqueue');
like(logs_of_upgrade(), qr/vqueue must be loaded by shared_preload_libraries/, 'says so');
$new->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'vqueue'");
command_ok([ @upgrade, '--check' ], 'pg_upgrade --check');
ok(run_log([@upgrade]), 'pg_upgrade') or diag(logs_of_upgrade());
chdir $FindBin::RealBin;
like(logs_of_upgrade(), qr{DEBUG:}, 'its servers would tell');
unlike(logs_of_upgrade(), $registered, 'and start nobody of vqueue');

# ---- what came over, before anybody moves ----

start_for_upgrade($new, $new_bindir);
foreach my $db (qw(postgres second))
{
	same_lines(ask($new, $db, $tables), $rows{$db}, "$db: all rows are as before");
	same_lines(ask($new, $db, $places), $places{$db}, "$db: all places are as before");
}
$new->stop;

# ---- the rooms go on ----

$new->start;
foreach my $db (qw(postgres second))
{
	ok(wait_for_worker($new, $db), "$db: a worker comes by itself");
	check_clean($new, $db, "$db: memory is right");
	ok($new->poll_query_until($db, q{SELECT count(*) = 0 FROM pg_trigger WHERE tgrelid = 'vqueue.user_sessions'::regclass
		AND tgfoid = '"RI_FKey_check_ins"'::regproc AND tgenabled <> 'D'}), "$db: the insert side of the foreign key is off again");
	is($new->safe_psql($db, q{SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
		WHERE c.relnamespace = 'vqueue'::regnamespace AND NOT t.tgisinternal AND t.tgenabled <> 'A'}), '0',
		"$db: vqueue's triggers fire always");
	ok($new->poll_query_until($db, q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), "$db: health finds nothing");
}
cmp_ok($new->safe_psql('postgres', q{SELECT min(ticket) FROM vqueue.join_many('still', } . users('d', 1, 5) . ')'), '>', $highest,
	'new tickets are above all that were ever issued');
is($new->safe_psql('postgres', q{SELECT ticket, status FROM vqueue.join('full', 'a0000000-0000-0000-0000-000000000025')}), '25|waiting',
	'who joins again gets the old place');
is($new->safe_psql('postgres', q{SELECT string_agg(ticket::text, ' ' ORDER BY ticket) FROM vqueue.sessions
	WHERE queue = 'full' AND status = 'serving'}), '1 2 3', 'who was inside is inside');
$new->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.sessions WHERE queue = 'full' AND status = 'serving'});
ok($new->poll_query_until('postgres', q{SELECT string_agg(ticket::text, ' ' ORDER BY ticket) = '4 5 6'
	FROM vqueue.sessions WHERE queue = 'full' AND status = 'serving'}), 'the next come in');
$new->safe_psql('postgres', q{SELECT vqueue.resume('still'); SELECT vqueue.open('closed')});
ok($new->poll_query_until('postgres', q{SELECT count(*) = 10 FROM vqueue.sessions WHERE queue = 'still' AND status = 'serving'}),
	'a resumed queue lets in');
is($new->safe_psql('postgres', q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'still' AND status = 'serving' AND priority <> 'vip'}),
	'0', 'in the order of lanes');

is(count_over_cap($new, 'postgres', 'full'), '3', 'the cap was kept, which was reached before the upgrade');
$storm->finish('over an upgrade');
check_clean($new, $_, "$_: memory is right at the end") foreach qw(postgres second);

is($new->safe_psql('postgres', q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace AND relkind = 'r'
	AND NOT oid = ANY ((SELECT extconfig FROM pg_extension WHERE extname = 'vqueue')::oid[])}), 'event_log events',
	'all tables but the log are still marked for dumps');
$new->stop;
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|was terminated by signal/, $_->name . ': nothing crashed') foreach ($old, $new);
done_testing();
