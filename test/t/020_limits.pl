#
# At the limits: the smallest and the largest caps, rates, tickets and names,
# in every encoding.  Each is either right or refused with a clear error.
#
# VQ_TORTURE waits for the second release of a queue that lets in one a minute,
# and tries every encoding that a server can have rather than five.
#
use strict;
use warnings;

use Digest::SHA qw(sha1);
use Encode qw(encode decode);
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => "max_worker_processes = 16\nvqueue.poll_budget = 0");

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('one', 10000000, 1);
	SELECT vqueue.create_queue('slow', 1, 100000000);
	SELECT vqueue.create_queue('fast', 1000000, 100000000, state => 'paused');
	SELECT vqueue.create_queue('swing', 1000000, 100000000, burst => 1, state => 'paused')});
wait_for_worker($node);

# Collect a session's events until check says yes.
sub collect_until
{
	my ($listener, $check) = @_;
	my @notes;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		push @notes, $listener->notes;
		return @notes if $check->(@notes);
		select(undef, undef, undef, 0.05);
	}
	diag('the events awaited did not come');
	return @notes;
}

sub served
{
	my ($queue) = @_;

	return "(SELECT count(served_at) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('$queue'))";
}

# ---- a cap of 0 is none, a cap of 1 is kept ----

foreach my $statement (q{SELECT vqueue.create_queue('none', max_concurrent_users => 0)},
	q{SELECT vqueue.alter_queue('one', max_concurrent_users => 0)})
{
	fails_with($node, 'postgres', $statement, '22023', qr/max_concurrent_users 0 is out of range.*HINT:  To let nobody in, call vqueue.pause/s, $statement);
}
fails_with($node, 'postgres', q{UPDATE vqueue.queues SET max_concurrent_users = 0 WHERE name = 'one'}, '23514',
	qr/queues_max_concurrent_users_check/, 'a cap of 0 by hand');
fails_with($node, 'postgres', q{INSERT INTO vqueue.queues (name, max_concurrent_users) VALUES ('none', 0)}, '23514',
	qr/queues_max_concurrent_users_check/, 'and in a new row');

# Some join for good, some roll back, some go while they wait, and all end
# whoever is inside.
my $crowd = pgbench_crowd($node, 'postgres', q{
\set dice random(1, 4)
BEGIN;
SELECT id AS session FROM vqueue.join('one') \gset
\if :dice = 1
ROLLBACK;
\else
COMMIT;
\endif
\if :dice = 2
SELECT status FROM vqueue.leave(':session');
\endif
SELECT count(vqueue.complete(id)) FROM (SELECT id FROM vqueue.user_sessions
 WHERE queue_id = vqueue._queue('one') AND status = 'serving' FOR UPDATE SKIP LOCKED) s;
}, 4);
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 300 FROM vqueue.user_sessions WHERE status = 'completed'}),
	'hundreds go through one slot');
is($crowd->stop, '', 'without an error');
$node->safe_psql('postgres', q{
	DO $$
	DECLARE
		deadline timestamptz := clock_timestamp() + interval '} . $PostgreSQL::Test::Utils::timeout_default . q{ s';
	BEGIN
		WHILE clock_timestamp() < deadline LOOP
			PERFORM vqueue.complete(id) FROM vqueue.user_sessions
			  WHERE queue_id = vqueue._queue('one') AND status = 'serving';
			COMMIT;
			EXIT WHEN NOT EXISTS (SELECT FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('one') AND left_at IS NULL);
		END LOOP;
	END $$});
is($node->safe_psql('postgres', q{SELECT waiting, serving FROM vqueue.overview WHERE queue = 'one'}), '0|0', 'all of them in the end');
is(count_over_cap($node, 'postgres', 'one'), '1', 'and never two at a time');

# ---- one a minute, and a million a minute ----

