#
# A shop sells 500 seats to 5,000 people, as README shows it: they join, poll,
# claim their slot when called, and in one transaction hold a seat, write the
# order and complete.  Payments fail, people vanish, come too late or click twice.
#
# The people are played by pgbench: each of its clients looks after some
# hundreds of them, one after the other, as a web server would.  What a person
# knows between two requests, as by a cookie, is a row of the table people.
#
# VQ_TORTURE=N sells in N shows, one after the other.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $clients = 24;
my $cap = 150;
my $node = new_vqueue_node('main');

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;

	-- the shop, as in README
	CREATE TABLE seats (seat int PRIMARY KEY, session uuid UNIQUE);
	CREATE TABLE orders (session uuid PRIMARY KEY, seat int NOT NULL UNIQUE REFERENCES seats,
	                     at timestamptz NOT NULL DEFAULT clock_timestamp());

	-- what only the test has: the people, what befell them, and when all was over
	CREATE TABLE people (n int PRIMARY KEY, client int NOT NULL, session uuid, inside bool NOT NULL DEFAULT false,
	                     tries int NOT NULL DEFAULT 0, outcome text) WITH (fillfactor = 50);
	CREATE INDEX ON people (client, n) WHERE outcome IS NULL;
	CREATE TABLE declined (n int, session uuid);
	CREATE TABLE refused (n int, why text);
	CREATE TABLE over (at timestamptz);

	-- how an application meets what it has to expect: that the queue has closed, or that a call was missed
	CREATE FUNCTION arrive(n int) RETURNS uuid LANGUAGE plpgsql AS $$
	BEGIN
		RETURN (vqueue.join('show', user_id => vqueue.user_id('person ' || n), user_name => 'person ' || n)).id;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		RETURN NULL;
	END $$;
	CREATE FUNCTION come_in(session uuid) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		RETURN (vqueue.claim(session)).status;
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		RETURN (vqueue.status(session)).status;
	END $$;

	-- the purchase as one call; what a session buys if it may
	CREATE FUNCTION click(buyer uuid) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		bought int;
	BEGIN
		IF (vqueue.complete(buyer)).status <> 'completed' THEN
			RETURN 'time is up';
		END IF;
		WITH free AS (SELECT seat FROM seats s WHERE s.session IS NULL ORDER BY seat LIMIT 1 FOR UPDATE SKIP LOCKED),
		     held AS (UPDATE seats SET session = buyer FROM free WHERE seats.seat = free.seat RETURNING seats.seat)
		INSERT INTO orders (session, seat) SELECT buyer, seat FROM held RETURNING seat INTO bought;
		RETURN coalesce('seat ' || bought, 'none left');
	EXCEPTION WHEN unique_violation THEN
		RETURN 'has one';
	END $$});
wait_for_worker($node);

# One request of one person, each second one of somebody inside.  By their number, those of each 40: the first closes
# the page at once, the second does once inside, the third clicks twice, the
# fourth loses patience.  Numbers 0 and 1 are false and true.
my $script = <<'SCRIPT';
\set turn 1 - :turn
SELECT coalesce(min(n) FILTER (WHERE inside AND :turn = 1), min(n) FILTER (WHERE n > :last), min(n), -1) AS n
  FROM people WHERE client = :client_id AND outcome IS NULL \gset
\if :turn = 0
\set last :n
\endif
\if :n < 0
\sleep 100 ms
\else
SELECT (session IS NOT NULL)::int AS here, inside::int, tries, n % 40 AS kind, n % 2 AS odd,
       coalesce(session, gen_random_uuid()) AS session FROM people WHERE n = :n \gset
