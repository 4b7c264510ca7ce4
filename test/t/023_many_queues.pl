#
# Thousands of queues on one worker, each with a few sessions and a pace of its
# own, beside some that are sick and one that lets in ten thousand at a time:
# the pace of each still holds, and none has to wait for its turn while another has
# three.  All by the times on the rows.
#
# 2,000 queues, and 10,000 at a fifth of the pace if VQ_TORTURE is set.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $queues = $ENV{VQ_TORTURE} ? 10000 : 2000;
my $sessions = 5;
my $rate = 60000 / $queues;
my $sick = 20;

my $node = new_vqueue_node('main', conf => "shared_buffers = 128MB\nmax_wal_size = 2GB\nautovacuum = off\n");
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	CREATE PROCEDURE create_queues(n int, rate int) LANGUAGE plpgsql AS $$ BEGIN
		FOR i IN 1 .. n LOOP
			PERFORM vqueue.create_queue('q' || i, rate, 1000);
			IF i % 100 = 0 THEN COMMIT; END IF;
		END LOOP;
	END $$;
	CREATE PROCEDURE join_queues(n int, each int) LANGUAGE plpgsql AS $$ BEGIN
		FOR i IN 1 .. n LOOP
			PERFORM vqueue.join_many('q' || i, ARRAY(SELECT gen_random_uuid() FROM generate_series(1, each)));
			COMMIT;
		END LOOP;
	END $$;
	CREATE PROCEDURE drop_queues() LANGUAGE plpgsql AS $$ DECLARE q text; BEGIN
		FOR q IN SELECT name FROM vqueue.queues LOOP
			PERFORM vqueue.drop_queue(q, true);
			COMMIT;
		END LOOP;
	END $$;
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not today'; END$$});
wait_for_worker($node);

# ---- the sick and the big ones ----

# They are known by their users, which a trigger can see.
$node->safe_psql('postgres', qq{
	SELECT count(vqueue.create_queue('sick' || i, 600, 1000, state => 'paused')) FROM generate_series(1, $sick) i;
	SELECT vqueue.create_queue('big', 10000000, 1000000, state => 'paused')});
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.queues q, vqueue.join_many(q.name, " . users('a', 1, 20)
	  . ") WHERE q.name LIKE 'sick%'");
$node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.join_many(\'big\', ' . users('b', 1, 50000) . ')');
$node->safe_psql('postgres', q{CREATE TRIGGER refuse BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW
	WHEN (NEW.user_id::text LIKE 'a0000000-0000-0000-%') EXECUTE FUNCTION refuse()});

# ---- the run ----

$node->safe_psql('postgres', "CALL create_queues($queues, $rate)");
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE queue LIKE 'q%' AND waiting = 0}), $queues,
	"there are $queues queues");
my $pid = worker_pid($node);
$node->safe_psql('postgres', q{UPDATE vqueue.queues SET state = 'open' WHERE name LIKE 'sick%'});
$node->safe_psql('postgres', "CALL join_queues($queues, $sessions)");
$node->safe_psql('postgres', q{SELECT vqueue.resume('big')});
ok($node->poll_query_until('postgres', q{SELECT sum(waiting) = 0 FROM vqueue.overview WHERE queue NOT LIKE 'sick%'}),
	'everybody is let in');

# ---- the pace ----

my ($served, $shortest, $longest) = split /\|/, $node->safe_psql('postgres', qq{
	SELECT count(*), round(1000 * min(wait)) - 60000 / $rate, round(1000 * max(wait)) - 60000 / $rate
	  FROM (SELECT extract(epoch FROM served_at - lag(served_at) OVER (PARTITION BY queue_id ORDER BY ticket)) AS wait
	          FROM vqueue.sessions WHERE queue LIKE 'q%' AND served_at IS NOT NULL) s});
note("between two of a queue: $shortest ms too little at the worst, $longest ms too much");
is($served, $queues * $sessions, 'all were served');
cmp_ok($shortest, '>=', 0, 'in none of the queues before it was time');

# However slow a machine is: whoever could come in comes before another queue lets in three
# times; twice it may, as queues that are visited together are chosen before the first visit.
my @overtaken = split /\n/, $node->safe_psql('postgres', qq{
	WITH turns AS MATERIALIZED (
		SELECT queue, ticket, served_at, lag(served_at) OVER (PARTITION BY queue_id ORDER BY ticket) + interval '60 s' / $rate AS due
		  FROM vqueue.sessions WHERE queue LIKE 'q%')
	SELECT late.queue, late.ticket, late.due, late.served_at, t.queue, min(t.ticket), min(t.served_at), max(t.served_at)
	  FROM turns late JOIN turns t ON t.queue <> late.queue AND t.served_at > late.due AND t.served_at < late.served_at
	 WHERE late.served_at > late.due + interval '60 s' / $rate
	 GROUP BY late.queue, late.ticket, late.due, late.served_at, t.queue HAVING count(*) > 2 ORDER BY 3});
is(scalar(@overtaken), 0, 'in none of the queues while another had three turns') or diag(join "\n", splice(@overtaken, 0, 10));
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE failures > 0 AND queue LIKE 'sick%'}), $sick,
	'those that are sick are told');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.overview WHERE failures > 0 AND queue NOT LIKE 'sick%'}), '0',
	'and no others');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.sessions WHERE queue LIKE 'sick%' AND served_at IS NOT NULL}), '0',
	'nobody is let in there');
is(worker_pid($node), $pid, 'it is the same worker all the time');
check_clean($node, 'postgres', 'memory is right');

# ---- and after ----

$node->safe_psql('postgres', 'DROP TRIGGER refuse ON vqueue.user_sessions');
ok($node->poll_query_until('postgres', q{SELECT sum(waiting) = 0 AND max(failures) = 0 FROM vqueue.overview}),
	'those that were sick recover');
cmp_ok(count_over_rate($node, 'postgres', "sick$_", 600), '<=', 1, "sick$_ without a burst") foreach (1, $sick);

# A restart finds all of them again.
my $state = $node->safe_psql('postgres', q{SELECT queue, waiting, serving FROM vqueue.overview});
$node->restart;
ok(wait_for_worker($node), 'the server is restarted');
same_lines($node->safe_psql('postgres', q{SELECT queue, waiting, serving FROM vqueue.overview}), $state, 'all queues are as before');
$node->safe_psql('postgres', 'CALL drop_queues()');
ok($node->poll_query_until('postgres', 'SELECT queues = 0 AND used = 0 FROM vqueue.memory()'),
	'when they are dropped all memory is given back');
check_clean($node, 'postgres', 'memory is right at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