$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('slow', " . users('a', 1, 100) . ')');
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('fast', " . users('a', $_ * 10000, $_ * 10000 + 9999) . ')')
  foreach 1 .. 4;
$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('swing', " . users('a', 1, 3000) . ')');
$node->safe_psql('postgres', q{SELECT vqueue.resume('fast')});
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 FROM vqueue.overview WHERE queue = 'fast'}),
	'a million a minute: all 40000 come in');
cmp_ok(count_over_rate($node, 'postgres', 'fast', 1000000), '<=', 1666, 'never more than a tenth of a second\'s worth above the rate');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT served_at < lag(served_at) OVER (ORDER BY ticket) AS early
	FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('fast')) s WHERE early}), '0', 'in order');
is(count_over_rate($node, 'postgres', 'slow', 1), '1', 'one a minute meanwhile: no more than one and the rate');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (SELECT (vqueue.status(id)).* FROM vqueue.user_sessions
	                       WHERE queue_id = vqueue._queue('slow') AND status = 'waiting') p
	 WHERE estimated_wait NOT BETWEEN (position - 1) * interval '1 min' AND position * interval '1 min'
	    OR next_poll_after > interval '1 min'}), '0', 'each estimate is as many minutes as there are people ahead');

# From the one to the other and back, with people inside the bucket's reach.
$node->safe_psql('postgres', q{SELECT vqueue.resume('swing')});
ok($node->poll_query_until('postgres', 'SELECT ' . served('swing') . ' >= 3'), 'a queue lets in at a million a minute');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('swing', release_rate_per_minute => 1)});
$node->safe_psql('postgres', q{CREATE TABLE slowed AS SELECT clock_timestamp() AS at});
$node->safe_psql('postgres', q{SELECT vqueue.pause('swing'); SELECT vqueue.resume('swing')}) foreach 1 .. 10;
is($node->safe_psql('postgres', q{SELECT count(served_at) <= 1 + floor(extract(epoch FROM clock_timestamp() - at) / 60)
	FROM slowed LEFT JOIN vqueue.user_sessions ON queue_id = vqueue._queue('swing') AND served_at > at GROUP BY at}), 't', 'set to one a minute it lets in one at the most');
$node->safe_psql('postgres', q{SELECT vqueue.alter_queue('swing', release_rate_per_minute => 1000000)});
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 FROM vqueue.overview WHERE queue = 'swing'}), 'and goes on when set back');
cmp_ok(count_over_rate($node, 'postgres', 'swing', 1000000), '<=', 1, 'within the rate and a burst of 1');

if ($ENV{VQ_TORTURE})
{
	ok($node->poll_query_until('postgres', 'SELECT ' . served('slow') . ' >= 3'), 'one a minute: the third comes in');
	is(count_over_rate($node, 'postgres', 'slow', 1), '1', 'each a minute after the one before');
}
check_clean($node, 'postgres', 'memory is right');

# ---- tickets ----

