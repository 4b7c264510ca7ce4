#
# Transactions of every shape, and plain SQL on the tables: memory follows the
# tables after each, and whoever waits has the right position throughout.  A
# crowd joins and leaves another queue all the while.
#
# VQ_SEED repeats a run of the savepoints.  VQ_TORTURE=N has a million sessions
# in one transaction, and N times as many savepoints.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $torture = $ENV{VQ_TORTURE} || 0;
my $seed = $ENV{VQ_SEED} || time;
my $node = new_vqueue_node('main', conf => 'max_prepared_transactions = 4');

note "VQ_SEED=$seed";
srand($seed);
$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	INSERT INTO vqueue.tenants (name) VALUES ('acme');
	SELECT vqueue.create_queue('still', 10000000, 40, state => 'paused');
	SELECT vqueue.create_queue('crowd', 6000000, 100000000)});
wait_for_worker($node);
my $queue = $node->safe_psql('postgres', q{SELECT vqueue._queue('still')});

# The crowd's sessions may vanish at any time.
my $crowd = pgbench_crowd($node, 'postgres', q{
SELECT id AS session FROM vqueue.join('crowd') \gset
SELECT count(vqueue.leave(id)) FROM vqueue.user_sessions WHERE id = ':session';
}, 1);

# Those who stand in line throughout: 400 in each lane, twenty inside.
sub fill
{
	my $i = 0;

	foreach my $lane (qw(normal vip low high))
	{
		$node->safe_psql('postgres', "SELECT count(*) FROM vqueue.join_many('still', "
			  . users('a', 1000 * $i + 1, 1000 * $i + 400) . ", '$lane')");
		$i++;
	}
	$node->safe_psql('postgres', q{SELECT vqueue.release('still', 20)});
	return;
}

sub all_right
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	check_clean($node, 'postgres', "$name: memory is right");
	positions_right($node, 'postgres', "$name: and so are the positions", 'still');
	return;
}

fill();
all_right('at the beginning');

# ---- two-phase commit ----

