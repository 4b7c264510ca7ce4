#
# The extension's owner is no superuser, and does not become one by the worker;
# access over a standby, and over a dump, by roles that are there or not.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => 'max_worker_processes = 20', init => { allows_streaming => 1 });
my $dir = PostgreSQL::Test::Utils::tempdir();

sub as
{
	my ($user, $sql, $on, $db) = @_;
	local $ENV{PGUSER} = $user;

	return ($on || $node)->safe_psql($db || 'postgres', $sql);
}

# ---- another owner ----

$node->safe_psql('postgres', q{
	CREATE ROLE installer SUPERUSER LOGIN;
	CREATE ROLE keeper LOGIN;
	GRANT CREATE ON DATABASE postgres TO keeper;
	CREATE ROLE web LOGIN;
	CREATE ROLE gone LOGIN;
	CREATE ROLE "strange ""role""" LOGIN});
as('installer', 'CREATE EXTENSION vqueue');
wait_for_worker($node);
$node->safe_psql('postgres', 'REASSIGN OWNED BY installer TO keeper; ALTER ROLE installer NOSUPERUSER');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT pg_get_userbyid(o), ' ') FROM (
	SELECT relowner FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace
	UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'vqueue'::regnamespace
	UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'vqueue') AS t (o)}), 'keeper', 'a plain role owns all of it');
as('keeper', q{
	SELECT vqueue.create_tenant('shop', 'shop.example'), vqueue.create_tenant('other');
	SELECT vqueue.grant_access('web', 'shop', 'app'), vqueue.grant_access('gone', 'shop', 'admin'), vqueue.grant_access('strange "role"', 'other', 'operator');
	SET vqueue.tenant = 'shop';
	SELECT vqueue.create_queue('room', 600000, 1000, state => 'paused');
	SET vqueue.tenant = 'other';
	SELECT vqueue.create_queue('room', 600000, 1000, state => 'paused')});
$node->safe_psql('postgres', q{ALTER ROLE web SET vqueue.tenant = 'shop'; ALTER ROLE keeper SET vqueue.tenant = 'shop'; ALTER ROLE "strange ""role""" SET vqueue.tenant = 'other'});
my $mine = as('web', q{SELECT id FROM vqueue.join('room', '00000000-0000-0000-0000-000000000001')});
my $theirs = as('keeper', q{SET vqueue.tenant = 'other'; SELECT id FROM vqueue.join('room', '00000000-0000-0000-0000-000000000001')});
is(as('web', "SELECT position FROM vqueue.poll('$mine')"), '1', 'whose roles get access as usual');
{
	local $ENV{PGUSER} = 'web';
	fails_with($node, 'postgres', "SELECT vqueue.poll('$theirs')", '42704', undef, 'and to no other tenant');
}

# How long an id takes to refuse tells nothing: all the same whether it is another tenant's
# or nobody's.  Times are shown, not judged; that the answers are the same is.
my $refusals = as('web', qq{
	CREATE FUNCTION pg_temp.refusal(n int, session uuid, OUT us float8, OUT answer text) LANGUAGE plpgsql AS \$\$
	DECLARE
		started timestamptz := clock_timestamp();
	BEGIN
		PERFORM vqueue.poll(session);
	EXCEPTION WHEN OTHERS THEN
		us := 1000000 * extract(epoch FROM clock_timestamp() - started);
		answer := SQLSTATE || replace(SQLERRM, session::text, '');
	END \$\$;
	SELECT string_agg(id || ' ' || median, ', ' ORDER BY id), sum(answers), min(answer)
	  FROM (SELECT i.id, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY us)::numeric, 2) AS median,
	               count(DISTINCT answer) AS answers, min(answer) AS answer
	          FROM generate_series(1, 1000) n,
	               (VALUES ('another tenant''s', '$theirs'::uuid), ('nobody''s', '01a21111-1111-7111-8111-111111111111'), ('random', gen_random_uuid())) AS i (id, session),
	               pg_temp.refusal(n, i.session)
	         GROUP BY i.id) r});
my ($medians, $answers, $answer) = split /\|/, $refusals;
diag("median time to refuse an id, in microseconds: $medians");
is("$answers $answer", '3 42704session "" does not exist', 'the answers to all of them are the same');

# ---- what it does to become a superuser ----

as('keeper', q{
	CREATE SCHEMA AUTHORIZATION keeper;
	CREATE TABLE keeper.log (what text, who name, session name, pid int, tried text);
	CREATE FUNCTION keeper.try(command text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE command;
		RETURN 'done';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
	CREATE FUNCTION keeper.try_all(what text) RETURNS void LANGUAGE sql AS $$
		INSERT INTO keeper.log SELECT what, current_user, session_user, pg_backend_pid(), c || ': ' || keeper.try(c)
		  FROM unnest('{ALTER ROLE keeper SUPERUSER,SET ROLE postgres,RESET ROLE,SET SESSION AUTHORIZATION postgres,RESET SESSION AUTHORIZATION,
			GRANT pg_execute_server_program TO keeper,LISTEN keeper,CREATE TEMP TABLE left_behind (),DECLARE c CURSOR WITH HOLD FOR SELECT 1}'::text[]) c $$;
	CREATE FUNCTION keeper.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM keeper.try_all(TG_NAME), set_config('search_path', 'keeper', false), set_config('work_mem', '77kB', false);
		RETURN NEW;
	END $$;
	CREATE FUNCTION keeper.expression(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM keeper.try_all('expression'); RETURN $1; END $$;
	CREATE TRIGGER a_row BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION keeper.trigger();
	CREATE TRIGGER a_statement AFTER INSERT ON vqueue.events FOR EACH STATEMENT EXECUTE FUNCTION keeper.trigger();
	CREATE INDEX ON vqueue.user_sessions (keeper.expression(status));
	DELETE FROM keeper.log;
	SELECT vqueue.open('room')});
$node->poll_query_until('postgres', "SELECT status = 'serving' FROM vqueue.user_sessions WHERE id = '$mine'") or die 'nobody is released';
$node->poll_query_until('postgres', q{SELECT count(DISTINCT what) = 3 FROM keeper.log}) or die 'not all of the code was run';
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT l.who::text, ' ') FROM keeper.log l, vqueue._worker() w WHERE l.pid = w.pid}), 'keeper',
	'triggers and expressions in the worker run as the owner');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT l.tried, ', ' ORDER BY l.tried) FROM keeper.log l, vqueue._worker() w
	WHERE l.pid = w.pid AND l.tried LIKE '%: done'}), '', 'and can do nothing of what they try there');
