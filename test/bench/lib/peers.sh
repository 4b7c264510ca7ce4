#
# peers.sh
#		Redis and PgQ: real programs of Debian, each of which may be missing.
#
# A peer that is not there has a reason in redis_missing or pgq_missing; its
# rows then say so.  Redis runs privately, reached by a unix socket only.
#

redis_missing=
redis_pid=
redis_program=
redis_line=0
pgq_missing=

# redis-server is a second name of redis-check-rdb: redis-tools alone, without Debian's service, will do.
find_redis()
{
	if ! command -v redis-benchmark > /dev/null || ! command -v redis-cli > /dev/null; then
		redis_missing='redis-benchmark and redis-cli are not installed (Debian: redis-tools)'
	elif command -v redis-server > /dev/null; then
		redis_program=$(command -v redis-server)
	elif command -v redis-check-rdb > /dev/null; then
		ln -s "$(command -v redis-check-rdb)" "$work/redis-server"
		redis_program=$work/redis-server
	else
		redis_missing='redis-server is not installed'
	fi
}

redis()
{
	redis-cli -s "$work/redis.sock" "$@"
}

# A line of 1,000,000 that wait, for positions and memory; then every command goes to the disk.
start_redis()
{
	local i empty

	find_redis
	[ -z "$redis_missing" ] || return 0
	mkdir "$work/redis"
	"$redis_program" --port 0 --unixsocket "$work/redis.sock" --dir "$work/redis" --appendonly no --save '' \
		--auto-aof-rewrite-percentage 0 > "$work/redis.log" 2>&1 &
	redis_pid=$!
	for ((i = 0; i < 50; i++)); do
		[ "$(redis ping 2> /dev/null)" != PONG ] || break
		sleep 0.1
	done
	if [ "$(redis ping 2> /dev/null)" != PONG ]; then
		redis_missing="redis-server did not start: $(tail -n 1 "$work/redis.log")"
		stop_redis
		return 0
	fi
	redis_line=1000000
	empty=$(redis_memory)
	redis eval "for i = 0, tonumber(ARGV[1]) - 1 do
			redis.call('ZADD', KEYS[1], i, string.format('00000000-0000-7000-8000-%012d', i))
		end" 1 line "$redis_line" > /dev/null
	[ "$(redis zcard line)" = "$redis_line" ] || die "Redis did not take the line: $(redis zcard line)"
	take redis_memory "$(calc "($(redis_memory) - $empty) / $redis_line")"
	redis config set appendfsync always > "$work/redis.out"
	redis config set appendonly yes >> "$work/redis.out"
	until redis info persistence | tr -d '\r' | grep -qx 'aof_rewrite_in_progress:0'; do
		sleep 0.1
	done
	[ "$(redis config get appendfsync | tail -n 1) $(redis config get appendonly | tail -n 1)" = 'always yes' ] ||
		die "Redis does not write its log at once"
}

redis_memory()
{
	redis info memory | tr -d '\r' | sed -n 's/^used_memory:\([0-9]*\)$/\1/p'
}

stop_redis()
{
	[ -n "$redis_pid" ] || return 0
	kill "$redis_pid" 2> /dev/null || true
	wait "$redis_pid" 2> /dev/null || true
	redis_pid=
}

# redis_rate NAME CLIENTS PIPELINE COMMAND...: requests a second, in about $seconds
redis_rate()
{
	local known=$work/redis.$1.rate clients=$2 pipeline=$3 rate=20000

	shift 3
	[ ! -r "$known" ] || rate=$(< "$known")
	redis-benchmark -s "$work/redis.sock" -c "$clients" -P "$pipeline" -r "$redis_line" --csv \
		-n "$(awk "BEGIN { printf \"%d\", $rate * $seconds + 1 }")" "$@" > "$work/redis.csv"
	awk -F '","' 'END { print $2 }' "$work/redis.csv" | tee "$known"
}

# Joins have scores and members of a wider range, so that nearly all are new.
redis_zadd()
{
	redis_line=1000000000 redis_rate "zadd_$1" "$1" 1 ZADD "join" __rand_int__ 00000000-0000-7000-8000-__rand_int__
}

start_pgq()
{
	local config=${PG_CONFIG:-pg_config}

	if [ ! -r "$("$config" --sharedir)/extension/pgq.control" ]; then
		pgq_missing="PgQ is not installed in this server (Debian: postgresql-$("$config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')-pgq3)"
	elif ! ask many "CREATE EXTENSION pgq; SELECT pgq.create_queue('bench')" > /dev/null 2> "$work/pgq.err"; then
		pgq_missing="PgQ does not work here: $(tail -n 1 "$work/pgq.err")"
	fi
}

peers_text()
{
	echo "Redis: ${redis_missing:-$("$redis_program" --version | sed 's/.* v=\([^ ]*\).*/\1/'), appendonly yes, appendfsync always, save off, over a unix socket}"
	echo "PgQ: ${pgq_missing:-$(ask many "SELECT extversion FROM pg_extension WHERE extname = 'pgq'"), without a ticker}"
}
