#
# Jobs that pg_cron runs: what they do, whose they are, and what becomes of them
# when their queue is renamed or dropped; and what is said where pg_cron is not.
#
# Most jobs are due @reboot: they run when the server is started again, which is
# sooner than the next minute.  One that recurs is waited for where pg_cron counts
# in seconds (1.5 or newer), or with VQ_TORTURE, which may take a minute.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;


# Nothing is purged before it was told and counted, for which a job that is due
# at the start of the server may come too early: here nothing is logged.
my $node = new_vqueue_node('main', conf => "vqueue.event_retention = 0\nvqueue.stats_retention = 0\n");
my $db = 'postgres';

sub sql
{
	return $node->safe_psql($db, $_[0]);
}

sub restart_with
{
	my ($home) = @_;

	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'vqueue,pg_cron'\ncron.database_name = '$home'\n"
		  . "cron.host = '" . $node->host . "'\n");
	return $node->restart;
}

sub fails
{
	my ($sql, $state, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return fails_with($node, $db, $sql, $state, $pattern, $name);
}

# ---- without pg_cron ----

sql(q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('acme');
	SELECT vqueue.create_queue(name, state => state)
	  FROM (VALUES ('opens', 'closed'), ('pauses', 'open'), ('drains', 'open'), ('closes', 'open'), ('old', 'open'),
	               ('dropped', 'open'), ('deleted', 'open'), ('it''s "odd"; $$ %s', 'closed')) AS q (name, state)});

my $available = sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'});
my $open = q{SELECT vqueue.schedule_state('opens', '@reboot', 'open')};

fails($open, '55000', $available ? qr/HINT:.*shared_preload_libraries.*cron\.database_name = 'postgres'.*CREATE EXTENSION pg_cron/s
	: qr/HINT:.*postgresql-\d+-cron.*shared_preload_libraries/s, 'without pg_cron no job is made');
