#
# writes.sh
#		Joins, one by one and many at a time, releases, whole lives.
#

bench_join()
{
	step "join: bare INSERT, join, PgQ, Redis, counter row and INSERT; 16 and 64 clients"
	ask many "CHECKPOINT" > /dev/null
	measure_joins 16 naive:tps_naive ${full:+naive_one:tps_naive_one}
	measure_joins 64
	join_rows 16
	rate_row "SELECT * FROM join(queue), 16 clients, against counter row, then INSERT" join_16 naive 4
	[ -z "$full" ] || rate_row "SELECT * FROM join(queue), 16 clients, against the same in one statement" join_16 naive_one -
	join_rows 64
}

# measure_joins CLIENTS [MORE...]
measure_joins()
{
	local what=("bare_insert_$1:tps_bare_insert_$1" "join_$1:tps_join_$1")

	[ -n "$pgq_missing" ] || what+=("pgq_$1:tps_pgq_$1")
	[ -n "$redis_missing" ] || what+=("zadd_$1:redis_zadd_$1")
	turns "${what[@]}" "${@:2}"
}

join_rows()
{
	rate_row "SELECT * FROM join(queue), $1 clients, against a bare INSERT with the same indexes" "join_$1" "bare_insert_$1" 1
	peer_row "$pgq_missing" "SELECT * FROM join(queue), $1 clients, against PgQ insert_event" "join_$1" "pgq_$1" 1.2
	peer_row "$redis_missing" "SELECT * FROM join(queue), $1 clients, against Redis ZADD, appendfsync always" \
		"join_$1" "zadd_$1" 1
}

tps_bare_insert_16()	{ tps many -c 16 -f "$here/sql/bare_insert.sql"; }
tps_bare_insert_64()	{ tps many -c 64 -f "$here/sql/bare_insert.sql"; }
tps_join_16()			{ tps many -c 16 -f "$here/sql/join.sql"; }
tps_join_64()			{ tps many -c 64 -f "$here/sql/join.sql"; }
tps_pgq_16()			{ tps many -c 16 -f "$here/sql/pgq.sql"; }
tps_pgq_64()			{ tps many -c 64 -f "$here/sql/pgq.sql"; }
redis_zadd_16()			{ redis_zadd 16; }
redis_zadd_64()			{ redis_zadd 64; }
tps_naive()				{ tps many -c 16 -f "$here/sql/naive.sql"; }
tps_naive_one()			{ tps many -c 16 -f "$here/sql/naive_one_statement.sql"; }

bench_join_many()
{
	step "join_many: 1,000 at a time against one INSERT of as many rows"
	turns insert_1000:tps_insert_1000 join_many:tps_join_many
	rate_row "join_many(queue, 1,000 users), a session, against one INSERT of 1,000 rows" join_many insert_1000 0.9
}

tps_insert_1000()		{ tps_thousand insert_1000; }
tps_join_many()			{ tps_thousand join_many; }

tps_thousand()
{
	calc "$(tps many -c 1 -f "$here/sql/$1.sql") * 1000"
}

# The last section on that database, as the worker has much to announce after it.
bench_release()
{
	step "release: 10,000 at a time against one UPDATE by key"
	ask many "SELECT vqueue.pause('bench')" > /dev/null
	ask many "SELECT vqueue.alter_queue('bench', max_concurrent_users => 100000000)" > /dev/null
	turns update_10000:rate_update release_10000:rate_release
	rate_row "release(queue, 10000), a session, against UPDATE of 10,000 rows by key" release_10000 update_10000 0.9
}

rate_update()			{ calc "10000 / $(script many update_10000.sql)"; }
rate_release()			{ calc "10000 / $(script many release_10000.sql)"; }

# ---- whole lives ----

life_cap=400
life_waiting=1000

need_life()
{
	[[ " ${databases[*]} " == *' life '* ]] || add_database life life_setup.sql -v cap=$life_cap
}

