#
# What must hold over more than one connection, server or file: a client's limit
# under a crowd, over kill -9, restart, dump and standby; a planted name that is nowhere
# to be found after forget_user; the audit log over the same.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', init => { allows_streaming => 1 }, conf => "restart_after_crash = on\nlog_min_messages = debug1\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('door', 60000, 1000, state => 'paused', client_limit => 25, client_window => '1 day');
	SELECT vqueue.rotate_key('HS256')});
wait_for_worker($node);

# ---- a limit in a crowd ----

# 12 connections of one client, each with 10 users, some of which roll back.
my @crowd = map { psql_session($node) } 1 .. 12;
$_->send(q{DO $$
	BEGIN
		FOR i IN 1 .. 10 LOOP
			BEGIN
				PERFORM vqueue.join('door', client_key => 'one');
				IF i % 3 = 0 THEN
					RAISE EXCEPTION 'changed my mind';
				END IF;
			EXCEPTION WHEN program_limit_exceeded OR raise_exception THEN
				NULL;
			END;
			COMMIT;
		END LOOP;
	END$$}) foreach @crowd;
$_->wait foreach @crowd;
is(join('', map { $_->error } @crowd), '', 'a crowd of one client joins');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.sessions'), '25', 'and as many come in as may');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.client_joins'), '25', 'which is what is counted');
$_->quit foreach @crowd;
check_clean($node, 'postgres', 'memory is right');

sub refused
{
	my ($at, $what) = @_;
	return fails_with($at, 'postgres', q{SELECT vqueue.join('door', client_key => 'one')}, '54000', qr/too often/, $what);
}

refused($node, 'the next one is refused');
my $victim = psql_session($node);
$victim->query_safe(q{BEGIN; SELECT status FROM vqueue.join('door', client_key => 'two')});
kill 'KILL', $victim->backend_pid;
$victim->abandon;
wait_for_worker($node);
refused($node, 'after kill -9');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.client_joins}), '25', 'what had not committed does not count');

# ---- a planted name ----

# Not as literals: what a client has logged of its own statements is its own affair.
$node->safe_psql('postgres', q{
	CREATE TABLE planted AS SELECT 'Wilhelmina Plantagenet' AS name, 'wilhelmina@plantagenet.example' AS mail,
		'198.51.100.77' AS address, '0f0f0f0f-0000-4000-8000-000000000001'::uuid AS id});
$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('other', 60000, 1000, claim_timeout => '1 hour', client_limit => 100);
	SELECT j.status FROM planted, vqueue.join('door', id, name, mail, client_key => address) j;
	SELECT j.status FROM planted, vqueue.join('other', id, name, mail, client_key => address) j;
	SELECT vqueue.release('door', 1000)});
my $token = $node->safe_psql('postgres', q{SELECT vqueue.pass(id) FROM vqueue.sessions WHERE queue = 'door' AND user_name IS NOT NULL});
$node->safe_psql('postgres', q{
	SELECT vqueue.remove(id, 'as asked for') FROM vqueue.sessions WHERE queue = 'other' AND user_name IS NOT NULL;
	SELECT j.status FROM planted, vqueue.join('other', id, name, mail, client_key => address) j;
	SELECT j.id FROM planted, vqueue.join('door', gen_random_uuid(), 'Somebody Else', 'else@example.org', client_key => 'three') j});
# Errors and failures with the name at hand: a trigger that fails, a row by hand that cannot be.
$node->psql('postgres', q{INSERT INTO vqueue.user_sessions (queue_id, user_id, user_name, status) SELECT q.id, gen_random_uuid(), p.name, 'asleep' FROM vqueue.queues q, planted p});
$node->psql('postgres', q{SELECT vqueue.join('door', gen_random_uuid(), repeat(name, 100), mail) FROM planted});
$node->psql('postgres', q{SELECT vqueue.join('nowhere', id, name, mail, client_key => address) FROM planted});
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 3 FROM vqueue.events WHERE payload::text LIKE '%0f0f0f0f-0000-4000-8000-000000000001%'}),
	'its sessions are told of');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.events e, planted p WHERE e::text ILIKE '%' || p.name || '%' OR e::text LIKE '%' || p.address || '%'}),
	'0', 'without name and address');

my $plant = qr/Wilhelmina|Plantagenet|198\.51\.100\.77/i;
my $text = slurp_file($node->logfile);
my $said = () = $text =~ /$plant/g;
is($said, 0, 'nor are they in the log of the server');
require MIME::Base64;
unlike(join('', map { tr{-_}{+/}r } map { MIME::Base64::decode_base64(tr{-_}{+/}r) } split /\./, $token), $plant, 'nor in a pass');

