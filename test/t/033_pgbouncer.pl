#
# Behind PgBouncer in transaction mode: everything works through it but LISTEN and
# SET, which is shown, and so are the ways to do without.
#
# PgBouncer is the real one, with the configuration of docker/pgbouncer, in which
# addresses are replaced, pools are made small, and databases added.  It listens on a
# Unix socket in a directory of the test.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my ($program) = grep { -x $_ } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin';
plan skip_all => 'pgbouncer cannot be found: install the package pgbouncer' unless defined $program;
plan skip_all => 'without Unix sockets' unless $use_unix_sockets;

# ---- a server that wants passwords ----

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $node = new_vqueue_node('main', conf => "autovacuum = off\n");
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
my $hba = slurp_file($node->data_dir . '/pg_hba.conf');

unlink $node->data_dir . '/pg_hba.conf';
$node->append_conf('pg_hba.conf', "local all app,acme_app,boss scram-sha-256\n$hba");
$node->reload;
$node->safe_psql('postgres', q{
	SET password_encryption = 'scram-sha-256';
	CREATE ROLE app LOGIN PASSWORD 'secret';
	CREATE ROLE acme_app LOGIN PASSWORD 'secret' IN ROLE app;
	CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'secret';
	ALTER ROLE acme_app SET vqueue.tenant = 'acme'});
$node->safe_psql('postgres', 'CREATE DATABASE vqueue');
$node->safe_psql('vqueue', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('acme');
	SELECT vqueue.grant_access('app', 'default', 'app'), vqueue.grant_access('app', 'acme', 'app')});
wait_for_worker($node, 'vqueue');

# ---- PgBouncer ----

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $server = 'host=' . $node->host . ' port=' . $node->port . ' dbname=vqueue';
my $ini = slurp_file("$FindBin::RealBin/../../docker/pgbouncer/pgbouncer.ini");

foreach my $change (
	[ 'host=postgres port=5432 dbname=vqueue', $server ],
	[ "\n;acme = ", "\nstorm = $server pool_size=4\nsingle = $server pool_size=1\nacme = " ],
	[ 'listen_addr = *', 'listen_addr =' ],
	[ 'listen_port = 6432', "listen_port = $port" ],
	[ 'unix_socket_dir =', "unix_socket_dir = $dir" ],
	[ '/etc/pgbouncer/userlist.txt', "$dir/userlist.txt" ],
	[ 'default_pool_size = 20', 'default_pool_size = 2' ],
	[ 'reserve_pool_size = 5', 'reserve_pool_size = 0' ],
	[ 'query_wait_timeout = 30', 'query_wait_timeout = 170' ],
	[ 'max_client_conn = 10000', 'max_client_conn = 100' ],
	[ ';admin_users = pgbouncer', 'admin_users = boss' ])
{
	my ($from, $to) = @$change;

	$ini =~ s/\Q$from\E/$to/g or die "pgbouncer.ini has no \"$from\"";
}
append_to_file("$dir/pgbouncer.ini", $ini);
append_to_file("$dir/userlist.txt", $node->safe_psql('postgres', q{
	SELECT format('"%s" "%s"', rolname, rolpassword) FROM pg_authid WHERE rolpassword IS NOT NULL}) . "\n");
my $log = "$PostgreSQL::Test::Utils::log_path/033_pgbouncer.log";
my $pooler = IPC::Run::start([ $program, "$dir/pgbouncer.ini" ], '<', \undef, '>', $log, '2>&1');

# Other signals make newer versions wait for clients.
sub end_pooler
{
	local $?;
	return unless defined $pooler;
	$pooler->signal('KILL');
	$pooler->finish;
	undef $pooler;
	return;
}
END { end_pooler() }

# Wait until something is so that no query tells.
sub appears
{
	my ($is_so) = @_;

	foreach my $try (1 .. 20 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $is_so->();
		select(undef, undef, undef, 0.05);
	}
	return 0;
}

# Somebody's way to the pool, as far as VqueueNode asks for one of a server.
package Way
{
	sub new { my ($class, $node, %way) = @_; return bless { node => $node, %way }, $class }
	sub host { return shift->{host} }
	sub port { return shift->{port} }
	sub installed_command { my $self = shift; return $self->{node}->installed_command(@_) }

	sub connstr
	{
		my ($self, $db) = @_;
		return "host=$self->{host} port=$self->{port} dbname=$db user=$self->{user} password=secret";
	}
}
my %way = map { $_ => Way->new($node, host => $dir, port => $port, user => $_) } qw(app acme_app boss);

