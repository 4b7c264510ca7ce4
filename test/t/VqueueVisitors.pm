#
# VqueueVisitors: clients that keep a ledger of every answer they got.
#
# Each client is a psql with a long script, written from a seed before it
# starts.  Whatever a server acknowledged to it is a line of its output; when
# the server dies, psql ends by itself and keeps what it has.  The lines of all
# clients, on all servers that they have talked to, are then loaded into a
# table beside those of vqueue, and the two are held against each other in SQL.
#
# A line is: verb, queue, session, user, ticket, status, served_at, the time at
# which the server was asked, the transaction.  Times are in microseconds.
# One client asks for one thing after the other, so the time of a line is also
# one at which it had the answer of the line before.
#
package VqueueVisitors;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  prepare_ledger
  start_visitors
  load_ledger
  ledger_holds
  clients_inside
  releases_go_on
  stand_still
  answers_by_table
  is_standby
  none_found
);

# The seed makes the scripts, not the interleaving, the same again.
my $seed = $ENV{VQ_SEED} || time;

my @lanes = qw(normal normal normal low high vip);

# Columns of a line, from a place named p.
my $columns = q{p.queue, p.id, p.user_id, p.ticket, p.status, us(p.served_at), us(statement_timestamp()),
	pg_current_xact_id_if_assigned()::xid};

# ---- scripts ----

# One visitor, or a few: those who join, leave at once, look again, change their mind.
sub visit
{
	my ($self, $client, $n) = @_;
	my $queue = $self->{queues}[ rand @{ $self->{queues} } ];
	my $lane = $lanes[ rand @lanes ];
	my $kind = rand 100;
	my $user = sprintf('%08x-%04x-4000-8000-%011x', hex $self->{tag}, $client, $n);
	my $join = "vqueue.join('$queue', '${user}0', priority => '$lane') p";

	return "BEGIN;\nSELECT 'undone', $columns FROM $join;\nROLLBACK;\n" if $kind < 10;
	return "SELECT 'joined', $columns FROM vqueue.join_many('$queue', "
	  . "ARRAY['${user}0', '${user}1', '${user}2']::uuid[], '$lane') p;\n" if $kind < 20;
	return "SELECT 'joined', $columns FROM $join;\n" if $kind < 60;
	return "BEGIN;\nSAVEPOINT s;\nSELECT 'undone', $columns FROM vqueue.join('$queue', '${user}1') p;\nROLLBACK TO s;\n"
	  . keep_line($join) . "COMMIT;\n\\echo :line\n" if $kind < 65;
	return keep_line($join) . "\\echo :line\n"
	  . ($kind < 85 ? "SELECT 'polled', $columns FROM vqueue.poll(:'me') p;\n"
		: "SELECT 'left', $columns FROM vqueue.leave(:'me') p;\n");
}

# Joins, but leaves it to the script when to say so.
sub keep_line
{
	my ($join) = @_;

	return "SELECT p.id AS me, concat_ws('|', 'joined', p.queue, p.id, p.user_id, p.ticket, p.status,\n"
	  . " coalesce(us(p.served_at)::text, ''), us(statement_timestamp()), pg_current_xact_id_if_assigned()::xid) AS line\n"
	  . " FROM $join \\gset\n";
}

# Looks who is inside, then has some of them go.
sub turn
{
	my ($self, $client) = @_;
	my $queue = $self->{completed}[ rand @{ $self->{completed} } ];
	my $inside = qq{SELECT s.* FROM vqueue.sessions s WHERE s.queue = '$queue' AND s.left_at IS NULL
		AND s.status = 'serving' AND s.ticket % $self->{completers} = $client};

	return "SELECT 'inside', $columns FROM ($inside) p;\n"
	  . "SELECT 'completed', $columns FROM ($inside ORDER BY s.ticket LIMIT 5) s, vqueue.complete(s.id) p;\n";
}

