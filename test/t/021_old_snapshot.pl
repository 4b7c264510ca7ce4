#
# A snapshot that is held open for the whole run, as a report or a forgotten
# client does it, keeps every dead row version of a queue table from vacuum:
# the classic death of queues in PostgreSQL.  Here the room finds the next by
# their tickets in memory and their rows by key, so its release step must touch
# as many pages in the end as in the beginning, and take as long.
#
# Pages are judged.  The worker's own steps are timed as well, by a statement trigger,
# from the moment when slots were reserved, which is served_at, until all rows are
# written; these times are noted.
# Nothing is analyzed meanwhile: plans made for an empty table must do as well.
# 30,000 sessions pass through, and 200,000 if VQ_TORTURE is set.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $batch = 100;
my $sessions = $ENV{VQ_TORTURE} ? 200000 : 30000;
my $steps = $sessions / $batch;

# Blocks are counted by pg_stat_statements, which a server may lack.
sub has_statements
{
	my $dir = `pg_config --sharedir 2>/dev/null`;

	chomp $dir;
	return -e "$dir/extension/pg_stat_statements.control";
}
my $counts_blocks = has_statements();
my $node = new_vqueue_node('main', conf => "shared_buffers = 256MB\nmax_wal_size = 4GB\ncheckpoint_timeout = 1h\nautovacuum = off\n"
	  . ($counts_blocks ? "shared_preload_libraries = 'vqueue, pg_stat_statements'\npg_stat_statements.track = all\n" : ''));

$node->safe_psql('postgres', "CREATE EXTENSION pg_stat_statements") if $counts_blocks;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('room', 10000000, $batch);
	CREATE TABLE steps (step serial, released int, took numeric);
	CREATE TABLE blocks (step int, calls bigint, rows bigint, touched bigint);
	CREATE FUNCTION note_step() RETURNS trigger LANGUAGE plpgsql AS \$\$
	DECLARE
		n int;
		since timestamptz;
	BEGIN
		SELECT count(*), max(served_at) INTO n, since FROM written WHERE status = 'serving';
		IF n > 0 THEN
			INSERT INTO public.steps (released, took) VALUES (n, 1000 * extract(epoch FROM clock_timestamp() - since));
		END IF;
		RETURN NULL;
	END \$\$;
	CREATE TRIGGER note_step AFTER UPDATE ON vqueue.user_sessions REFERENCING NEW TABLE AS written
		FOR EACH STATEMENT EXECUTE FUNCTION note_step()});
wait_for_worker($node);

# What the release statement has done until now.
my $note_blocks = $counts_blocks ? q{
	INSERT INTO public.blocks SELECT step, sum(calls), sum(rows), sum(shared_blks_hit + shared_blks_read)
	  FROM pg_stat_statements
	 WHERE query LIKE 'UPDATE vqueue.user_sessions AS s SET status =%SKIP LOCKED%';} : '';

# One batch is inside and one ahead: each round ends the first, waits until the
# worker has let in the second, and has another one join.
# People are ended by id, as an application does it, so that nothing but the
# room has to find rows among dead ones.
$node->safe_psql('postgres', qq{
	CREATE PROCEDURE pass_through(rounds int) LANGUAGE plpgsql AS \$\$
	DECLARE
		inside uuid[];
		ahead uuid[];
		deadline timestamptz := clock_timestamp() + interval '$PostgreSQL::Test::Utils::timeout_default s';
	BEGIN
		FOR step IN 0 .. rounds LOOP
			PERFORM vqueue.complete(i) FROM unnest(inside) AS i;
			COMMIT;
			inside := ahead;
			WHILE step > 0 AND (vqueue.status(inside[$batch])).status <> 'serving' LOOP
				IF clock_timestamp() > deadline + step * interval '0.1 s' THEN
					RAISE EXCEPTION 'nobody comes in, in round %', step;
				END IF;
				PERFORM pg_sleep(0.001);
				COMMIT;
			END LOOP;
			ahead := ARRAY(SELECT id FROM vqueue.join_many('room',
				ARRAY(SELECT gen_random_uuid() FROM generate_series(1, $batch))));
			COMMIT;
			IF step IN (rounds / 10, rounds - rounds / 10, rounds) THEN
				$note_blocks
				COMMIT;
			END IF;
		END LOOP;
	END \$\$});

# ---- the run ----

