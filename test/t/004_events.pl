#
# Events as a listener gets them: valid, complete, each release once, nothing
# that was rolled back, below the limit of a notification, on the right channels.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main');
my $long_name = 'l' x 57;
my $fitting_name = 'f' x 56;
my $odd_name = 'Quo"te \\ back / % é';

$node->safe_psql('postgres', qq{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('other "tenant"');
	SELECT vqueue.create_queue('gate', 1000000, 100000, burst => 10000, state => 'paused');
	SELECT vqueue.create_queue('side', 10000000, 100000);
	SELECT vqueue.create_queue('$long_name', 10000000);
	SELECT vqueue.create_queue('$fitting_name', 10000000);
	SELECT vqueue.create_queue('$odd_name', 10000000);
	SET vqueue.tenant = 'other "tenant"';
	SELECT vqueue.create_queue('gate', 10000000, 1)});
wait_for_worker($node);

my $gate = psql_session($node);
my $all = psql_session($node);
my $client = psql_session($node);
my @seen;    # of the channel for all

$gate->query_safe('LISTEN vqueue_gate');
$all->query_safe('LISTEN vqueue');

# Collect events of a listener until check says yes.
sub collect_until
{
	my ($listener, $check) = @_;
	my @events;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (time < $deadline)
	{
		push @events, $listener->notes;
		return @events if $check->(@events);
		select(undef, undef, undef, 0.1);
	}
	diag('the events awaited did not come');
	return @events;
}

sub decode_event
{
	my ($note) = @_;

	$note->{event} = decode_json($note->{payload}) unless defined $note->{event};
	return $note->{event};
}

# The sessions of all events of a type, in the order told.
sub sessions_of
{
	my ($type, @events) = @_;

	return map { @{ $_->{sessions} } }
	  grep { $_->{event} eq $type } map { decode_event($_) } @events;
}

sub count_of
{
	return scalar(sessions_of(@_));
}

# ---- 500 released at once ----

$client->query_safe("SELECT count(*) FROM vqueue.join_many('gate', " . users('a', 1, 500) . ')');
$client->query_safe(q{SELECT vqueue.resume('gate')});
my @events = collect_until($gate, sub { count_of('released', @_) >= 500 });

is(count_of('released', @events), 500, 'each of 500 releases is told once');
my @told = sessions_of('released', @events);
is(join(' ', map { $_->{id} } @told),
	$node->safe_psql('postgres', q{SELECT string_agg(id::text, ' ' ORDER BY ticket)
		FROM vqueue.user_sessions WHERE status = 'serving' AND queue_id = vqueue._queue('gate')}),
	'in the order of tickets');
my @released = grep { decode_event($_)->{event} eq 'released' } @events;
cmp_ok(scalar(@released), '>', 1, 'in more than one event');
cmp_ok((sort { $b <=> $a } map { length $_->{payload} } @events)[0], '<', 8000,
	'each shorter than 8000 bytes');
cmp_ok((sort { $b <=> $a } map { length $_->{payload} } @released)[0], '>', 7800,
	'and well filled where there is much to tell');
is(scalar(grep { $_->{channel} ne 'vqueue_gate' } @events), 0, 'on the channel of the queue');
is(scalar(grep { $_->{pid} != worker_pid($node) } @events), 0, 'by the worker');

my $queue_id = $node->safe_psql('postgres', q{SELECT vqueue._queue('gate')});
my $first = decode_event($released[0]);
is(join(',', sort keys %$first), 'at,event,queue,queue_id,seq,sessions,tenant,v', 'members of a released event');
is("$first->{v} $first->{tenant} $first->{queue} $first->{queue_id}", "1 default gate $queue_id",
	'say which queue');
like($released[0]{payload}, qr/"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)"/, 'and when, in UTC');
is(join(',', sort keys %{ $told[0] }), 'id,ticket,user_id', 'members of a released session');
like($released[0]{payload}, qr/"ticket":1[,\}]/, 'a ticket is a number');
is($told[0]{user_id}, 'a0000000-0000-0000-0000-000000000001', 'with its user');
is($node->safe_psql('postgres', qq{SELECT '$released[0]{payload}'::jsonb ->> 'event'}), 'released',
	'the server reads it as jsonb');

my @states = grep { $_->{event} eq 'state' } map { decode_event($_) } @events;
is(join(' ', map { $_->{state} } @states), 'open', 'the change of state was told');

@events = (@events, collect_until($gate, sub { grep { decode_event($_)->{event} eq 'moved' } (@events, @_) }));
my @moved = grep { $_->{event} eq 'moved' } map { decode_event($_) } @events;
is(join(',', sort keys %{ $moved[0] }),
	'at,event,head,queue,queue_id,released_last_minute,serving,tenant,v,waiting', 'members of a moved event');
@events = (@events, collect_until($gate, sub { my ($last) = grep { $_->{event} eq 'moved' } map { decode_event($_) } reverse(@events, @_);
		$last->{serving} == 500 && $last->{waiting} == 0 && !defined $last->{head} }));
@moved = grep { $_->{event} eq 'moved' } map { decode_event($_) } @events;
is("$moved[-1]{waiting} $moved[-1]{serving}", '0 500', 'the last moved event says where the line stands');