sub start_client
{
	my ($self, $node, $name, $script) = @_;
	my $file = "$self->{dir}/$name";
	my $client = { who => "$self->{tag}/$name", out => "$file.out", err => "$file.err" };

	append_to_file("$file.sql", $script);
	$client->{timer} = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	$client->{run} = IPC::Run::start(
		[
			$node->installed_command('psql'), '-XAtq', '-f', "$file.sql",
			'-d', $node->connstr('postgres') . ' application_name=visitor'
		],
		'<', \undef, '>', $client->{out}, '2>', $client->{err}, $client->{timer});
	push @{ $self->{clients} }, $client;
	return;
}

# Parameters: tag (hex digits that tell one crowd's users from another's),
# queues to join, completed: those of them in which sessions are completed;
# joiners, completers and visits: how many; pause: seconds between two visits of
# one client, of which the script has enough for some minutes.
sub start_visitors
{
	my ($node, %params) = @_;
	my $self = bless { joiners => 6, completers => 2, visits => 6000, pause => 0.02, clients => [],
		dir => PostgreSQL::Test::Utils::tempdir(), %params }, 'VqueueVisitors';

	note "VQ_SEED=$seed";
	my $pause = "SELECT pg_sleep($self->{pause}) \\gset\n";
	srand($seed ^ hex $self->{tag});
	foreach my $client (0 .. $self->{joiners} - 1)
	{
		start_client($self, $node, "joiner$client", join($pause, map { visit($self, $client, $_) } 1 .. $self->{visits}));
	}
	foreach my $client (0 .. $self->{completers} - 1)
	{
		start_client($self, $node, "completer$client", join($pause, map { turn($self, $client) } 1 .. $self->{visits}));
	}
	return $self;
}

# ---- their end ----

# Wait until all have ended: their server is gone, or they have done all they wanted.
sub wait_for_end
{
	my ($self) = @_;

	foreach my $client (@{ $self->{clients} })
	{
		$client->{timer}->start;
		IPC::Run::finish($client->{run});
	}
	return;
}

sub send_away
{
	my ($self, $node) = @_;

	$node->safe_psql('postgres', q{SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name = 'visitor'});
	return $self->wait_for_end;
}

# Errors other than the loss of the connection.
sub errors
{
	my ($self) = @_;

	return join '', grep { /ERROR/ } map { split /^/, slurp_file($_->{err}) } @{ $self->{clients} };
}

# ---- the ledger ----

