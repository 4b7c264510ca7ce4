#
# vqueue.memory_limit: beyond it joins fail cleanly and tables stay right, and
# all goes on when people leave or the limit is raised.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $node = new_vqueue_node('main', conf => "vqueue.memory_limit = 1MB\nautovacuum = off\nmax_wal_size = 2GB\nshared_buffers = 128MB");

$node->safe_psql('postgres', q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('crowd', 1000000, 100, state => 'paused')});
wait_for_worker($node);

my $block = 10000;

sub live
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NULL');
}

sub join_block
{
	my ($tag, $i) = @_;
	my $err;
	my $rc = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSELECT count(*) FROM vqueue.join_many('crowd', "
		  . users($tag, $i * $block, ($i + 1) * $block - 1) . ')', stderr => \$err);

	return ($rc, $err);
}

# Joins until memory is full; returns how many blocks fit.
sub fill
{
	my ($tag) = @_;

	foreach my $i (0 .. 99)
	{
		my ($rc, $err) = join_block($tag, $i);

		next if $rc == 0;
		like($err, qr/ERROR:  53200: out of memory for waiting lines/, "$tag: joining fails with 53200");
		like($err, qr/HINT:  Raise vqueue\.memory_limit/, "$tag: with a hint");
		return $i;
	}
	return 100;
}

# ---- full ----

my $blocks = fill('a');
cmp_ok($blocks, '<', 100, 'memory is full in the end');
cmp_ok($blocks * $block, '>', 1024 * 1024 / 8, 'but takes less than 8 bytes a session');
is(live(), $blocks * $block, 'the failed statement has joined nobody');
check_clean($node, 'postgres', 'memory is right when it is full');
is($node->safe_psql('postgres', 'SELECT used <= memory_limit AND memory_limit = 1048576 FROM vqueue.memory()'), 't',
	'the limit is kept');
is($node->safe_psql('postgres', q{SELECT status, hint IS NOT NULL FROM vqueue.health() WHERE "check" = 'memory'}), 'fail|t',
	'health tells');
is($node->safe_psql('postgres', q{SELECT position FROM vqueue.poll((SELECT id FROM vqueue.user_sessions WHERE ticket = 7))}), '7',
	'polls are answered');

# One by one, until not even one fits.
my $session = psql_session($node);
$session->query(q{DO $$ BEGIN FOR i IN 1 .. 20000 LOOP PERFORM vqueue.join('crowd'); COMMIT; END LOOP; END $$});
like($session->error, qr/ERROR:  53200/, 'one by one they fit until the chunk is full');
my $live = live();
fails_with($node, 'postgres', q{SELECT vqueue.join('crowd')}, '53200', undef, 'a single join');
fails_with($node, 'postgres', q{INSERT INTO vqueue.user_sessions (queue_id, user_id) SELECT id, gen_random_uuid() FROM vqueue.queues},
	'53200', undef, 'an INSERT by hand');
is(live(), $live, 'nobody has joined by it');
my ($out, $error);
$node->psql('postgres', q{SELECT ticket FROM vqueue.join('crowd', '} . 'a' . ('0' x 30) . q{5')},
	stdout => \$out, stderr => \$error);
is($out, '6', 'who is there already gets his place') or diag($error);

# In a savepoint the transaction goes on.
$session->query_safe('BEGIN');
$session->query_safe(q{SELECT status FROM vqueue.leave((SELECT id FROM vqueue.user_sessions WHERE ticket = 1))});
$session->query_safe('SAVEPOINT s');
$session->query(q{SELECT vqueue.join('crowd')});
like($session->error, qr/ERROR:  53200/, 'out of memory after a savepoint');
$session->query_safe('ROLLBACK TO s');
$session->query_safe('COMMIT');
is(live(), $live - 1, 'what was done before the savepoint counts');
check_clean($node, 'postgres', 'memory is right after failures');

# Releases need none.
$node->safe_psql('postgres', q{SELECT vqueue.resume('crowd')});
ok($node->poll_query_until('postgres', q{SELECT serving = 100 FROM vqueue.overview}), 'releases go on with memory full');
$node->safe_psql('postgres', q{SELECT vqueue.pause('crowd')});

# ---- people leave ----