sub dump_of
{
	my ($name) = @_;
	my $file = $node->basedir . "/$name.sql";

	$node->command_ok([ 'pg_dump', '-f', $file, '--exclude-table=planted', '-d', $node->connstr('postgres') ], "$name: a dump is made");
	return slurp_file($file);
}

my $before = dump_of('before');
like($before, qr/Wilhelmina Plantagenet/, 'a dump has the name before');
unlike($before, qr/198\.51\.100\.77/, 'but not the address, which is hashed');
like($before, qr/COPY vqueue\.client_joins/, 'the counted joins are in it');
like($before, qr/COPY vqueue\.audit_log/, 'and so is the audit log');
is($node->safe_psql('postgres', q{SELECT vqueue.forget_user(id) FROM planted}), '6', 'the user is forgotten, in 3 sessions and 3 joins of the client');
my $after = dump_of('after');
unlike($after, $plant, 'and in no dump any more');
like($after, qr/Somebody Else/, 'unlike others');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.sessions WHERE user_id = (SELECT id FROM planted)}), '3', 'the sessions are still there');
check_clean($node, 'postgres', 'memory is right');

# ---- audit: what was done is there, in order, and says so after a crash, too ----

is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT action, ' ' ORDER BY action) FROM vqueue.audit}),
	'create_queue forget_user release remove rotate_key', 'operators have done this');
$node->safe_psql('postgres', q{
	SELECT vqueue.create_queue('by clock', opens_at => clock_timestamp() + interval '300 ms');
	SELECT vqueue.create_queue('flow', 600, 1000);
	SELECT vqueue.create_queue('held', opens_at => clock_timestamp() + interval '300 ms')});
my $holder = psql_session($node);
$holder->query_safe(q{BEGIN; LOCK TABLE vqueue.audit_log IN SHARE MODE});
$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('flow', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5)))});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 5 FROM vqueue.sessions WHERE queue = 'flow' AND status = 'serving'}),
	'whoever locks the log holds up nobody who is to be let in');
$holder->query_safe('COMMIT');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM vqueue.queues WHERE name IN ('by clock', 'held') AND state = 'open'}), 'the clock opens queues');
is($node->safe_psql('postgres', q{SELECT DISTINCT actor || ' ' || action || ' ' || (before ->> 'state') FROM vqueue.audit WHERE queue = 'by clock' AND action <> 'create_queue'}),
	'vqueue worker open closed', 'which the log says');
$node->safe_psql('postgres', q{UPDATE vqueue.audit_log SET at = at - interval '400 days' WHERE action = 'rotate_key'});
$node->append_conf('postgresql.conf', "vqueue.audit_retention = 365d\n");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.audit WHERE action = 'rotate_key'}), 'old entries are deleted');

# ---- a standby, and another database ----

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', q{SELECT count(*) FROM vqueue.audit}), $node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.audit}),
	'the audit log is read on a standby');
is($standby->safe_psql('postgres', q{SELECT waiting FROM vqueue.usage}), $node->safe_psql('postgres', q{SELECT waiting FROM vqueue.usage}), 'and what a tenant uses');
fails_with($standby, 'postgres', q{SELECT vqueue.forget_user(gen_random_uuid())}, '25006', undef, 'who writes gets the usual error');
fails_with($standby, 'postgres', q{SELECT vqueue.join('door', client_key => 'one')}, '25006', undef, 'who joins too');

$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), do {
	my $file = $node->basedir . '/all.dump';
	$node->run_log([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ]);
	$file } ], 'the database is restored elsewhere');
wait_for_worker($node, 'restored');
fails_with($node, 'restored', q{SELECT vqueue.join('door', client_key => 'one')}, '54000', qr/too often/, 'the limit goes on there');
is($node->safe_psql('restored', q{SELECT count(*) FROM vqueue.audit WHERE action IN ('remove', 'release', 'forget_user')}),
	$node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.audit WHERE action IN ('remove', 'release', 'forget_user')}), 'the audit log is there');
check_clean($node, 'restored', 'memory is right there');

$standby->promote;
wait_for_worker($standby);
refused($standby, 'after a promotion');
check_clean($standby, 'postgres', 'memory is right after it');

$standby->stop;
$node->stop;
done_testing();