sub client
{
	my ($user, $db) = @_;
	return psql_session($way{$user}, defined $db ? $db : 'vqueue');
}

ok(appears(sub { -S "$dir/.s.PGSQL.$port" }), 'PgBouncer has come up');
my $console = client('boss', 'pgbouncer');
like($console->query('SHOW DATABASES'), qr/^vqueue\|/m, 'with the configuration of docker/pgbouncer');

# ---- every function, by clients that take turns on two connections a role ----

my %clients = map { my $user = $_; $user => [ map { client($user) } 1 .. 4 ] } qw(app boss);
my (%called, %backends, $turn);

# Ask as a role, in turn as another one of its clients, while yet another holds a connection.
sub ask
{
	my ($user, $sql) = @_;
	my $i = $turn++ % 4;
	my $client = $clients{$user}[$i];
	my $holder = $clients{$user}[ ($i + 1 + $turn % 3) % 4 ];

	$called{$1}++ while $sql =~ /vqueue\.(\w+)\s*\(/g;
	$holder->query_safe('BEGIN; SELECT 1') if $turn % 3;
	$backends{$user}{$i}{ $client->backend_pid }++;
	my $answer = $client->query_safe($sql);
	$holder->query_safe('COMMIT') if $turn % 3;
	return $answer;
}

# What is answered through the pool, with ids of what was answered before put in for <name>.
my %known;
sub gives
{
	my ($user, $sql, $wanted, $as) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $text = $sql;

	$sql =~ s/<(\w+)>/$known{$1}/g;
	my $answer = ask($user, $sql);
	$known{$as} = $answer =~ s/\|.*//r if defined $as;
	return like($answer, $wanted, "$user: " . $text =~ s/vqueue\.//gr);
}

my $uuid = qr/[0-9a-f]{8}-[0-9a-f-]{27}/;
gives('boss', q{SELECT vqueue.create_queue('hall', 600000, 2, burst => 100, claim_timeout => '1 hour', waiting_timeout => '1 hour', serving_timeout => '1 hour')}, qr/^$uuid$/);
gives('boss', q{SELECT vqueue.create_queue('draw', 60, 2, state => 'paused')}, qr/^$uuid$/);
gives('boss', q{SELECT vqueue.rotate_key('EdDSA')}, qr/^$uuid$/, 'key');
gives('app', q{SELECT id, status FROM vqueue.join('hall', vqueue.user_id('ann'))}, qr/^$uuid\|(waiting|ready)$/, 'ann');
gives('app', q{SELECT id, status FROM vqueue.join('hall', vqueue.user_id('bob'), 'Bob', 'bob@example.com', 'vip')}, qr/^$uuid\|(waiting|ready)$/, 'bob');
ok($node->poll_query_until('vqueue', q{SELECT count(*) = 2 FROM vqueue.user_sessions WHERE status = 'ready'}), 'both are called');
gives('app', q{SELECT id, status, position FROM vqueue.join('hall', vqueue.user_id('cid'))}, qr/^$uuid\|waiting\|1$/, 'cid');
gives('boss', q{SELECT id, status, position FROM vqueue.join_many('hall', ARRAY[vqueue.user_id('dan')], 'low')}, qr/^$uuid\|waiting\|2$/, 'dan');
gives('app', q{SELECT status, position FROM vqueue.claim('<ann>')}, qr/^serving\|0$/);
gives('app', q{SELECT status FROM vqueue.extend('<ann>')}, qr/^serving$/);
gives('app', q{SELECT vqueue.pass('<ann>')}, qr/^[\w-]+\.[\w-]+\.[\w-]+$/, 'pass');
gives('app', q{SELECT valid, session FROM vqueue.verify_pass('<pass>', 'hall')}, qr/^t\|$known{ann}$/);
gives('app', q{SELECT vqueue.jwks()}, qr/"kid": ?"$known{key}"/);
gives('app', q{SELECT status, position, next_poll_after > '0' FROM vqueue.poll('<cid>')}, qr/^waiting\|1\|t$/);
gives('app', q{SELECT status, position FROM vqueue.status('<dan>')}, qr/^waiting\|2$/);
gives('app', q{SELECT vqueue.heartbeat('<dan>'), vqueue.position('<cid>'), vqueue.positions(ARRAY['<dan>', '<ann>']::uuid[])}, qr/^2\|1\|\{2,0\}$/);
gives('app', q{SELECT vqueue.position('hall', 3), vqueue.position_from_board(vqueue.board('hall')::jsonb, 3), vqueue.board_number('<cid>')}, qr/^1\|1\|3$/);
gives('boss', q{SELECT count(*) > 3 FROM vqueue.explain_position('<dan>')}, qr/^t$/);
gives('boss', q{SELECT status, priority, position FROM vqueue.set_priority('<dan>', 'vip')}, qr/^waiting\|vip\|1$/);
gives('app', q{SELECT status FROM vqueue.complete('<ann>')}, qr/^completed$/);
ok($node->poll_query_until('vqueue', qq{SELECT status = 'ready' FROM vqueue.user_sessions WHERE id = '$known{dan}'}), 'the slot goes to the next');
gives('app', q{SELECT status FROM vqueue.leave('<cid>')}, qr/^left$/);
$node->safe_psql('vqueue', qq{UPDATE vqueue.user_sessions SET status = 'no_show', left_at = clock_timestamp() WHERE id = '$known{bob}'});
gives('boss', q{SELECT status FROM vqueue.readmit('<bob>', 'was sick')}, qr/^(waiting|ready)$/);
gives('boss', q{SELECT status FROM vqueue.remove('<dan>', 'by mistake')}, qr/^removed$/);
gives('boss', q{SELECT vqueue.pause('hall'), vqueue.resume('hall'), vqueue.drain('hall'), vqueue.close('hall'), vqueue.open('hall')}, qr/^\|*$/);
gives('boss', q{SELECT vqueue.alter_queue('hall', claim_timeout => '0', max_concurrent_users => 10)}, qr/^$/);
gives('boss', q{SELECT vqueue.pause('hall')}, qr/^$/);
gives('app', q{SELECT id, status FROM vqueue.join('hall', vqueue.user_id('eve'))}, qr/^$uuid\|waiting$/, 'eve');
gives('boss', q{SELECT vqueue.release('hall', 1)}, qr/^1$/);
gives('boss', q{SELECT length(vqueue.prepare_draw('draw'))}, qr/^64$/);
gives('boss', q{SELECT vqueue.set_draw_beacon('draw', 'dice')}, qr/^$/);
gives('app', q{SELECT id, status FROM vqueue.join('draw', vqueue.user_id('ann'))}, qr/^$uuid\|waiting$/, 'drawn');
gives('boss', q{SELECT vqueue.open('draw')}, qr/^$/);
gives('boss', q{SELECT number, place FROM vqueue.draw_entrants('draw')}, qr/^1\|1$/);
gives('boss', q{SELECT commitment_ok, place FROM vqueue.verify_draw('draw', '<drawn>')}, qr/^t\|1$/);
gives('boss', q{SELECT vqueue.channel('hall')}, qr/^vqueue_hall$/);
gives('boss', q{SELECT count(*), bool_and(status <> 'fail') FROM vqueue.health()}, qr/^15\|t$/);
gives('boss', q{SELECT vqueue.is_healthy(), used > 0, vqueue.rebuild() > 0 FROM vqueue.memory()}, qr/^t\|t\|t$/);
gives('boss', q{SELECT count(*) FROM vqueue.check()}, qr/^0$/);
gives('boss', q{SELECT status, value FROM vqueue.preflight() WHERE "check" = 'pooler'}, qr/^unknown\|this call seems to come through one$/);
$node->safe_psql('vqueue', q{
	CREATE SCHEMA old;
	CREATE TABLE old.tenants AS SELECT gen_random_uuid() AS id, 'old' AS name;
	CREATE TABLE old.queues AS SELECT gen_random_uuid() AS id, 'room' AS name, t.id AS tenant_id FROM old.tenants t;
	CREATE TABLE old.user_sessions AS SELECT gen_random_uuid() AS id, q.id AS queue_id FROM old.queues q, generate_series(1, 3)});
gives('boss', q{SELECT sum(count) FROM vqueue.import_sessions('old') WHERE action = 'import'}, qr/^5$/);
gives('boss', q{SELECT sum(count) FROM vqueue.import_sessions('old', dry_run => false) WHERE action = 'import'}, qr/^5$/);
ok($node->poll_query_until('vqueue', q{SELECT count(*) > 3 FROM vqueue.events_since('hall')}), 'events are told');
gives('boss', q{SELECT count(*) > 3, max(seq) <= vqueue.event_cursor('hall') FROM vqueue.events_since('hall')}, qr/^t\|t$/);
gives('boss', q{SELECT vqueue.purge('hall', '1 hour'), (SELECT count(*) FROM vqueue.overview), (SELECT count(*) > 0 FROM vqueue.metrics), (SELECT count(*) FROM vqueue.sessions WHERE queue = 'hall')}, qr/^0\|2\|t\|5$/);
foreach my $without_cron ([ 'schedule_state', q{'hall', '0 9 * * *', 'open'} ], [ 'schedule_purge', q{'0 9 * * *', '1 day'} ])
{
	my ($function, $arguments) = @$without_cron;

	$called{$function}++;
	$clients{boss}[0]->query("SELECT vqueue.$function($arguments)");	# there is no pg_cron here
	like($clients{boss}[0]->error, qr/ERROR:  55000: .*pg_cron/s, "boss: $function($arguments)");
}
gives('boss', q{SELECT vqueue.unschedule(1), count(*) FROM vqueue.schedules}, qr/^f\|0$/);
gives('boss', q{SELECT vqueue.create_tenant('newcomer')}, qr/^$uuid$/);
gives('boss', q{SELECT vqueue.grant_access('acme_app', 'newcomer', 'monitor'), vqueue.revoke_access('acme_app', 'newcomer'), vqueue.renew_access()}, qr/^\|t\|1$/);
gives('boss', q{SELECT vqueue.drop_tenant('newcomer')}, qr/^$/);
gives('boss', q{SELECT vqueue.alter_tenant('default', max_queues => 1000)}, qr/^$/);
gives('boss', q{SELECT vqueue.forget_user(vqueue.user_id('bob'))}, qr/^1$/);
gives('boss', q{SELECT vqueue.canary('hall', '{"max_waiting": 100000}', 0.9)}, qr/^$uuid$/);
gives('boss', q{SELECT vqueue.canary_revert('hall')}, qr/^$/);
gives('boss', q{SELECT vqueue.canary('hall', '{"max_waiting": 200000}', 0.9)}, qr/^$uuid$/);
gives('boss', q{SELECT vqueue.canary_keep('hall')}, qr/^$/);
gives('boss', q{SELECT vqueue.set_feature('board', true), vqueue.feature('board')}, qr/^\|t$/);
gives('boss', q{SELECT vqueue.drop_queue('draw', force => true)}, qr/^$/);

is(join(' ', grep { !$called{$_} } split /\n/, $node->safe_psql('vqueue', q{
	SELECT DISTINCT proname FROM pg_proc
	 WHERE pronamespace = 'vqueue'::regnamespace AND prorettype <> 'trigger'::regtype AND proname !~ '^_'})), '', 'that was all functions');
foreach my $user (qw(app boss))
{
	is((grep { keys %$_ > 1 } values %{ $backends{$user} }) > 1, 1, "clients of $user were on several connections");
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE usename = '$user'"), '<=', 2, 'of two');
}

# ---- who the tenant is ----

my $acme = client('acme_app');
$node->safe_psql('vqueue', q{SET vqueue.tenant = 'acme'; SELECT vqueue.create_queue('expo', state => 'paused')});
like($acme->query_safe(q{SELECT status, position FROM vqueue.join('expo')}), qr/^waiting\|1$/, 'a role has its tenant, by ALTER ROLE ... SET');
$clients{app}[0]->query(q{SELECT vqueue.join('expo')});
like($clients{app}[0]->error, qr/ERROR:  42704: /, 'another role does not see that one\'s queues');
my $alias = client('app', 'acme');
like($alias->query_safe(q{SELECT status, position FROM vqueue.join('expo')}), qr/^waiting\|2$/, 'a name for the database has its tenant, by connect_query');
{
	local $ENV{PGOPTIONS} = '-c vqueue.tenant=acme';
	my ($out, $err) = ('', '');
	my @command = ($node->installed_command('psql'), '-XAtc', 'SHOW vqueue.tenant', '-d', $way{app}->connstr('vqueue'));

	ok(!IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err), 'a tenant in the options of the connection is refused');
	like($err, qr/unsupported startup parameter/, 'as such');
	append_to_file("$dir/pgbouncer.ini", "ignore_startup_parameters = options\n");
	$console->query_safe('RELOAD');
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);
	is($out, "default\n", 'if it were ignored, the client would be in another tenant than it thinks');
}

