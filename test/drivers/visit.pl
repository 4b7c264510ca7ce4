#!/usr/bin/perl
#
# A visit with DBD::Pg (Debian: libdbd-pg-perl): visit.pl ADDRESS SESSION QUEUE...
#
# SESSION is what the visitor's cookie has from an earlier visit.  The server is found
# as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
#
# What is no number or boolean comes as text, so a length of time is asked for in
# seconds, and a moment as seconds since 1970.
#
use strict;
use warnings;

use DBI;
use IO::Select;
use JSON::PP;
use List::Util qw(any min);
use Time::HiRes qw(sleep time);

sub connect_server
{
	my ($port) = @_;

	# pg_server_prepare: an older PgBouncer in transaction mode has no prepared statements.
	return DBI->connect('dbi:Pg:' . ($port ? "port=$port" : ''), undef, undef,
		{ RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_server_prepare => 0 });
}

sub poll
{
	my ($db, $session) = @_;

	return $db->selectrow_array('SELECT status, position, extract(epoch FROM next_poll_after) FROM vqueue.poll(?)', undef, $session);
}

sub join_queue
{
	my ($db, $queue, $address) = @_;

	return $db->selectrow_hashref('SELECT id, status, position, user_id FROM vqueue.join(?, vqueue.user_id(?), user_name => ?)',
		undef, $queue, $address, undef);
}

my ($address, $cookie, @queues) = @ARGV;
my $db = connect_server();
my ($queue, $place);

$| = 1;
unless (eval { poll($db, $cookie) })
{
	die $@ unless $db->state eq '42704';
	print "unknown session\n";
}

while (!$place && ($queue = shift @queues))
{
	$place = eval { join_queue($db, $queue, $address) };
	next if $place;
	if ($db->state eq '53400') { print "full\n" }
	elsif ($db->state eq '55000') { print "closed\n" }
	else { die $@ }
}
exit 0 unless $place;
my $session = $place->{id};
print "joined $place->{status} $place->{position} $place->{user_id}\n";

# ---- until called ----

my $listener;
my ($channel) = $db->selectrow_array('SELECT quote_ident(vqueue.channel(?))', undef, $queue);

sub listen_server
{
	$listener = connect_server($ENV{DIRECT_PORT});
	$listener->do("LISTEN $channel");
	return;
}
listen_server();
my ($cursor) = $db->selectrow_array('SELECT vqueue.event_cursor(?)', undef, $queue);

# What was told since the last call: waits for it, but not for longer than this.
sub events
{
	my ($patience) = @_;
	my $end = time + $patience;
	my ($rows, $left);

	while (1)
	{
		# Whoever listens again first reads what it has missed.
		$rows = $db->selectall_arrayref('SELECT seq, payload FROM vqueue.events_since(?, ?)', undef, $queue, $cursor);
		$left = $end - time;
		last if @$rows || $left <= 0;
		next if eval {
			if (!$listener) { listen_server() }
			elsif (IO::Select->new($listener->{pg_socket})->can_read($left))
			{
				$listener->do('SELECT 1');    # takes the notification, or finds it lost
				1 while $listener->pg_notifies;
			}
			1;
		};
		undef $listener;
		sleep min(0.2, $left);
	}
	$cursor = $rows->[-1][0] if @$rows;
	return map { decode_json($_->[1]) } @$rows;
}

my ($status, $position, $after) = poll($db, $session);
while ($status eq 'waiting')
{
	foreach my $event (events($after))
	{
		print "called\n" if $event->{event} eq 'released' && any { $_->{id} eq $session } @{ $event->{sessions} };
	}
	($status, $position, $after) = poll($db, $session);
}
print "polled $status $position ", defined $after ? $after : 'null', "\n";

# ---- inside ----

my ($claimed, $served_at) = $db->selectrow_array('SELECT status, extract(epoch FROM served_at) FROM vqueue.claim(?)', undef, $session);
print "claimed $claimed ", int($served_at * 1000), "\n";
my ($token) = $db->selectrow_array('SELECT vqueue.pass(?, ?)', undef, $session, '5 minutes');
my ($valid, $good_for) = $db->selectrow_array('SELECT valid, extract(epoch FROM expires_at - issued_at) FROM vqueue.verify_pass(?, ?)', undef, $token, $queue);
print 'pass ', $valid ? 'good' : 'bad', ' ', $good_for + 0, "\n";
my ($text) = $db->selectrow_array('SELECT vqueue.board(?)', undef, $queue);
my $board = decode_json($text);
print "board $board->{v} $board->{waiting}\n";
my ($done, $nowhere) = $db->selectrow_array('SELECT status, position FROM vqueue.complete(?)', undef, $session);
print "done $done ", defined $nowhere ? $nowhere : 'null', "\n";
print join(' ', 'types', map { !defined $_ ? 'undef' : ref $_ || (/^[\d.]+$/ ? 'number' : 'text') } $session, $cursor, $good_for, $served_at, $board, $nowhere), "\n";