SELECT (NOT EXISTS (SELECT FROM seats WHERE session IS NULL))::int AS sold_out \gset
\if :here = 0
-- comes
UPDATE people SET session = arrive(n), tries = tries + 1 WHERE n = :n;
UPDATE people SET outcome = CASE WHEN session IS NULL THEN 'too late' WHEN :kind = 0 THEN 'vanished' END WHERE n = :n;
\elif :sold_out = 1
-- is told that all is gone
SELECT count(*) AS still FROM vqueue.overview WHERE queue = 'show' AND state <> 'closed' \gset
\if :still
SELECT vqueue.close('show');
INSERT INTO over VALUES (clock_timestamp());
\endif
SELECT status = 'left' AS gone FROM vqueue.leave(':session');
UPDATE people SET outcome = 'sold out' WHERE n = :n;
\elif :inside = 0
-- waits
SELECT (status = 'ready')::int AS called, (status = 'waiting')::int AS waiting FROM vqueue.poll(':session') \gset
\if :called
SELECT (come_in(':session') = 'serving')::int AS inside \gset
UPDATE people SET inside = (:inside = 1), outcome = CASE WHEN :inside = 1 AND :kind = 1 THEN 'vanished inside' END WHERE n = :n;
\elif :waiting
\if :kind = 3
SELECT status FROM vqueue.leave(':session');
UPDATE people SET outcome = 'impatient' WHERE n = :n;
\endif
\else
-- missed the call: most come again, to the end of the line, however often a slow machine makes them miss it
UPDATE people SET session = NULL, outcome = CASE WHEN :kind IN (5, 7, 9) THEN 'missed it' END WHERE n = :n;
\endif
\else
-- is inside, and buys
\set luck random(1, 3)
BEGIN;
SELECT (status = 'completed')::int AS inside FROM vqueue.complete(':session') \gset
WITH free AS (SELECT seat FROM seats WHERE session IS NULL ORDER BY seat LIMIT 1 FOR UPDATE SKIP LOCKED),
     held AS (UPDATE seats SET session = ':session' FROM free WHERE seats.seat = free.seat RETURNING seats.seat),
     ordered AS (INSERT INTO orders (session, seat) SELECT ':session', seat FROM held RETURNING seat)
SELECT count(*) AS bought FROM ordered \gset
\sleep 2 ms
\if :inside = 0
-- took too long, and the slot is somebody else's
ROLLBACK;
INSERT INTO refused VALUES (:n, 'time');
UPDATE people SET inside = false, outcome = 'expired' WHERE n = :n;
\elif :bought = 0
-- others are paying for the last ones; the next time round there is one, or none for good
ROLLBACK;
INSERT INTO refused VALUES (:n, 'last ones held');
\elif :luck = 1
-- the payment is declined: tries again with the slot kept, or gives up
ROLLBACK;
INSERT INTO declined VALUES (:n, ':session');
\if :odd = 1
SELECT status FROM vqueue.leave(':session');
UPDATE people SET outcome = 'declined' WHERE n = :n;
\endif
\else
COMMIT;
UPDATE people SET outcome = 'bought' WHERE n = :n;
\if :kind = 2
-- clicked twice: the second request finds the order that there is
SELECT click(':session');
\endif
\endif
\endif
\endif
SCRIPT

