#
# VqueueJoiners: clients that connect and join, over and over, and note when they
# could not: what a change of servers costs those who come in its midst.
#
# Each is a shell that starts a psql for each join, as one who comes anew would.  A
# line of its notes: began, ended (milliseconds), ok or failed, id and ticket, or
# the first line of the error.
#
package VqueueJoiners;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_joiners deploy_script);

my $loop = <<'SH';
while [ ! -e "$1.stop" ]; do
	began=$(date +%s%3N)
	if answer=$(psql -XAtq -d "$2" -c "SELECT id, ticket FROM vqueue.join('$3')" 2>&1); then state=ok; else state=failed; fi
	printf '%s|%s|%s|%s\n' "$began" "$(date +%s%3N)" "$state" "$(printf '%s' "$answer" | head -1)" >>"$1"
	sleep 0.02
done
SH

# They find the server that takes writes by all the nodes' names.  Parameters: user, queue, clients.
sub start_joiners
{
	my ($nodes, %params) = @_;
	my $self = bless { dir => PostgreSQL::Test::Utils::tempdir(), runs => [] }, 'VqueueJoiners';
	my $conninfo = 'host=' . join(',', map { $_->host } @$nodes) . ' port=' . join(',', map { $_->port } @$nodes)
	  . " dbname=postgres user=$params{user} target_session_attrs=read-write connect_timeout=5 application_name=joiner";

	foreach my $n (1 .. $params{clients} || 2)
	{
		push @{ $self->{notes} }, "$self->{dir}/$n";
		append_to_file("$self->{dir}/$n", '');
		push @{ $self->{runs} }, IPC::Run::start([ 'sh', '-c', $loop, 'joiner', "$self->{dir}/$n", $conninfo, $params{queue} ], '<', \undef);
	}
	return $self;
}

sub lines
{
	my ($self) = @_;

	return map { [ map { [ split /\|/, $_, 5 ] } split /\n/, slurp_file($_) ] } @{ $self->{notes} };
}

# How many joins were acknowledged so far.
sub joined
{
	my ($self) = @_;

	return scalar grep { $_->[2] eq 'ok' } map { @$_ } $self->lines;
}

# Wait until each has had so many more joins.
sub await
{
	my ($self, $n) = @_;
	my $wanted = $self->joined + $n * @{ $self->{runs} };

	foreach my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $self->joined >= $wanted;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# End them; then all who were told that they had joined must be in the tables of the
# node.  The longest span in which one could not join, from the beginning of the first
# attempt that failed to the end of the next that did not, is reported, not judged.
sub finish
{
	my ($self, $node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($failed, $longest, $slowest, $why) = (0, 0, 0, '');
	my %ids;

	append_to_file("$_.stop", '') foreach @{ $self->{notes} };
	$_->finish foreach @{ $self->{runs} };
	foreach my $lines ($self->lines)
	{
		my $since;

		foreach my $line (@$lines)
		{
			my ($began, $ended, $state, $answer, $ticket) = @$line;

			if ($state eq 'ok')
			{
				$longest = $ended - $since if defined $since && $ended - $since > $longest;
				$slowest = $ended - $began if $ended - $began > $slowest;
				undef $since;
				$ids{"$answer|$ticket"} = 1;
			}
			else
			{
				$failed++;
				$why = $answer;
				$since = $began unless defined $since;
			}
		}
	}
	diag(sprintf '%s: %d joined, %d attempts failed; nobody could join for %.3f s at the longest, and a join took %.3f s at the most',
		$name, scalar(keys %ids), $failed, $longest / 1000, $slowest / 1000);
	note("the last failure: $why") if $failed;
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT id, ticket FROM vqueue.user_sessions');
	cmp_ok(scalar(keys %ids), '>', 0, "$name: clients joined");
	is(scalar(grep { !$there{$_} } keys %ids), 0, "$name: everybody who was told so has joined, with that ticket");
	return;
}

# A script of docker/deploy, with its arguments; returns its status and what it says.
sub deploy_script
{
	my ($script, @arguments) = @_;
	my $out = '';
	my $dir = __FILE__;

	$dir =~ s{[^/]*$}{../../docker/deploy};

	# What a server that it starts writes must not be waited for.
	my $file = PostgreSQL::Test::Utils::tempdir() . '/said';
	IPC::Run::run([ 'bash', "$dir/$script", @arguments ], '<', \undef, '>', $file, '2>&1');
	my $status = $? >> 8;

	$out = slurp_file($file);
	note(join ' ', $script, @arguments);
	note($out);
	return ($status, $out);
}

1;
