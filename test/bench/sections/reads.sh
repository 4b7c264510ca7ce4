#
# reads.sh
#		Memory, polls, positions; at any length of the line.
#

bench_memory()
{
	local what="shared memory a waiting session, $many_text waiting"

	step "memory"
	take memory "$(bytes_a_session many)"
	take memory_floor 8
	take row_bytes "$(ask many "SELECT pg_total_relation_size('vqueue.user_sessions') / (waiting + serving) FROM vqueue.overview")"
	fixed_row "$what, against 8 bytes of a bare ticket" memory memory_floor bytes 'at most' 1
	if [ -n "$redis_missing" ]; then
		unmeasured_row "$what, against Redis" 'at most' - "$redis_missing"
	else
		fixed_row "$what, against a member of Redis's sorted set" memory redis_memory bytes 'at most' -
	fi
}

# bytes_a_session DATABASE: all lines of the other databases are counted as well, hence the division by all.
bytes_a_session()
{
	local db used=0 standing=0

	used=$(ask "$1" "SELECT used FROM vqueue.memory()")
	for db in "${databases[@]}"; do
		standing=$((standing + $(ask "$db" "SELECT coalesce(sum(waiting), 0) FROM vqueue.overview")))
	done
	calc "$used / $standing"
}

bench_reads()
{
	step "reads: SELECT 1, a constant place, poll, position, heartbeat, at $few_text and at $many_text waiting"
	loads floor:many:select_1.sql: constant:many:constant.sql: poll_many:many:poll.sql:many.sessions \
		constant_of:many:constant_of.sql:many.sessions poll_few:few:poll.sql:few.sessions \
		position_few:few:position.sql:few.tickets position_many:many:position.sql:many.tickets \
		heartbeat:many:heartbeat.sql:many.sessions position_session:many:position_session.sql:many.sessions

	rate_row "SELECT * FROM poll(session), $many_text waiting, against a constant place from C" poll_many constant 0.95
	rate_row "SELECT * FROM poll(session), $many_text waiting, against one from C with a session as its argument" \
		poll_many constant_of -
	rate_row "SELECT * FROM poll(session), $many_text waiting, against SELECT 1" poll_many floor 0.6
	rate_row "SELECT * FROM poll(session), $few_text waiting, against SELECT 1" poll_few floor 0.6
	time_row "time of poll(session): $many_text waiting against $few_text" poll_many poll_few 1.2
	rate_row "SELECT position(queue, ticket), $many_text waiting, against SELECT 1" position_many floor 0.93
	rate_row "SELECT position(queue, ticket), $few_text waiting, against SELECT 1" position_few floor 0.93
	time_row "time of position(queue, ticket): $many_text waiting against $few_text" position_many position_few 1.2
	rate_row "SELECT position(session), $many_text waiting, against SELECT 1" position_session floor 0.85
	rate_row "SELECT heartbeat(session), $many_text waiting, against SELECT 1" heartbeat floor 0.85
	notes+=("a request of a read took its client $(median client_us) us of a processor")
}

# Positions of 100 random sessions at a time, against 1 and 100 ZRANKs a round trip.
bench_positions()
{
	local one="positions(100 sessions), a position, against Redis ZRANK, one a call"
	local hundred="positions(100 sessions), a position, against Redis ZRANK, pipelined by 100"

	step "positions: 100 at a time, Redis ZRANK, Redis ZRANK pipelined"
	awk '{ list = list (NR % 100 == 1 ? "{" : ",") $1 } NR % 100 == 0 { print list "}"; list = "" }' \
		"$work/many.sessions" > "$work/many.hundreds"
	if [ -n "$redis_missing" ]; then
		turns positions:rate_positions
		unmeasured_row "$one" 'at least' 10 "$redis_missing"
		unmeasured_row "$hundred" 'at least' 1.5 "$redis_missing"
	else
		turns positions:rate_positions zrank:rate_zrank zrank_100:rate_zrank_100
		rate_row "$one" positions zrank 10
		rate_row "$hundred" positions zrank_100 1.5
	fi
}

rate_positions()		{ calc "100 * $(load_rate many positions.sql many.hundreds)"; }
rate_zrank()			{ redis_rate zrank "$clients" 1 ZRANK line 00000000-0000-7000-8000-__rand_int__; }
rate_zrank_100()		{ redis_rate zrank_100 "$clients" 100 ZRANK line 00000000-0000-7000-8000-__rand_int__; }

# The very long line against one of 10,000: a database each; the last section, as it makes room for them.
bench_long()
{
	step "long: a line of $huge_text and one of 10,000"
	drop_database many
	add_database ten line_setup.sql -v waiting=10000 -v step=10000
	add_database huge line_setup.sql -v waiting="$huge" -v step=$((huge < 500000 ? huge : 500000))
	[ "$(ask huge "SELECT waiting + serving FROM vqueue.overview")" = "$huge" ] || die "the very long line is not as long as it should be"
	draw_sessions ten huge
	loads poll_ten:ten:poll.sql:ten.sessions poll_huge:huge:poll.sql:huge.sessions \
		heartbeat_ten:ten:heartbeat.sql:ten.sessions heartbeat_huge:huge:heartbeat.sql:huge.sessions \
		position_session_ten:ten:position_session.sql:ten.sessions \
		position_session_huge:huge:position_session.sql:huge.sessions \
		position_ten:ten:position.sql:ten.tickets position_huge:huge:position.sql:huge.tickets
	rate_row "SELECT * FROM poll(session): $huge_text waiting against 10,000" poll_huge poll_ten 0.95
	rate_row "SELECT position(session): $huge_text waiting against 10,000" position_session_huge position_session_ten 0.95
	rate_row "SELECT heartbeat(session): $huge_text waiting against 10,000" heartbeat_huge heartbeat_ten 0.95
	rate_row "SELECT position(queue, ticket): $huge_text waiting against 10,000" position_huge position_ten 0.95
	take memory_huge "$(bytes_a_session huge)"
	absolute_row "shared memory a waiting session, $huge_text waiting" memory_huge bytes 'at most' 6
	restart_rows huge "$huge_text"
}