# The same events went to the channel for all.
push @seen, collect_until($all, sub { count_of('released', @_) >= 500 });
is(join("\n", map { $_->{payload} } grep { decode_event($_)->{event} eq 'released' } @seen),
	join("\n", map { $_->{payload} } @released), 'the channel for all gets the same');

# ---- served at once, by hand and by plain SQL ----

my $joined = $client->query_safe(q{SELECT id FROM vqueue.join('gate') WHERE status = 'serving'});
like($joined, qr/^[0-9a-f-]{36}$/, 'served at once inside join');
@events = collect_until($gate, sub { count_of('released', @_) >= 1 });
is(join(' ', map { $_->{id} } sessions_of('released', @events)), $joined, 'is told');

$client->query_safe(q{SELECT vqueue.pause('gate')});
$client->query_safe("SELECT count(*) FROM vqueue.join_many('gate', " . users('b', 1, 10) . ')');
is($client->query_safe(q{SELECT vqueue.release('gate', 4)}), '4', 'released by hand');
@events = collect_until($gate, sub { count_of('released', @_) >= 4 });
is(join(' ', map { $_->{user_id} =~ s/^.*?0*(\d+)$/$1/r } sessions_of('released', @events)), '1 2 3 4',
	'is told in order');
is(join(' ', map { $_->{state} } grep { $_->{event} eq 'state' } map { decode_event($_) } @events), 'paused',
	'as is the pause before');

$client->query_safe(q{UPDATE vqueue.user_sessions SET status = 'serving'
	WHERE user_id = 'b0000000-0000-0000-0000-000000000006'});
@events = collect_until($gate, sub { count_of('released', @_) >= 1 });
is(join(' ', map { $_->{user_id} } sessions_of('released', @events)), 'b0000000-0000-0000-0000-000000000006',
	'so is one let in by an UPDATE');

# ---- ended ----

sub session_of
{
	return qq{(SELECT id FROM vqueue.user_sessions WHERE user_id = '$_[0]')};
}

$client->query_safe(q{BEGIN;
	SELECT vqueue.complete(} . session_of('b0000000-0000-0000-0000-000000000001') . q{);
	SELECT vqueue.leave(} . session_of('b0000000-0000-0000-0000-000000000002') . q{);
	SELECT vqueue.leave(} . session_of('b0000000-0000-0000-0000-000000000007') . q{);
	SELECT vqueue.remove(} . session_of('b0000000-0000-0000-0000-000000000008') . q{, 'a reason');
	COMMIT});
@events = collect_until($gate, sub { count_of('ended', @_) >= 4 });
is(join(' ', sort map { ($_->{user_id} =~ s/^.*?0*(\d+)$/$1/r) . $_->{status} } sessions_of('ended', @events)),
	'1completed 2left 7left 8removed', 'those who ended are told, with their status');
is(join(',', sort keys %{ (sessions_of('ended', @events))[0] }), 'id,status,ticket,user_id',
	'members of an ended session');

# A finished one that is completed again is not told again; the marker after it is.
$client->query_safe('SELECT vqueue.complete(' . session_of('b0000000-0000-0000-0000-000000000001') . ')');

# ---- rolled back: nothing ----

$client->query_safe(q{BEGIN;
	SELECT vqueue.release('gate', 2);
	SELECT vqueue.complete(} . session_of('b0000000-0000-0000-0000-000000000003') . q{);
	SELECT vqueue.leave(} . session_of('b0000000-0000-0000-0000-000000000009') . q{);
	SELECT id FROM vqueue.join('gate');
	SELECT id FROM vqueue.join('side');
	SELECT vqueue.drain('gate');
	ROLLBACK});
$client->query_safe(q{BEGIN; SAVEPOINT s; SELECT vqueue.release('gate', 2); ROLLBACK TO s;
	SELECT vqueue.leave(} . session_of('b0000000-0000-0000-0000-000000000004') . q{); COMMIT});
@events = collect_until($gate, sub { count_of('ended', @_) >= 1 });
$client->query_safe(q{SELECT vqueue.release('gate', 1)});
push @events, collect_until($gate, sub { count_of('released', @_) >= 1 });
is(join(' ', map { $_->{user_id} } sessions_of('ended', @events)), 'b0000000-0000-0000-0000-000000000004',
	'of what was rolled back, or done before, nothing is told as ended');
is(join(' ', map { $_->{user_id} } sessions_of('released', @events)), 'b0000000-0000-0000-0000-000000000005',
	'nor as released');
is(scalar(grep { decode_event($_)->{event} eq 'state' } @events), 0, 'nor as a change of state');

# ---- names, channels and tenants ----

