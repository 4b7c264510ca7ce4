#
# rounds.sh
#		Rounds of measurement, in turns, and the figures made of them.
#

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

# The same without the first second, in which statements are prepared and caches
# filled; a second more is run, as pgbench may not report on its last.
warm_tps()
{
	pgbench_of "$@" -T "$((seconds + 2))" -P 1 > "$work/pgbench.out"
	awk '/^progress/ && $2 > 1.5 { sum += $4; n++ } END { if (n > 0) printf "%.9g", sum / n }' "$work/pgbench.err"
}

# Milliseconds of each transaction.
latencies()
{
	pgbench_of "$@" -T "$seconds" -l --log-prefix="$work/each" > "$work/pgbench.out"
	awk '{ print $3 / 1000 }' "$work"/each.*
	rm -f "$work"/each.*
}

# ---- scripts that are dealt sessions ----

#
# A script that runs a statement of sql/ for each session of a hand.  A client
# keeps its hand over some transactions and then draws another at random, which
# costs one lookup in 200 statements; the floor does exactly the same.
#
dealt_script()
{
	local file=$work/dealt_$1.sql i columns=

	if [ ! -f "$file" ]; then
		for ((i = 1; i <= hand; i++)); do
			columns+="${columns:+, }ids[$i] AS s$i"
		done
		{
			echo '\set deal random(1, 4)'
			echo '\if :dealt = 0 or :deal = 1'
			echo '\set h random(1, :hands)'
			echo "SELECT $columns FROM bench.hands WHERE n = :h \\gset"
			echo '\set dealt 1'
			echo '\endif'
			for ((i = 1; i <= hand; i++)); do
				sed "s/:session/:s$i/; /^--/d" "$here/sql/$1.sql"
			done
		} > "$file"
	fi
	echo "$file"
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