is($node->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'keeper'}), 'f', 'the owner is no superuser');
my $worker = worker_pid($node, 'postgres');

# Deferred to the commit, when the worker would be itself: it is not queued, and the queue tells why.
as('keeper', q{
	CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON vqueue.user_sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION keeper.trigger();
	DELETE FROM keeper.log});
my $second = as('web', q{SELECT id FROM vqueue.join_many('room', ARRAY['00000000-0000-0000-0000-000000000002']::uuid[])});
as('keeper', "UPDATE vqueue.user_sessions SET status = 'waiting' WHERE id = '$second' AND status = 'serving'");
$node->poll_query_until('postgres', q{SELECT bool_or(last_error LIKE '%deferred trigger%') FROM vqueue._counters()}) or die 'it was fired';
is($node->safe_psql('postgres', q{SELECT count(*) FROM keeper.log l, vqueue._worker() w WHERE l.pid = w.pid AND l.what = 'late'}), '0', 'a deferred trigger is not fired in the worker');
is(worker_pid($node, 'postgres'), $worker, 'which lives on');
as('keeper', 'DROP TRIGGER late ON vqueue.user_sessions; DROP TRIGGER a_row ON vqueue.user_sessions; DROP TRIGGER a_statement ON vqueue.events; DROP SCHEMA keeper CASCADE');
$node->poll_query_until('postgres', "SELECT status = 'serving' FROM vqueue.user_sessions WHERE id = '$second'") or die 'it does not go on';
check_clean($node, 'postgres', 'memory is right');

# A worker that begins switches the check of the foreign key off, which the owner could not.
$node->safe_psql('postgres', q{DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE vqueue.user_sessions ENABLE TRIGGER %I', tgname) FROM pg_trigger
	WHERE tgrelid = 'vqueue.user_sessions'::regclass AND tgfoid = '"RI_FKey_check_ins"'::regproc); END $$});
$node->safe_psql('postgres', "SELECT pg_terminate_backend($worker)");
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'vqueue.user_sessions'::regclass
	AND tgfoid = '"RI_FKey_check_ins"'::regproc AND tgenabled <> 'D')}) or die 'it stays on';
pass('the worker of a plain owner repairs the foreign key');

# ---- a standby ----

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is(as('web', "SELECT status FROM vqueue.status('$mine')", $standby), 'serving', 'a standby knows who has access');
{
	local $ENV{PGUSER} = 'web';
	fails_with($standby, 'postgres', "SELECT vqueue.status('$theirs')", '42704', undef, 'and who has none');
	fails_with($standby, 'postgres', 'SELECT count(*) FROM vqueue.user_sessions', '42501', undef, 'nor rights');
}
is(as('strange "role"', 'SELECT count(*) FROM vqueue.user_sessions', $standby), '1', 'policies hold there');
is(as('strange "role"', q{SELECT string_agg(queue || ' ' || waiting, ' ') FROM vqueue.overview}, $standby), 'room 1', 'and figures are those of the tenant');
as('keeper', q{SELECT vqueue.revoke_access('web', 'shop')});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
{
	local $ENV{PGUSER} = 'web';
	fails_with($standby, 'postgres', "SELECT vqueue.status('$mine')", '42501', undef, 'what is revoked is revoked there');
}
as('keeper', q{SELECT vqueue.grant_access('web', 'shop', 'app')});
$standby->stop;

# ---- a dump, and a role that was dropped ----

$node->safe_psql('postgres', 'DROP OWNED BY gone; DROP ROLE gone');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.access'), '3', 'access of a role that was dropped stays, and is nobody\'s');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), "$dir/dump" ], 'restored without an error');
wait_for_worker($node, 'restored');
is($node->safe_psql('restored', q{SELECT string_agg(concat_ws(' ', a.role, t.name, a.level), ', ' ORDER BY t.name) FROM vqueue.access a JOIN vqueue.tenants t ON t.id = a.tenant_id}),
	'"strange ""role""" other operator, web shop app', 'access is by the names of the roles, without that');
is(as('web', "SELECT status FROM vqueue.status('$mine')", $node, 'restored'), 'serving', 'with their rights');
is(as('strange "role"', 'SELECT count(*) FROM vqueue.user_sessions', $node, 'restored'), '1', 'and the policies');
is($node->safe_psql('restored', 'SELECT count(*) FROM pg_policies WHERE schemaname = $$vqueue$$'),
	$node->safe_psql('postgres', 'SELECT count(*) FROM pg_policies WHERE schemaname = $$vqueue$$'), 'each once');
is($node->safe_psql('postgres', 'SELECT vqueue.renew_access(); SELECT count(*) FROM vqueue.access'), "2\n2", 'renew_access forgets who was dropped');
check_clean($node, 'restored', 'memory is right');

$node->stop;
done_testing();