foreach my $name ($long_name, $fitting_name, $odd_name)
{
	my $channel = $node->safe_psql('postgres', qq{SELECT vqueue.channel('$name')});
	my $id = $node->safe_psql('postgres', qq{SELECT vqueue._queue('$name')});
	my $wanted = length($name) > 56 ? "vqueue_$id" : "vqueue_$name";

	is($channel, $wanted, 'channel of "' . substr($name, 0, 10) . '"');
	my $listener = psql_session($node);
	$listener->query_safe('LISTEN "' . ($channel =~ s/"/""/gr) . '"');
	my $session = $client->query_safe(qq{SELECT id FROM vqueue.join('$name')});
	@events = collect_until($listener, sub { count_of('released', @_) >= 1 });
	is(join(' ', map { $_->{id} } sessions_of('released', @events)), $session, 'carries its events');
	is(encode_name(decode_event($events[0])->{queue}), $name, 'which give its name');
	$listener->quit;
}

sub encode_name
{
	my ($name) = @_;

	utf8::encode($name);
	return $name;
}

# The same name in another tenant: not on this tenant's channel.
$gate->notes;
my $other_id = $node->safe_psql('postgres',
	q{SET vqueue.tenant = 'other "tenant"'; SELECT vqueue._queue('gate')});
is($node->safe_psql('postgres', q{SET vqueue.tenant = 'other "tenant"'; SELECT vqueue.channel('gate')}),
	"vqueue_$other_id", 'the channel of another tenant\'s queue is named by its id');
my $other = psql_session($node);
$other->query_safe("LISTEN \"vqueue_$other_id\"");
my $session = $node->safe_psql('postgres', q{SET vqueue.tenant = 'other "tenant"'; SELECT id FROM vqueue.join('gate')});
@events = collect_until($other, sub { count_of('released', @_) >= 1 });
is(join(' ', map { $_->{id} } sessions_of('released', @events)), $session, 'and carries its events');
is(decode_event($events[0])->{tenant}, 'other "tenant"', 'with the tenant\'s name');
is(scalar(grep { decode_event($_)->{queue_id} eq $other_id } $gate->notes), 0,
	'the namesake\'s channel hears nothing of it');
is($node->safe_psql('postgres', 'SELECT vqueue.channel()'), 'vqueue', 'the channel for all');
fails_with($node, 'postgres', q{SELECT vqueue.channel('nobody')}, '42704', qr/does not exist/, 'channel of no queue');

# ---- a storm: every release told once, the last state is the true one ----

$client->query_safe(q{SELECT vqueue.open('gate')});
$client->query_safe("SELECT count(*) FROM vqueue.join_many('side', " . users('c', 1, 3000) . ')');
foreach my $round (1 .. 30)
{
	my $step = $round % 2 ? 'pause' : 'open';
	$client->query_safe(qq{
		SELECT count(*) FROM vqueue.join_many('side', } . users('d', $round * 40, $round * 40 + 39) . qq{);
		SELECT vqueue.$step('side');
		SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('side') AND status = 'serving' AND ticket % 2 = 0});
}
$client->query_safe(q{SELECT vqueue.pause('side')});
$client->query_safe(q{SELECT vqueue.drain('side')});
ok($node->poll_query_until('postgres', q{SELECT waiting = 0 FROM vqueue.overview WHERE queue = 'side'}),
	'the storm is over');
$client->query_safe(q{SELECT vqueue.close('side')});
my $served = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE served_at IS NOT NULL');
my $ended = $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NOT NULL');
my $side_id = $node->safe_psql('postgres', q{SELECT vqueue._queue('side')});
push @seen, collect_until($all, sub {
		my @last = grep { $_->{event} eq 'state' && $_->{queue_id} eq $side_id } map { decode_event($_) } @_;
		count_of('released', @seen, @_) >= $served && count_of('ended', @seen, @_) >= $ended
		  && @last && $last[-1]{state} eq 'closed' });
my %count;
$count{ $_->{id} }++ foreach sessions_of('released', @seen);
is(scalar(keys %count), $served, 'everybody ever let in was told');
is(scalar(grep { $_ != 1 } values %count), 0, 'and once');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE served_at IS NOT NULL AND id NOT IN ('
		  . join(',', map { "'$_'" } keys %count) . ')'), '0', 'it was they');
%count = ();
$count{ $_->{id} }++ foreach sessions_of('ended', @seen);
is(scalar(grep { $_ != 1 } values %count), 0, 'everybody who ended was told once');
is(scalar(keys %count), $ended, 'and all of them');
my @side_states = grep { $_->{event} eq 'state' && $_->{queue_id} eq $side_id } map { decode_event($_) } @seen;
is($side_states[-1]{state}, 'closed', 'the last state told is the true one');

# Moved events of one queue are a second apart, but a busy machine may delay the first of
# them between that decision and the time that it is stamped with.
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT count(*) AS n, extract(epoch FROM max(at) - min(at)) AS seconds FROM (VALUES '
		  . join(',', map { "('$_->{at}'::timestamptz, '$_->{queue_id}')" }
			  grep { $_->{event} eq 'moved' } map { decode_event($_) } @seen)
		  . q{) v(at, queue) GROUP BY queue) g WHERE n > seconds + 2}), '0', 'moved is told at most once a second a queue');
cmp_ok((sort { $b <=> $a } map { length $_->{payload} } @seen)[0], '<', 8000, 'no event of all has 8000 bytes');
check_clean($node, 'postgres', 'memory is right');

$_->quit foreach ($gate, $all, $client, $other);
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
