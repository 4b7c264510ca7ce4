#!/usr/bin/env bash
#
# profile.sh [STATEMENT...]
#		How many instructions of the server each statement takes, and where.
#
# Unlike times these hardly differ from run to run, whatever else the machine
# does.  A private server runs in valgrind's callgrind; each statement of sql/
# (default: those of the reads and joins) is executed in one connection some
# hundred times and in another three times as often, and what the second took
# more, divided by how many more, is the figure: neither the start of a process
# nor planning is in it.  Waiting, for memory or the disk, is not in it either.
#
#		PG_CONFIG=pg_config		the server to use; vqueue is installed there
#		TIMES=400				executions in the first connection
#		WAITING=20000			sessions in the line, of which release_1000 takes 1,000 each time
#		TOP=12					how many functions of each statement are listed
#		TMPDIR=dir				where the server lives
#
# Functions are counted without what they call.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/server.sh"
. "$here/lib/peers.sh"

times=${TIMES:-400}
waiting=${WAITING:-20000}
top=${TOP:-12}
disk=1 buffers=128MB
statements=("$@")
[ ${#statements[@]} -gt 0 ] ||
	statements=(select_1 constant poll position position_session heartbeat bare_insert join)

command -v valgrind > /dev/null || die "no valgrind"

start_watched_server()
{
	printf '%s\n' "log_disconnections = on" "log_line_prefix = '%p %d %a '" >> "$work/data/postgresql.conf"
	valgrind --tool=callgrind --trace-children=yes --callgrind-out-file="$work/out.%p" --log-file="$work/valgrind.%p" \
		"$bin/postgres" -D "$work/data" >> "$work/server.log" 2>&1 &
	server_runs=1
	until [ "$(ask profile 'SELECT 1' 2> /dev/null)" = 1 ]; do
		sleep 0.5
	done
	# memory is built on first use
	ask profile "SELECT vqueue.position('bench', 10)" > /dev/null
}

#
# run_times N FILE: what callgrind wrote of the process that executed it N times.
# pgbench opens a connection before, which does nothing and is gone first.
#
run_times()
{
	local pid

	# pgbench's parameters have names
	sed "s/\$1/:value/" "$here/sql/$2.sql" > "$work/script.sql"
	"$bin/pgbench" -h "$work" -U postgres -n -M prepared -c 1 -t "$1" -D value="$(value_of "$2")" -f "$work/script.sql" profile \
		> "$work/pgbench.out" 2> "$work/pgbench.err" || die "pgbench failed: $(tail -n 1 "$work/pgbench.err")"
	until [ "$(grep -c 'profile pgbench LOG:  disconnection' "$work/server.log")" = 2 ]; do sleep 0.1; done
	pid=$(sed -n 's/^\([0-9]*\) profile pgbench LOG:  disconnection.*/\1/p' "$work/server.log" | tail -n 1)
	: > "$work/server.log"
	until grep -qs '^totals:' "$work/out.$pid"; do sleep 0.1; done
	echo "$work/out.$pid"
}

total()
{
	awk '/^(totals|summary):/ { n = $2 } END { print n }' "$1"
}

value_of()
{
	case $1 in
		position) echo 5000 ;;
		*) cat "$work/session" ;;
	esac
}

require_server
make_work
build_constant
init_server
start_server
ask postgres "CREATE DATABASE profile" > /dev/null
script profile setup.sql -v waiting="$waiting" > /dev/null
script profile constant_setup.sql -v library="$work/constant" > /dev/null
ask profile "SELECT id FROM vqueue.user_sessions WHERE ticket = 10000" > "$work/session"
case " ${statements[*]} " in
	# alone: what is let in is gone for the other statements
	*' release_1000 '*) ask profile "SELECT vqueue.pause('bench'), vqueue.alter_queue('bench', max_concurrent_users => 100000000)" > /dev/null ;;
esac
stop_server
start_watched_server

# Functions of a file of callgrind's, with their own instructions.  The line after calls= is of what they call.
functions_of()
{
	awk '
		/^c?fn=/ {
			own = /^fn=/
			id = $1; sub(/^c?fn=/, "", id)
			if (NF > 1) { name[id] = $2; for (i = 3; i <= NF; i++) name[id] = name[id] "_" $i }
			if (own) fn = id
		}
		/^calls=/ { skip = 1; next }
		/^[0-9+*-]/ { if (skip) skip = 0; else sum[fn] += $2 }
		END { for (id in sum) all[name[id]] += sum[id]; for (n in all) print all[n], n }' "$1"
}

for statement in "${statements[@]}"; do
	few=$(run_times "$times" "$statement")
	many=$(run_times $((3 * times)) "$statement")
	echo
	awk -v a="$(total "$few")" -v b="$(total "$many")" -v n=$((2 * times)) -v what="$(grep -v -e '^--' -e '^$' "$here/sql/$statement.sql" | head -n 1)" \
		'BEGIN { printf "%d instructions: %s\n", (b - a) / n, what }'
	awk -v n=$((2 * times)) 'NR == FNR { few[$2] = $1; next } { printf "%8d  %s\n", ($1 - few[$2]) / n, $2 }' \
		<(functions_of "$few") <(functions_of "$many") | sort -rn | awk -v top="$top" 'NR <= top'
done
"$bin/pg_ctl" -D "$work/data" -m fast -w -t 300 stop > "$work/pg_ctl.log" 2>&1 || true
# valgrind writes on after that
wait || true
server_runs=
