#!/usr/bin/env bash
#
# run-tests.sh [PART...]
#		Runs the tests of an installed vqueue in its built source tree.
#
# The parts are unit, regress, isolation, tap, pgtap, fuzz, hostile, crowd, sanitized
# and demo; without an argument all are run, in this order.  REGRESS and ISOLATION in
# the environment choose single tests of these parts, as they do for make installcheck,
# and PROVE_TESTS files of the part tap.  That runs TAP_JOBS (2) files at a time.
# Output is shown as it comes.  What failed is named at the end, and the last line is
# "N passed, N failed", counting the single tests of all parts.  A part that ran no
# test, or that failed without saying which, counts as one failure, and so does a file
# that ended before its end.
set -euo pipefail
cd "$(dirname "$0")/../.."
shopt -s nullglob

all_parts=(unit regress isolation tap pgtap fuzz hostile crowd sanitized demo)
PG_CONFIG=${PG_CONFIG:-pg_config}
export PG_CONFIG
fuzz_seconds=${FUZZ_SECONDS:-5}
logs=$(mktemp -d "${TMPDIR:-/tmp}/vqueue-logs.XXXXXX")
trap 'rm -rf "$logs"' EXIT
failures_shown=40	# lines, at the end

# What failed, a line each, with diagnostic lines indented behind it: of all parts, and
# of the one that is under way.
: >"$logs/failures"
: >"$logs/failed"

run_make()
{
	make --no-print-directory PG_CONFIG="$PG_CONFIG" "$@"
}

# Set passed and failed from the TAP lines of a log, and name the failed.  Skipped tests
# count as neither; prove's own "ok" at the end of a file has no number, but a time.
count_tap()
{
	passed=$(grep -E '^ok +([0-9]+|-)' "$1" | grep -Ev '^ok +[0-9]+ ms( |$)' | grep -ciEv '# *skip' || true)
	test/tools/list-failures.sh "$1" >>"$logs/failed" || true
	failed=$(grep -c '^[^ ]' "$logs/failed" || true)
}

# Set passed and failed after a run of pg_regress.  What it prints differs
# between versions; the files that it writes do not.
count_regress()
{
	local name

	passed=0
	failed=0
	for name in "$@"; do
		if [ -e "expected/$name.out" ] && [ -e "results/$name.out" ] &&
			! grep -qs "^diff .*/results/$name\.out\$" regression.diffs; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			echo "$name" >>"$logs/failed"
			[ ! -e regression.diffs ] || first_differences "$name" >>"$logs/failed"
		fi
	done
}

first_differences()
{
	awk -v name="$1" '
		/^diff /	{ mine = index($NF "|", "/results/" name ".out|") > 0 }
		mine && /^[-+]/ && !/^(---|\+\+\+) / && lines++ < 6	{ print "    # " $0 }
	' regression.diffs
}

# What tells most about a failed run of pg_regress.
show_regress()
{
	local file

	for file in regression.diffs "$1"/log/initdb.log "$1"/log/postmaster.log; do
		if [ -s "$file" ]; then
			echo "--- $file"
			tail -n 200 "$file"
		fi
	done
}