# Sessions a second, and the bytes of WAL a session of ours and of the floor.
bench_life()
{
	local waiting_text="$(thousands $life_waiting) waiting" room

	step "life: join, 3 polls, release, complete; ours, SKIP LOCKED, naive, bare INSERT and UPDATEs"
	need_life
	for room in naive skip_locked statuses; do
		script life room_setup.sql -v room=$room
	done
	turns life:life_vqueue life_skip:life_skip_locked life_naive:life_naive life_floor:life_floor \
		${full:+life_statuses:life_statuses}
	take_wal
	notes+=("polls a session of a whole life: $(for room in vqueue skip_locked naive ${full:+statuses}; do
		awk -v room="$room" '{ sum += $1 } END { printf "%s %.1f; ", room, sum / NR }' "$work/$room.polls"
	done)")
	rate_row "whole life, $waiting_text, sessions, against the naive waiting room" life life_naive 5
	rate_row "whole life, $waiting_text, sessions, against a SKIP LOCKED queue" life life_skip 2
	[ -z "$full" ] || rate_row "whole life, $waiting_text, sessions, against a SKIP LOCKED queue that tells no positions" life life_statuses -
	rate_row "whole life, $waiting_text, sessions, against one INSERT and two UPDATEs by key, without polls" life life_floor -
	fixed_row "WAL of a whole life, against one INSERT and two UPDATEs by key" life_wal floor_wal bytes 'at most' 1.2
}

# Each run left its bytes a session in a file of the work folder.
take_wal()
{
	local bytes

	while read -r bytes; do take life_wal "$bytes"; done < "$work/vqueue.wal"
	while read -r bytes; do take floor_wal "$bytes"; done < "$work/floor.wal"
}

life_ring()
{
	echo $(((life_cap + life_waiting) / clients))
}

life_vqueue()
{
	ask life "TRUNCATE vqueue.user_sessions"
	ask life CHECKPOINT
	client life life "$clients" "$(life_ring)" 2 "$seconds" 0 \
		"SELECT * FROM vqueue.join('life')" "SELECT * FROM vqueue.poll(\$1)" "SELECT * FROM vqueue.complete(\$1)" \
		> "$work/vqueue.life"
	life_polls vqueue
	awk '{ print $3 / $1 }' "$work/vqueue.life" >> "$work/vqueue.wal"
	awk '{ print $1 / $2 }' "$work/vqueue.life"
}

# life_of ROOM JOIN STATUS [LOCK]: a room in plain SQL, in which one more connection lets in.
life_of()
{
	ask life "TRUNCATE bench.$1"
	ask life CHECKPOINT
	client life life "$clients" "$(life_ring)" 2 "$seconds" 0 "$2" "$3" \
		"UPDATE bench.$1 SET status = 'completed', left_at = clock_timestamp() WHERE id = \$1 AND status = 'serving'" \
		"WITH next AS (
			SELECT id FROM bench.$1
			 WHERE queue_id = '00000000-0000-7000-8000-000000000001' AND status = 'waiting'
			 ORDER BY ticket
			 LIMIT (SELECT greatest($life_cap - count(*), 0) FROM bench.$1
			         WHERE queue_id = '00000000-0000-7000-8000-000000000001' AND status = 'serving')
			   ${4:-}),
		let_in AS (
			UPDATE bench.$1 AS s SET status = 'serving', served_at = clock_timestamp() FROM next WHERE s.id = next.id
			RETURNING 1)
		SELECT count(*) AS released FROM let_in" > "$work/$1.life"
	life_polls "$1"
	awk '{ print $1 / $2 }' "$work/$1.life"
}

# How many polls a session took, for the notes of the run.
life_polls()
{
	awk '{ print $4 / $1 }' "$work/$1.life" >> "$work/$1.polls"
}

insert_into()
{
	echo "INSERT INTO bench.$1 (user_id, ticket) SELECT gen_random_uuid(), $2 RETURNING *"
}

with_position()
{
	echo "SELECT s.*, CASE s.status WHEN 'waiting' THEN 1 + (
				SELECT count(*) FROM bench.$1 AS o
				 WHERE o.queue_id = s.queue_id AND o.status = 'waiting' AND o.ticket < s.ticket) END AS position
			FROM bench.$1 AS s WHERE s.id = \$1"
}

life_naive()
{
	life_of naive "WITH next AS (UPDATE bench.counter SET last_ticket = last_ticket + 1 WHERE id = 1 RETURNING last_ticket)
		INSERT INTO bench.naive (user_id, ticket) SELECT gen_random_uuid(), last_ticket FROM next RETURNING *" \
		"$(with_position naive)"
}

