#
# rounds.sh
#		Rounds of measurement, in turns, and the figures made of them.
#

# What "time" prints: seconds of the processors, as user and in the kernel.
TIMEFORMAT='%U %S'

# Samples by label, each a list of numbers.
declare -A samples=()

calc()
{
	awk "BEGIN { printf \"%.9g\", $1 }"
}

# Add a number to the samples of a label.
take()
{
	[[ $2 =~ ^[0-9.e+-]+$ ]] || die "no number was measured for $1: $2"
	samples[$1]+=" $2"
}

# Measure each label:function once a round, in turns.
turns()
{
	local i pair

	for ((i = 0; i < rounds; i++)); do
		for pair in "$@"; do
			take "${pair%%:*}" "$("${pair##*:}")"
		done
	done
}

# ---- pgbench ----

pgbench_of()
{
	local db=$1

	shift
	if ! "$bin/pgbench" -h "$work" -U postgres -n -M prepared -j 2 "$@" "$db" 2> "$work/pgbench.err"; then
		cat "$work/pgbench.err" >&2
		return 1
	fi
}

# Transactions a second.
tps()
{
	local out failed

	out=$(pgbench_of "$@" -T "$seconds")
	failed=$(sed -n 's/^number of failed transactions: \([0-9]*\).*/\1/p' <<< "$out")
	[ "${failed:-0}" = 0 ] || die "$failed transactions failed: pgbench $*"
	sed -n 's/^tps = \([0-9.]*\).*/\1/p' <<< "$out"
}

# A client program of the benchmark's own.
client()
{
	local program=$1

	shift
	PGHOST=$work PGUSER=postgres "$work/$program" "$@"
}

#
# Loads that take turns of a fraction of a second: label:database:statement:values,
# the last two being files, of sql/ and of $work or nothing.  Each round adds a
# sample a label, of statements a second.
#
loads()
{
	local arguments=() labels=() load label db statement values line i

	for load in "$@"; do
		IFS=: read -r label db statement values <<< "$load"
		labels+=("$label")
		arguments+=("$db" "${values:+$work/}${values:-/dev/null}" "$(grep -v '^--' "$here/sql/$statement")")
	done
	{
		time client load "$clients" 2 "$warm_turns" "$turns_a_load" "$turn" "${arguments[@]}" > "$work/load.out"
	} 2> "$work/load.time"
	if [ ! -s "$work/load.out" ]; then
		cat "$work/load.time" >&2
		return 1
	fi
	# what the clients had of the processors, by request, in microseconds; as many in the warm rounds
	take client_us "$(awk -v turn="$turn" -v warm="$warm_turns" '
		NR == FNR { for (i = 1; i <= NF; i++) requests += $i * turn; rounds++; next }
		{ seconds = $1 + $2 }
		END { printf "%.3f", 1e6 * seconds / (requests * (rounds + warm) / rounds) }' "$work/load.out" <(tail -n 1 "$work/load.time"))"
	while read -ra line; do
		for ((i = 0; i < ${#labels[@]}; i++)); do
			take "${labels[i]}" "${line[i]}"
		done
	done < "$work/load.out"
}

# One load alone, in about $seconds: database, statement, values; statements a second.
load_rate()
{
	client load "$clients" 2 1 "$(calc "int($seconds / 0.2)")" 0.2 "$1" "$work/$3" "$(grep -v '^--' "$here/sql/$2")" |
		awk '{ sum += $1 } END { print sum / NR }'
}

# Milliseconds of each transaction.
latencies()
{
	pgbench_of "$@" -T "$seconds" -l --log-prefix="$work/each" > "$work/pgbench.out"
	awk '{ print $3 / 1000 }' "$work"/each.*
	rm -f "$work"/each.*
}

# ---- figures ----

sorted()
{
	tr ' ' '\n' | grep . | sort -g
}

median()
{
	sorted <<< "${samples[$1]}" |
		awk '{ v[NR] = $1 } END { printf "%.9g", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# The ratio of two labels in each round, then "median lowest highest".
ratios()
{
	paste -d ' ' <(tr ' ' '\n' <<< "${samples[$1]}" | grep .) <(tr ' ' '\n' <<< "${samples[$2]}" | grep .) |
		awk '{ printf "%.6f\n", $1 / $2 }' | sort -g |
		awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[1], v[NR] }'
}

percentile()
{
	sort -g "$2" | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.5); print v[i < 1 ? 1 : i] }'
}
