#!/usr/bin/env bash
#
# demo.sh
#		Replays a real hour of web traffic into a waiting room of a private server.
#
# The server is that of PG_CONFIG, with vqueue installed; it lives in a temporary
# directory, listens on a Unix socket there only, and is removed at the end.
# Built before by "make -C test/crowd".  Takes less than a minute.  The exit
# status is 0 if everything held that has to hold.
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
crowd=$here/build/crowd
pg_config=${PG_CONFIG:-pg_config}
dir=
child=
interrupted=

if [ "$(id -u)" = 0 ]; then
	echo "demo.sh: PostgreSQL does not run as root; start this as another user, or use \"make demo\"." >&2
	exit 2
fi
if ! bindir=$("$pg_config" --bindir); then
	echo "demo.sh: $pg_config was not found; set PG_CONFIG." >&2
	exit 2
fi
if [ ! -x "$crowd" ]; then
	echo "demo.sh: $crowd is missing; run \"make -C test/crowd\" first." >&2
	exit 2
fi

# Wherever it ends, nothing stays behind.
cleanup()
{
	local status=$?

	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		kill "$child" 2>/dev/null || true
	fi
	[ -n "$dir" ] || return 0
	if [ -e "$dir/data/postmaster.pid" ]; then
		"$bindir/pg_ctl" -D "$dir/data" -m fast -w -t 10 stop >/dev/null 2>&1 ||
			"$bindir/pg_ctl" -D "$dir/data" -m immediate -w -t 10 stop >/dev/null 2>&1 || true
	fi
	if [ "$status" != 0 ] && [ -z "$interrupted" ] && [ -e "$dir/log" ]; then
		echo "--- last lines of the server's log" >&2
		tail -n 40 "$dir/log" >&2
	fi
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'interrupted=1; exit 130' INT
trap 'interrupted=1; exit 143' TERM
trap 'interrupted=1; exit 129' HUP

# In the background, for a signal to be heeded at once.
run()
{
	local status=0

	"$@" &
	child=$!
	wait "$child" || status=$?
	child=
	return "$status"
}

unset PGDATABASE PGHOSTADDR PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGSSLMODE PGREQUIRESSL
dir=$(mktemp -d "${TMPDIR:-/tmp}/vqueue-demo.XXXXXX")
export PGHOST=$dir PGPORT=5432 PGUSER=postgres PGDATABASE=postgres

# The path of a socket has little room; one that is too long would fail with a riddle.
if [ ${#dir} -gt 80 ]; then
	echo "demo.sh: $dir is too long a path for a Unix socket; set TMPDIR to a shorter one." >&2
	exit 2
fi

echo "Starting a private server of $("$pg_config" --version) in $dir"
run "$bindir/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1
# fsync is off, as the data is thrown away after a minute, and as a slow disk
# must not stretch that minute; everything else is as in an everyday server.
cat >>"$dir/data/postgresql.conf" <<-CONF
	shared_preload_libraries = 'vqueue'
	listen_addresses = ''
	port = 5432
	unix_socket_directories = '$dir'
	max_connections = 200
	fsync = off
	log_line_prefix = '%m [%p] %b %a '
CONF
run "$bindir/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 30 start >/dev/null
run "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION vqueue'
run "$crowd" --trace "$here/nasa-jul95-hour.txt"