# Helpers that the clients' statements use, and the table.
sub prepare_ledger
{
	my ($node) = @_;

	$node->safe_psql('postgres', q{
		CREATE FUNCTION us(timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
			AS 'SELECT (extract(epoch FROM $1) * 1000000)::bigint';
		CREATE UNLOGGED TABLE ledger (who text, n int, verb text, queue text, id uuid, user_id uuid, ticket bigint,
			status text, served_at bigint, asked_at bigint, xid xid, answered_at bigint)});
	return;
}

# Load what all these visitors were told.
sub load_ledger
{
	my ($node, @visitors) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $lines = 0;

	open my $copy, '>', "$dir/ledger" or die "$dir/ledger: $!";
	foreach my $client (map { @{ $_->{clients} } } @visitors)
	{
		my $n = 0;

		foreach my $line (split /\n/, slurp_file($client->{out}))
		{
			print $copy join('|', $client->{who}, $n++, $line), "\n";
			$lines++;
		}
	}
	close $copy;
	$node->safe_psql('postgres', qq{
		\\copy ledger (who, n, verb, queue, id, user_id, ticket, status, served_at, asked_at, xid) FROM '$dir/ledger' (DELIMITER '|', NULL '')
		UPDATE ledger l SET answered_at = a.at
		  FROM (SELECT who, n, min(asked_at) OVER (PARTITION BY who ORDER BY asked_at RANGE BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS at
		          FROM ledger) a
		 WHERE a.who = l.who AND a.n = l.n;
		CREATE INDEX IF NOT EXISTS ledger_id ON ledger (id);
		ANALYZE ledger});
	return $lines;
}

# The number of lines that a condition finds, with the first of them if there are any.
sub none_found
{
	my ($node, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @found = split /\n/, $node->safe_psql('postgres', $sql);

	diag(join "\n", scalar(@found) . ' found, the first of them:', @found[ 0 .. ($#found > 4 ? 4 : $#found) ]) if @found;
	return is(scalar(@found), 0, $name);
}

# What every client was told is what the tables say, now that all is quiet.
sub ledger_holds
{
	my ($node, $after) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $row = 'LEFT JOIN vqueue.user_sessions s ON s.id = l.id';
	my $what = 'SELECT l.verb, l.queue, l.id, l.ticket, l.status, l.xid, s.ticket, s.status FROM ledger l';

	none_found($node, "$what $row WHERE l.verb = 'joined'
		AND (s.id IS NULL OR s.ticket <> l.ticket OR s.user_id <> l.user_id)",
		"$after: everybody whose join was answered is there with their ticket");
	none_found($node, "$what $row WHERE l.verb = 'undone' AND s.id IS NOT NULL",
		"$after: nobody who was rolled back is");
	none_found($node, "$what $row WHERE l.verb IN ('left', 'completed') 
		AND (s.status IS DISTINCT FROM l.status OR s.left_at IS NULL)",
		"$after: who left or was done has left or is done");
	none_found($node, "$what $row WHERE l.served_at IS NOT NULL AND l.verb <> 'undone'
		AND l.served_at IS DISTINCT FROM us(s.served_at)",
		"$after: who was inside came in when they were told");
	none_found($node, qq{SELECT queue, ticket FROM (
			SELECT queue, ticket, id FROM ledger
			UNION SELECT queue, ticket, id FROM vqueue.sessions) t
		GROUP BY queue, ticket HAVING count(*) > 1}, "$after: no ticket was issued twice");

	# b was let in while a, who had been told before that it waits, stood ahead of
	# it.  The windows find who may have been passed, the join makes sure.
	none_found($node, qq{
		WITH told AS (
			SELECT s.queue, s.queue_id, s.ticket, s.priority, s.status, us(s.served_at) AS served, l.answered_at,
			       us(min(s.served_at) OVER later) AS first_later, us(max(s.served_at) OVER later) AS last_later
			  FROM vqueue.sessions s LEFT JOIN ledger l ON l.id = s.id AND l.verb = 'joined'
			WINDOW later AS (PARTITION BY s.queue_id, s.priority ORDER BY s.ticket DESC))
		SELECT a.queue, a.priority, a.ticket, b.ticket, b.served_at FROM told a
		  JOIN vqueue.user_sessions b ON b.queue_id = a.queue_id AND b.priority = a.priority AND b.ticket > a.ticket
		   AND us(b.served_at) > a.answered_at AND (a.served IS NULL OR us(b.served_at) < a.served)
		 WHERE a.status IN ('waiting', 'serving', 'completed') AND a.last_later > a.answered_at
		   AND (a.served IS NULL OR a.first_later < a.served)},
		"$after: nobody was passed by a later one of the same priority");
	return;
}

# The greatest number of clients that were inside at one time by what they
# know: from the answer that they are until they ask to go, or have gone though
# the answer was lost.
sub clients_inside
{
	my ($node, $queue) = @_;

	return $node->safe_psql('postgres', qq{
		WITH stays AS (
			SELECT min(l.answered_at) FILTER (WHERE l.status = 'serving') AS since,
			       coalesce(least(min(l.asked_at) FILTER (WHERE l.verb IN ('completed', 'left')), us(min(s.left_at))),
			                1::bigint << 62) AS until
			  FROM ledger l JOIN vqueue.user_sessions s ON s.id = l.id WHERE l.queue = '$queue' GROUP BY l.id),
		steps AS (
			SELECT since AS at, 1 AS step FROM stays WHERE since < until
			UNION ALL
			SELECT until, -1 FROM stays WHERE since < until)
		SELECT coalesce(max(inside), 0)
		  FROM (SELECT sum(step) OVER (ORDER BY at, step) AS inside FROM steps) i});
}

# Each of the queues has let in some more.
sub releases_go_on
{
	my ($node, $name, @queues) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	foreach my $queue (@queues)
	{
		my $served = "SELECT count(served_at) %s FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$queue')";
		my $then = $node->safe_psql('postgres', sprintf $served, '+ 25');

		ok($node->poll_query_until('postgres', sprintf $served, "> $then"), "$name: releases go on in $queue");
	}
	return;
}

# ---- answers ----

# What a naive reader of the tables counts, beside what the functions answer.
# Not of all, as a standby counts anew for each.
my $wrong_answers = q{
	WITH naive AS MATERIALIZED (
		SELECT q.name AS queue, s.*, CASE WHEN s.left_at IS NULL THEN
		       CASE s.status WHEN 'waiting'
		            THEN row_number() OVER (PARTITION BY q.id, s.left_at, s.status
		                                    ORDER BY array_position('{vip,high,normal,low}', s.priority), s.ticket)
		            ELSE 0 END END AS counted
		  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id),
	picked AS MATERIALIZED (
		SELECT * FROM naive ORDER BY queue <> 'still', md5(id::text) LIMIT 300)
	SELECT n.*, p.* FROM picked n, vqueue.sessions s, vqueue.poll(n.id) p
	 WHERE s.id = n.id AND (
	       (p.status, p.ticket, p.priority, p.served_at) IS DISTINCT FROM (n.status, n.ticket, n.priority, n.served_at)
	    OR p.position IS DISTINCT FROM counted OR s.position IS DISTINCT FROM counted
	    OR vqueue.position(n.id) IS DISTINCT FROM counted OR vqueue.heartbeat(n.id) IS DISTINCT FROM counted
	    OR vqueue.position(n.queue, n.ticket) IS DISTINCT FROM counted)};
my $wrong_figures = q{
	SELECT o.* FROM vqueue.overview o
	 WHERE (waiting, serving, head)::text IS DISTINCT FROM (
		SELECT (count(*) FILTER (WHERE status = 'waiting'), count(*) FILTER (WHERE status <> 'waiting'),
		       (array_agg(ticket ORDER BY array_position('{vip,high,normal,low}', priority), ticket)
		              FILTER (WHERE status = 'waiting'))[1])::text
		  FROM vqueue.user_sessions s WHERE s.queue_id = o.id AND left_at IS NULL)};

# Pause all queues, and wait until what was under way has come to its end.
sub stand_still
{
	my ($node) = @_;

	$node->safe_psql('postgres', 'SELECT count(vqueue.pause(queue)) FROM vqueue.overview');
	$node->poll_query_until('postgres', "SELECT NOT EXISTS ($wrong_figures)") or die 'memory does not follow';
	return;
}

sub answers_by_table
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($node->safe_psql('postgres', $wrong_answers), '', "$name: status, poll, heartbeat and position are what the tables say");
	is($node->safe_psql('postgres', $wrong_figures), '', "$name: overview is");
	return;
}

# A standby, or a server in recovery, that answers by its tables alone.
sub is_standby
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($node->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', "$name: it is a standby");
	answers_by_table($node, $name);
	is($node->safe_psql('postgres', 'SELECT * FROM vqueue.check()'), '', "$name: check answers");
	is($node->safe_psql('postgres', q{SELECT string_agg(status, ',') FROM vqueue.health() WHERE "check" IN ('role', 'memory', 'queues')}),
		'ok,ok,ok', "$name: health finds nothing");
	is($node->safe_psql('postgres', 'SELECT queues FROM vqueue.memory()'), '0', "$name: no line was built there");
	return;
}

1;
