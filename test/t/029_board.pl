#
# The board: right at its points, between them off by less than they hold; the
# same from memory and, on a standby, from the tables; and the same answers from
# it in SQL and in JavaScript.
#
use strict;
use warnings;

use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', init => { allows_streaming => 1 });

# Random queues: with few and many, in one lane and in all, with gaps between tickets,
# strictly one lane after the other and in turns.  None moves but by hand.
my @queues = ('empty', map { "q$_" } 1 .. 6);
my $seed = $ENV{VQ_SEED} || 1 + int(rand(1000000000));
my $random = sub { return int(rand($_[0])) };
diag("seed $seed");
srand($seed);

$node->safe_psql('postgres', 'CREATE EXTENSION vqueue');
wait_for_worker($node);
foreach my $queue (@queues)
{
	my $weights = $random->(2) ? 'NULL' : "'{" . join(',', map { 1 + $random->(20) } 1 .. 4) . "}'";
	my $joins = '';

	foreach my $i (1 .. ($queue eq 'empty' ? 0 : 6 + $random->(6)))
	{
		my $lane = (qw(vip high normal low normal normal))[ $random->(6) ];
		my $n = 1 + $random->(10**(1 + $random->(4)));

		$joins .= qq{
			SELECT count(*) FROM vqueue.join_many('$queue',
				ARRAY(SELECT gen_random_uuid() FROM generate_series(1, $n)), '$lane');};
	}
	$node->safe_psql('postgres', qq{
		SELECT setseed(0.3);
		SELECT vqueue.create_queue('$queue', 60, 10, state => 'paused', lane_weights => $weights);
		$joins
		DELETE FROM vqueue.user_sessions
		 WHERE queue_id = vqueue._queue('$queue') AND ticket / 50 % 7 < 3 AND random() < 0.9});
}
$node->safe_psql('postgres', q{SELECT vqueue.release('q1', 5); SELECT vqueue.release('q2', 1)});

# ---- right at the points, and as near as promised between them ----

# A board as the table "points": lane, number, ticket, position.
my $points = q{
	CREATE TEMP TABLE boards AS
	SELECT q.name, vqueue.board(q.name) AS text, vqueue.board(q.name)::jsonb AS board FROM vqueue.queues q;
	CREATE TEMP TABLE points AS
	SELECT b.name, l.key AS lane, p.ordinality AS n, (p.value ->> 0)::bigint AS ticket, (p.value ->> 1)::bigint AS position
	  FROM boards b, jsonb_each(b.board -> 'lanes') l, jsonb_array_elements(l.value -> 'points') WITH ORDINALITY p;};
is($node->safe_psql('postgres', $points . q{
	SELECT count(*) FROM points p
	 WHERE p.position IS DISTINCT FROM vqueue.position(p.name, p.ticket)
	    OR p.position IS DISTINCT FROM vqueue.position_from_board((SELECT board FROM boards b WHERE b.name = p.name), p.ticket, p.lane)}),
	'0', 'positions at the points are right');
is($node->safe_psql('postgres', $points . q{
	SELECT count(*) FROM (SELECT name FROM points GROUP BY name HAVING count(*) > 256) m}), '0', 'there are 256 points at the most');
is($node->safe_psql('postgres', $points . q{SELECT bool_and(length(text::text) < 12000) FROM boards}), 't', 'a board is small');
my ($asked, $off, $worst) = split /\|/, $node->safe_psql('postgres', $points . q{
	SELECT count(*), count(*) FILTER (WHERE abs(from_board - position) >= greatest(held, 1)), max(abs(from_board - position))
	  FROM (SELECT s.position, vqueue.position_from_board(b.board, s.ticket, s.priority) AS from_board,
	               (SELECT min(p.position) FROM points p WHERE p.name = b.name AND p.lane = s.priority AND p.ticket > s.ticket)
	               - (SELECT max(p.position) FROM points p WHERE p.name = b.name AND p.lane = s.priority AND p.ticket <= s.ticket) AS held
	          FROM boards b JOIN vqueue.sessions s ON s.queue = b.name
	         WHERE s.status = 'waiting' AND s.ticket % 29 = 0) d});
