#!/usr/bin/env bash
#
# dr-drill.sh [--dry-run] --archive FOLDER --target FOLDER [OPTION...]
#		Restores a server with vqueue from a base backup and its archive of WAL, has
#		people join there, verifies it, and tells how long that took and what was lost.
#
# To be run where production would be restored to, by a user who is not root.  PGHOST and
# the like name production, which goes on untouched: the drill only takes a base backup of
# it and reads.  What it has archived at one moment, the "disaster", is all that is used
# from then on.  With --backup a backup that was taken before is used, and production is not
# asked at all: so this is also what to do once it is lost.
#
#   --archive FOLDER     where production's archive_command puts WAL, as seen from here
#   --target FOLDER      where to restore to; must not exist, and is removed afterwards
#   --database NAME      the database with vqueue (PGDATABASE, or else postgres)
#   --backup FOLDER      a base backup in plain format, instead of taking one
#   --lost-at TIME       with --backup: when production was lost, for the recovery point
#   --seconds N          let production go on so long between backup and disaster (0)
#   --config FILE        settings of the restored server (docker/env/dr/postgresql.conf)
#   --set NAME=VALUE     one of these otherwise; may be given several times
#   --port N             its port, on a Unix socket in the target folder only (5432)
#   --verify COMMAND     a check of your own: run with PGHOST and the like naming the restored
#                        server; it must end with status 0
#   --timeout N          give up on a step after so many seconds (3600)
#   --keep               leave the restored server running, and do not remove it
#   --dry-run            look whether it could be done, and say what would be
#
# The last lines are "name value" pairs.  The exit status is 0 if people could join and all was
# right, 1 if not, 2 if the drill could not be done.
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
archive='' target='' backup='' lost_at='' verify='' keep='' dry=''
database=${PGDATABASE:-postgres}
config=$here/../env/dr/postgresql.conf
port=5432 seconds=0 limit=3600
settings=()

refuse()
{
	echo "dr-drill.sh: $*" >&2
	exit 2
}

usage()
{
	sed -n '3,/^# right, 1 if/p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'
}

while [ $# -gt 0 ]; do
	case $1 in
		--dry-run) dry=1 ;;
		--keep) keep=1 ;;
		--help) usage; exit 0 ;;
		--archive | --target | --database | --backup | --lost-at | --seconds | --config | --set | --port | --verify | --timeout)
			[ $# -gt 1 ] || refuse "$1 takes a value"
			case $1 in
				--archive) archive=$2 ;;
				--target) target=$2 ;;
				--database) database=$2 ;;
				--backup) backup=$2 ;;
				--lost-at) lost_at=$2 ;;
				--seconds) seconds=$2 ;;
				--config) config=$2 ;;
				--set) settings+=("$2") ;;
				--port) port=$2 ;;
				--verify) verify=$2 ;;
				--timeout) limit=$2 ;;
			esac
			shift ;;
		*) refuse "there is no option \"$1\"; see --help" ;;
	esac
	shift
done
bindir=$("${PG_CONFIG:-pg_config}" --bindir 2>/dev/null) || refuse 'pg_config was not found: set PG_CONFIG to that of the server'
PATH=$bindir:$PATH

# ---- production, and the restored server ----

source_sql()
{
	psql -XAtq -v ON_ERROR_STOP=1 -d "$database" -c "$1"
}

restored()
{
	env -u PGHOSTADDR -u PGSERVICE -u PGPASSWORD -u PGSSLMODE -u PGOPTIONS \
		PGHOST="$target/socket" PGPORT="$port" PGDATABASE="$database" "$@"
}

restored_sql()
{
	restored psql -XAtq -v ON_ERROR_STOP=1 -c "$1"
}

now()
{
	date +%s.%N
}

# since TIME [TIME]: seconds between them, or until now
since()
{
	awk -v from="$1" -v to="${2:-$(now)}" 'BEGIN { printf "%.2f", to - from }'
}

say()
{
	printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"
}

# Run a step, or only say what it would be.
step()
{
	say "${dry:+would }$1"
	shift
	if [ -n "$dry" ]; then
		printf '          %s\n' "$*"
	else
		"$@"
	fi
}

# wait_for WHAT COMMAND...: until the command succeeds
wait_for()
{
	local what=$1 end=$((SECONDS + limit))

	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "dr-drill.sh: gave up waiting for $what after $limit seconds" >&2
			failed=1
			exit 1
		fi
		if [ -e "$target/data" ] && [ -e "$target/log" ] && ! "$bindir/pg_ctl" -D "$target/data" status >/dev/null; then
			echo "dr-drill.sh: the restored server has ended while waiting for $what" >&2
			failed=1
			exit 1
		fi
		sleep 0.1
	done
}

