#
# rebuild.sh
#		Memory from the tables: by a call, and after a restart.
#

bench_rebuild()
{
	step "rebuild: rebuild(), count(*) by one process, count(*) as planned by default"
	turns count_one:seconds_count_one rebuild:seconds_rebuild count_default:seconds_count_default
	time_row_of "rebuild() of $many_text waiting, against count(*) by one process" rebuild count_one 3
	time_row_of "rebuild() of $many_text waiting, against count(*) as planned by default" rebuild count_default 3
	restart_rows many "$many_text"
}

#
# restart_rows DATABASE WAITING: what building memory adds to a restart,
# against what a count(*) of the table adds.  Each round takes the restart
# without either from both, so the rows are of what the two themselves take.
#
restart_rows()
{
	local i select_1 count position

	asked=$1
	step "rebuild: from a restart to the first answer of SELECT 1, of count(*), of position(), $2 waiting"
	for ((i = 0; i < (rounds < 5 ? rounds : 5); i++)); do
		select_1=$(seconds_to "SELECT 1 AS answer")
		count=$(seconds_to "SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM vqueue.user_sessions")
		position=$(seconds_to "SELECT vqueue.position('bench', 1000)")
		take "restart_floor_$1" "$select_1"
		take "restart_count_$1" "$count"
		take "restart_$1" "$position"
		take "built_$1" "$(calc "$position - $select_1")"
		take "counted_$1" "$(calc "$count - $select_1")"
	done
	time_row_of "rebuild after a restart, $2 waiting, against count(*) after one" "built_$1" "counted_$1" 2
	time_row_of "restart to first position() answered, $2 waiting, against to first count(*)" "restart_$1" "restart_count_$1" -
	time_row_of "restart to first position() answered, $2 waiting, against to first SELECT 1" "restart_$1" "restart_floor_$1" -
}

seconds_rebuild()		{ script many rebuild.sql; }
seconds_count_one()		{ script many count.sql -v workers=0; }
seconds_count_default()	{ script many count.sql -v workers=2; }

# The start of the server is in it; the files are in the cache of the system, not in that of the server.
seconds_to()
{
	stop_server
	start_server no_wait
	until script "$asked" first_answer.sql -v statement="$1" 2> "$work/psql.err"; do
		grep -qE 'No such file|starting up|not yet accepting' "$work/psql.err" || return 1
	done
}