fails(q{SELECT vqueue.schedule_purge('@reboot', '1 day')}, '55000', undef, 'nor one that purges');
is(sql('SELECT count(*) FROM vqueue.schedules'), '0', 'there are none');
is(sql('SELECT vqueue.unschedule(1)'), 'f', 'none to take away either');
is(sql(q{SELECT vqueue.create_queue('short'); SELECT vqueue.drop_queue('short'); SELECT count(*) FROM vqueue.queues WHERE name = 'short'})
	=~ s/.*\n//sr, '0', 'and queues are dropped as ever');

if (!$available)
{
	$node->stop;
	note 'pg_cron is not installed for this server, so the rest is left out';
	done_testing();
	exit;
}

# ---- pg_cron in another database ----

sql('CREATE DATABASE elsewhere');
restart_with('elsewhere');
$node->safe_psql('elsewhere', 'CREATE EXTENSION pg_cron');
my ($rc, $out, $err) = $node->psql($db, $open);
like($err, qr/pg_cron runs in database "elsewhere"/, 'pg_cron of another database is out of reach');
my ($hint) = $err =~ /Schedule the job there: (SELECT .*)\. Or have/;
$node->safe_psql('elsewhere', $hint);
is($node->safe_psql('elsewhere', q{SELECT database, command ~ 'vqueue._scheduled_state' FROM cron.job}), 'postgres|t',
	'the hint has the statement that makes the job there');
$node->restart;
ok($node->poll_query_until($db, q{SELECT state = 'open' FROM vqueue.queues WHERE name = 'opens'}), 'and that job works');
$node->safe_psql('elsewhere', 'DROP EXTENSION pg_cron');
sql(q{SELECT vqueue.close('opens')});

# ---- here ----

restart_with($db);
fails($open, '55000', qr/HINT:  As a superuser, run CREATE EXTENSION pg_cron/, 'only the extension is missing');
sql('CREATE EXTENSION pg_cron');
my $seconds = sql(q{SELECT string_to_array(regexp_replace(extversion, '[^0-9.]', '.', 'g'), '.')::int[] >= '{1,5}' FROM pg_extension WHERE extname = 'pg_cron'}) eq 't';

fails(q{SELECT vqueue.schedule_state('opens', 'now and then', 'open')}, '\w+', qr/invalid schedule: now and then/, 'a bad schedule is told by pg_cron');
fails(q{SELECT vqueue.schedule_state('opens', $x$'; DROP TABLE x; --$x$, 'open')}, '\w+', qr/invalid schedule/, 'and so is a hostile one');
fails(q{SELECT vqueue.schedule_state('opens', '@reboot', 'open''')}, '22023', undef, 'an unknown state');
fails(q{SELECT vqueue.schedule_state('nowhere', '@reboot', 'open')}, '42704', undef, 'an unknown queue');
fails(q{SET vqueue.tenant = 'acme'; SELECT vqueue.schedule_state('opens', '@reboot', 'open')}, '42704', undef, 'another tenant\'s queue');
fails("SELECT vqueue.schedule_state($_)", '22004', undef, "null in $_")
  foreach q{NULL, '@reboot', 'open'}, q{'opens', NULL, 'open'}, q{'opens', '@reboot', NULL};
fails("SELECT vqueue.schedule_purge($_)", '22004', undef, "null in $_") foreach q{NULL, '1 day'}, q{'@reboot', NULL};
fails("SELECT vqueue.schedule_purge('\@reboot', $_)", '22023', undef, "out of range: $_") foreach q{'-1 day'}, q{'1 day', max_rows => 0};
fails('SELECT vqueue.unschedule(NULL)', '22004', undef, 'no job');
is(sql('SELECT count(*) FROM cron.job'), '0', 'nothing of all that has become a job');

my $job = sql($open);
is(sql($open), $job, 'the same again is the same job');
isnt(sql(q{SELECT vqueue.schedule_state('opens', '0 9 * * 1-5', 'open')}), $job, 'by another schedule it is another one');
sql(q{
	SELECT vqueue.schedule_state('pauses', '@reboot', 'paused');
	SELECT vqueue.schedule_state('drains', '@reboot', 'draining');
	SELECT vqueue.schedule_state('closes', '@reboot', 'closed');
	SELECT vqueue.schedule_state($x$it's "odd"; $$ %s$x$, '@reboot', 'open');
	SELECT vqueue.schedule_state('dropped', '@reboot', 'closed'), vqueue.schedule_purge('@reboot', '1 day', 'dropped');
	SELECT vqueue.schedule_state('deleted', '@reboot', 'closed'), vqueue.schedule_purge('@reboot', '1 day', 'deleted');
	SELECT vqueue.schedule_purge('@reboot', '10 days', 'old', max_rows => 3)});
is(sql(q{SELECT queue, kind, schedule, active, last_run IS NULL, last_status IS NULL FROM vqueue.schedules WHERE job = } . $job),
	'opens|open|@reboot|t|t|t', 'jobs are seen');
is(sql(q{SET vqueue.tenant = 'acme'; SELECT count(*) FROM vqueue.schedules}), '0', 'but not by another tenant');

# Other jobs are none of ours.
my $foreign = sql(q{SELECT cron.schedule('vqueue_open_mine', '@reboot', 'SELECT 1')});
is(sql("SELECT vqueue.unschedule($foreign), vqueue.unschedule(99999)"), 'f|f', 'who has others, keeps them');
is(sql(q{SELECT vqueue.unschedule(job) FROM vqueue.schedules WHERE schedule = '0 9 * * 1-5'}), 't', 'one of ours is taken away');
is(sql(q{SELECT count(*) FROM cron.job WHERE schedule = '0 9 * * 1-5'}), '0', 'for good');

# Transactions.
sql(q{BEGIN; SELECT vqueue.schedule_state('opens', '@daily', 'closed'); ROLLBACK});
sql(q{BEGIN; SELECT vqueue.drop_queue('dropped'); ROLLBACK});
is(sql(q{SELECT count(*) FILTER (WHERE schedule = '@daily'), count(*) FILTER (WHERE queue = 'dropped') FROM vqueue.schedules}),
	'0|2', 'what is rolled back has not been');

# Of another role, who may do what the job does and nothing else.
sql(q{
	CREATE ROLE keeper LOGIN;
	GRANT USAGE ON SCHEMA cron TO keeper;
	SELECT vqueue.grant_access('keeper', 'default', 'operator');
	SELECT vqueue.create_queue('kept', state => 'closed'), vqueue.create_queue('kept too')});
sql(q{SET ROLE keeper; SELECT vqueue.schedule_state('kept', '@reboot', 'open'), vqueue.schedule_state('kept too', '@reboot', 'open')});
is(sql(q{SET ROLE keeper; SELECT string_agg(queue, ',' ORDER BY queue) FROM vqueue.schedules}), 'kept,kept too', 'a role sees its own jobs');
is(sql("SET ROLE keeper; SELECT vqueue.unschedule($job)"), 'f', 'and takes away no other');
sql(q{SELECT vqueue.drop_queue('kept too')});
is(sql(q{SELECT count(*) FROM cron.job WHERE username = 'keeper'}), '1', 'a superuser who drops a queue takes everybody\'s jobs of it along');
fails(q{CREATE ROLE stranger; SELECT vqueue.grant_access('stranger', 'default', 'operator'); SET ROLE stranger; SELECT * FROM vqueue.schedules; } . $open,
	'42501', qr/permission denied for schema cron/, 'who may not use pg_cron');

# Another tenant, renamed afterwards as are two queues; one queue is dropped, another one deleted by hand.
sql(q{
	SET vqueue.tenant = 'acme';
	SELECT vqueue.create_queue('old'), vqueue.create_queue('older');
	SELECT vqueue.schedule_purge('@reboot', '10 days')});
sql(q{
	INSERT INTO vqueue.user_sessions (queue_id, user_id, status, left_at)
	SELECT q.id, gen_random_uuid(), 'left', now() - n * interval '5 days' FROM vqueue.queues q, generate_series(1, 6) n WHERE q.name LIKE 'old%';
	INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT id, gen_random_uuid() FROM vqueue.queues WHERE name LIKE 'old%';
	UPDATE vqueue.tenants SET name = 'acme & sons' WHERE name = 'acme';
	SELECT vqueue.alter_queue('opens', name => 'renamed');
	SELECT vqueue.drop_queue('dropped');
	DELETE FROM vqueue.queues WHERE name = 'deleted'});
is(sql(q{SELECT count(*) FROM vqueue.schedules WHERE queue = 'renamed'}), '1', 'a job keeps to a queue that is renamed');
is(sql(q{SELECT count(*) FROM vqueue.schedules WHERE queue IS NULL}), '2', 'jobs of a deleted queue are left, those of a dropped one are gone');

# ---- they run ----

my $jobs = sql(q{SELECT count(*) FROM cron.job WHERE schedule = '@reboot'});
$node->restart;
wait_for_worker($node);
ok($node->poll_query_until($db, qq{SELECT count(*) = $jobs FROM cron.job_run_details d JOIN cron.job j USING (jobid)
	WHERE j.schedule = '\@reboot' AND d.status IN ('succeeded', 'failed')}), 'all jobs have run');
is(sql(q{SELECT d.return_message FROM cron.job_run_details d WHERE d.status <> 'succeeded'}), '', 'none has failed');
is(sql(q{SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM vqueue.queues
	WHERE name IN ('renamed', 'pauses', 'drains', 'kept') OR name LIKE 'it%'}),
	q{drains draining, it's "odd"; $$ %s open, kept open, pauses paused, renamed open}, 'queues are in the states that they were put into');
is(sql(q{SELECT t.name, q.name, count(*), count(*) FILTER (WHERE left_at < now() - interval '10 days'), count(*) FILTER (WHERE left_at IS NULL)
	  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id JOIN vqueue.tenants t ON t.id = q.tenant_id
	 GROUP BY t.name, q.name ORDER BY 1, 2}), "acme & sons|old|2|0|1\nacme & sons|older|2|0|1\ndefault|old|4|2|1",
	'what is old is deleted, of one queue the three oldest, of a renamed tenant all');
is(sql(q{SELECT count(*), count(*) FILTER (WHERE last_status = 'succeeded' AND last_run > now() - interval '1 hour') FROM vqueue.schedules WHERE schedule = '@reboot'}),
	join('|', (sql(q{SELECT count(*) FROM vqueue.schedules WHERE schedule = '@reboot'})) x 2), 'how they ran is seen');
is(sql(q{SELECT count(*) FROM vqueue.schedules WHERE queue IS NULL AND last_status = 'succeeded'}), '2', 'those of the deleted queue did nothing');
is(sql(q{SELECT bool_and(vqueue.unschedule(job)) FROM vqueue.schedules WHERE queue IS NULL}), 't', 'and can be taken away');
# The server is not restarted any more, so that none of its runs is cut short.
my $recurring = $seconds || $ENV{VQ_TORTURE} ? sql("SELECT vqueue.schedule_state('closes', '" . ($seconds ? '1 second' : '* * * * *') . "', 'paused')") : 0;
if ($recurring)
{
	ok($node->poll_query_until($db, q{SELECT state = 'paused' FROM vqueue.queues WHERE name = 'closes'}), 'a recurring job runs');
	sql(q{SELECT vqueue.open('closes')});
	ok($node->poll_query_until($db, q{SELECT state = 'paused' FROM vqueue.queues WHERE name = 'closes'}), 'and again');
}
else
{
	ok($node->poll_query_until($db, q{SELECT state = 'closed' FROM vqueue.queues WHERE name = 'closes'}), 'the last one is closed');
}
check_clean($node, $db, 'memory follows');

# ---- the end ----

is(sql(q{SELECT bool_and(vqueue.unschedule(job)), count(*) > 3 FROM vqueue.schedules}), 't|t', 'all are taken away');
is(sql('SELECT count(*) FROM vqueue.schedules'), '0', 'there are none left');
sql('DROP EXTENSION pg_cron');
fails($open, '42704', undef, 'the queue of that name is gone');
fails(q{SELECT vqueue.schedule_state('renamed', '@reboot', 'open')}, '55000', undef, 'without the extension no job is made');
sql(q{SELECT vqueue.drop_queue('renamed')});
sql('DROP EXTENSION vqueue');

$node->stop;
done_testing();