cmp_ok($asked, '>', 200, "$asked positions were asked for");
is($off, '0', "none is off by as much as two points are apart, the worst by $worst");
is($node->safe_psql('postgres', $points . q{
	SELECT count(*) FROM boards b JOIN vqueue.overview o ON o.queue = b.name
	 WHERE (b.board ->> 'waiting')::bigint <> o.waiting OR (b.board ->> 'serving')::bigint <> o.serving
	    OR (b.board ->> 'head')::bigint IS DISTINCT FROM o.head OR (b.board ->> 'last_ticket')::bigint <> o.last_ticket
	    OR b.board ->> 'state' <> o.state}), '0', 'and the figures are those of the overview');

# ---- who joins later, and who was let in ----

is($node->safe_psql('postgres', q{
	WITH b AS MATERIALIZED (SELECT vqueue.board('q3')::jsonb AS board),
	     j AS MATERIALIZED (SELECT p.* FROM b, LATERAL vqueue.join_many('q3', ARRAY(
	                        SELECT gen_random_uuid() FROM generate_series(1, 3) WHERE board IS NOT NULL), 'low') p)
	SELECT bool_and(j.position = vqueue.position_from_board(b.board, j.ticket, 'low')) FROM b, j}),
	't', 'an old board is right for who comes last') if $node->safe_psql('postgres', q{
	SELECT lane_weights IS NULL FROM vqueue.queues WHERE name = 'q3'}) eq 't';
is($node->safe_psql('postgres', q{
	SELECT min(vqueue.position_from_board(vqueue.board('empty')::jsonb, 1)),
	       max(vqueue.position_from_board(vqueue.board('empty')::jsonb, 1, 'low'))}), '1|1', 'in an empty queue a newcomer is first');

# ---- JavaScript ----

SKIP:
{
	my $js = $node->safe_psql('postgres', $points . q{
		SELECT t.ticket, l.lane, vqueue.position_from_board(b.board, t.ticket, l.lane), b.text
		  FROM boards b, unnest('{vip,high,normal,low}'::text[]) AS l (lane),
		       LATERAL (SELECT generate_series(0, (b.board ->> 'last_ticket')::bigint + 100,
		                                       1 + (b.board ->> 'last_ticket')::bigint / 150) AS ticket
		                 UNION SELECT p.ticket FROM points p WHERE p.name = b.name AND p.lane = l.lane) AS t});
	my ($out, $err) = ('', '');

	$js =~ s/^(\d+)\|(\w+)\|(\d+)\|/$1\t$2\t$3\t/mg;
	skip 'there is no node', 3
	  unless eval { IPC::Run::run(['node', "$FindBin::RealBin/../board/check.js", "$FindBin::RealBin/../board/position_from_board.js",
			"$FindBin::RealBin/../../README.md"], '<', \$js, '>', \$out, '2>', \$err) };
	my ($compared, $wrong, $same_text) = split / /, $out;
	chomp $same_text;
	cmp_ok($compared, '>', 1000, "$compared positions were computed in JavaScript too");
	is($wrong, '0', 'they are the same');
	is($same_text, 'true', 'by the function that the README shows');
}

# ---- on a standby ----

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
# Turns that were taken are known to memory alone.
my $ask = q{
	SELECT string_agg(jsonb_path_query_array(b.board, '$.lanes.*.points')::text || (b.board ->> 'waiting') || (b.board ->> 'serving')
	                  || coalesce(b.board ->> 'head', 'null') || (b.board -> 'lanes' -> 'low' ->> 'next'), ' ' ORDER BY b.name)
	  FROM (SELECT q.name, vqueue.board(q.name)::jsonb AS board FROM vqueue.queues q
	         WHERE q.name NOT IN ('q1', 'q2') OR q.lane_weights IS NULL) b};
same_lines($standby->safe_psql('postgres', $ask), $node->safe_psql('postgres', $ask), 'a standby has the same points');
is($standby->safe_psql('postgres', q{SELECT vqueue.board('q4')::jsonb #>> '{lanes,normal,estimate,0,1}' IS NULL}), 't', 'but tells no waits');
fails_with($standby, 'postgres', q{SELECT vqueue.board('none')}, '42704', qr/queue "none" does not exist/, 'an unknown queue there');

check_clean($node, 'postgres', 'memory is right at the end');
$standby->stop;
$node->stop;
done_testing();