# One round before, so that plans and caches are there.
my $driver = psql_session($node);
my $holder = psql_session($node);
$driver->query_safe('CALL pass_through(2)');
$node->safe_psql('postgres', q{
	SELECT count(vqueue.leave(id)) FROM vqueue.user_sessions WHERE left_at IS NULL;
	TRUNCATE steps, blocks RESTART IDENTITY});
$node->safe_psql('postgres', 'SELECT pg_stat_statements_reset()') if $counts_blocks;

my $seen = $holder->query_safe(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM vqueue.user_sessions});
my $holder_xmin = $node->safe_psql('postgres', 'SELECT backend_xmin FROM pg_stat_activity WHERE pid = '
	  . $holder->backend_pid);
$driver->query("CALL pass_through($steps)");
is($driver->error, '', "$sessions sessions pass through in $steps steps");

# ---- was it an old snapshot? ----

is($holder->query_safe('SELECT count(*) FROM vqueue.user_sessions'), $seen, 'the snapshot is as old as the run');
is($node->safe_psql('postgres', 'SELECT backend_xmin FROM pg_stat_activity WHERE pid = ' . $holder->backend_pid),
	$holder_xmin, 'and was held all the time');
my $dead = q{SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'user_sessions'};
$node->safe_psql('postgres', 'VACUUM vqueue.user_sessions');
my $left = $node->safe_psql('postgres', $dead);
cmp_ok($left, '>=', 2 * ($sessions - $batch), 'vacuum cannot take away one dead row version');

# ---- the release step ----

# A step of a tenth that is in the middle; 1 is the first tenth.
sub median
{
	my ($tenth) = @_;

	return $node->safe_psql('postgres', qq{
		SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY took)::numeric, 4)
		  FROM (SELECT took, ntile(10) OVER (ORDER BY step) AS tenth FROM steps WHERE released = $batch) s
		 WHERE tenth = $tenth});
}

is($node->safe_psql('postgres', "SELECT count(*) > 0.9 * $steps FROM steps WHERE released = $batch"), 't',
	"the worker's steps release $batch at a time");
note("median step in each tenth, in ms: " . join(' ', map { median($_) } 1 .. 10));

SKIP:
{
	skip 'pg_stat_statements is not installed', 2 unless $counts_blocks;
	my ($first, $last) = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q{
		SELECT rows - before_rows, (touched - before_touched) / (rows - before_rows)
		  FROM (SELECT *, coalesce(lag(rows) OVER w, 0) AS before_rows, coalesce(lag(touched) OVER w, 0) AS before_touched
		          FROM blocks WINDOW w AS (ORDER BY step)) b
		 WHERE step <> (SELECT max(step) - min(step) FROM blocks)
		 ORDER BY step});
	note("blocks touched a release: $first->[1] in the first tenth, $last->[1] in the last");
	cmp_ok($first->[0], '>=', 0.09 * $sessions, 'blocks of the first tenth were counted');
	cmp_ok($last->[1] / $first->[1], '<=', 1.5, 'a release in the last tenth touches no more blocks than in the first');
}

# ---- and all is right ----

is($node->safe_psql('postgres', qq{
	SELECT count(*) FILTER (WHERE status = 'completed') >= $sessions, count(DISTINCT ticket) = count(*),
	       count(DISTINCT user_id) = count(*), count(*) FILTER (WHERE left_at IS NULL)
	  FROM vqueue.user_sessions}), 't|t|t|' . 2 * $batch, 'everybody got through, once');
cmp_ok(count_over_cap($node, 'postgres', 'room'), '<=', $batch, 'the cap was kept');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT served_at, max(served_at) OVER (ORDER BY ticket ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
	                        FROM vqueue.user_sessions WHERE served_at IS NOT NULL) s
	 WHERE served_at < before}), '0', 'in order');
is($node->safe_psql('postgres', 'SELECT failures FROM vqueue.overview'), '0', 'no step failed');
check_clean($node, 'postgres', 'memory is right with the snapshot still held');
cmp_ok($node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'), '<', 1024 * 1024,
	'and takes room for its live part only');

is($holder->query_safe(q{COMMIT; SELECT status FROM vqueue.join('room', '00000000-0000-0000-0000-000000000001')}), 'waiting',
	'its client goes on');
$node->safe_psql('postgres', 'VACUUM vqueue.user_sessions');
is($node->safe_psql('postgres', $dead), '0', 'and when it has ended vacuum takes the dead ones away');
check_clean($node, 'postgres', 'memory is right at the end');

$_->quit foreach ($driver, $holder);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
