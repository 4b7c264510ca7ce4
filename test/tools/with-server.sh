#!/usr/bin/env bash
#
# with-server.sh COMMAND [ARGUMENT...]
#		Runs the command with a private server, which is gone afterwards.
#
# The server is configured by test/vqueue.conf, listens on a Unix socket in its
# temporary directory only, and has an empty database "test".  PGHOST, PGUSER and
# the like are set so that every client program finds it without options.
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bindir=$("${PG_CONFIG:-pg_config}" --bindir)
dir=$(mktemp -d "${TMPDIR:-/tmp}/server.XXXXXX")

cleanup()
{
	local status=$?

	if [ -e "$dir/data/postmaster.pid" ]; then
		"$bindir/pg_ctl" -D "$dir/data" -m fast -w stop >/dev/null ||
			"$bindir/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null || true
	fi
	if [ "$status" != 0 ] && [ -e "$dir/log" ]; then
		echo "--- last lines of the server's log"
		tail -n 40 "$dir/log"
	fi
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

unset PGDATABASE PGHOSTADDR PGPASSWORD PGSERVICE PGOPTIONS
export PGHOST=$dir PGPORT=5432 PGUSER=postgres

"$bindir/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" || {
	cat "$dir/initdb.log"
	exit 1
}
cat >>"$dir/data/postgresql.conf" "$here/../vqueue.conf" - <<-CONF
	listen_addresses = ''
	port = 5432
	unix_socket_directories = '$dir'
CONF
"$bindir/pg_ctl" -D "$dir/data" -l "$dir/log" -w start >/dev/null
"$bindir/createdb" test
export PGDATABASE=test

status=0
"$@" || status=$?
exit "$status"
