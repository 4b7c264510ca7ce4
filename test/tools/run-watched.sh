#!/usr/bin/env bash
#
# run-watched.sh asan|valgrind SECONDS PART...
#		Runs tests on a server that is watched by sanitizers or by valgrind.
#
# Besides the parts of run-tests.sh there is "storm", a short one of the crowd's,
# and "regress:NAME" for one file.  They run in the order given; one that has
# not begun after so many seconds is left out, one that has not ended by then is
# cut short, and both are said.  The last line is "N passed, N failed".  What the
# tool reports counts as a failure, and it all happens in a copy of the tree
# with a PostgreSQL of its own (see odd-server.sh).
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$1
deadline=$((SECONDS + $2))
shift 2

dir=$(mktemp -d "${TMPDIR:-/tmp}/watched.XXXXXX")
child=

# A part is cut with all that it started; its servers end by the pid they wrote down.
cleanup()
{
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" 2>/dev/null || true
	fi
	test/tools/stop-servers.sh "$dir"
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

PG_CONFIG=$("$here/odd-server.sh" "$tool" "$dir")
PATH=$("$PG_CONFIG" --bindir):$PATH
export PG_CONFIG PATH
# Everything takes its time: on starting, on answering, on stopping.
export PGCTLTIMEOUT=300 PG_TEST_TIMEOUT_DEFAULT=600
cd "$dir/tree"

one_part()
{
	case $1 in
		storm)
			make --silent --no-print-directory -C test/crowd PG_CONFIG="$PG_CONFIG" &&
				test/tools/with-server.sh test/tools/run-crowd.sh --storm --clients 8 --seconds 8
			;;
		regress:*) REGRESS=${1#*:} test/tools/run-tests.sh regress ;;
		isolation:*) ISOLATION=${1#*:} test/tools/run-tests.sh isolation ;;
		*) test/tools/run-tests.sh "$1" ;;
	esac
}

passed=0
failed=0
left_out=()

# Count a part by its last line, or by its TAP lines.
count()
{
	local line

	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$dir/log" | tail -n 1 || true)
	if [ -z "$line" ]; then
		line="$(grep -cE '^ok ' "$dir/log" || true) passed, $(grep -cE '^not ok ' "$dir/log" || true) failed"
	fi
	read -r p _ f _ <<<"$line"
	if [ "$1" != 0 ] && [ "$f" = 0 ]; then
		f=1
	fi
	passed=$((passed + p))
	failed=$((failed + f))
}

for part in "$@"; do
	left=$((deadline - SECONDS))
	if [ "$left" -lt 5 ]; then
		left_out+=("$part")
		continue
	fi
	echo "# $tool: $part"
	set -m
	one_part "$part" </dev/null >"$dir/log" 2>&1 &
	child=$!
	set +m
	while [ "$SECONDS" -lt "$deadline" ] && kill -0 "$child" 2>/dev/null; do
		sleep 0.2
	done
	if kill -0 "$child" 2>/dev/null; then
		echo "# $tool: $part was cut short"
		kill -TERM -- "-$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
		child=
		test/tools/stop-servers.sh "$dir"
		continue
	fi
	status=0
	wait "$child" || status=$?
	child=
	count "$status"
	if [ "$status" != 0 ]; then
		cat "$dir/log"
	fi
done

if [ ${#left_out[@]} -gt 0 ]; then
	echo "# $tool: no time was left for ${left_out[*]}"
fi
if "$here/show-reports.sh" "$dir" "$tool"; then
	passed=$((passed + 1))
else
	failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