sub sale
{
	my ($show) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# Timeouts are short, so that the test need not wait long for those who vanish.
	$node->safe_psql('postgres', qq{
		TRUNCATE seats, orders, people, declined, refused, over;
		INSERT INTO seats SELECT generate_series(1, 500);
		INSERT INTO people SELECT n, n % $clients FROM generate_series(1, 5000) n;
		VACUUM ANALYZE people, seats;
		SELECT vqueue.create_queue('show', release_rate_per_minute => 30000, max_concurrent_users => $cap,
		                           claim_timeout => '4 s', serving_timeout => '6 s')});
	my $crowd = pgbench_crowd($node, 'postgres', $script, $clients, '-j', 2, '-D', 'last=0', '-D', 'turn=0');

	ok($node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM people WHERE outcome IS NULL)}),
		"$show: everybody knows how it ended");
	is($crowd->stop, '', "$show: no client had an error");
	note $node->safe_psql('postgres', q{
		SELECT outcome, count(*) FROM people GROUP BY outcome
		UNION ALL SELECT 'payments declined', count(*) FROM declined
		UNION ALL (SELECT 'sent back: ' || why, count(*) FROM refused GROUP BY why)
		UNION ALL (SELECT 'session ' || status, count(*) FROM vqueue.sessions WHERE queue = 'show' GROUP BY status)});

	# ---- the seats ----

	is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT seat), count(DISTINCT session) FROM orders}),
		'500|500|500', "$show: 500 seats are sold, each once");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM seats FULL JOIN orders USING (seat) WHERE seats.session IS DISTINCT FROM orders.session}),
		'0', "$show: to those who have the orders");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM orders o FULL JOIN (SELECT * FROM vqueue.sessions WHERE queue = 'show' AND status = 'completed') s ON s.id = o.session
		 WHERE o.session IS NULL OR s.id IS NULL OR s.ready_at IS NULL OR o.at < s.served_at}),
		'0', "$show: who has an order was let in and is done, and nobody else is");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM people p FULL JOIN orders o ON o.session = p.session
		 WHERE (p.outcome = 'bought') IS DISTINCT FROM (o.session IS NOT NULL)}),
		'0', "$show: who was told so has bought, and nobody else has");
	is($node->safe_psql('postgres', q{
		SELECT count(*) - count(DISTINCT s.user_id) FROM orders o JOIN vqueue.user_sessions s ON s.id = o.session}),
		'0', "$show: nobody has bought two");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM declined'), '>', 100, "$show: many payments were declined");

	# ---- the end ----

	is($node->safe_psql('postgres', q{
		SELECT count(*), (SELECT count(*) FROM orders WHERE orders.at > e.at),
		       (SELECT count(*) FROM vqueue.sessions WHERE queue = 'show' AND ready_at > e.at)
		  FROM (SELECT max(at) AS at FROM over HAVING count(*) > 0) e GROUP BY e.at}),
		'1|0|0', "$show: after the end nobody buys or is called");
	fails_with($node, 'postgres', q{SELECT vqueue.join('show')}, '55000', undef, "$show: or joins");
	ok($node->poll_query_until('postgres', q{SELECT serving = 0 FROM vqueue.overview WHERE queue = 'show'}),
		"$show: the slots of those who vanished come free");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM vqueue.sessions s LEFT JOIN people p ON p.session = s.id
		 WHERE queue = 'show' AND left_at IS NULL AND p.outcome IS DISTINCT FROM 'vanished'}),
		'0', "$show: nobody is left but who vanished from the line");
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM people p JOIN vqueue.user_sessions s ON s.id = p.session
		 WHERE p.outcome = 'vanished inside' AND s.status <> 'expired'}),
		'0', "$show: who vanished inside has run out of time");
	cmp_ok($node->safe_psql('postgres', q{
		WITH steps AS (
			SELECT coalesce(ready_at, served_at) AS at, 1 AS step FROM vqueue.sessions
			 WHERE queue = 'show' AND coalesce(ready_at, served_at) IS NOT NULL
			UNION ALL
			SELECT left_at, -1 FROM vqueue.sessions WHERE queue = 'show' AND coalesce(ready_at, served_at) IS NOT NULL)
		SELECT max(inside) FROM (SELECT sum(step) OVER (ORDER BY at, step) AS inside FROM steps) i}),
		'<=', $cap, "$show: never were more inside than there are slots");
	check_clean($node, 'postgres', "$show: memory is right");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM vqueue.health() WHERE status <> 'ok'}), "$show: and all is well");
	$node->safe_psql('postgres', q{SELECT vqueue.drop_queue('show', force => true)});
	return;
}

# ---- one buyer with two windows, and one whose payment takes longer than the lease ----

$node->safe_psql('postgres', q{
	INSERT INTO seats SELECT generate_series(1, 3);
	SELECT vqueue.create_queue('two windows', 10000000, 10, burst => 10);
	SELECT vqueue.create_queue('slow', 10000000, 10, burst => 10)});
my $window = psql_session($node);
my $other = psql_session($node);
my $buyer = $node->safe_psql('postgres', q{SELECT id FROM vqueue.join('two windows')});
my $slow = $node->safe_psql('postgres', q{SELECT id FROM vqueue.join('slow')});
my $slower = $node->safe_psql('postgres', q{SELECT id FROM vqueue.join('slow')});

is($window->query_safe("BEGIN; SELECT click('$buyer')"), 'seat 1', 'a buyer holds a seat');
$other->send("BEGIN; SELECT click('$buyer')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted'), 'and has clicked again, which waits');
$window->query_safe('ROLLBACK');
is($other->wait, 'seat 1', 'when the first is rolled back, the second buys');
$window->send("BEGIN; SELECT click('$buyer')");
ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_locks WHERE NOT granted'), 'the third click waits');
$other->query_safe('COMMIT');
is($window->wait, 'has one', 'when the second is committed, the third finds its order');
$window->query_safe('ROLLBACK');
is($node->safe_psql('postgres', 'SELECT count(*), count(session) FROM seats'), '3|1', 'which is of one seat');

is($window->query_safe("BEGIN; SELECT click('$slow')"), 'seat 2', 'one is paying');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('slow', serving_timeout => '1 s')});
ok($node->poll_query_until('postgres', "SELECT status = 'expired' FROM vqueue.status('$slower')"), 'while the lease of another runs out');
is($node->safe_psql('postgres', "SELECT click('$slower')"), 'time is up', 'who is told so');
$window->query_safe('COMMIT');
is($node->safe_psql('postgres', "SELECT status FROM vqueue.status('$slow')"), 'completed', 'who was paying has bought');
check_clean($node, 'postgres', 'memory is right');
$_->quit foreach $window, $other;

# ---- the sale ----

sale("show $_") foreach 1 .. ($ENV{VQ_TORTURE} || 1);
$node->stop;
done_testing();