$node->safe_psql('postgres', qq{UPDATE vqueue.user_sessions SET status = 'left'
	WHERE left_at IS NULL AND ticket <= 3 * $block});
ok($node->poll_query_until('postgres', q{SELECT used < 0.9 * memory_limit FROM vqueue.memory()}),
	'memory is given back when the first have left');
my ($rc, $err) = join_block('b', 0);
is($rc, 0, 'and others can join');
check_clean($node, 'postgres', 'memory is right after that');

# ---- the limit is raised ----

fill('c');
$node->safe_psql('postgres', q{ALTER SYSTEM SET vqueue.memory_limit = '2MB'});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT memory_limit = 2097152 FROM vqueue.memory()}), 'the limit is raised');
($rc, $err) = join_block('d', 0);
is($rc, 0, 'and joining works again');
# The session that was connected before, too.
is($session->query_safe(q{SELECT status FROM vqueue.join('crowd')}), 'waiting', 'in an old session as well');
check_clean($node, 'postgres', 'memory is right with the limit raised');

# ---- a restart with less than is needed ----

$live = live();
my $rows = $node->safe_psql('postgres', 'SELECT md5(string_agg(s::text, \'\' ORDER BY ticket)) FROM vqueue.user_sessions s');
$session->quit;
$node->safe_psql('postgres', q{ALTER SYSTEM SET vqueue.memory_limit = '1MB'});
my $offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/out of memory for waiting lines/, $offset);
pass('with too little memory the worker says so in the log');
fails_with($node, 'postgres', q{SELECT vqueue.join('crowd')}, '53200', qr/memory_limit/, 'join without memory for the line');
fails_with($node, 'postgres', q{SELECT vqueue.poll((SELECT id FROM vqueue.user_sessions WHERE ticket = 90000))}, '53200', qr/memory_limit/,
	'poll without memory for the line');
isnt($node->safe_psql('postgres', 'SELECT (vqueue._worker()).line'), 'ready', 'the line is not ready');
is(live(), $live, 'the table is right');
$node->safe_psql('postgres', q{ALTER SYSTEM SET vqueue.memory_limit = '4MB'});
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT (vqueue._worker()).line = 'ready'}),
	'when the limit is raised the worker builds the line by itself');
check_clean($node, 'postgres', 'and it is right');
is($node->safe_psql('postgres', 'SELECT md5(string_agg(s::text, \'\' ORDER BY ticket)) FROM vqueue.user_sessions s'), $rows,
	'no row has changed');
is($node->safe_psql('postgres', q{SELECT waiting + serving FROM vqueue.overview}), $live, 'all are in it');

# ---- too many queues ----

$node->safe_psql('postgres', q{
	SELECT vqueue.drop_queue('crowd', true);
	ALTER SYSTEM SET vqueue.memory_limit = '1MB'});
$node->reload;
ok($node->poll_query_until('postgres', 'SELECT queues = 0 AND memory_limit = 1048576 AND used < 100000 FROM vqueue.memory()'),
	'a dropped queue gives its memory back');
fails_with($node, 'postgres', q{DO $$ BEGIN FOR i IN 1 .. 5000 LOOP PERFORM vqueue.create_queue('q' || i); END LOOP; END $$},
	'53200', qr/memory_limit/, 'thousands of queues');
is($node->safe_psql('postgres', 'SELECT count(*) FROM vqueue.queues'), '0', 'none of them is there');
ok($node->poll_query_until('postgres', 'SELECT queues = 0 FROM vqueue.memory()'), 'nor in memory');
check_clean($node, 'postgres', 'which is right');

# ---- an endless queue takes memory for its live part only ----

$node->safe_psql('postgres', q{SELECT vqueue.create_queue('crowd', state => 'paused')});
my $failed = 0;
foreach my $i (0 .. $blocks + 2)
{
	($rc, $err) = join_block('e', $i);
	$failed++ if $rc != 0;
	$node->safe_psql('postgres', q{DELETE FROM vqueue.user_sessions});
}
is($failed, 0, 'many more can come and go than fit at a time');
is($node->safe_psql('postgres', q{SELECT waiting FROM vqueue.overview}), '0', 'all are gone');
check_clean($node, 'postgres', 'memory is right at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
