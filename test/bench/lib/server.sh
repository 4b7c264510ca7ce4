#
# server.sh
#		The private server of the benchmark, and how to ask it.
#

bin=
work=
server_runs=

die()
{
	echo "bench: $*" >&2
	exit 1
}

# Progress, to the terminal only.
step()
{
	printf '%s  %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

require_server()
{
	local config=${PG_CONFIG:-pg_config} shared program

	[ "$(id -u)" != 0 ] || die "PostgreSQL does not run as root; run this as another user, e.g. runuser -u postgres -- $0"
	command -v "$config" > /dev/null || die "no $config; install PostgreSQL or set PG_CONFIG"
	bin=$("$config" --bindir)
	shared=$("$config" --sharedir)
	for program in initdb pg_ctl psql pgbench; do
		[ -x "$bin/$program" ] || die "no $program in $bin"
	done
	[ -r "$shared/extension/vqueue.control" ] || die "vqueue is not installed in $shared; run make install"
}

make_work()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/vqueue-bench.XXXXXX")
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	chmod 700 "$work"
	[ ${#work} -lt 80 ] || die "the path $work is too long for a socket; set TMPDIR"
	[ "$(df -Pk "$work" | awk 'NR == 2 { print $4 }')" -gt $((disk * 1000000)) ] ||
		die "less than $disk GB free in $work; set TMPDIR"
}

# The client programs.
build_clients()
{
	local config=${PG_CONFIG:-pg_config} program

	for program in load life listen; do
		"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -I"$("$config" --includedir)" -o "$work/$program" "$here/$program.c" \
			-L"$("$config" --libdir)" -lpq -lpthread || die "test/bench/$program.c does not compile"
	done
}

# The function that always returns the same row; the server loads it from the folder of the run.
build_constant()
{
	local config=${PG_CONFIG:-pg_config}

	"${CC:-cc}" -std=gnu11 -O2 -Wall -fPIC -shared -isystem "$("$config" --includedir-server)" \
		-o "$work/constant.so" "$here/constant.c" || die "test/bench/constant.c does not compile"
}

clean_up()
{
	local status=$?

	trap '' INT TERM HUP
	trap - EXIT
	if [ "$status" != 0 ] && [ "$status" != 130 ] && [ -r "$work/server.log" ]; then
		echo "bench: stopped with exit code $status; the last lines of the server's log:" >&2
		tail -n 15 "$work/server.log" >&2
	fi
	stop_redis
	if [ -n "$server_runs" ]; then
		"$bin/pg_ctl" -D "$work/data" -m immediate -w stop > /dev/null 2>&1 || true
	fi
	[ -z "$work" ] || rm -rf "$work"
	exit "$status"
}

# What differs from the defaults; printed with the results.
server_settings()
{
	cat <<-END
		fsync = on
		synchronous_commit = on
		full_page_writes = on
		shared_buffers = $buffers
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		autovacuum = off
	END
}

init_server()
{
	"$bin/initdb" -D "$work/data" -U postgres -A trust --no-locale -E UTF8 > "$work/initdb.log" 2>&1 ||
		die "initdb failed: $(tail -n 3 "$work/initdb.log")"
	{
		server_settings
		echo "max_worker_processes = 24"
		echo "shared_preload_libraries = 'vqueue'"
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work'"
		echo "max_connections = 300"
	} >> "$work/data/postgresql.conf"
}

# start_server [no_wait]: until it answers, or not.
start_server()
{
	local wait=-w

	[ -z "${1:-}" ] || wait=-W
	"$bin/pg_ctl" -D "$work/data" -l "$work/server.log" $wait start > "$work/pg_ctl.log" 2>&1 ||
		die "the server did not start: $(tail -n 3 "$work/server.log")"
	server_runs=1
}

stop_server()
{
	"$bin/pg_ctl" -D "$work/data" -m fast -w stop > "$work/pg_ctl.log" 2>&1 ||
		die "the server did not stop: $(tail -n 3 "$work/server.log")"
	server_runs=
}

# The answer to a statement, unadorned.
ask()
{
	"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U postgres -d "$1" -c "$2"
}

# The output of a file of sql/.
script()
{
	local db=$1 file=$2

	shift 2
	"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -U postgres -d "$db" "$@" -f "$here/sql/$file"
}