# Two clients, one connection: what one SETs the other has, too.
my ($one, $other) = map { client('boss', 'single') } 1 .. 2;
is($one->query_safe(q{SET vqueue.tenant = 'acme'; SHOW vqueue.tenant}), 'acme', 'one client sets its tenant');
is($other->query_safe('SHOW vqueue.tenant'), 'acme', 'and the other one has it: SET leaks');
like($other->query_safe(q{SELECT status, detail FROM vqueue.preflight() WHERE "check" = 'pooler'}), qr/^warn\|.*vqueue\.tenant by SET/, 'preflight warns of that');
$console->query_safe('RECONNECT single');
is($other->query_safe('SHOW vqueue.tenant'), 'default', 'until there are new connections');
$one->query_safe('BEGIN; SET LOCAL vqueue.tenant = $$acme$$');
is($one->query_safe(q{SELECT vqueue.channel('expo') LIKE 'vqueue_%'; COMMIT; SHOW vqueue.tenant}), "t\ndefault", 'SET LOCAL holds for the transaction');
is($other->query_safe('SHOW vqueue.tenant'), 'default', 'and does not leak');

# ---- transactions and errors ----

$node->safe_psql('vqueue', q{SELECT vqueue.create_queue('tx', 60, 1, state => 'paused')});
my ($a, $b, $c, $d) = @{ $clients{boss} };
foreach my $client ($a, $b)
{
	$client->query_safe(q{BEGIN; SELECT vqueue.join('tx', vqueue.user_id(pg_backend_pid() || 'one'))});
}
$c->send(q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx'});    # waits for a connection
foreach my $client ($a, $b)
{
	$client->query_safe(q{SAVEPOINT s; SELECT vqueue.join('tx', vqueue.user_id(pg_backend_pid() || 'two'))});
	$client->query(q{SELECT vqueue.join('nowhere')});
	like($client->error, qr/ERROR:  42704: /, 'an error in a savepoint');
	$client->query_safe(q{ROLLBACK TO s; SELECT vqueue.join('tx', vqueue.user_id(pg_backend_pid() || 'three'))});
}
$a->query_safe('COMMIT');
is($c->wait, '2', 'another client gets a connection when one has committed, and sees what was not rolled back');
$b->query_safe('COMMIT');
is($d->query_safe(q{SELECT string_agg(position::text, ' ' ORDER BY ticket) FROM vqueue.sessions WHERE queue = 'tx'}), '1 2 3 4', 'both are in, rolled back to their savepoints');
is($d->query_safe(q{BEGIN; SELECT status FROM vqueue.join('tx', vqueue.user_id('x')) \; SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx'; ROLLBACK}), "waiting\n5", 'two statements in a message');
$a->query('BEGIN; SELECT vqueue.join($$nowhere$$)');
like($a->error, qr/ERROR:  42704: /, 'an error in a transaction');
is($b->query_safe(q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx'}), '4', 'does not fail that of others');
$a->query('SELECT 1');
like($a->error, qr/ERROR:  25P02: /, 'but this one');
is($a->query_safe('ROLLBACK; SELECT 1'), '1', 'until it is rolled back');
my $gone = client('boss', 'single');
$gone->query_safe(q{BEGIN; SELECT vqueue.join('tx')});
$gone->abandon;
is($one->query_safe(q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx'}), '4', 'who vanishes in a transaction is rolled back');

# ---- LISTEN ----

my $direct = psql_session($node, 'vqueue');
$direct->query_safe('LISTEN vqueue_tx');
my $begin = $direct->query_safe(q{SELECT vqueue.event_cursor('tx')});
my @direct;

# Something happens, and a listener on a connection of its own has been told.
sub event
{
	my $heard = @direct;

	$node->safe_psql('vqueue', q{SELECT vqueue.release('tx', 1)});
	foreach my $try (1 .. 10000)
	{
		push @direct, grep { defined $_->{seq} } map { decode_json($_->{payload}) } $direct->notes;
		last if @direct > $heard;
	}
	return;
}

$node->safe_psql('vqueue', q{SELECT vqueue.alter_queue('tx', max_concurrent_users => 1000000), count(vqueue.join('tx')) FROM generate_series(1, 200)});
my $before = -s $log;
$one->query_safe('LISTEN vqueue_tx');
event();
ok(appears(sub { slurp_file($log, $before) =~ /got packet 'A' from server when not linked/ }), 'an event for who listens through the pool');
is(scalar(grep { $_->{payload} =~ /released/ } $one->notes), 0, 'is dropped');
like($other->query_safe(q{SELECT status, detail FROM vqueue.preflight() WHERE "check" = 'pooler'}), qr/^warn\|.*LISTEN/, 'preflight warns of that, too');
my $strange = 0;
foreach my $try (1 .. 100)
{
	$other->query_safe('BEGIN; SELECT 1');
	event();
	$other->query_safe('COMMIT');
	last if $strange = grep { $_->{payload} =~ /released/ } $other->notes;
}
cmp_ok($strange, '>', 0, 'or comes to who did not listen');
$console->query_safe('RECONNECT single');

cmp_ok(scalar(@direct), '>', 1, 'a listener with a connection of its own beside the pool has heard all');
my $max = $direct[-1]{seq};
my @logged = map { decode_json($_) } split /\n/, $one->query_safe(qq{SELECT payload FROM vqueue.events_since('tx', $begin) WHERE seq <= $max});
is_deeply(\@logged, \@direct, 'and events_since gives the same through the pool');

# ---- connections that end, and a server that restarts ----

$a->query_safe(q{BEGIN; SELECT vqueue.join('tx', vqueue.user_id('killed'))});
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'boss' AND pid <> pg_backend_pid()});
eval { $a->query('SELECT 1') };
isnt($a->error . $@, '', 'whose connection is killed in a transaction is told');
eval { $a->abandon };
is($b->query_safe(q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx' AND user_id = vqueue.user_id('killed')}), '0', 'and it is rolled back; others go on with new connections');

$console->query_safe('PAUSE');
$b->send(q{SELECT status FROM vqueue.join('tx', vqueue.user_id('patient'))});
$node->restart;
wait_for_worker($node, 'vqueue');
$console->query_safe('RESUME');
is($b->wait, 'waiting', 'who asks while the server is restarted behind PAUSE waits, and is answered');
eval { $direct->abandon };

$node->stop('immediate');
$b->send(q{SELECT count(*) FROM vqueue.sessions WHERE queue = 'tx' AND user_id = vqueue.user_id('patient')});
$node->start;
is($b->wait, '1', 'also while it is down after a crash, with nothing lost');

# ---- storms through it ----

# Started with the environment of who goes through the pool; what observes does not.
sub storm_through
{
	my (%options) = @_;
	local @ENV{qw(PGUSER PGPASSWORD)} = qw(boss secret);

	return start_storm($way{boss}, db => 'storm', clients => 12, seconds => 600,
		direct => $node->connstr('vqueue') . ' user=' . $superuser, %options);
}

# Wait until so many have joined a storm's queues.
sub joined
{
	my ($prefix, $n) = @_;

	return $node->poll_query_until('vqueue', qq{
		SELECT count(*) > $n FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id WHERE q.name ~ '^$prefix'});
}

# RECONNECT while PgBouncer logs in would tell clients that it failed: all four have to be there.
my $storm = storm_through(prefix => 'calm');
my $since = '-infinity';
foreach my $i (1 .. 3)
{
	joined('calm', 80 * $i);
	ok($node->poll_query_until('vqueue', qq{
		SELECT count(*) = 4 FROM pg_stat_activity WHERE usename = 'boss' AND application_name ~ '^crowd' AND backend_start > '$since'}),
		"12 clients are on four connections, time $i");
	$since = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	$console->query_safe('RECONNECT storm');
}
$storm->finish('a storm on four connections, which are renewed');

$storm = storm_through(prefix => 'rough', faults => 1);
foreach my $i (1 .. 3)
{
	joined('rough', 60 * $i);
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'boss'});
}
$console->query_safe('PAUSE storm');
$node->restart;
$console->query_safe('RESUME storm');
wait_for_worker($node, 'vqueue');
joined('rough', 240);
$storm->finish('one whose connections are killed, with a restart');
check_clean($node, 'vqueue', 'memory is right');

$_->quit foreach grep { $_ != $a } @{ $clients{boss} };
end_pooler();
$node->stop;
done_testing();
