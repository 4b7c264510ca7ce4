#!/usr/bin/env bash
#
# run.sh
#		The benchmark: vqueue against the floors it is built to come near.
#
# Starts a private server in a temporary directory, and a private Redis, measures
# what README.md describes, prints a table, and removes everything again.  Every
# figure is taken in turns with its floor (A B A B ...), so that a drift of the
# machine meets both alike; what counts is the ratio.
#
#		PG_CONFIG=pg_config		the server to use; vqueue is installed there
#		FULL=1					more and longer rounds, and what takes minutes: the very
#								long line, the hour, the many queues
#		ONLY='reads rebuild'	some sections only, of: memory reads positions join join_many
#								latency pacing life hour idle queues rebuild release long
#		WAITING, HUGE, HOUR, QUEUES	sizes of the long line, the very long line, the hour and
#								the many queues
#		RESULTS=dir				where to write the results
#		TMPDIR=dir				where the servers live, on the disk to be measured
#
# The exit code is 0 whatever the ratios; not 0 if the benchmark could not run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/server.sh"
. "$here/lib/peers.sh"
. "$here/lib/rounds.sh"
. "$here/lib/report.sh"
. "$here/sections/reads.sh"
. "$here/sections/writes.sh"
. "$here/sections/worker.sh"
. "$here/sections/rebuild.sh"

clients=16
waiting=${WAITING:-1000000}
few=1000
drawn=100000
huge=${HUGE:-10000000}
hour_sessions=${HOUR:-2000000}
queues=${QUEUES:-10000}

all_sections='memory reads positions join join_many latency pacing life hour idle queues rebuild release long'
full=${FULL:-}
if [ -n "$full" ]; then
	rounds=5 seconds=3 turn=0.2 warm_turns=15 turns_a_load=75
	events=2000 pacing_seconds=60 idle_seconds=60 queue_seconds=20
	sections=$all_sections
	disk=24 buffers=$(awk '/^MemTotal/ { gb = int($2 / 4194304); print (gb < 1 ? 1 : gb > 8 ? 8 : gb) "GB" }' /proc/meminfo)
else
	rounds=3 seconds=1 turn=0.1 warm_turns=10 turns_a_load=20
	events=200 pacing_seconds=12 idle_seconds=5 queue_seconds=5
	sections='memory reads positions join join_many latency pacing life idle rebuild release'
	disk=6 buffers=1GB
fi
sections=${ONLY:-$sections}

# A number as it is read most easily.
thousands()
{
	sed -E ':again; s/([0-9])([0-9]{3})($|,)/\1,\2\3/; t again' <<< "$1"
}

few_text=$(thousands $few)
many_text=$(thousands "$waiting")
huge_text=$(thousands "$huge")

wanted()
{
	[[ " $sections " == *" $1 "* ]]
}

# ---- databases ----

databases=()

# add_database NAME SCRIPT [OPTION...]
add_database()
{
	ask postgres "CREATE DATABASE $1" > /dev/null
	script "$1" "$2" "${@:3}" > /dev/null
	databases+=("$1")
}

drop_database()
{
	local db kept=()

	ask postgres "DROP DATABASE $1 WITH (FORCE)" > /dev/null
	for db in "${databases[@]}"; do
		[ "$db" = "$1" ] || kept+=("$db")
	done
	databases=("${kept[@]}")
}

# Random sessions and tickets of those who wait, about $drawn.
draw_sessions()
{
	local db

	for db in "$@"; do
		ask "$db" "SELECT id, ticket FROM vqueue.user_sessions TABLESAMPLE BERNOULLI ((
			SELECT least(100.0, 100.0 * $drawn / waiting) FROM vqueue.overview)) WHERE status = 'waiting'" > "$work/drawn"
		cut -d '|' -f 1 "$work/drawn" > "$work/$db.sessions"
		cut -d '|' -f 2 "$work/drawn" > "$work/$db.tickets"
	done
}

# ---- all of it ----

require_server
make_work
build_clients
build_constant
measure_noise before

step "a server with $few_text waiting in one database, $many_text in another; Redis with 1,000,000"
init_server
start_server
add_database many setup.sql -v waiting="$waiting" &
filling=$!
start_redis
add_database few setup.sql -v waiting=$few
wait "$filling" || die "the database of $waiting could not be made"
databases+=(many)
[ "$(ask many "SELECT waiting FROM vqueue.overview")" = "$waiting" ] || die "the long line is not as long as it should be"
script many constant_setup.sql -v library="$work/constant"
start_pgq
draw_sessions few many
print_settings

for section in $all_sections; do
	if wanted "$section"; then
		"bench_$section"
	fi
done

for db in "${databases[@]}"; do
	step "check() of memory against the tables of $db: $(ask "$db" "SELECT count(*) FROM vqueue.check()") differences"
done
stop_redis
stop_server
measure_noise after
write_report
