#!/usr/bin/env bash
#
# check-image.sh [FOLDER]
#		Does in fresh Debians what docker/Dockerfile does for its target "debian", and
#		starts what comes of it as a container would.
#
# Needs root, debootstrap and a mirror of Debian; takes a few minutes, most of it to fetch
# packages.  One system is for building and one for the server, as are the stages of the
# Dockerfile.  The server has mounts, processes and a network of its own.  What is made lies
# in FOLDER, by default a temporary one, and is removed.  MIRROR and SUITE may be set.
# The last line is "N passed, N failed".
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

mirror=${MIRROR:-http://deb.debian.org/debian}
suite=${SUITE:-bookworm}
if [ "$(id -u)" != 0 ]; then
	echo 'check-image.sh: chroot and mounts take root' >&2
	exit 1
fi
if [ -z "${BASE:-}" ] && ! command -v debootstrap >/dev/null; then
	echo 'check-image.sh: debootstrap is not installed: apt-get install debootstrap' >&2
	exit 1
fi

folder=${1:-$(mktemp -d /var/tmp/vqueue-image.XXXXXX)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
passed=0
failed=0
running=
cleanup()
{
	if [ -n "$running" ]; then
		kill -KILL "$running" 2>/dev/null || true
	fi
	rm -rf --one-file-system "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say()
{
	printf '\n=== %s (%s s)\n' "$*" "$SECONDS"
}

# is WHAT WANTED GOT
is()
{
	if [ "$3" = "$2" ]; then
		passed=$((passed + 1))
		echo "ok - $1"
	else
		failed=$((failed + 1))
		echo "not ok - $1: \"$3\", not \"$2\""
	fi
}

# inside ROOT COMMAND...: run it there as root, with mounts, processes and a network of its own
# if own_network is set.  The source is at /source, read-only.
own_network=
inside()
{
	local root=$1

	shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare --mount --pid ${own_network:+--net} --fork --kill-child sh -c '
		set -e
		root=$1 source=$2 net=$3
		shift 3
		[ -z "$net" ] || ip link set lo up
		mount -t proc proc "$root/proc"
		mkdir -p "$root/dev/shm" "$root/source"
		mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
		mount --bind "$source" "$root/source"
		mount -o remount,bind,ro "$root/source"
		exec chroot "$root" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' \
		inside "$root" "$folder/source" "${own_network:-}" "$@"
}

size()
{
	du --summarize --apparent-size --block-size=1M --one-file-system "$1" | cut -f 1
}

# ---- two fresh Debians ----

say "a fresh Debian ($suite)"
mkdir "$folder/source" "$folder/server"
"$source/test/tools/copy-tree.sh" "$folder/source"
if [ -n "${BASE:-}" ]; then
	cp -a "$BASE/." "$folder/server"
else
	debootstrap --variant=minbase "$suite" "$folder/server" "$mirror" >"$folder/log" || {
		tail -n 20 "$folder/log"
		exit 1
	}
fi
printf '%s\n' '#!/bin/sh' 'exit 101' >"$folder/server/usr/sbin/policy-rc.d"
chmod 755 "$folder/server/usr/sbin/policy-rc.d"
# as the official slim images have it
printf 'path-exclude=/usr/share/%s/*\n' doc man locale info >"$folder/server/etc/dpkg/dpkg.cfg.d/slim"
echo 'Acquire::Check-Valid-Until "false";' >"$folder/server/etc/apt/apt.conf.d/no-valid-until"
cp /etc/resolv.conf "$folder/server/etc/resolv.conf" 2>/dev/null || true
inside "$folder/server" apt-get -qq clean
rm -rf "$folder/server/var/lib/apt/lists"/*
cp -a "$folder/server" "$folder/builder"

say 'build.sh'
inside "$folder/builder" /source/docker/build.sh /built >"$folder/log" 2>&1 || {
	tail -n 40 "$folder/log"
	exit 1
}
is 'what was built' 'vqueue.control vqueue.so' \
	"$(find "$folder/builder/built" -name 'vqueue.*' -printf '%f\n' | sort | xargs)"
is 'each script of sql/' "$(find "$source/sql" -name 'vqueue--*' -printf '%f\n' | LC_ALL=C sort | xargs)" \
	"$(find "$folder/builder/built" -name 'vqueue--*' -printf '%f\n' | LC_ALL=C sort | xargs)"

say 'runtime.sh'
before=$(size "$folder/server")
cp -a "$folder/builder/built" "$folder/server/built"
inside "$folder/server" /source/docker/runtime.sh /built >"$folder/log" 2>&1 || {
	tail -n 40 "$folder/log"
	exit 1
}
rm -rf "$folder/server/built"
after=$(size "$folder/server")
own=$(find "$folder/server" -xdev -name 'vqueue*' -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%d", n / 1024 }')
echo "a fresh Debian takes $before MB; with PostgreSQL and vqueue $after MB, of which vqueue $own kB"
is 'there is no compiler' '' "$(find "$folder/server/usr/bin" -name 'gcc*' -o -name 'cc' -o -name 'make')"
is 'nor a cluster' '' "$(ls "$folder/server/etc/postgresql" 2>/dev/null)"
is 'the library finds all that it needs' '' \
	"$(inside "$folder/server" sh -c 'ldd /usr/lib/postgresql/*/lib/vqueue.so' | grep 'not found' || true)"

# ---- the server ----

own_network=1

# start NAME=VALUE...: as a container starts, in the background
start()
{
	inside "$folder/server" env "$@" vqueue-entrypoint >>"$folder/server/log" 2>&1 &
	running=$!
}

# The first process of the server's namespace: a shell of ours runs unshare, which runs it.
first_process()
{
	pgrep -P "$(pgrep -P "$running")"
}

# in the namespaces of the server that runs
with_server()
{
	nsenter --target "$(first_process)" --mount --pid --net --root --wdns=/ \
		env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root PGUSER=postgres PGDATABASE=vqueue "$@"
}

sql()
{
	with_server psql -XAtq -c "$1" 2>&1
}

# Wait until the server is well, or has ended.
wait_for_health()
{
	local try

	for try in $(seq 300); do
		if with_server vqueue-healthcheck 2>/dev/null; then
			echo well
			return
		fi
		kill -0 "$running" 2>/dev/null || break
		sleep 0.2
	done
	echo "not after $try tries"
	tail -n 30 "$folder/server/log" >&2
}

# As docker stop does it.
stop()
{
	local status=0

	kill -INT "$(first_process)"
	wait "$running" || status=$?
	running=
	is 'it stops in order' 0 "$status"
}

say 'start'
is 'without secrets it does not start' 1 "$(start VQUEUE_ENVIRONMENT=production; wait "$running" && echo 0 || echo "$?")"
is 'and says why' 1 "$(grep -c 'the secret "server.crt" is missing or empty: put it into a file of that name in /run/secrets' "$folder/server/log")"
"$source/docker/make-secrets.sh" "$folder/secrets"
mkdir -p "$folder/server/run/secrets"
install -m 400 -t "$folder/server/run/secrets" "$folder"/secrets/*
echo 'shared_buffers = 64MB' >"$folder/server/etc/vqueue/postgresql.conf"
chmod 644 "$folder/server/etc/vqueue/postgresql.conf"
start VQUEUE_ENVIRONMENT=production
is 'it is well' well "$(wait_for_health)"
is 'it does not run as root' postgres "$(with_server stat -c %U /proc/1)"
is 'the first process is the server' postgres "$(with_server cat /proc/1/comm)"
is 'of this environment' vqueue-production "$(sql 'SHOW cluster_name')"
is 'a queue' t "$(sql "SELECT vqueue.create_queue('onsale', 600, 1) IS NOT NULL")"
is 'somebody joins over TLS with a password' 'serving|0' "$(with_server env PGHOST=127.0.0.1 PGUSER=app PGSSLMODE=require \
	PGPASSWORD="$(cat "$folder/secrets/app_password")" psql -XAtq -c "SELECT status, position FROM vqueue.join('onsale')" 2>&1)"
is 'another waits' waiting "$(sql "SELECT status FROM vqueue.join('onsale')")"
is 'it archives' t "$(sql 'SELECT pg_switch_wal() IS NOT NULL')"
archived()
{
	local try

	for try in $(seq 300); do
		if [ "$(sql 'SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver')" = t ]; then
			return
		fi
		sleep 0.2
	done
	echo "not after $try tries"
}
is 'into the volume' '' "$(archived)"
is 'preflight() finds nothing that fails' '' "$(sql "SELECT \"check\" FROM vqueue.preflight() WHERE status = 'fail'")"
is 'memory is right' '' "$(sql 'SELECT * FROM vqueue.check()')"
is 'sample data is refused' 1 "$(with_server psql -Xq -f /usr/local/share/vqueue/env/sample-data.sql 2>&1 | grep -c 'no sample data on this server')"
stop

say 'start again'
start VQUEUE_ENVIRONMENT=development
is 'it is well' well "$(wait_for_health)"
is 'and has who waited' 1 "$(sql "SELECT count(*) FROM vqueue.sessions WHERE status = 'waiting'")"
is 'sample data is taken in development' hotline "$(with_server psql -XAtq -f /usr/local/share/vqueue/env/sample-data.sql 2>&1 | head -n 1 | cut -d '|' -f 1)"
stop

# ---- the same without a container ----

# What docker/README.md says of a server of Debian's.
say 'as a cluster of Debian'
# shellcheck disable=SC2016 # expanded by the inner shell
is 'preflight() finds nothing that fails there either' 'vqueue-production|0|t' "$(inside "$folder/server" sh -e -c '
	major=$(ls /usr/lib/postgresql)
	pg_createcluster "$major" main -- --data-checksums >/dev/null
	rm -rf /var/lib/postgresql/archive /usr/local/bin/vqueue-archive-wal
	install -m 644 /source/docker/env/production/postgresql.conf "/etc/postgresql/$major/main/conf.d/vqueue.conf"
	install -m 755 /source/docker/deploy/archive-wal.sh /usr/local/bin/vqueue-archive-wal
	install -d -o postgres -g postgres -m 700 /var/lib/postgresql/archive
	install -o postgres -g postgres -m 600 -t "/var/lib/postgresql/$major/main" /run/secrets/server.crt /run/secrets/server.key
	echo "shared_buffers = 64MB" >"/etc/postgresql/$major/main/conf.d/zz-small.conf"
	pg_ctlcluster "$major" main restart
	su postgres -c "psql -Xq -c \"CREATE EXTENSION vqueue\" -c \"SELECT pg_switch_wal()\"" >/dev/null
	for i in $(seq 100); do
		[ -z "$(ls /var/lib/postgresql/archive)" ] || break
		sleep 0.2
	done
	su postgres -c "psql -XAtq" <<-SQL
		SELECT current_setting('\''cluster_name'\''), count(*) FILTER (WHERE status = '\''fail'\''),
		       (SELECT last_archived_wal IS NOT NULL FROM pg_stat_archiver) FROM vqueue.preflight()
	SQL
	pg_ctlcluster "$major" main stop' 2>&1)"
is 'nothing crashed' 0 "$(grep -cE 'PANIC|TRAP|was terminated by signal' "$folder/server/log")"

printf '\n%s s\n%s passed, %s failed\n' "$SECONDS" "$passed" "$failed"
[ "$failed" = 0 ]
