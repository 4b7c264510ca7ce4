#
# A draw of many: the order is what anyone can recompute, and stays so over
# kill -9, on a standby, over promotion, dump and restore, and lack of memory;
# the clock holds it as well, and all orders are alike likely.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes 'time';
use VqueueNode;

my $n = $ENV{VQ_TORTURE} ? 1000000 : 100000;
my $primary = new_vqueue_node('primary', init => { allows_streaming => 1 }, conf => "autovacuum = off\n");
my $script = "$FindBin::RealBin/../verify_draw.py";

# The documents have this very script.
my ($in_readme) = slurp_file("$FindBin::RealBin/../../README.md") =~ /```python\n(.*?)```/s;
same_lines($in_readme, slurp_file($script), 'the documents have the script that is tested here');
cmp_ok(() = slurp_file($script) =~ /\n/g, '<=', 40, 'of 40 lines at the most');

# ---- lack of memory ----

$primary->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('sale', 10000000, 1000000, state => 'paused')});
wait_for_worker($primary);
$primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('sale', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, $n)))");
$primary->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('sale', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5000)), 'vip')});
$primary->safe_psql('postgres', q{SELECT count((vqueue.leave(id)).id) FROM vqueue.user_sessions WHERE ticket % 1000 = 7});
my $commitment = $primary->safe_psql('postgres', q{SELECT vqueue.prepare_draw('sale')});
$primary->safe_psql('postgres', q{SELECT vqueue.set_draw_beacon('sale', '00000000000000000001a8f3')});
my $limit = 1 + int($primary->safe_psql('postgres', 'SELECT used FROM vqueue.memory()') / 1024 / 1024);
$primary->append_conf('postgresql.conf', "vqueue.memory_limit = ${limit}MB");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT memory_limit = $limit * 1024 * 1024 FROM vqueue.memory()");
my $before = $primary->safe_psql('postgres', 'SELECT used FROM vqueue.memory()');
fails_with($primary, 'postgres', q{SELECT vqueue.open('sale')}, '53200', qr/out of memory/, 'an opening without memory for the draw');
is($primary->safe_psql('postgres', q{SELECT state, drawn_at IS NULL FROM vqueue.queues, vqueue.draws}), 'paused|t', 'nothing has changed');
is($primary->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'), $before, 'and no memory is kept');
check_clean($primary, 'postgres', 'memory is right');
$primary->append_conf('postgresql.conf', 'vqueue.memory_limit = 1GB');
$primary->reload;
$primary->poll_query_until('postgres', 'SELECT memory_limit > 1000000000 FROM vqueue.memory()');

# ---- the draw ----

$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->start;

my $since = time;
$primary->safe_psql('postgres', q{BEGIN; SELECT vqueue.open('sale'); SELECT vqueue.pause('sale'); COMMIT});
note(sprintf('opening with %d entrants took %.3f s, connecting included', $n, time - $since));
$primary->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('sale', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)))});

$primary->safe_psql('postgres', q{CREATE TABLE entrants AS SELECT * FROM vqueue.draw_entrants('sale'); ANALYZE entrants, vqueue.user_sessions});

# Everybody stands by lane, then by the place drawn, then by ticket.
my $astray = q{
	SELECT count(*), count(*) FILTER (WHERE position IS DISTINCT FROM wanted) FROM (
		SELECT vqueue._position(s.queue_id, s.ticket) AS position,
		       row_number() OVER (ORDER BY s.priority = 'vip' DESC, e.place NULLS LAST, s.ticket) AS wanted
		  FROM vqueue.user_sessions s LEFT JOIN entrants e USING (ticket)
		 WHERE s.status = 'waiting' AND s.queue_id = vqueue._queue('sale')) t};
my $waiting = $n + 5000 + 100 - $primary->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions WHERE status = 'left'});
is($primary->safe_psql('postgres', $astray), "$waiting|0", 'everybody stands by the place drawn');
is($primary->safe_psql('postgres', q{SELECT verdict FROM vqueue.verify_draw('sale')}), 'right', 'the draw is right');
is($primary->safe_psql('postgres', q{SELECT commitment FROM vqueue.draw_results}), $commitment, 'of the seed that was committed to');
my $correlation = $primary->safe_psql('postgres', q{SELECT corr(number, place) FROM entrants});
cmp_ok(abs($correlation), '<', 0.03, "whoever came early has no better place: correlation $correlation");
check_clean($primary, 'postgres', 'memory is right');

# ---- anyone can recompute it ----

sub run_script
{
	my ($list, @arguments) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'python3', $script, $list, @arguments ], '>', \$out, '2>', \$err);
	return "$out$err";
}

my $dir = PostgreSQL::Test::Utils::tempdir;
$primary->safe_psql('postgres', "COPY (SELECT * FROM vqueue.draw_entrants('sale')) TO '$dir/list.csv' (FORMAT csv)");
my ($seed, $beacon, $facts) = split /\|/, $primary->safe_psql('postgres', q{
	SELECT seed, beacon, format(E'commitment %s entrants %s\nentrants_hash %s key_hash %s\nplaces wrong: 0\n', commitment, entrants, entrants_hash, key_hash)
	  FROM vqueue.draw_results}), 3;