# A line that crosses 2^bits: by COPY before and after it, and by joining.
sub crosses
{
	my ($bits) = @_;
	my $queue = "bits$bits";
	my $edge = 2**$bits;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';
	my $id = $node->safe_psql('postgres', "SELECT vqueue.create_queue('$queue', 10000000, 10000, state => 'paused')");

	foreach my $i (1 .. 300)
	{
		my $ticket = sprintf '%d', $edge - 2200 + $i * 7;
		append_to_file($file, join("\t", $id, sprintf('c%07d-0000-0000-0000-000000000000', $i), $ticket, qw(low normal high vip)[ $i % 4 ]) . "\n");
	}
	$node->safe_psql('postgres', "\\copy vqueue.user_sessions (queue_id, user_id, ticket, priority) FROM '$file'");
	is($node->safe_psql('postgres', "SELECT count(*), min(ticket) > $edge - 100, max(ticket) < $edge + 300
		FROM vqueue.join_many('$queue', " . users('d', 1, 200) . ')'), '200|t|t', "2^$bits: tickets go on across it");
	$node->safe_psql('postgres', "SELECT vqueue.leave(id) FROM vqueue.user_sessions WHERE queue_id = '$id' AND ticket % 5 = 1 AND ticket <> $edge");
	positions_right($node, 'postgres', "2^$bits: positions", $queue);
	is($node->safe_psql('postgres', "SELECT count(*) FROM vqueue.sessions WHERE queue = '$queue' AND ticket = $edge AND vqueue.position('$queue', ticket) = position"),
		'1', "2^$bits: itself is there");
	return;
}

# All come in in the order of the line, and are told exactly.
sub is_let_in
{
	my ($bits) = @_;
	my $queue = "bits$bits";
	my $order = $node->safe_psql('postgres', "SELECT string_agg(ticket::text, ' ' ORDER BY position) FROM vqueue.sessions
		WHERE queue = '$queue' AND status = 'waiting'");
	my $listener = psql_session($node);
	my $told = sub {
		return map { my $note = $_; map { $_->{ticket} } @{ $note->{sessions} } }
		  grep { $_->{event} eq 'released' } map { JSON::PP->new->allow_bignum->decode($_->{payload}) } @_;
	};

	$listener->query_safe("LISTEN vqueue_$queue");
	$node->safe_psql('postgres', "SELECT vqueue.resume('$queue')");
	my $all = scalar(split / /, $order);
	my @notes = collect_until($listener, sub { scalar($told->(@_)) >= $all });
	same_lines(join("\n", sort map { "$_" } $told->(@notes)), join("\n", sort split / /, $order), "2^$bits: all are told exactly");
	is($node->safe_psql('postgres', "SELECT string_agg(ticket::text, ' ' ORDER BY served_at, array_position('{vip,high,normal,low}'::text[], priority), ticket)
		= '$order' FROM vqueue.sessions WHERE queue = '$queue' AND status = 'serving'"), 't', "2^$bits: and come in in order");
	$listener->quit;
	return;
}

crosses($_) foreach (31, 32, 40, 53);
check_clean($node, 'postgres', 'memory is right with large tickets');
cmp_ok($node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()'), '<', 1_000_000, 'and small');

# The last ticket there may be, and beyond.
my $last = '1152921504606846976';
my $end = $node->safe_psql('postgres', q{SELECT vqueue.create_queue('end', 10000000, 10000, state => 'paused')});
my $row = "INSERT INTO vqueue.user_sessions (queue_id, user_id, ticket) VALUES ('$end', gen_random_uuid(),";
foreach my $ticket ('1152921504606846977', '9223372036854775806', '9223372036854775807', '0', '-1', '-9223372036854775808')
{
	fails_with($node, 'postgres', "$row $ticket)", '23514', qr/ticket of a session is out of range.*HINT:/s, "ticket $ticket by hand");
}
fails_with($node, 'postgres', "$row 9223372036854775808)", '22003', qr/bigint out of range/, 'ticket 2^63 by hand');
my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';
append_to_file($file, "$end\t" . ('c' x 8) . "-0000-0000-0000-000000000000\t9223372036854775807\n");
fails_with($node, 'postgres', "\\copy vqueue.user_sessions (queue_id, user_id, ticket) FROM '$file'", '23514',
	qr/ticket of a session is out of range/, 'and by COPY');
foreach my $ceiling ('1152921504606846977', '9223372036854775807')
{
	fails_with($node, 'postgres', "UPDATE vqueue.ticket_ceilings SET ceiling = $ceiling WHERE queue_id = '$end'", '23514',
		qr/ticket_ceilings_ceiling_check/, "ceiling $ceiling by hand");
	fails_with($node, 'postgres', "INSERT INTO vqueue.ticket_ceilings VALUES ('$end', $ceiling)", '23514',
		qr/ticket_ceilings_ceiling_check/, "and in a row that is merged");
}
is($node->safe_psql('postgres', q{SELECT ticket, position FROM vqueue.join('end')}), '1|1', 'none of it moved the tickets');
$node->safe_psql('postgres', "$row $last - 3)");
is($node->safe_psql('postgres', "SELECT string_agg(ticket::text, ' ') FROM vqueue.join_many('end', " . users('e', 1, 3) . ')'),
	'1152921504606846974 1152921504606846975 1152921504606846976', 'the last tickets are issued');

sub is_at_its_end
{
	my ($when) = @_;

	fails_with($node, 'postgres', q{SELECT vqueue.join('end')}, '2200H', qr/has no more tickets.*HINT:  Create a new queue/s, "$when: join");
	fails_with($node, 'postgres', q{SELECT vqueue.join_many('end', } . users('f', 1, 3) . ')', '2200H', qr/has no more tickets/, "$when: join_many");
	fails_with($node, 'postgres', "INSERT INTO vqueue.user_sessions (queue_id, user_id) VALUES ('$end', gen_random_uuid())",
		'2200H', qr/has no more tickets/, "$when: a row by hand");
	is($node->safe_psql('postgres', q{SELECT ticket, position FROM vqueue.poll((SELECT id FROM vqueue.user_sessions
		WHERE user_id = 'e0000000-0000-0000-0000-000000000003'))}), "$last|5", "$when: the last one in line has a place");
	positions_right($node, 'postgres', "$when: positions", 'end');
	return;
}

is_at_its_end('after the last ticket');
is($node->safe_psql('postgres', q{SELECT vqueue.position('end', 9223372036854775807) IS NULL, vqueue.position('end', -9223372036854775808) IS NULL,
	vqueue.position('end', 1152921504606846977) IS NULL, vqueue.position('end', 1152921504606846976)}), 't|t|t|5', 'positions of tickets beyond');
is($node->safe_psql('postgres', 'SELECT vqueue.rebuild() > 0'), 't', 'memory is built anew');
positions_right($node, 'postgres', 'all positions');
my $state = row_state($node, 'postgres');
$node->restart;
wait_for_worker($node);
same_lines(row_state($node, 'postgres'), $state, 'after a restart everybody stands where they stood');
is_at_its_end('after a restart');
check_clean($node, 'postgres', 'memory is right');
is_let_in($_) foreach (31, 32, 40, 53);
$node->safe_psql('postgres', q{SELECT vqueue.resume('end')});
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 AND serving = 5 AND failures = 0 FROM vqueue.overview WHERE queue = 'end'}),
	'the queue at its end lets in');
$node->safe_psql('postgres', "DELETE FROM vqueue.user_sessions WHERE queue_id = '$end'");
fails_with($node, 'postgres', q{SELECT vqueue.join('end')}, '2200H', qr/has no more tickets/, 'nor are tickets issued again when rows are gone');
is($node->safe_psql('postgres', 'SELECT max(ceiling) FROM vqueue.ticket_ceilings'), $last, 'the ceiling is the last ticket');
# One that tried again and again would never make so few rounds in half a second.
my $made;
for (my $try = 0; $try < $PostgreSQL::Test::Utils::timeout_default && !(defined $made && $made < 50); $try++)
{
	my $rounds = $node->safe_psql('postgres', 'SELECT rounds FROM vqueue._worker()');

	$node->safe_psql('postgres', 'SELECT pg_sleep(0.5)');
	$made = $node->safe_psql('postgres', 'SELECT rounds FROM vqueue._worker()') - $rounds;
}
cmp_ok($made, '<', 50, 'and the worker rests');
check_clean($node, 'postgres', 'memory is right at the end of tickets');

# ---- names, in every encoding ----

my %codec = (UTF8 => 'UTF-8', LATIN1 => 'iso-8859-1', EUC_JP => 'euc-jp', SJIS => 'shiftjis', WIN866 => 'cp866',
	SQL_ASCII => 'UTF-8');

# A name of this many bytes in an encoding, made of these characters.
sub name_of
{
	my ($server, $characters, $bytes) = @_;
	my @characters = split //, $characters;
	my $name = '';

	for (my $i = 0;; $i++)
	{
		my $next = $name . $characters[ $i % @characters ];
		my $rest = $bytes - length encode($codec{$server}, $next);

		return $name . 'x' x ($bytes - length encode($codec{$server}, $name)) if $rest < 0;
		$name = $next;
	}
	return;
}

# The version 5 uuid of a name in the namespace of the tenant that is always there.
sub uuid5
{
	my ($name) = @_;
	my $id = substr(sha1(pack('H*', '00000000000070008000000000000001') . encode('UTF-8', $name)), 0, 16);

	vec($id, 6, 8) = vec($id, 6, 8) & 0x0f | 0x50;
	vec($id, 8, 8) = vec($id, 8, 8) & 0x3f | 0x80;
	return join '-', unpack 'H8H4H4H4H12', $id;
}

# What a client of an encoding sees of queues and tenants with such names:
# one line each, the same everywhere.
sub names_seen
{
	my ($server, $client, $characters) = @_;
	my $db = lc "in_$server";
	my $session = psql_session($node, $db);
	my $code = sub { return encode($codec{$client}, $_[0]) };
	my $quote = sub { my ($name) = @_; $name =~ s/'/''/g; return $code->("'$name'") };
	my %wanted;
	my $seen = '';

	$session->query_safe("\\encoding $client\nSELECT 1");
	foreach my $bytes (8, 56, 57, 200)
	{
		my $name = name_of($server, $characters, $bytes);

		$wanted{"default, $bytes bytes"} = [ 'default', $name ];
		$wanted{"tenant of $bytes bytes"} = [ $name, name_of($server, "$characters\"\\%", 64) ];
	}
	$wanted{'special characters'} = [ 'default', "\"$characters\\'%s {}" . substr($characters, 0, 1) ];
	foreach my $what (sort keys %wanted)
	{
		my ($tenant, $name) = @{ $wanted{$what} };

		$session->query_safe("INSERT INTO vqueue.tenants (name) VALUES (" . $quote->($tenant) . ") ON CONFLICT DO NOTHING;
			SET vqueue.tenant = " . $quote->($tenant) . ";
			SELECT vqueue.create_queue(" . $quote->($name) . ", 10000000)");
		$session->query_safe("SELECT format('LISTEN %I', vqueue.channel(" . $quote->($name) . ")) \\gexec\nSELECT 1");
		my $channel = decode($codec{$client}, $session->query_safe('SELECT vqueue.channel(' . $quote->($name) . ')'));
		my $id = $session->query_safe('SELECT vqueue._queue(' . $quote->($name) . ')');
		my $by = $channel eq "vqueue_$name" ? 'name' : $channel eq "vqueue_$id" ? 'id' : 'neither';
		my ($joined, $session_id) = split /\|/, $session->query_safe('SELECT status, id FROM vqueue.join(' . $quote->($name) . ')');
		my $place = decode($codec{$client}, $session->query_safe("SELECT queue FROM vqueue.status('$session_id')"));
		my @notes = collect_until($session, sub { grep { $_->{payload} =~ /"event":"released"/ } @_ });
		my ($note) = grep { $_->{payload} =~ /"event":"released"/ } @notes;
		my $event = eval { JSON::PP->new->decode(decode($codec{$client}, $note->{payload}, Encode::FB_CROAK)) } || {};

		$seen .= "$what: $joined, channel by $by, "
		  . ($place eq $name ? 'place ok, ' : "place is $place, ")
		  . (decode($codec{$client}, $note->{channel}) eq $channel ? 'told there, ' : 'told elsewhere, ')
		  . (($event->{tenant} // '') eq $tenant && ($event->{queue} // '') eq $name ? 'names right' : 'names wrong: ' . $note->{payload})
		  . (($event->{sessions}[0]{id} // '') eq $session_id ? '' : ', another session') . "\n";
		$session->query_safe('UNLISTEN *; SELECT vqueue.drop_queue(' . $quote->($name) . ', true); RESET vqueue.tenant');
	}
	my $user_id = $session->query_safe('SELECT vqueue.user_id(' . $quote->($characters) . ')');
	$seen .= 'user_id: ' . ($user_id eq uuid5($characters) ? "as everywhere\n" : "$user_id, not " . uuid5($characters) . "\n");
	foreach my $control ("\x01", "\x1f", "\x7f")
	{
		$session->query('SELECT vqueue.create_queue(' . $quote->("a$control") . ')');
		my ($code) = $session->error =~ /ERROR:  (\w+):/;
		$session->query('INSERT INTO vqueue.tenants (name) VALUES (' . $quote->("a$control") . ')');
		$seen .= sprintf "control character %d: %s %s\n", ord $control, $code, $session->error =~ /ERROR:  (\w+):/;
	}
	foreach my $what ('queue', 'tenant')
	{
		my $long = name_of($server, $characters, 200) . 'x';

		$session->query($what eq 'queue' ? 'SELECT vqueue.create_queue(' . $quote->($long) . ')'
			: 'INSERT INTO vqueue.tenants (name) VALUES (' . $quote->($long) . ')');
		my ($code) = $session->error =~ /ERROR:  (\w+):/;
		$seen .= "$what, 201 bytes: $code\n";
	}
	$session->query_safe(q{DELETE FROM vqueue.tenants WHERE name <> 'default'});
	$session->quit;
	return $seen;
}

my $expected = <<'SEEN';
default, 200 bytes: serving, channel by id, place ok, told there, names right
default, 56 bytes: serving, channel by name, place ok, told there, names right
default, 57 bytes: serving, channel by id, place ok, told there, names right
default, 8 bytes: serving, channel by name, place ok, told there, names right
special characters: serving, channel by name, place ok, told there, names right
tenant of 200 bytes: serving, channel by id, place ok, told there, names right
tenant of 56 bytes: serving, channel by id, place ok, told there, names right
tenant of 57 bytes: serving, channel by id, place ok, told there, names right
tenant of 8 bytes: serving, channel by id, place ok, told there, names right
user_id: as everywhere
control character 1: 22023 23514
control character 31: 22023 23514
control character 127: 22023 23514
queue, 201 bytes: 22023
tenant, 201 bytes: 23514
SEEN

# In Shift JIS the second bytes of these are a backslash, and the like.
my $katakana = "\x{30bd}\x{8868}\x{4e88}\x{80fd}";
my $umlauts = "\x{e4}\x{f6}\x{fc}\x{df}\x{c4}\x{d6}\x{dc}\x{e9}";

# In code page 866 they are where other encodings have control characters, and
# so are some bytes of UTF-8 to a server that knows no encoding.
my $cyrillic = "\x{416}\x{414}\x{410}\x{422}\x{42c}";
my $mixed = "\x{e4}\x{20ac}\x{1f3ab}";

foreach my $server (qw(UTF8 LATIN1 EUC_JP WIN866 SQL_ASCII))
{
	my $db = lc "in_$server";

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$server' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION vqueue');
	wait_for_worker($node, $db);
}
same_lines(names_seen(@$_), $expected, "names in $_->[0] as a client sees them in $_->[1]")
  foreach ([ 'UTF8', 'UTF8', $mixed ], [ 'UTF8', 'UTF8', $katakana ], [ 'UTF8', 'SJIS', $katakana ], [ 'UTF8', 'LATIN1', $umlauts ],
	[ 'LATIN1', 'LATIN1', $umlauts ], [ 'LATIN1', 'UTF8', $umlauts ],
	[ 'EUC_JP', 'EUC_JP', $katakana ], [ 'EUC_JP', 'SJIS', $katakana ], [ 'EUC_JP', 'UTF8', $katakana ],
	[ 'WIN866', 'UTF8', $cyrillic ], [ 'SQL_ASCII', 'SQL_ASCII', $mixed ]);

# The same eight bytes that are letters in an encoding, through queue, channel and event.
sub eight_bytes_seen
{
	my ($server) = @_;
	my %letters = (UTF8 => "\xc3\xa9" x 4, MULE_INTERNAL => "\x81\xe9" x 4);
	my $name = $letters{$server} || ($server =~ /^EUC/ ? "\xb0\xa1" x 4 : "\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8");
	my $db = lc "each_$server";

	$node->safe_psql('postgres', "CREATE DATABASE $db ENCODING '$server' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($db, 'CREATE EXTENSION vqueue');
	my $session = psql_session($node, $db);

	$session->query_safe("\\encoding $server\nSELECT vqueue.create_queue('$name', 10000000)");
	$session->query_safe("SELECT format('LISTEN %I', vqueue.channel('$name')) \\gexec\nSELECT 1");
	$session->query_safe("SELECT vqueue.join('$name')");
	my @notes = collect_until($session, sub { grep { $_->{payload} =~ /"event":"released"/ } @_ });
	my ($note) = grep { $_->{payload} =~ /"event":"released"/ } @notes;
	my $seen = ($note->{channel} eq "vqueue_$name" ? 'told there' : 'told elsewhere')
	  . ($note->{payload} =~ /"queue":"\Q$name\E"/ ? ', name right' : ', name wrong');

	$session->quit;
	$node->safe_psql('postgres', "DROP DATABASE $db");
	return $seen;
}

if ($ENV{VQ_TORTURE})
{
	my $every = $node->safe_psql('postgres', q{SELECT pg_encoding_to_char(n) FROM generate_series(0, 34) n});

	is(eight_bytes_seen($_), 'told there, name right', "eight bytes in $_") foreach split /\n/, $every;
}

# An error longer than its room ends between two characters.
foreach my $server (qw(UTF8 EUC_JP))
{
	my $db = lc "in_$server";
	my $character = $server eq 'UTF8' ? 'chr(233)' : q{convert_from('\xbdbd', 'EUC_JP')};

	$node->safe_psql($db, qq{
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
			\$\$BEGIN RAISE EXCEPTION '%', repeat($character, 150); END\$\$;
		CREATE TRIGGER refuse BEFORE UPDATE ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION refuse();
		SELECT vqueue.create_queue('sick', 10000000, state => 'paused');
		SELECT status FROM vqueue.join('sick');
		SELECT vqueue.resume('sick')});
	ok($node->poll_query_until($db, q{SELECT failures > 0 FROM vqueue.overview}), "a queue in $server fails with a long error");
	is($node->safe_psql($db, qq{SELECT last_error = repeat($character, 99) FROM vqueue.overview}), 't', 'whose whole characters are shown');
	$node->safe_psql($db, q{DROP TRIGGER refuse ON vqueue.user_sessions});
}

# Names that JSON makes twice as long, and more sessions than fit.
my ($quotes, $slashes) = ('"' x 200, '\\' x 200);
my $listener = psql_session($node, 'in_utf8');
$listener->query_safe("LISTEN vqueue; INSERT INTO vqueue.tenants (name) VALUES ('$slashes'); SET vqueue.tenant = '$slashes';
	SELECT vqueue.create_queue('$quotes', state => 'paused', max_concurrent_users => 1000);
	SELECT count(*) FROM vqueue.join_many('$quotes', " . users('a', 1, 400) . "); SELECT vqueue.release('$quotes', 400)");
my @told;
my @notes = collect_until($listener, sub {
	@told = map { @{ $_->{sessions} } } grep { $_->{event} eq 'released' && $_->{tenant} eq $slashes && $_->{queue} eq $quotes }
	  map { decode_json($_->{payload}) } @_;
	return @told >= 400;
});
is(join(' ', map { $_->{ticket} } @told), join(' ', 1 .. 400), 'with the longest names that JSON escapes, all are told once');
is(scalar(grep { length $_->{payload} >= 8000 } @notes), 0, 'in events shorter than 8000 bytes');
$listener->quit;
check_clean($node, "in_$_", "memory is right in $_") foreach qw(utf8 latin1 euc_jp win866 sql_ascii);

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