my $listener = psql_session($node);
$listener->query_safe('LISTEN vqueue_still');
my $waiting = q{(SELECT id FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('still') AND status = 'waiting' ORDER BY ticket LIMIT 1)};
my $inside = q{(SELECT id FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('still') AND status = 'serving' ORDER BY ticket LIMIT 1)};
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/row", "$queue\tc0000000-0000-0000-0000-000000000001\n");
my %changes = (
	'join' => q{SELECT vqueue.join('still')},
	'join_many' => q{SELECT vqueue.join_many('still', } . users('c', 1, 500) . ')',
	'leave' => "SELECT vqueue.leave($waiting)",
	'complete' => "SELECT vqueue.complete($inside)",
	'remove' => "SELECT vqueue.remove($waiting)",
	'release' => q{SELECT vqueue.release('still', 3)},
	'a move' => "UPDATE vqueue.user_sessions SET priority = 'vip' WHERE id = $waiting",
	'COPY' => "\\copy vqueue.user_sessions (queue_id, user_id) FROM '$dir/row'\n",
	'DELETE' => "DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue'",
	'create_queue' => q{SELECT vqueue.create_queue('new')},
	'drop_queue' => q{SELECT vqueue.drop_queue('still', true)},
	'DROP EXTENSION' => 'DROP EXTENSION vqueue',
	'a savepoint' => q{SAVEPOINT a; SAVEPOINT b; SELECT vqueue.join('still'); RELEASE b; RELEASE a},
	'serializable' => q{SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT vqueue.join('still')});
foreach my $what (sort keys %changes)
{
	fails_with($node, 'postgres', "BEGIN;\n$changes{$what};\nPREPARE TRANSACTION 'vq';", '0A000',
		qr/cannot PREPARE a transaction that has operated on vqueue's tables.*HINT:  Use COMMIT/s, "PREPARE after $what");
}
all_right('after refused PREPAREs');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', 'none of them is there');
$node->safe_psql('postgres', q{SELECT vqueue.open('still'); SELECT vqueue.pause('still')});
my @notes = $listener->notes;
is(scalar(grep { $_->{payload} =~ /"event":"ended"/ } @notes), 0, 'and nobody was told of any');
$listener->quit;
$node->safe_psql('postgres', q{SELECT count(vqueue.complete(id)) FROM vqueue.user_sessions WHERE queue_id = vqueue._queue('still') AND status = 'serving'});

# One that only looked may be prepared.  Whatever it holds, the worker goes on.
$node->safe_psql('postgres', qq{BEGIN; SELECT position FROM vqueue.poll($waiting); SELECT * FROM vqueue.overview; PREPARE TRANSACTION 'reader'});
is($node->safe_psql('postgres', q{SELECT vqueue.release('still', 2)}), '2', 'a prepared transaction that only looked holds up nothing');
$node->safe_psql('postgres', q{COMMIT PREPARED 'reader'});
$node->safe_psql('postgres', q{BEGIN; LOCK TABLE vqueue.user_sessions; PREPARE TRANSACTION 'locker'});
my $worker = worker_pid($node);
my $joiner = psql_session($node);
my $joiner_pid = $joiner->backend_pid;
$joiner->send(q{SELECT status FROM vqueue.join('still')});
ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_locks WHERE pid = $joiner_pid AND NOT granted"),
	'a prepared transaction that locked the table holds up joins');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE pid = $worker AND NOT granted"), '0', 'but not the worker');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'locker'});
is($joiner->wait, 'waiting', 'until it ends');
$joiner->quit;
all_right('after prepared transactions');

# ---- savepoints three deep, at random ----

# What memory must hold is kept here: the tickets in each lane.  A change that
# adds counts from the moment it is made, and is undone with its savepoint; one
# that takes away counts from the commit on.
my @lanes = qw(vip high normal low);
my %line;       # lane -> { ticket -> how often }
my @levels;     # of the transaction: { added => [[lane, ticket]...], gone => [...] }
my $actor = psql_session($node);

sub read_line
{
	%line = map { $_ => {} } @lanes;
	foreach my $row (split /\n/, $node->safe_psql('postgres',
		"SELECT priority, ticket FROM vqueue.user_sessions WHERE queue_id = '$queue' AND status = 'waiting'"))
	{
		my ($lane, $ticket) = split /\|/, $row;
		$line{$lane}{$ticket} = 1;
	}
	return;
}

sub note_change
{
	my ($kind, $lane, $ticket) = @_;

	$line{$lane}{$ticket}++ if $kind eq 'added';
	push @{ $levels[-1]{$kind} }, [ $lane, $ticket ];
	return;
}

sub undo_level
{
	my $level = pop @levels;

	foreach my $change (@{ $level->{added} })
	{
		my ($lane, $ticket) = @$change;
		delete $line{$lane}{$ticket} unless --$line{$lane}{$ticket};
	}
	return;
}

sub release_level
{
	my $level = pop @levels;

	push @{ $levels[-1]{$_} }, @{ $level->{$_} || [] } foreach qw(added gone);
	return;
}

sub commit_level
{
	my $level = pop @levels;

	foreach my $change (@{ $level->{gone} })
	{
		my ($lane, $ticket) = @$change;
		delete $line{$lane}{$ticket} unless --$line{$lane}{$ticket};
	}
	return;
}

# A ticket that waits for the actor, and its lane.
sub some_waiting
{
	my $row = $actor->query_safe("SELECT ticket, priority, id FROM vqueue.user_sessions
		WHERE queue_id = '$queue' AND status = 'waiting' ORDER BY ticket OFFSET " . int(rand 40) . ' LIMIT 1');

	return split /\|/, $row;
}

my %step = (
	join => sub {
		my $lane = $lanes[ rand 4 ];
		my $ticket = $actor->query_safe("SELECT ticket FROM vqueue.join('still', priority => '$lane')");
		note_change('added', $lane, $ticket);
	},
	join_many => sub {
		my $lane = $lanes[ rand 4 ];
		note_change('added', $lane, $_)
		  foreach split /\n/, $actor->query_safe("SELECT ticket FROM vqueue.join_many('still',
			ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 20)), '$lane')");
	},
	leave => sub {
		my ($ticket, $lane, $id) = some_waiting();
		$actor->query_safe("SELECT vqueue.leave('$id')");
		note_change('gone', $lane, $ticket);
	},
	move => sub {
		my ($ticket, $lane, $id) = some_waiting();
		my $to = $lanes[ rand 4 ];
		$actor->query_safe("UPDATE vqueue.user_sessions SET priority = '$to' WHERE id = '$id'");
		return if $to eq $lane;
		note_change('added', $to, $ticket);
		note_change('gone', $lane, $ticket);
	},
	release => sub {
		my $before = 'SELECT string_agg(ticket::text, \',\') FROM vqueue.user_sessions WHERE queue_id = \''
		  . $queue . '\' AND status = \'serving\'';
		my %inside = map { $_ => 1 } split /,/, $actor->query_safe($before);
		$actor->query_safe(q{SELECT vqueue.release('still', 2)});
		foreach my $row (split /\n/, $actor->query_safe("SELECT ticket, priority FROM vqueue.user_sessions
			WHERE queue_id = '$queue' AND status = 'serving'"))
		{
			my ($ticket, $lane) = split /\|/, $row;
			note_change('gone', $lane, $ticket) unless $inside{$ticket};
		}
	},
	complete => sub {
		$actor->query_safe("SELECT vqueue.complete(id) FROM vqueue.user_sessions
			WHERE queue_id = '$queue' AND status = 'serving' ORDER BY random() LIMIT 2");
	},
	delete => sub {
		my ($ticket, $lane, $id) = some_waiting();
		$actor->query_safe("DELETE FROM vqueue.user_sessions WHERE id = '$id'");
		note_change('gone', $lane, $ticket);
	});

# The positions that others get of those who wait by the committed rows, unless
# the transaction is about to move or let in that very session.
sub positions_as_modelled
{
	my %busy = map { $_->[1] => 1 } map { (@{ $_->{added} || [] }, @{ $_->{gone} || [] }) } @levels;
	my @wrong;
	my %ahead;
	my $before = 0;

	foreach my $lane (@lanes)
	{
		foreach my $ticket (sort { $a <=> $b } keys %{ $line{$lane} })
		{
			$ahead{"$lane|$ticket"} = ++$before;
		}
	}
	foreach my $row (split /\n/, $node->safe_psql('postgres', "SELECT priority, ticket, vqueue._position(queue_id, ticket)
		FROM vqueue.user_sessions WHERE queue_id = '$queue' AND status = 'waiting'"))
	{
		my ($lane, $ticket, $position) = split /\|/, $row;
		push @wrong, "$lane $ticket at $position"
		  unless $busy{$ticket} || $position eq ($ahead{"$lane|$ticket"} // 'none');
	}
	return join('; ', @wrong > 3 ? (@wrong[ 0 .. 2 ], '...') : @wrong);
}

my ($steps, $dirty, $wrong) = (0, '', '');
sub look
{
	my ($what) = @_;

	$steps++;
	my $found = $node->safe_psql('postgres', 'SELECT * FROM vqueue.check()');
	$dirty = "after $what, step $steps: $found" if $found ne '' && $dirty eq '';
	$found = positions_as_modelled();
	$wrong = "after $what, step $steps: $found" if $found ne '' && $wrong eq '';
	return;
}

sub random_transaction
{
	$actor->query_safe('BEGIN');
	@levels = ({});
	foreach my $i (1 .. 12)
	{
		my $dice = rand 10;

		if ($dice < 3 && @levels < 4)
		{
			$actor->query_safe('SAVEPOINT s' . @levels);
			push @levels, {};
		}
		elsif ($dice < 4.5 && @levels > 1)
		{
			$actor->query_safe('ROLLBACK TO s' . (@levels - 1));
			undo_level();
			push @levels, {};
			look('ROLLBACK TO');
		}
		elsif ($dice < 5.5 && @levels > 1)
		{
			$actor->query_safe('RELEASE s' . (@levels - 1));
			release_level();
			look('RELEASE');
		}
		else
		{
			my @verbs = sort keys %step;
			my $verb = $verbs[ rand @verbs ];
			$step{$verb}->();
			look($verb);
		}
	}
	if (rand() < 0.6)
	{
		$actor->query_safe('COMMIT');
		release_level() while @levels > 1;
		commit_level();
	}
	else
	{
		$actor->query_safe('ROLLBACK');
		undo_level() while @levels;
	}
	look('the end');
	return;
}

read_line();
random_transaction() foreach 1 .. 8 * ($torture || 1);
is($dirty, '', "check() finds nothing in $steps steps of savepoints");
is($wrong, '', 'and positions are as modelled at each');
my %modelled = map { my $lane = $_; map { ("$lane $_" => 1) } keys %{ $line{$lane} } } @lanes;
read_line();
is(join(',', sort map { my $lane = $_; map { "$lane $_" } keys %{ $line{$lane} } } @lanes),
	join(',', sort keys %modelled), 'the line is as modelled');
all_right('after the savepoints');

# ---- very many in one transaction ----

# From here on until rows are taken from everybody, a storm is under way.
my $storm = start_storm($node, seconds => 3600, clients => 3, queues => 2, prefix => 's', seed => $seed);

my $many = $torture ? 1_000_000 : 100_000;
sub join_very_many
{
	foreach my $i (0 .. 9)
	{
		$actor->query_safe("SELECT count(*) FROM vqueue.join_many('still', "
			  . users('d', $i * $many / 10 + 1, ($i + 1) * $many / 10 - 100) . ')');
		$actor->query_safe("SELECT count(vqueue.join('still', ('e' || lpad(n::text, 31, '0'))::uuid))
			FROM generate_series($i * 100 + 1, $i * 100 + 100) AS n");
	}
	return;
}
sub still_state
{
	return join("\n", grep { /\|still\|/ } split /\n/, row_state($node, 'postgres'));
}
sub used
{
	return $node->safe_psql('postgres', 'SELECT used FROM vqueue.memory()');
}

my $standing = $node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview WHERE queue = 'still'});
my $before = still_state();
my $memory = used();
$actor->query_safe('BEGIN');
join_very_many();
is($node->safe_psql('postgres', q{SELECT position FROM vqueue.join('still', 'f0000000-0000-0000-0000-000000000001', priority => 'normal')})
	  - $node->safe_psql('postgres', qq{SELECT count(*) FROM vqueue.user_sessions WHERE queue_id = '$queue' AND status = 'waiting' AND priority <> 'low'}),
	$many, "$many who have not committed keep their places");
cmp_ok(used(), '>', $memory + 4 * $many, 'and take memory');
$actor->query_safe('ROLLBACK');
$node->safe_psql('postgres', q{SELECT vqueue.leave(id) FROM vqueue.user_sessions WHERE user_id = 'f0000000-0000-0000-0000-000000000001'});
all_right("$many joins rolled back");
same_lines(still_state(), $before, 'those who wait are as they were');
ok($node->poll_query_until('postgres', "SELECT used < $memory + 2 * $many FROM vqueue.memory()"), 'and the memory is given back');

$actor->query_safe('BEGIN');
join_very_many();
$actor->query_safe('COMMIT');
is($node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview WHERE queue = 'still'}), $standing + $many,
	"$many joins committed: all are in line");
all_right("$many joins committed");
$node->safe_psql('postgres', "BEGIN; DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue'; ROLLBACK");
all_right('all deleted and rolled back');
$node->safe_psql('postgres', "DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue' AND user_id::text ~ '^[de]'");
all_right('they are deleted again');
ok($node->poll_query_until('postgres', "SELECT used < $memory + 2 * $many FROM vqueue.memory()"), 'and the memory is given back');

# ---- COPY ----

my $last = $node->safe_psql('postgres', "SELECT max(ticket) FROM vqueue.user_sessions WHERE queue_id = '$queue'");
append_to_file("$dir/plain", join('', map { sprintf "%s\tc%07d-0000-0000-0000-000000000000\t%s\n", $queue, $_, $lanes[ $_ % 4 ] } 1 .. 4000));
append_to_file("$dir/full", join('', map { sprintf "%s\tc%07d-0000-0000-0000-000000000000\t%d\t%s\t%s\t%s\n", $queue, $_, $last + 20 * $many + 7 * ($_ * 17 % 3001),
			($_ % 3 == 0 ? "waiting\t\\N\t\\N" : $_ % 3 == 1 ? "left\t\\N\t2026-01-01" : "completed\t2026-01-01\t2026-01-01"),
			$lanes[ $_ % 4 ], "copied" } 5001 .. 8000));
$actor->query_safe("\\copy vqueue.user_sessions (queue_id, user_id, priority) FROM '$dir/plain'");
all_right('COPY without tickets');
is($node->safe_psql('postgres', q{SELECT count(*) FROM vqueue.user_sessions WHERE user_id::text LIKE 'c000%' AND ticket > } . $last),
	'4000', 'each has a new one');
my $full = "\\copy vqueue.user_sessions (queue_id, user_id, ticket, status, served_at, left_at, priority, user_name) FROM '$dir/full'";
$actor->query_safe("BEGIN;\n$full\nROLLBACK");
all_right('COPY with tickets and statuses rolled back');
$actor->query_safe($full);
all_right('COPY with tickets and statuses');
$actor->query($full);
like($actor->error, qr/duplicate key/, 'a second time it fails in the middle');
all_right('half a COPY');

# ---- UPDATE of every column ----

# Run SET for each column of a table; every column must be named here.
sub update_all
{
	my ($table, $where, %columns) = @_;

	is($node->safe_psql('postgres', "SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
		WHERE attrelid = 'vqueue.$table'::regclass AND attnum > 0 AND NOT attisdropped"),
		join(' ', sort keys %columns), "every column of $table is tried");
	foreach my $column (sort keys %columns)
	{
		my $set = "UPDATE vqueue.$table SET $column = $columns{$column} WHERE $where";
		my ($err, $rc);

		$rc = $node->psql('postgres', "BEGIN; $set; ROLLBACK", stderr => \$err, on_error_stop => 1);
		if ("$table.$column" =~ /^(?:user_sessions\.(?:ticket|queue_id)|queues\.(?:id|is_active)|tenants\.id)$/)
		{
			like($err, qr/cannot be changed|can only be updated to DEFAULT|violates foreign key/, "$table.$column stays what it is");
			next;
		}
		is($rc, 0, "UPDATE of $table.$column rolled back");
		check_clean($node, 'postgres', 'which leaves memory as it was');
		$node->safe_psql('postgres', $set);
		all_right("UPDATE of $table.$column");
	}
	return;
}

update_all('user_sessions', "queue_id = '$queue' AND status = 'waiting' AND ticket % 2 = 0",
	id => 'gen_random_uuid()', user_id => 'gen_random_uuid()', joined_at => q{joined_at - interval '1 day'},
	priority => q{(ARRAY['vip', 'high', 'normal', 'low'])[1 + ticket / 2 % 4]},
	reason => q{'moved'}, user_name => q{repeat('x', 1000)}, user_email => q{user_id || '@example.org'},
	left_at => 'NULL', served_at => 'NULL', ready_at => 'NULL', extended_at => 'now()', place_key => 'ticket', ticket => 'ticket + 1000000', queue_id => q{vqueue._queue('crowd')},
	status => q{CASE ticket % 3 WHEN 0 THEN 'left' WHEN 1 THEN 'removed' ELSE 'waiting' END});
$node->safe_psql('postgres', "UPDATE vqueue.user_sessions SET status = 'serving' WHERE id = $waiting");
$node->safe_psql('postgres', "UPDATE vqueue.user_sessions SET status = 'waiting' WHERE queue_id = '$queue' AND status IN ('serving', 'removed')");
all_right('back into the line by hand');
update_all('queues', "id = '$queue'",
	id => 'gen_random_uuid()', is_active => 'false', name => q{'still'}, description => q{'a line'}, max_concurrent_users => '30',
	release_rate_per_minute => '77', burst => '5', max_waiting => '100000', state => q{'paused'}, version => '-1',
	created_at => q{'2020-01-01'}, updated_at => q{'2020-01-01'}, tenant_id => 'tenant_id',
	method => q{'passthrough'}, lane_weights => 'NULL', waiting_timeout => q{'1 day'}, serving_timeout => q{'1 day'},
	claim_timeout => q{'1 hour'}, prequeue_at => q{'2040-01-01'}, opens_at => q{'2040-01-02'}, closes_at => q{'2040-01-03'},
	session_retention => q{'100 years'}, pass_lifetime => q{'1 day'}, client_limit => '1000', client_window => q{'30 days'});

# Weights change every position, and are taken away without a trace.
$node->safe_psql('postgres', "UPDATE vqueue.queues SET lane_weights = '{8,4,2,1}' WHERE id = '$queue'");
check_clean($node, 'postgres', 'lanes in turns by hand: memory is right');
is($node->safe_psql('postgres', "SELECT count(DISTINCT position) = count(*) AND max(position) = count(*)
	FROM vqueue.sessions WHERE queue_id = '$queue' AND status = 'waiting'"), 't', 'and each position is there once');
$node->safe_psql('postgres', "UPDATE vqueue.queues SET lane_weights = NULL, method = 'fifo' WHERE id = '$queue'");
all_right('strict priority again');
update_all('ticket_ceilings', "queue_id = '$queue'", queue_id => 'queue_id', ceiling => 'ceiling + 100000');
$node->safe_psql('postgres', 'SELECT vqueue.rotate_key()');
update_all('pass_keys', 'true', id => 'gen_random_uuid()', tenant_id => 'tenant_id', algorithm => q{'HS256'}, secret => q{sha256('x') || sha256('y')},
	signs_from => q{'2020-01-01'}, earlier_until => q{'2040-01-01'});
update_all('tenants', q{name = 'default'}, id => 'gen_random_uuid()', name => q{'default'}, domain => q{'example.org'},
	created_at => q{'2020-01-01'}, updated_at => q{'2020-01-01'}, max_queues => '1000', max_waiting_sessions => '1000000');

# To another tenant and back, with all its sessions.
$node->safe_psql('postgres', "UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'acme') WHERE id = '$queue'");
check_clean($node, 'postgres', 'a queue moves to another tenant: memory is right');
fails_with($node, 'postgres', q{SELECT vqueue.join('still')}, '42704', qr/does not exist/, 'it is not found in its old one');
$node->safe_psql('postgres', "UPDATE vqueue.queues SET tenant_id = (SELECT id FROM vqueue.tenants WHERE name = 'default') WHERE id = '$queue'");
all_right('and comes back');

# ---- DELETE and TRUNCATE ----

$storm->finish('a storm beside all this');
$node->safe_psql('postgres', "DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue' AND ticket % 3 = 1");
all_right('DELETE of every third');
$actor->query_safe(q{BEGIN; SELECT 1 FROM vqueue.join('still'); TRUNCATE vqueue.user_sessions; ROLLBACK});
all_right('TRUNCATE rolled back');
$actor->query_safe(q{BEGIN; SELECT 1 FROM vqueue.join('still'); SAVEPOINT a; TRUNCATE vqueue.user_sessions;
	SELECT 1 FROM vqueue.join('still'); ROLLBACK TO a; SELECT 1 FROM vqueue.join('still'); COMMIT});
all_right('TRUNCATE rolled back to a savepoint');
my $highest = $node->safe_psql('postgres', "SELECT max(ticket) FROM vqueue.user_sessions WHERE queue_id = '$queue'");
$actor->query_safe(q{BEGIN; SELECT 1 FROM vqueue.join('still'); TRUNCATE vqueue.user_sessions;
	SELECT 1 FROM vqueue.join('still', 'f0000000-0000-0000-0000-000000000002'); COMMIT});
all_right('TRUNCATE committed under load');
is($node->safe_psql('postgres', "SELECT string_agg(user_id::text, ' '), min(ticket) > $highest FROM vqueue.user_sessions WHERE queue_id = '$queue'"),
	'f0000000-0000-0000-0000-000000000002|t', 'nobody is left but who joined after it');

# ---- as replication applies rows ----

fill();
$actor->query_safe(q{SET session_replication_role = replica});
$actor->query_safe($full);
all_right('COPY as a replica');
$actor->query_safe("UPDATE vqueue.user_sessions SET priority = 'high' WHERE queue_id = '$queue' AND status = 'waiting' AND ticket % 5 = 0");
all_right('UPDATE of the priority as a replica');
$actor->query_safe("UPDATE vqueue.user_sessions SET status = 'completed' WHERE queue_id = '$queue' AND status = 'serving'");
all_right('UPDATE of the status as a replica');
$actor->query_safe("BEGIN; DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue' AND ticket % 2 = 0; SAVEPOINT a;
	DELETE FROM vqueue.user_sessions WHERE queue_id = '$queue'; ROLLBACK TO a; COMMIT");
all_right('DELETE as a replica');
is($actor->query_safe(q{SELECT status FROM vqueue.join('still')}), 'waiting', 'joining as a replica');
$actor->query_safe("UPDATE vqueue.queues SET max_concurrent_users = 50 WHERE id = '$queue'");
all_right('UPDATE of a queue as a replica');
$actor->query_safe('TRUNCATE vqueue.user_sessions');
all_right('TRUNCATE as a replica');
$actor->quit;

# ---- the tables were the truth all along ----

is($crowd->stop, '', 'no client of the crowd got an error');
fill();
my $state = row_state($node, 'postgres');
$node->restart;
wait_for_worker($node);
same_lines(row_state($node, 'postgres'), $state, 'after a restart everybody stands where they stood');
all_right('at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
