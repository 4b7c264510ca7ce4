#!/usr/bin/env bash
#
# run-torture.sh
#		The long forms of what has one, within 20 minutes on two cores.
#
# Two lanes side by side, each a list of steps with a share of the time: fuzzers
# with the corpus they found; the server under sanitizers and under valgrind;
# hostile arguments; TAP tests with VQ_TORTURE set; storms.  All that is random
# follows from one seed, VQ_SEED or else the clock.  A step works through its
# units, in an order that the seed shuffles, until its share is spent: which ones
# were left out or cut short is said, and another seed begins with others.
#
# VQ_TORTURE_SECONDS sets the time for all, and stretches every share.  A unit is
# one line here; the output of a failed one follows it, with its seed.  The last
# line is "N passed, N failed", counting single tests.  To be run in a built
# source tree with vqueue installed, by an ordinary user.
# shellcheck disable=SC2317 # functions that are called by name
set -euo pipefail
cd "$(dirname "$0")/../.."

PG_CONFIG=${PG_CONFIG:-pg_config}
export PG_CONFIG
seed=${VQ_SEED:-$(($(date +%s) % 100000000))}
whole=${VQ_TORTURE_SECONDS:-1110}	# of 1200, the rest is for building before and stopping after
logs=$(mktemp -d "${TMPDIR:-/tmp}/torture.XXXXXX")
lanes=()
child=