life_skip_locked()
{
	life_of skip_locked "$(insert_into skip_locked "nextval('bench.life_tickets')")" "$(with_position skip_locked)" \
		'FOR UPDATE SKIP LOCKED'
}

life_statuses()
{
	life_of statuses "$(insert_into statuses "nextval('bench.life_tickets')")" \
		"SELECT * FROM bench.statuses WHERE id = \$1" 'FOR UPDATE SKIP LOCKED'
}

life_floor()
{
	local before after rate

	ask life "CHECKPOINT"
	before=$(wal_position)
	rate=$(tps_life_floor)
	after=$(wal_position)
	calc "($after - $before) / $(ask life "SELECT count(*) FROM bench.life_copy")" >> "$work/floor.wal"
	echo >> "$work/floor.wal"
	echo "$rate"
}

wal_position()
{
	ask postgres "SELECT pg_current_wal_insert_lsn() - '0/0'"
}

# ---- an hour of a great sale ----

# All through one queue, while somebody keeps a snapshot open from before the first to after the last.
bench_hour()
{
	local tenth

	step "hour: $(thousands "$hour_sessions") sessions through one queue with a snapshot held open, in ten parts"
	need_life
	script life hour_setup.sql -v cap=$life_cap > /dev/null
	hold_snapshot
	for ((tenth = 1; tenth <= 10; tenth++)); do
		forget_the_rest
		take hour_floor "$(tps_life_floor)"
		client life life "$clients" "$(life_ring)" 0 0 $((hour_sessions / 10)) \
			"SELECT * FROM vqueue.join('hour')" "SELECT * FROM vqueue.poll(\$1)" "SELECT * FROM vqueue.complete(\$1)" \
			> "$work/hour.life"
		take hour "$(awk '{ print $1 / $2 }' "$work/hour.life")"
	done
	drop_snapshot
	take hour_first "$(tenth_of hour 1)"
	take hour_last "$(tenth_of hour 10)"
	take beside_first "$(calc "$(tenth_of hour 1) / $(tenth_of hour_floor 1)")"
	take beside_last "$(calc "$(tenth_of hour 10) / $(tenth_of hour_floor 10)")"
	notes+=("the hour by tenths, sessions a second, and one INSERT and two UPDATEs just before each: $(paste -d ' ' \
		<(tr ' ' '\n' <<< "${samples[hour]}" | grep .) <(tr ' ' '\n' <<< "${samples[hour_floor]}" | grep .) |
		awk '{ printf "%s%d and %d", (NR > 1 ? ", " : ""), $1, $2 }')")
	rate_row "$(thousands "$hour_sessions") sessions through one queue, a snapshot held open: last tenth against first" hour_last hour_first 0.9
	fixed_row "the same, each tenth as a share of INSERT and UPDATEs just before it" beside_last beside_first shares 'at least' -
}

# Those who are still there from the tenth before have no client any more; that is not measured.
forget_the_rest()
{
	ask life "DELETE FROM vqueue.user_sessions WHERE left_at IS NULL"
}

tenth_of()
{
	tr ' ' '\n' <<< "${samples[$1]}" | grep . | sed -n "$2p"
}

tps_life_floor()
{
	ask life "TRUNCATE bench.life_copy"
	tps life -c "$clients" -f "$here/sql/life_floor.sql"
}

# Somebody who looks at one moment's state until told to stop.
hold_snapshot()
{
	PGAPPNAME=snapshot "$bin/psql" -X -q -h "$work" -U postgres -d life -c 'BEGIN ISOLATION LEVEL REPEATABLE READ' \
		-c 'SELECT pg_current_snapshot()' -c 'SELECT pg_sleep(1000000)' > "$work/snapshot.out" 2>&1 &
	until [ "$(ask life "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'snapshot' AND query LIKE '%sleep%'")" = 1 ]; do
		sleep 0.1
	done
}

drop_snapshot()
{
	[ "$(ask life "SELECT backend_xmin IS NOT NULL AND pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'snapshot'")" = t ] ||
		die "the snapshot was not held to the end"
}
