#!/usr/bin/env bash
#
# run.sh
#		The benchmark: vqueue against the floors it is built to come near.
#
# Starts a private server in a temporary directory, measures what README.md
# describes, prints a table, and removes everything again.  Every figure is
# taken in turns with its floor (A B A B ...), so that a drift of the machine
# meets both alike; what counts is the ratio.
#
#		PG_CONFIG=pg_config		the server to use; vqueue is installed there
#		QUICK=1					rounds of one second, and only what has a goal
#		FULL=1					more and longer rounds
#		ONLY='reads rebuild'	some sections only, of: memory reads others
#								rebuild join join_many latency release
#		RESULTS=dir				where to write the results
#		TMPDIR=dir				where the server lives, on the disk to be measured
#
# The exit code is 0 whatever the ratios; not 0 if the benchmark could not run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/server.sh"
. "$here/lib/rounds.sh"
. "$here/lib/report.sh"

clients=16
waiting=1000000
few=1000
drawn=100000

sections='memory reads others rebuild join join_many latency release'
if [ -n "${QUICK:-}" ]; then
	rounds=5 seconds=1 turns_a_load=25 sections='memory reads rebuild join'
elif [ -n "${FULL:-}" ]; then
	rounds=9 seconds=8 turns_a_load=150
else
	rounds=5 seconds=2 turns_a_load=50
fi
sections=${ONLY:-$sections}

wanted()
{
	[[ " $sections " == *" $1 "* ]]
}

# ---- sections ----

bench_memory()
{
	local used standing

	step "memory"
	used=$(ask many "SELECT used FROM vqueue.memory()")
	standing=$(ask many "SELECT sum(waiting) FROM vqueue.overview")
	take memory "$(calc "$used / $standing")"
	take memory_floor 8
	fixed_row "shared memory a waiting session, $waiting waiting" memory memory_floor bytes 'at most' 1
}

# Scripts of SELECT 1 and of each reader, for both lengths of the line.
bench_reads()
{
	step "reads: SELECT 1, poll(session) and position(queue, ticket), at $few and at $waiting waiting"
	loads floor:many:select_1.sql: \
		poll_few:few:poll.sql:few.sessions poll_many:many:poll.sql:many.sessions \
		position_few:few:position.sql:few.tickets position_many:many:position.sql:many.tickets

	rate_row "SELECT * FROM poll(session), $waiting waiting, against SELECT 1" poll_many floor 0.6
	rate_row "SELECT * FROM poll(session), $few waiting, against SELECT 1" poll_few floor 0.6
	time_row "time of poll(session): $waiting waiting against $few" poll_many poll_few 1.2
	rate_row "SELECT position(queue, ticket), $waiting waiting, against SELECT 1" position_many floor 0.85
	rate_row "SELECT position(queue, ticket), $few waiting, against SELECT 1" position_few floor 0.85
	time_row "time of position(queue, ticket): $waiting waiting against $few" position_many position_few 1.2
}

bench_others()
{
	step "others: SELECT 1, heartbeat(session), position(session)"
	loads other_floor:many:select_1.sql: heartbeat:many:heartbeat.sql:many.sessions \
		position_session:many:position_session.sql:many.sessions
	rate_row "SELECT heartbeat(session), $waiting waiting, against SELECT 1" heartbeat other_floor -
	rate_row "SELECT position(session), $waiting waiting, against SELECT 1" position_session other_floor -
}

bench_rebuild()
{
	step "rebuild: rebuild(), count(*) by one process, count(*) as planned by default"
	turns count_one:seconds_count_one rebuild:seconds_rebuild count_default:seconds_count_default
	step "rebuild: from a restart to the first answer of SELECT 1, of count(*), of position()"
	turns restart_floor:seconds_to_select_1 restart_count:seconds_to_count restart:seconds_to_position
	time_row_of "rebuild() of $waiting waiting, against count(*) by one process" rebuild count_one 3
	time_row_of "rebuild() of $waiting waiting, against count(*) as planned by default" rebuild count_default 3
	time_row_of "restart to first position() answered, against to first count(*)" restart restart_count -
	time_row_of "restart to first position() answered, against to first SELECT 1" restart restart_floor -
}

seconds_rebuild()		{ script many rebuild.sql; }
seconds_count_one()		{ script many count.sql -v workers=0; }
seconds_count_default()	{ script many count.sql -v workers=2; }

seconds_to_select_1()	{ seconds_to "SELECT 1 AS answer"; }
seconds_to_count()		{ seconds_to "SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM vqueue.user_sessions"; }
seconds_to_position()	{ seconds_to "SELECT vqueue.position('bench', 1000)"; }