my ($id, $number, $place) = split /\|/, $primary->safe_psql('postgres', q{
	SELECT s.id, v.number, v.place FROM vqueue.user_sessions s, vqueue.verify_draw('sale', s.id) v WHERE s.ticket = 4242});
is(run_script("$dir/list.csv", $seed, $beacon, $id), "$facts\n$id number $number place $place\n" =~ s/\n\n/\n/r, 'the script says the same');
# ---- kill -9 ----

my $order = q{SELECT string_agg(md5, '') FROM (SELECT md5(string_agg(ticket::text, ',' ORDER BY position)) FROM vqueue.sessions WHERE queue = 'sale' AND position > 0) t};
my $wanted = $primary->safe_psql('postgres', $order);
my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
$primary->kill9;
until ($primary->start(fail_ok => 1))
{
	die 'the server does not start' if $tries-- == 0;
	$primary->kill9;
	select(undef, undef, undef, 0.1);
}
$since = time;
is($primary->safe_psql('postgres', $order), $wanted, 'after kill -9 the order is the same');
note(sprintf('which was known after %.3f s', time - $since));
check_clean($primary, 'postgres', 'memory is right');

# Who is let in is next by the draw.
my $served = $primary->safe_psql('postgres', q{SELECT array_agg(ticket ORDER BY position) FROM vqueue.sessions WHERE queue = 'sale' AND position BETWEEN 1 AND 7000});
is($primary->safe_psql('postgres', q{SELECT vqueue.release('sale', 7000)}), '7000', 'seven thousand are let in');
is($primary->safe_psql('postgres', "SELECT count(*) FROM vqueue.user_sessions WHERE status = 'serving' AND ticket = ANY ('$served')"), '7000',
	'they are those that the draw says');
is($primary->safe_psql('postgres', q{
	SELECT count(*) FROM vqueue.user_sessions s JOIN entrants e USING (ticket)
	 WHERE s.status = 'serving' AND s.priority = 'normal' AND e.place > (
		SELECT min(f.place) FROM vqueue.user_sessions w JOIN entrants f USING (ticket)
		 WHERE w.status = 'waiting' AND w.priority = 'normal')}), '0', 'nobody waits who drew a better place');
my $one_by_one = $primary->safe_psql('postgres', q{SELECT array_agg(ticket ORDER BY position) FROM vqueue.sessions WHERE queue = 'sale' AND position BETWEEN 1 AND 20});
$primary->safe_psql('postgres', join(';', (q{SELECT vqueue.release('sale', 1)}) x 20));
is($primary->safe_psql('postgres', q{SELECT array_agg(ticket ORDER BY served_at) FROM (SELECT * FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY served_at DESC LIMIT 20) t}),
	$one_by_one, 'one by one they come in the order drawn');

# ---- a standby, and its promotion ----

$primary->safe_psql('postgres', q{
	SELECT vqueue.create_queue('lot', 600, 10, state => 'paused', method => 'random');
	SELECT count(*) FROM vqueue.join_many('lot', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 100)))});
my $lot = q{SELECT ticket, position, (vqueue.status(id)).position FROM vqueue.sessions WHERE queue = 'lot' ORDER BY ticket};
my $lots = $primary->safe_psql('postgres', $lot);
$wanted = $primary->safe_psql('postgres', $order);
my $five = q{SELECT ticket, (vqueue.status(id)).position FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('sale') AND status = 'waiting' AND ticket IN (11, 33333, 77777, 99999, 100100) ORDER BY ticket};
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', $five), $primary->safe_psql('postgres', $five), 'a standby says the same positions');
is($standby->safe_psql('postgres', q{SELECT queue, head FROM vqueue.overview}), $primary->safe_psql('postgres', q{SELECT queue, head FROM vqueue.overview}), 'and the same heads');
same_lines($standby->safe_psql('postgres', $lot), $lots, 'also of a queue in random order');
is($standby->safe_psql('postgres', q{SELECT verdict FROM vqueue.verify_draw('sale')}), 'right', 'and verifies the draw');
$primary->stop('immediate');
$standby->promote;
wait_for_worker($standby);
is($standby->safe_psql('postgres', $order), $wanted, 'promoted, it has the same order');
same_lines($standby->safe_psql('postgres', $lot), $lots, 'and the random one');
check_clean($standby, 'postgres', 'memory is right');

# ---- dump and restore ----

