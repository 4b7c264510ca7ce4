#
# Passes and an independent implementation of JSON Web Tokens, each verifying
# what the other signs; and passes over restart, crash, standby, dump, and rotation
# while others verify.
#
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use VqueueNode;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $peer = "$FindBin::RealBin/passes_peer.py";
my $node = new_vqueue_node('main', init => { allows_streaming => 1 }, conf => 'max_worker_processes = 16');

# What the peer answers to a text, as lines.
sub ask_peer
{
	my ($input, @arguments) = @_;
	my ($out, $err);

	IPC::Run::run([ 'python3', $peer, @arguments ], '<', \$input, '>', \$out, '2>', \$err)
	  or die "the peer failed: $err";
	return split /\n/, $out;
}

sub sql
{
	my ($sql, $db) = @_;

	return $node->safe_psql(defined $db ? $db : 'postgres', $sql);
}

# What verify_pass says of tokens, a line each.
sub verdicts
{
	my ($on, $db, @tokens) = @_;
	my $array = "'{" . join(',', map { "\"$_\"" } @tokens) . "}'::text[]";

	return $on->safe_psql($db, "SELECT CASE WHEN v.valid THEN 'valid' ELSE v.reason END
		FROM unnest($array) WITH ORDINALITY AS t (token, n), vqueue.verify_pass(t.token, 'hall') AS v ORDER BY n");
}

# Some Python without the two packages may be the first in the path; Debian's has them.
$ENV{PATH} = "/usr/bin:$ENV{PATH}" if system("python3 $peer probe 2>/dev/null") != 0;
my $has_peer = system("python3 $peer probe 2>/dev/null") == 0;

sql(q{
	CREATE EXTENSION vqueue;
	SELECT vqueue.create_queue('hall', 6000000, 1000, burst => 1000);
	SELECT count(*) FROM vqueue.join_many('hall', } . users('a', 1, 40) . q{);
	SELECT vqueue.rotate_key('EdDSA')});
wait_for_worker($node);
my $all = q{SELECT vqueue.pass(id) FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket};
my $of_one = q{(SELECT vqueue.pass(id) FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket LIMIT 1)};
my $keys = q{SELECT json_build_object('jwks', vqueue.jwks(), 'secrets',
	(SELECT coalesce(json_object_agg(id, encode(secret, 'hex')), '{}') FROM vqueue.pass_keys WHERE algorithm = 'HS256'))};
my @ours = split /\n/, sql($all);

# ---- both ways ----

SKIP:
{
	skip 'python3-jwt and python3-cryptography are not installed', 1 unless $has_peer;

	is_deeply([ ask_peer('', 'vectors') ],
		[ 'joe', 'hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg' ],
		'the peer knows the vectors of RFC 7515 and RFC 8037');

	# Ours, verified by the peer, by a key of each algorithm, and by those of the standards.
	my $made = q{INSERT INTO vqueue.pass_keys (tenant_id, algorithm, earlier_until, secret) VALUES (vqueue._tenant(), '%s', 'infinity',
		decode(rpad(translate('%s', '-_', '+/'), %d, '='), 'base64'))};
	sql(q{SELECT vqueue.rotate_key('HS256')});
	push @ours, split /\n/, sql($all);
	sql(sprintf $made, 'EdDSA', 'nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A', 44);
	push @ours, split /\n/, sql($all);
	like(sql('SELECT vqueue.jwks()'), qr/"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"/, 'the public key of RFC 8037 is published');
	sql(sprintf $made, 'HS256', 'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow', 88);
	push @ours, split /\n/, sql($all);
	append_to_file("$dir/keys.json", sql($keys));
	my @claims = ask_peer(join("\n", @ours) . "\n", 'verify', "$dir/keys.json");
	is(scalar(@claims), 160, 'the peer has looked at all passes');
	is_deeply([ grep { $_ !~ /^\{/ } @claims ], [], 'and found each of them genuine');
	my $said = join(',', map { "'$_'" } @claims);
	is(sql(qq{SELECT count(*), count(DISTINCT c ->> 'jti') FROM unnest(ARRAY[$said]::json[]) AS c
		JOIN vqueue.user_sessions s ON s.id::text = c ->> 'sub'
		WHERE s.queue_id::text = c ->> 'aud' AND s.ticket::text = c ->> 'ticket' AND c ->> 'queue' = 'hall'
		  AND c ->> 'iss' = vqueue._tenant()::text AND (c ->> 'exp')::bigint - (c ->> 'iat')::bigint = 900
		  AND to_timestamp((c ->> 'nbf')::bigint) <= s.served_at}), '160|160', 'with the claims that the table wants');
	my @spoilt = map { my $t = $_; substr($t, int(rand(length($t) - 1)), 1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90_-/; $t } @ours;
	is_deeply([ grep { /^\{/ } ask_peer(join("\n", grep { my $t = $_; !grep { $_ eq $t } @ours } @spoilt) . "\n", 'verify', "$dir/keys.json") ], [],
		'and none of those that were spoilt');

	# The peer's, verified by us: random keys, and whatever can be wrong with a token.
	my @theirs = map { [ split / / ] } ask_peer('', 'keys', '4');
	sql(join(';', map { "INSERT INTO vqueue.pass_keys (id, tenant_id, algorithm, signs_from, earlier_until, secret)
		VALUES ('$_->[0]', vqueue._tenant(), '$_->[1]', '2020-01-01', '2020-01-01', '\\x$_->[2]')" } @theirs));
	# None may outdate the others here.
	sql(q{UPDATE vqueue.pass_keys SET earlier_until = 'infinity'});
	my $claims = sql(qq{SELECT convert_from(decode(rpad(translate(c, '-_', '+/'), (length(c) + 3) / 4 * 4, '='), 'base64'), 'UTF8')
		FROM split_part($of_one, '.', 2) AS c});
	my $given = '{"claims":' . $claims . ',"keys":[' .
	  join(',', map { "{\"kid\":\"$_->[0]\",\"alg\":\"$_->[1]\",\"secret\":\"$_->[2]\"}" } @theirs) . ']}';
	my @forged = map { [ split /\t/ ] } ask_peer($given, 'forge');
	cmp_ok(scalar(@forged), '>', 500, 'the peer has made tokens');
	append_to_file("$dir/forged", join('', map { "$_->[0]\t$_->[1]\n" } @forged));
	sql("CREATE TABLE forged (n bigint GENERATED ALWAYS AS IDENTITY, reason text, token text);
		\\copy forged (reason, token) FROM '$dir/forged' CSV DELIMITER E'\\t' QUOTE E'\\b'");
	is(sql(q{SELECT f.reason, v.valid, v.reason, f.token FROM forged f, vqueue.verify_pass(f.token, 'hall') AS v
		WHERE f.reason IS DISTINCT FROM CASE WHEN v.valid THEN 'valid' ELSE v.reason END ORDER BY n LIMIT 5}), '',
		'and of each we say what it is');
	is(sql(q{SELECT string_agg(DISTINCT reason, ', ' ORDER BY reason) FROM forged}),
		'algorithm, expired, malformed, not yet, revoked, signature, unknown key, valid, wrong queue, wrong tenant', 'there is one for each reason');

	# A gateway as in the README, by the published keys alone.
	sql(q{DELETE FROM vqueue.pass_keys; SELECT vqueue.rotate_key('EdDSA')});
	my $pass = sql("SELECT $of_one");
	my $public = sql(q{SELECT vqueue.jwks()});
	append_to_file("$dir/jwks.json", $public);
	is_deeply([ ask_peer(join("\n", $pass, $ours[0], substr($pass, 0, -2), 'x', '') . "\n", 'example',
				"$FindBin::RealBin/../../README.md", "$dir/jwks.json", sql(q{SELECT vqueue._queue('hall')})) ],
		[ 'in ' . sql(q{SELECT id FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket LIMIT 1}),
		  'out InvalidTokenError', 'out InvalidSignatureError', 'out DecodeError', 'out DecodeError' ],
		'the gateway of the README lets in with a pass, and with nothing else');
	is_deeply([ ask_peer("$pass\n", 'example', "$FindBin::RealBin/../../README.md", "$dir/jwks.json", 'a0000000-0000-0000-0000-000000000000') ],
		['out InvalidAudienceError'], 'nor into another room');
}

# ---- restart, crash, standby ----

sql(q{DELETE FROM vqueue.pass_keys; SELECT vqueue.rotate_key('HS256'); SELECT vqueue.rotate_key('EdDSA', delay => '1 hour')});
@ours = (sql("SELECT $of_one"));
sql(q{SELECT vqueue.rotate_key('EdDSA')});
push @ours, sql("SELECT $of_one");
is(verdicts($node, 'postgres', @ours), "valid\nvalid", 'passes by an old and by a new key');

$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is(verdicts($standby, 'postgres', @ours), "valid\nvalid", 'the standby verifies them');
my $there = $standby->safe_psql('postgres', "SELECT $of_one");
is(verdicts($node, 'postgres', $there), 'valid', 'and gives out passes that the primary verifies');
is($standby->safe_psql('postgres', 'SELECT vqueue.jwks()'), sql('SELECT vqueue.jwks()'), 'and publishes the same keys');
fails_with($standby, 'postgres', 'SELECT vqueue.rotate_key()', '25006', undef, 'but rotates none');
sql(q{SELECT vqueue.complete(id) FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket LIMIT 1});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(verdicts($standby, 'postgres', @ours), "revoked\nrevoked", 'the standby learns that a slot was given back');
@ours = split /\n/, sql("$all LIMIT 3");
sql(q{SELECT vqueue.rotate_key(overlap => '0')});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(verdicts($standby, 'postgres', @ours), "unknown key\nunknown key\nunknown key", 'and that keys are done with');
$standby->stop;

@ours = split /\n/, sql("$all LIMIT 3");
$node->restart;
is(verdicts($node, 'postgres', @ours), "valid\nvalid\nvalid", 'passes are good after a restart');
$node->stop('immediate');
$node->start;
is(verdicts($node, 'postgres', @ours), "valid\nvalid\nvalid", 'and after a crash');

# ---- dump and restore ----

sql(q{SELECT vqueue.rotate_key('HS256', delay => '1 day')});
my $rows = q{SELECT * FROM vqueue.pass_keys ORDER BY id};
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'postgres' ], 'a dump');
sql('CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-e', '-d', 'copy', "$dir/dump" ], 'is restored');
same_lines(sql($rows, 'copy'), sql($rows), 'with the keys');
is(verdicts($node, 'copy', @ours), "valid\nvalid\nvalid", 'so that passes are good there');
is(sql('SELECT vqueue.jwks()', 'copy'), sql('SELECT vqueue.jwks()'), 'by the same public keys');
sql('TRUNCATE vqueue.queues CASCADE', 'copy');
$node->command_ok([ 'pg_restore', '-e', '--data-only', '-t', 'queues', '-t', 'ticket_ceilings', '-t', 'user_sessions', '-t', 'pass_keys',
		'-d', 'copy', "$dir/dump" ], 'data alone is restored over keys that are there');
same_lines(sql($rows, 'copy'), sql($rows), 'which stay as they are');
is(verdicts($node, 'copy', @ours), "valid\nvalid\nvalid", 'and passes are good');

# ---- names in other encodings ----

# What the pass says is UTF-8 whatever the database has; bytes that are no characters are taken for LATIN1.
foreach my $case (
	[ 'LATIN1', q{E'a\xff\xe9"'}, "a\x{ff}\x{e9}\"" ], [ 'EUC_JP', q{E'\xc6\xfc\xcb\xdc'}, "\x{65e5}\x{672c}" ],
	[ 'WIN1252', q{E'\x80\x81'}, "\x{80}\x{81}" ], [ 'SQL_ASCII', q{E'\xe6\x97\xa5'}, "\x{65e5}" ], [ 'SQL_ASCII', q{E'\xff'}, "\x{ff}" ])
{
	my ($encoding, $name, $wanted) = @$case;
	my $utf8 = join('', map { sprintf '\\u%04x', ord } split //, $wanted);
	local $ENV{PGCLIENTENCODING} = $encoding;

	sql("CREATE DATABASE strange ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	my $pass = sql("CREATE EXTENSION vqueue; SELECT vqueue.create_queue($name) <> vqueue.rotate_key();
		SELECT vqueue.pass(id) FROM vqueue.join($name)", 'strange');
	$pass =~ s/^t\n//;
	is(sql("SELECT valid, queue_name = $name FROM vqueue.verify_pass('$pass', $name)", 'strange'), 't|t', "a pass of a name in $encoding");
	is(sql("SELECT convert_from(decode(rpad(translate(c, '-_', '+/'), (length(c) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::json ->> 'queue' = '\"$utf8\"'::json #>> '{}'
		FROM split_part('$pass', '.', 2) AS c"), 't', 'has it in UTF-8');
	sql('DROP DATABASE strange WITH (FORCE)');
}

# ---- rotation while others verify ----

sql(q{DELETE FROM vqueue.pass_keys; SELECT vqueue.rotate_key('EdDSA')});
@ours = split /\n/, sql("$all LIMIT 3");
# It fails if anything is not valid.
my $crowd = pgbench_crowd($node, 'postgres', <<SQL, 3);
SELECT 1 / count(*) FILTER (WHERE v.valid) FROM vqueue.verify_pass('$ours[0]', 'hall') AS v;
SELECT vqueue.pass(id) AS mine FROM vqueue.user_sessions WHERE status = 'serving' ORDER BY ticket LIMIT 1 \\gset
SELECT 1 / count(*) FILTER (WHERE v.valid) FROM vqueue.verify_pass(':mine', 'hall') AS v;
SQL
ok($node->poll_query_until('postgres', q{SELECT count(*) >= 3 FROM pg_stat_activity WHERE query LIKE '%vqueue.%pass(%' AND pid <> pg_backend_pid()}),
	'a crowd verifies');
foreach my $round (1 .. 30)
{
	my $algorithm = $round % 2 ? 'HS256' : 'EdDSA';

	sql("SELECT vqueue.rotate_key('$algorithm')");
	push @ours, sql("SELECT $of_one");
}
# Two at once, neither of which sees the other's key.
my @rotators = map { psql_session($node) } 1 .. 2;
$_->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT vqueue.rotate_key()') foreach @rotators;
push @ours, $_->query_safe("SELECT $of_one") foreach @rotators;
$_->query_safe('COMMIT') foreach @rotators;
$_->quit foreach @rotators;
push @ours, sql("SELECT $of_one");
is($crowd->stop, '', 'nobody of it met a pass that was refused');
is(verdicts($node, 'postgres', @ours), join("\n", ('valid') x @ours), 'all passes of 33 keys are good');
is(sql('SELECT count(*) FROM vqueue.pass_keys'), '33', 'as all their keys are there');
sql(q{SELECT vqueue.rotate_key(overlap => '0')});
is(verdicts($node, 'postgres', @ours), join("\n", ('unknown key') x @ours), 'until one comes without an overlap');
is(sql('SELECT count(*) FROM vqueue.pass_keys'), '1', 'which stays alone');
check_clean($node, 'postgres', 'memory is right at the end');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'nothing crashed');
done_testing();