cleanup()
{
	local lane

	trap '' INT TERM HUP
	for lane in "${lanes[@]}" ${child:+"$child"}; do
		kill -TERM -- "-$lane" 2>/dev/null || true
	done
	wait
	rm -rf "$logs"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

run_make()
{
	make --no-print-directory PG_CONFIG="$PG_CONFIG" "$@"
}

# shuffled SALT WORD...: the words in an order that follows from the seed
shuffled()
{
	local salt=$1

	shift
	shuf --random-source=<(yes "$seed $salt" 2>/dev/null) -e -- "$@"
}

# The number of the next unit's seed, the same in every run with this seed.
next_seed=0
new_seed()
{
	next_seed=$((next_seed + 1))
	unit_seed=$(((seed + 1000003 * next_seed + 7919 * ${#step}) % 100000000))
}

# Set passed and failed from a log: from its last line if that is a count, else
# from its TAP lines.
count()
{
	local line

	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1 || true)
	if [ -n "$line" ]; then
		read -r passed _ failed _ <<<"$line"
	else
		passed=$(grep -E '^ok\b' "$1" | grep -E '^ok +([0-9]+|-)' | grep -ciEv '# *skip' || true)
		failed=$(grep -E '^not ok +([0-9]+|-)' "$1" | grep -ciEv '# *todo' || true)
	fi
}

# unit NAME COMMAND...: runs it within what is left of the step's share
unit()
{
	local name=$1 left=$((step_end - SECONDS)) status=0 began=$SECONDS log

	shift
	if [ "$left" -lt 8 ]; then
		left_out+=("$name")
		return
	fi
	log=$(mktemp "$logs/unit.XXXXXX")
	set -m
	VQ_SEED=$unit_seed "$@" </dev/null >"$log" 2>&1 &
	child=$!
	set +m
	while [ "$SECONDS" -lt "$step_end" ] && kill -0 "$child" 2>/dev/null; do
		sleep 0.5
	done
	if kill -0 "$child" 2>/dev/null; then
		kill -TERM -- "-$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
		child=
		# what had failed by then has failed
		count "$log"
		passed=0
		echo "# $step: $name was cut short after $((SECONDS - began)) s"
	else
		wait "$child" || status=$?
		child=
		count "$log"
		if [ "$((passed + failed))" = 0 ] || { [ "$status" != 0 ] && [ "$failed" = 0 ]; }; then
			failed=$((failed + 1))
		fi
		printf '%-9s %-34s %4d passed %3d failed %4d s, seed %s\n' \
			"$step" "$name" "$passed" "$failed" "$((SECONDS - began))" "$unit_seed"
	fi
	grep -E '^# (asan|valgrind): .*(no time|cut short)' "$log" | cut -c 1-500 || true
	if [ "$failed" != 0 ]; then
		echo "FAILED: $step, $name, VQ_SEED=$unit_seed"
		tail -n 150 "$log" | sed 's/^\(ok\|not ok\)/  \1/'
	fi
	rm -f "$log"
	echo "$passed $failed" >>"$logs/counts"
}

# begin_step NAME SECONDS: what follows has so much of the time, of 1110
begin_step()
{
	step=$1
	step_end=$((SECONDS + $2 * whole / 1110))
	left_out=()
}

end_step()
{
	if [ ${#left_out[@]} -gt 0 ]; then
		echo "# $step: no time was left for ${left_out[*]}"
	fi
}

# ---- steps ----

fuzz()
{
	begin_step fuzz "$2"
	new_seed
	unit "$1" run_make -C test/unit fuzz MODULES="$1" FUZZ_SECONDS="$((step_end - SECONDS - 25))"
}

# Everything that reaches server code, the shortest last.
under_sanitizers()
{
	begin_step asan "$1"
	new_seed
	unit 'regress, isolation, storm, hostile' \
		test/tools/run-watched.sh asan "$((step_end - SECONDS - 10))" regress isolation storm hostile
}

under_valgrind()
{
	local names=() file

	begin_step valgrind "$1"
	if ! command -v valgrind >/dev/null; then
		echo "# valgrind is not installed"
		return
	fi
	for file in test/sql/*.sql; do
		names+=("regress:$(basename "$file" .sql)")
	done
	for file in test/specs/*.spec; do
		names+=("isolation:$(basename "$file" .spec)")
	done
	mapfile -t names < <(shuffled valgrind "${names[@]}")
	new_seed
	unit 'regress and isolation' \
		test/tools/run-watched.sh valgrind "$((step_end - SECONDS - 10))" "${names[@]}"
}

hostile()
{
	begin_step hostile "$1"
	while [ $((step_end - SECONDS)) -ge 20 ]; do
		new_seed
		unit 'all functions' env VQ_TORTURE= VQ_HOSTILE_LINES=8000 test/tools/run-tests.sh hostile
	done
}

tap()
{
	local file

	begin_step tap "$1"
	while read -r file; do
		new_seed
		unit "$(basename "$file")" env VQ_TORTURE=1 PROVE_TESTS="$file" test/tools/run-tests.sh tap
	done < <(shuffled tap test/t/*.pl)
	end_step
}

storms()
{
	local options=('--clients 8' '--clients 30 --queues 1' '--clients 16 --sick' '--clients 40 --queues 12')
	local choice=()

	begin_step storm "$1"
	while [ $((step_end - SECONDS)) -ge 40 ]; do
		new_seed
		read -ra choice <<<"${options[$((unit_seed % ${#options[@]}))]}"
		unit "${choice[*]}" test/tools/with-server.sh test/tools/run-crowd.sh --storm --seconds 20 "${choice[@]}"
	done
}

# ---- lanes ----

# run_lane DIRECTORY LANE
run_lane()
{
	trap '[ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null; exit 143' INT TERM HUP
	cd "$1"
	run_make --silent -C test/crowd
	"$2"
}

first_lane()
{
	fuzz line 120
	under_sanitizers 230
	tap 760
}

second_lane()
{
	fuzz pacer 60
	fuzz jwt 60
	under_valgrind 230
	hostile 200
	storms 560
}

echo "# seed $seed, $whole s"
: >"$logs/counts"

# A tree for each, as tests leave their files in it; and a process group, to be
# ended as a whole.
mkdir "$logs/second"
test/tools/copy-tree.sh "$logs/second"
set -m
run_lane . first_lane </dev/null &
lanes+=("$!")
run_lane "$logs/second" second_lane </dev/null &
lanes+=("$!")
set +m
for lane in "${lanes[@]}"; do
	wait "$lane" || echo "0 1" >>"$logs/counts"
done
lanes=()

total_passed=0
total_failed=0
while read -r passed failed; do
	total_passed=$((total_passed + passed))
	total_failed=$((total_failed + failed))
done <"$logs/counts"
echo
echo "seed $seed, $SECONDS s"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" = 0 ]