failed=
made=
cleanup()
{
	local status=$?

	if [ -z "$made" ]; then
		return
	fi
	if [ "$status" != 0 ] && [ -e "$target/log" ]; then
		echo '--- last lines of the restored server'
		tail -n 30 "$target/log"
	fi
	if [ -n "$keep" ] && [ -z "$failed" ]; then
		return
	fi
	if [ -e "$target/data/postmaster.pid" ]; then
		"$bindir/pg_ctl" -D "$target/data" -m immediate -w stop >/dev/null || true
	fi
	rm -rf "$target"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- can it be done? ----

[ "$(id -u)" != 0 ] || refuse 'PostgreSQL does not run as root: use another user'
[ -n "$archive" ] || refuse 'say where the archive of WAL is: --archive FOLDER'
[ -n "$target" ] || refuse 'say where to restore to: --target FOLDER'
is_folder()
{
	[ -d "$1" ] && test "$2" "$1"
}
is_folder "$archive" -r || refuse "the archive \"$archive\" is no folder that can be read"
[ ! -e "$target" ] || refuse "\"$target\" exists already; name a folder that does not"
is_folder "$(dirname "$target")" -w || refuse "\"$(dirname "$target")\" is no folder that can be written into"
[ -r "$config" ] || refuse "the settings \"$config\" cannot be read"
[[ $seconds =~ ^[0-9]+$ && $port =~ ^[0-9]+$ && $limit =~ ^[0-9]+$ ]] || refuse '--seconds, --port and --timeout take whole numbers'
for setting in ${settings[@]+"${settings[@]}"}; do
	[[ $setting == ?*=* ]] || refuse "--set takes NAME=VALUE, not \"$setting\""
done
[ -e "$bindir/postgres" ] || refuse "there is no server in $bindir"
"$bindir/postgres" --version >/dev/null
[ -e "$("${PG_CONFIG:-pg_config}" --pkglibdir)/vqueue.so" ] || refuse "vqueue is not installed for the server in $bindir"
archive=$(cd "$archive" && pwd)
target=$(cd "$(dirname "$target")" && pwd)/$(basename "$target")
config=$(cd "$(dirname "$config")" && pwd)/$(basename "$config")
[[ $archive$target$config != *\'* ]] || refuse "names of folders must not have a quote in them"
[ ${#target} -le 80 ] || refuse "\"$target\" is too long for a Unix socket in it: 80 bytes at the most"

if [ -n "$backup" ]; then
	backup=$(cd "$backup" && pwd) || refuse "the backup \"$backup\" is no folder that can be read"
	[ -e "$backup/backup_label" ] || refuse "\"$backup\" has no backup_label: it is no base backup in plain format"
	major=$(cat "$backup/PG_VERSION")
else
	[ -z "$lost_at" ] || refuse '--lost-at goes with --backup'
	major=$(source_sql 'SHOW server_version_num') || refuse 'production does not answer: set PGHOST and the like, or use --backup'
	major=$((major / 10000))
	[ "$(source_sql 'SELECT pg_is_in_recovery()')" = f ] || refuse 'this is a standby: name the primary'
	[ -n "$(source_sql "SELECT extversion FROM pg_extension WHERE extname = 'vqueue'")" ] ||
		refuse "database \"$database\" has no vqueue: name the one that has by --database"
	[ "$(source_sql 'SHOW archive_mode')" != off ] || refuse 'production archives nothing: set archive_mode and archive_command there'
	[ "$(source_sql "SELECT coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL) FROM pg_stat_archiver")" = f ] ||
		refuse 'archiving fails on production: see its log'
	[ "$(source_sql "SELECT count(*) FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')")" = 0 ] ||
		refuse 'production has tablespaces, which a copy cannot use beside it: take a backup by pg_basebackup --tablespace-mapping, and name it by --backup'
fi
[ "$("$bindir/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')" = "$major" ] ||
	refuse "production is PostgreSQL $major, and $bindir is not"

# Recovery stops where one of these is lower than it was on production.
of_production()
{
	local short=${1/transactions/xacts}

	if [ -n "$backup" ]; then
		LC_ALL=C "$bindir/pg_controldata" "$backup" | sed -n "s/^${short/transaction/xact} setting: *//p"
	else
		source_sql "SHOW $1"
	fi
}
here_it_is()
{
	local options=() setting

	for setting in ${settings[@]+"${settings[@]}"}; do
		options+=(-c "$setting")
	done
	# the folder only has to be there
	"$bindir/postgres" -D "$(dirname "$target")" -c "config_file=$config" ${options[@]+"${options[@]}"} -C "$1"
}
for setting in max_connections max_worker_processes max_wal_senders max_prepared_transactions max_locks_per_transaction; do
	there=$(of_production "$setting")
	have=$(here_it_is "$setting") || refuse "the settings \"$config\" are wrong: see above"
	[ "$have" -ge "$there" ] ||
		refuse "production has $setting = $there, and here it would be $have: recovery would stop at that; raise it in $config, or by --set $setting=$there"
done
if [ -n "$lost_at" ]; then
	lost_at=$(date -d "$lost_at" +%s.%N) || refuse '--lost-at takes a time'
fi

# ---- backup ----

if [ -z "$dry" ]; then
	mkdir -m 700 "$target" "$target/socket"
	made=1
fi
taken=$(now)
if [ -z "$backup" ]; then
	backup=$target/backup

	# Without WAL: what the archive does not have is not there in a disaster either.
	step 'take a base backup' pg_basebackup -D "$backup" -X none -c fast --no-password
	if [ -z "$dry" ]; then
		say "it took $(since "$taken") s"
	fi
	[ "$seconds" = 0 ] || step "let production go on" sleep "$seconds"
	asked=1
else
	asked=
fi
step 'verify the backup against its manifest' "$bindir/pg_verifybackup" --no-parse-wal --quiet "$backup"

# ---- the disaster ----

# From here on nothing of production is used but what its archive has at this moment; what it
# had committed by then is noted to tell what is lost.
list_archive()
{
	find "$archive" -maxdepth 1 -type f -printf '%f\n' >"$target/archived"
}
disaster=$(now)
step 'disaster: note which files the archive has now' list_archive
if [ -n "$asked" ] && [ -z "$dry" ]; then
	IFS='|' read -r committed disaster <<<"$(source_sql \
		"SELECT pg_snapshot_xmax(pg_current_snapshot()), extract(epoch FROM clock_timestamp())")"
fi

# ---- restore ----

write_settings()
{
	local setting

	{
		printf "include '%s'\n" "$config"
		cat <<-CONF
			listen_addresses = ''
			port = $port
			unix_socket_directories = '$target/socket'
			hba_file = '$target/data/dr_hba.conf'
			ident_file = '$target/data/dr_ident.conf'
			restore_command = 'grep -qxF "%f" "$target/archived" && cp "$archive/%f" "%p"'
			hot_standby = on
			recovery_target_timeline = latest
			primary_conninfo = ''
			synchronous_standby_names = ''
			wal_retrieve_retry_interval = 100ms
			# nothing of this may get into an archive that is needed
			archive_mode = off
			# nobody reaches it over the network
			ssl = off
		CONF
		for setting in ${settings[@]+"${settings[@]}"}; do
			printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"
		done
	} >"$target/data/dr.conf"

	# Only who may enter the folder reaches the socket.
	echo 'local all all trust' >"$target/data/dr_hba.conf"
	: >"$target/data/dr_ident.conf"
	# Production's ALTER SYSTEM is for production, and would count above what is written here.
	: >"$target/data/postgresql.auto.conf"
	rm -f "$target/data/postmaster.pid" "$target/data/postmaster.opts" "$target/data/recovery.signal"
	: >"$target/data/standby.signal"
	chmod 700 "$target/data"
}

step 'restore the backup' cp -a --reflink=auto "$backup" "$target/data"
if [ -n "$dry" ]; then
	step "start it on a socket in $target with $config" "$bindir/pg_ctl" -D "$target/data" start
	step 'replay the archive to its end' psql -c 'SELECT pg_last_wal_replay_lsn()'
	step 'promote' psql -c 'SELECT pg_promote()'
	step 'have somebody join' psql -c 'SELECT vqueue.join(…)'
	step 'verify' psql -c 'SELECT * FROM vqueue.check()'
	[ -z "$verify" ] || step 'verify by a check of your own' "$verify"
	say 'nothing was done'
	exit 0
fi
write_settings
restore_took=$(since "$disaster")

phase=$(now)
say 'start it, and replay the archive'
"$bindir/pg_ctl" -D "$target/data" -l "$target/log" -t "$limit" -s -w \
	-o "-c config_file='$target/data/dr.conf'" start || { failed=1; exit 1; }

# Replay is at its end when it waits to look for the next file, and has got no further since.
replayed=
at_end()
{
	local lsn waits

	IFS='|' read -r lsn waits <<<"$(restored_sql \
		"SELECT pg_last_wal_replay_lsn(), wait_event = 'RecoveryRetrieveRetryInterval' FROM pg_stat_activity WHERE backend_type = 'startup'")" || return 1
	if [ "$waits" = t ] && [ "$lsn" = "$replayed" ]; then
		return 0
	fi
	replayed=$lsn
	return 1
}
wait_for 'the end of the archive' at_end
IFS='|' read -r recovered_to point <<<"$(restored_sql \
	"SELECT pg_snapshot_xmax(pg_current_snapshot()), extract(epoch FROM pg_last_xact_replay_timestamp())")"
replay_took=$(since "$phase")

promoted=$(now)
say 'promote'
[ "$(restored_sql "SELECT pg_promote(true, $limit)")" = t ] || { failed=1; exit 1; }
promote_took=$(since "$promoted")

phase=$(now)
say 'have somebody join'
joins()
{
	# in a queue of its own, so that nobody's place is taken by it
	restored_sql "BEGIN; SELECT vqueue.create_queue('dr drill $$', 60, 1); SELECT vqueue.join('dr drill $$'); COMMIT" \
		>/dev/null 2>"$target/why-not"
}
wait_for 'the first join' joins
open=$(now)
join_took=$(since "$phase" "$open")
restored_sql "SELECT vqueue.drop_queue('dr drill $$', force => true)" >/dev/null

# ---- verify ----

say 'verify'
verdict=right
expect()
{
	local what=$1 wanted=$2 got=$3

	if [ "$got" != "$wanted" ]; then
		echo "dr-drill.sh: $what: $got" >&2
		verdict=wrong
	fi
}
expect 'memory and tables differ' 0 "$(restored_sql 'SELECT count(*) FROM vqueue.check()')"
expect 'the worker does not run' t "$(restored_sql 'SELECT vqueue.is_healthy()')"
healthy()
{
	[ "$(restored_sql "SELECT count(*) FROM vqueue.health() WHERE status = 'fail'")" = 0 ]
}
wait_for 'health()' healthy
expect 'somebody is in a queue twice' 0 "$(restored_sql \
	"SELECT count(*) FROM (SELECT FROM vqueue.user_sessions WHERE left_at IS NULL GROUP BY queue_id, user_id HAVING count(*) > 1) t")"
expect 'a ticket was issued twice' 0 "$(restored_sql \
	'SELECT count(*) FROM (SELECT FROM vqueue.user_sessions GROUP BY queue_id, ticket HAVING count(*) > 1) t')"
expect 'somebody was let in beyond the cap' 0 "$(restored_sql \
	"SELECT count(*) FROM (
		SELECT FROM vqueue.queues q JOIN vqueue.user_sessions s ON s.queue_id = q.id
		 WHERE s.status IN ('ready', 'serving') AND q.method <> 'passthrough'
		 GROUP BY q.id
		HAVING count(*) > q.max_concurrent_users AND max(coalesce(s.ready_at, s.served_at)) > to_timestamp($promoted)) t")"
sessions=$(restored_sql 'SELECT count(*) FROM vqueue.user_sessions WHERE left_at IS NULL')
if [ -n "$verify" ]; then
	say "verify by $verify"
	restored bash -c "$verify" || expect 'that check' 'status 0' "status $?"
fi

# ---- what it came to ----

if [ -n "$asked" ]; then
	lost_at=$disaster
fi
cat <<-TEXT

	verdict $verdict
	live_sessions $sessions
	restore_seconds $restore_took
	replay_seconds $replay_took
	promote_seconds $promote_took
	first_join_seconds $join_took
	recovery_time_seconds $(since "$disaster" "$open")
	recovered_to_transaction $recovered_to
TEXT
if [ -n "$point" ]; then
	echo "recovered_to $(date -u -d "@$point" '+%Y-%m-%dT%H:%M:%S.%6NZ')"
fi
if [ -n "$lost_at" ] && [ -n "$point" ]; then
	echo "recovery_point_seconds $(since "$point" "$lost_at")"
fi
if [ -n "$asked" ]; then
	echo "transactions_lost $((committed - recovered_to))"
fi
if [ -n "$keep" ]; then
	echo "socket $target/socket"
	echo "port $port"
fi
[ "$verdict" = right ]
