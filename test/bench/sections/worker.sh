#
# worker.sh
#		What the background worker does: letting in, on time; and nothing, cheaply.
#

# A freed slot to the next one's event; and to served_at, the floor being a commit of one UPDATE by key.
bench_latency()
{
	local i percent session

	step "latency: complete() to the next one's event and served_at, a commit of one UPDATE"
	script many latency_setup.sql > /dev/null
	session=$(ask many "SELECT id FROM vqueue.sessions WHERE queue = 'relay' AND status = 'serving'")
	client listen many vqueue_relay "$session" "$events" 5 > "$work/events"
	cut -d ' ' -f 1 "$work/events" > "$work/events.ms"
	cut -d ' ' -f 2 "$work/events" > "$work/sent.ms"
	for ((i = 0; i < rounds; i++)); do
		latencies many -c 1 -D "rows=$waiting" -f "$here/sql/update_1.sql" >> "$work/commit.ms"
	done
	for percent in 50 99; do
		take "commit_$percent" "$(percentile "$percent" "$work/commit.ms")"
		take "event_$percent" "$(percentile "$percent" "$work/events.ms")"
		take "sent_$percent" "$(percentile "$percent" "$work/sent.ms")"
	done
	absolute_row "freed slot to the event 'released' at a listener, p50 of $events, beside a commit" event_50 ms 'at most' 3 commit_50
	absolute_row "freed slot to the event 'released' at a listener, p99 of $events, beside a commit" event_99 ms 'at most' 20 commit_99
	absolute_row "the same from sending complete(), p50" sent_50 ms 'at most' - commit_50
	absolute_row "the same from sending complete(), p99" sent_99 ms 'at most' - commit_99
	if [ -n "$full" ]; then
		latency_served
	fi
}

latency_served()
{
	local i percent

	for ((i = 0; i < rounds; i++)); do
		pgbench_of many -c 1 -T "$seconds" -f "$here/sql/complete.sql" > "$work/pgbench.out"
	done
	script many latency_read.sql > "$work/latency.ms"
	for percent in 50 99; do
		take "latency_$percent" "$(percentile "$percent" "$work/latency.ms")"
		fixed_row "freed slot to the next one's served_at, p$percent of $(grep -c . "$work/latency.ms"), against a commit" \
			"latency_$percent" "commit_$percent" ms 'at most' -
	done
}

bench_pacing()
{
	local rate burst text over error released

	step "pacing: $pacing_seconds s of releases at 600 and at 60,000 a minute"
	script few pacing_setup.sql -v seconds=$((pacing_seconds + 3)) > /dev/null
	ask few "SELECT vqueue.open('paced_600'), vqueue.open('paced_60000')" > /dev/null
	sleep "$pacing_seconds"
	ask few "SELECT vqueue.pause('paced_600'), vqueue.pause('paced_60000')" > /dev/null
	for rate in 600 60000; do
		burst=$((rate / 600))
		text="$(thousands $rate) a minute, $pacing_seconds s"
		script few pacing_read.sql -v queue="paced_$rate" -v rate="$rate" -v burst="$burst" -F ' ' > "$work/pacing"
		read -r over error released < "$work/pacing"
		take "over_$rate" "$over"
		take "error_$rate" "$error"
		notes+=("at $(thousands $rate) a minute $(thousands "$released") came in, in $pacing_seconds s")
		absolute_row "pacing at $text: sessions beyond the bound, in the worst window" "over_$rate" sessions 'at most' 0
		absolute_row "pacing at $text: error of the worst window of 10 s" "error_$rate" % 'at most' 2
	done
}

# ---- many queues ----

# The workers of two databases side by side, so that what disturbs one disturbs both.
bench_queues()
{
	local small large i a b

	step "queues: CPU of the worker with 100 queues and with $(thousands "$queues"), 100 of them active"
	for i in 100 "$queues"; do
		PGOPTIONS="-c bench.queues=$i" add_database "queues_$i" queues_setup.sql -v waiting=$((20 * rounds * queue_seconds))
	done
	small=$(worker_pid queues_100)
	large=$(worker_pid "queues_$queues")
	sleep 2
	for ((i = 0; i < rounds; i++)); do
		a=$(cpu_seconds "$small") b=$(cpu_seconds "$large")
		sleep "$queue_seconds"
		take cpu_100 "$(calc "$(cpu_seconds "$small") - $a")"
		take cpu_many "$(calc "$(cpu_seconds "$large") - $b")"
	done
	take released_100 "$(ask queues_100 "SELECT sum(released) FROM vqueue.overview")"
	take released_many "$(ask "queues_$queues" "SELECT sum(released) FROM vqueue.overview")"
	notes+=("of 100 queues $(median released_100) were let in, of $(thousands "$queues") $(median released_many)")
	time_row_of "worker's CPU in $queue_seconds s, $(thousands "$queues") open queues, 100 of them active, against 100 queues" cpu_many cpu_100 2
	for i in 100 "$queues"; do
		drop_database "queues_$i"
	done
}

worker_pid()
{
	ask "$1" "SELECT pid FROM pg_stat_activity WHERE backend_type = 'vqueue worker' AND datname = current_database()"
}

# What a process has had of a core, in seconds.
cpu_seconds()
{
	awk '{ printf "%.6f", $1 / 1e9 }' "/proc/$1/schedstat"
}

# ---- nothing to do ----

bench_idle()
{
	local before after pid i pids=() wakes=()

	step "idle: wakes of workers and launcher, WAL, in $idle_seconds s"
	# whoever was let in before is told of, and whatever was dirty is written
	sleep 2
	ask postgres "CHECKPOINT"
	mapfile -t pids < <(ask postgres "SELECT pid FROM pg_stat_activity WHERE backend_type IN ('vqueue worker', 'vqueue launcher')")
	before=$(ask postgres "SELECT pg_current_wal_insert_lsn()")
	for pid in "${pids[@]}"; do wakes+=("$(context_switches "$pid")"); done
	sleep "$idle_seconds"
	for i in "${!pids[@]}"; do
		take wakes "$(calc "($(context_switches "${pids[i]}") - ${wakes[i]}) / $idle_seconds")"
	done
	after=$(ask postgres "SELECT pg_current_wal_insert_lsn()")
	take most_wakes "$(sorted <<< "${samples[wakes]}" | tail -n 1)"
	take idle_wal "$(wal_records "$before" "$after")"
	absolute_row "idle server: wakes a second of the busiest of ${#pids[@]} workers and launcher" most_wakes /s 'at most' 1
	absolute_row "idle server: WAL records in $idle_seconds s but for the server's own snapshots" idle_wal records 'at most' 0
}

context_switches()
{
	sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$1/status"
}

# The background writer logs the running transactions now and then, with or without vqueue.
wal_records()
{
	[ "$1" != "$2" ] || { echo 0; return; }
	"$bin/pg_waldump" -p "$work/data/pg_wal" -s "$1" -e "$2" 2> "$work/waldump.err" | grep -cv RUNNING_XACTS || true
}