$standby->safe_psql('postgres', q{DELETE FROM vqueue.user_sessions WHERE ticket % 50 > 0});
$wanted = $standby->safe_psql('postgres', $order);
$standby->safe_psql('postgres', 'CREATE DATABASE copy');
$standby->run_log([ 'pg_dump', '-Fc', '-f', "$dir/dump", $standby->connstr('postgres') ]);
$standby->command_ok([ 'pg_restore', '-e', '-d', $standby->connstr('copy'), "$dir/dump" ], 'a dump is restored');
is($standby->safe_psql('copy', $order), $wanted, 'with the same order');
check_clean($standby, 'copy', 'memory is right');
like($standby->safe_psql('copy', q{SELECT verdict FROM vqueue.verify_draw('sale')}), qr/^right as far as can be told/, 'rows that were deleted are no fraud');

# ---- by the clock, past a join that does not end ----

my $idle = psql_session($standby);
$standby->safe_psql('postgres', q{
	SELECT vqueue.create_queue('clock', 1, 1, state => 'paused');
	SELECT count(*) FROM vqueue.join_many('clock', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 50)));
	SELECT vqueue.prepare_draw('clock')});
$idle->query_safe(q{BEGIN; SELECT ticket FROM vqueue.join('clock', 'f0000000-0000-0000-0000-000000000001')});
$standby->safe_psql('postgres', q{SELECT vqueue.alter_queue('clock', opens_at => clock_timestamp() + interval '1 s')});
ok($standby->poll_query_until('postgres', q{SELECT state = 'open' FROM vqueue.queues WHERE name = 'clock'}), 'the clock opens a queue though a join does not end');
is($standby->safe_psql('postgres', q{SELECT entrants FROM vqueue.draw_results WHERE queue = 'clock'}), '50', 'and holds its draw');
$standby->safe_psql('postgres', q{SELECT count(*) FROM vqueue.join_many('clock', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 5)))});
$idle->query_safe('COMMIT');
is($standby->safe_psql('postgres', q{SELECT position - (SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = s.queue_id AND status = 'waiting')
	FROM vqueue.sessions s WHERE user_id = 'f0000000-0000-0000-0000-000000000001'}), '-5', 'who was in flight stands behind those drawn, before who came later');
check_clean($standby, 'postgres', 'memory is right');

# The script tells a wrong beacon, seed or list from the right one.
$standby->safe_psql('postgres', "COPY (SELECT * FROM vqueue.draw_entrants('clock')) TO '$dir/small.csv' (FORMAT csv)");
$seed = $standby->safe_psql('postgres', q{SELECT seed FROM vqueue.draw_results WHERE queue = 'clock'});
like(run_script("$dir/small.csv", $seed, ''), qr/places wrong: 0\n/, 'the script verifies a draw without a beacon');
unlike(run_script("$dir/small.csv", $seed, '42'), qr/places wrong: 0\n/, 'but not with another beacon');
unlike(run_script("$dir/small.csv", $seed =~ tr/0123/3210/r, ''), qr/places wrong: 0\n/, 'nor with another seed');
append_to_file("$dir/forged.csv", slurp_file("$dir/small.csv") =~ s/^(23,\d+,)(.)/$1 . ($2 eq '0' ? '1' : '0')/mre);
unlike(run_script("$dir/forged.csv", $seed, ''), qr/places wrong: 0\n/, 'nor with one entrant forged');

# ---- all orders are alike likely ----

$standby->safe_psql('postgres', 'DELETE FROM vqueue.queues');
$standby->safe_psql('postgres', 'VACUUM vqueue.user_sessions');
$standby->safe_psql('postgres', q{
	CREATE TABLE orders (n int);
	DO $$
	BEGIN
		FOR i IN 1..480 LOOP
			PERFORM vqueue.create_queue('small', 1, 1, state => 'closed');
			INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT vqueue._queue('small'), gen_random_uuid() FROM generate_series(1, 4);
			PERFORM vqueue.prepare_draw('small');
			COMMIT;
			PERFORM vqueue.drain('small'), vqueue.close('small');
			COMMIT;
			INSERT INTO orders
			SELECT sum((SELECT count(*) FROM vqueue.sessions b WHERE b.queue = 'small' AND b.ticket > a.ticket AND b.position < a.position)
			           * CASE 4 - (SELECT count(*) FROM vqueue.sessions b WHERE b.queue = 'small' AND b.ticket < a.ticket) WHEN 4 THEN 6 WHEN 3 THEN 2 ELSE 1 END)
			  FROM vqueue.sessions a WHERE a.queue = 'small';
			PERFORM vqueue.drop_queue('small', true);
			COMMIT;
		END LOOP;
	END
	$$});
my ($draws, $orders, $chi_square) = split /\|/, $standby->safe_psql('postgres', q{
	SELECT sum(c), count(*), sum((c - 20) ^ 2 / 20) + (24 - count(*)) * 20 FROM (SELECT n, count(*) AS c FROM orders GROUP BY n) t});
is($draws, '480', '480 draws of four');
is($orders, '24', 'gave all 24 orders');
cmp_ok($chi_square, '<', 80, "alike often: chi-square $chi_square, above 80 once in ten million times");

$standby->stop;
done_testing();