# run_pg_regress VARIABLE DIRECTORY SUFFIX SERVER MAKE-ARGUMENT...
run_pg_regress()
{
	local variable=$1 directory=$2 suffix=$3 server=$4 names=() file

	shift 4
	read -ra names <<<"${!variable:-}"
	if [ ${#names[@]} -eq 0 ]; then
		for file in "$directory"/*"$suffix"; do
			names+=("$(basename "$file" "$suffix")")
		done
	fi
	if [ ${#names[@]} -gt 0 ]; then
		rm -rf results regression.diffs
		run_make installcheck "$variable=${names[*]}" "$@" || status=$?
		[ "$status" = 0 ] || show_regress "$server"
		count_regress "${names[@]}"
	fi
}

# All that failed, and as much of what is behind it as there is room for.
show_failures()
{
	[ -s "$logs/failures" ] || return 0
	printf '\n=== failed\n'
	cut -c 1-300 "$logs/failures" | awk -v room="$failures_shown" '
		/^[^ ]/	{ name[++n] = $0; next }
				{ text[n, ++lines[n]] = $0 }
		END {
			shown = n > room ? room - 1 : n
			each = int((room - shown) / shown)
			for (i = 1; i <= shown; i++) {
				print name[i]
				for (j = 1; j <= lines[i] && j <= each; j++)
					print text[i, j]
			}
			if (shown < n)
				print "and " n - shown " more"
		}'
}

part_unit()
{
	run_make -C test/unit check 2>&1 | tee "$logs/unit" || status=$?
	count_tap "$logs/unit"
}

part_regress()
{
	run_pg_regress REGRESS test/sql .sql tmp_check_regress ISOLATION= TAP_TESTS=
}

part_isolation()
{
	run_pg_regress ISOLATION test/specs .spec tmp_check_iso REGRESS= TAP_TESTS=
}

# run_prove LOG JOBS MAKE-ARGUMENT...: prove shows a file as a whole when it has ended, so
# that those side by side do not mix, and with --merge what is wrong stands behind what failed
run_prove()
{
	local log=$1 jobs=$2

	shift 2
	run_make installcheck REGRESS= ISOLATION= PROVE_FLAGS="--verbose --merge --timer --jobs $jobs" "$@" 2>&1 | tee "$log" || status=$?
	if [ "$status" != 0 ]; then
		local file

		for file in tmp_check/log/*; do
			echo "--- last lines of $file"
			tail -n 40 "$file"
		done
	fi
	count_tap "$log"
}

# The files that take longest begin, so that none of them is alone in the end.
tap_files()
{
	local first=(019 013 015 029 001 031 018 017 009 008 011 024 012 028 032 030) number file

	for number in "${first[@]}"; do
		printf '%s ' test/t/"$number"_*.pl
	done
	for file in test/t/*.pl; do
		number=$(basename "$file")
		[[ " ${first[*]} " == *" ${number%%_*} "* ]] || printf '%s ' "$file"
	done
}

part_tap()
{
	run_prove "$logs/tap" "${TAP_JOBS:-2}" PROVE_TESTS="${PROVE_TESTS:-$(tap_files)}"
}

part_hostile()
{
	run_prove "$logs/hostile" 1 PROVE_TESTS=test/hostile/hostile.pl
}

part_pgtap()
{
	test/tools/with-server.sh test/tools/run-pgtap.sh 2>&1 | tee "$logs/pgtap" || status=$?
	count_tap "$logs/pgtap"
}

part_fuzz()
{
	run_make -C test/unit fuzz FUZZ_SECONDS="$fuzz_seconds" 2>&1 | tee "$logs/fuzz" || status=$?
	count_tap "$logs/fuzz"
}

# What failed by the log of run-watched.sh: as named by the runs of this script in it, and
# by TAP lines elsewhere.
failed_within()
{
	: >"$logs/elsewhere"
	awk '
		/^=== [a-z]+$/					{ inner = 1; named = $2 == "failed"; next }
		/^[0-9]+ passed, [0-9]+ failed$/	{ inner = named = 0; next }
		named && $0 != ""
		!inner							{ print >elsewhere }
	' elsewhere="$logs/elsewhere" "$1"
	test/tools/list-failures.sh "$logs/elsewhere"
}

# The server's library with sanitizers under what reaches all of it, and one file in
# valgrind; "make torture" has more of it.
part_sanitized()
{
	local tool parts count

	for tool in asan valgrind; do
		if [ "$tool" = valgrind ] && ! command -v valgrind >/dev/null; then
			echo "# SKIP valgrind is not installed"
			continue
		fi
		parts=(regress isolation storm)
		[ "$tool" = asan ] || parts=(regress:queues)
		test/tools/run-watched.sh "$tool" 300 "${parts[@]}" 2>&1 | tee "$logs/$tool" || status=$?
		count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$tool" | tail -n 1 || echo '0 passed, 1 failed')
		passed=$((passed + ${count%% *}))
		count=${count#*, }
		failed=$((failed + ${count%% *}))
		if [ "${count%% *}" != 0 ]; then
			failed_within "$logs/$tool" | sed "/^[^ ]/s/^/$tool: /" >>"$logs/failed"
		fi
	done
}

# The crowd's own tests, a crowd that is faster than the demo's, and a storm.
part_crowd()
{
	{
		run_make -C test/crowd check &&
			run_make -C test/crowd &&
			test/tools/with-server.sh test/tools/run-crowd.sh --speed 600 --rate 144000 --cap 10000 \
				--connections 40 &&
			test/tools/with-server.sh test/tools/run-crowd.sh --storm --seconds 10 --sick
	} 2>&1 | tee "$logs/crowd" || status=$?
	count_tap "$logs/crowd"
}

part_demo()
{
	test/tools/run-demo.sh 2>&1 | tee "$logs/demo" || status=$?
	count_tap "$logs/demo"
}

parts=("$@")
if [ ${#parts[@]} -eq 0 ]; then
	parts=("${all_parts[@]}")
fi
for part in "${parts[@]}"; do
	if ! declare -F "part_$part" >/dev/null; then
		echo "There is no part \"$part\"; the parts are ${all_parts[*]}." >&2
		exit 2
	fi
done

total_passed=0
total_failed=0
summary=
for part in "${parts[@]}"; do
	printf '\n=== %s\n' "$part"
	started=$SECONDS
	status=0
	passed=0
	failed=0
	: >"$logs/failed"
	"part_$part"
	note=
	if [ "$((passed + failed))" = 0 ]; then
		note=', no test was run'
		failed=1
	elif [ "$status" != 0 ] && [ "$failed" = 0 ]; then
		note=", ended with status $status"
		failed=1
	fi
	if [ "$failed" != 0 ] && [ ! -s "$logs/failed" ]; then
		echo "${note#, }" >"$logs/failed"
		[ ! -s "$logs/$part" ] || tail -n 8 "$logs/$part" | sed 's/^/    /' >>"$logs/failed"
	fi
	sed "/^[^ ]/s/^/$part: /" "$logs/failed" >>"$logs/failures"
	total_passed=$((total_passed + passed))
	total_failed=$((total_failed + failed))
	summary+=$(printf '%-10s %5d passed %4d failed %4d s%s' "$part" "$passed" "$failed" \
		"$((SECONDS - started))" "$note")$'\n'
done

printf '\n=== summary\n%s' "$summary"
show_failures
echo
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" = 0 ]