# The start of the server is in it; the files are in the cache of the system, not in that of the server.
seconds_to()
{
	stop_server
	start_server no_wait
	until script many first_answer.sql -v statement="$1" 2> "$work/psql.err"; do
		grep -qE 'No such file|starting up|not yet accepting' "$work/psql.err" || return 1
	done
}

bench_join()
{
	step "join: bare INSERT, join, counter row and INSERT, the same in one statement"
	ask many "CHECKPOINT" > /dev/null
	turns bare_insert:tps_bare_insert join:tps_join naive:tps_naive naive_one:tps_naive_one
	rate_row "SELECT * FROM join(queue), against a bare INSERT with the same indexes" join bare_insert 0.8
	rate_row "SELECT * FROM join(queue), against counter row, then INSERT" join naive 4
	rate_row "SELECT * FROM join(queue), against the same in one statement" join naive_one -
}

tps_bare_insert()		{ tps many -c $clients -f "$here/sql/bare_insert.sql"; }
tps_join()				{ tps many -c $clients -f "$here/sql/join.sql"; }
tps_naive()				{ tps many -c $clients -f "$here/sql/naive.sql"; }
tps_naive_one()			{ tps many -c $clients -f "$here/sql/naive_one_statement.sql"; }

bench_join_many()
{
	step "join_many: 1,000 at a time against one INSERT of as many rows"
	turns insert_1000:tps_insert_1000 join_many:tps_join_many
	rate_row "join_many(queue, 1,000 users), against one INSERT of 1,000 rows" join_many insert_1000 -
}

tps_insert_1000()		{ tps_thousand insert_1000; }
tps_join_many()			{ tps_thousand join_many; }

tps_thousand()
{
	calc "$(tps many -c 1 -f "$here/sql/$1.sql") * 1000"
}

# A freed slot to the next one's served_at; the floor is a commit of one UPDATE by key.
bench_latency()
{
	local i percent

	step "latency: complete() to the next one's served_at, a commit of one UPDATE"
	script many latency_setup.sql > /dev/null
	for ((i = 0; i < rounds; i++)); do
		latencies many -c 1 -D "rows=$waiting" -f "$here/sql/update_1.sql" >> "$work/commit.ms"
		pgbench_of many -c 1 -T "$seconds" -f "$here/sql/complete.sql" > "$work/pgbench.out"
	done
	script many latency_read.sql > "$work/latency.ms"
	for percent in 50 99; do
		take "latency_$percent" "$(percentile "$percent" "$work/latency.ms")"
		take "commit_$percent" "$(percentile "$percent" "$work/commit.ms")"
		fixed_row "freed slot to the next one's served_at, p$percent of $(grep -c . "$work/latency.ms"), against a commit" \
			"latency_$percent" "commit_$percent" ms 'at most' -
	done
}

# The last section: the worker has much to announce after it.
bench_release()
{
	step "release: 10,000 at a time against one UPDATE by key"
	ask many "SELECT vqueue.pause('bench')" > /dev/null
	ask many "SELECT vqueue.alter_queue('bench', max_concurrent_users => 100000000)" > /dev/null
	turns update_10000:seconds_update release_10000:seconds_release
	time_row_of "release(queue, 10000), against UPDATE of 10,000 rows by key" release_10000 update_10000 -
}

seconds_update()		{ script many update_10000.sql; }
seconds_release()		{ script many release_10000.sql; }

# ---- all of it ----

require_server
make_work
build_load
measure_noise before
print_settings

step "a server with $few waiting in one database, $waiting in another"
init_server
start_server
ask postgres "CREATE DATABASE few" > /dev/null
ask postgres "CREATE DATABASE many" > /dev/null
script few setup.sql -v waiting=$few > /dev/null
script many setup.sql -v waiting=$waiting > /dev/null
for db in few many; do
	ask $db "SELECT id FROM vqueue.user_sessions WHERE status = 'waiting' ORDER BY random() LIMIT $drawn" > "$work/$db.sessions"
	ask $db "SELECT ticket FROM vqueue.user_sessions WHERE status = 'waiting' ORDER BY random() LIMIT $drawn" > "$work/$db.tickets"
done

for section in memory reads others rebuild join join_many latency release; do
	if wanted "$section"; then
		"bench_$section"
	fi
done

step "check() of memory against the tables: $(ask many "SELECT count(*) FROM vqueue.check()") differences"
stop_server
measure_noise after
write_report
