#!/usr/bin/env bash
#
# rolling.sh: a new library, or other files, on a primary and its standby, one
# after the other.
#
# The standby gets it first.  Then the two change places: the primary is stopped,
# which sends the standby all there is, and the standby is promoted.  The old primary
# gets the library, and follows.  Last, the extension is updated in each database.
# Clients that name both hosts, with target_session_attrs=read-write, find the
# new primary by themselves.
#
# Each option can be given as a variable too: --primary-data as PRIMARY_DATA.
#
#   --primary CONNINFO        connection of a superuser to a database with vqueue
#   --standby CONNINFO        the same on the standby
#   --primary-data DIRECTORY  data directory of the primary
#   --standby-data DIRECTORY  and of the standby
#   --primary-run PREFIX      how to run a command on its machine as the server's user,
#                             such as "ssh postgres@db1"; without: on this one
#   --standby-run PREFIX      the same for the standby
#   --install COMMAND         installs what is new on a machine; run there by sh, first on the
#                             standby's; $VQUEUE_DATA is the data directory.  Without: it has been done
#   --follow CONNINFO         how the old primary connects to the new one (primary_conninfo)
#   --slot NAME               replication slot to make on the new primary for it; without: none
#   --databases "NAME..."     where to update the extension; without: the database of --primary
#   --update-to VERSION       to this version; without: the newest; "no": not at all
#   --pg-ctl PATH             of pg_ctl on the machines (pg_ctl), which has pg_controldata beside it
#   --primary-log FILE        where the old primary writes its log (vqueue-rolling.log in its data)
#   --standby-log FILE        and the standby
#   --patience SECONDS        how long to wait for anything (60)
#   --dry-run                 look whether it could be done, and say what would be
#
# It stops at the first thing that is not as it should be, before anything is
# stopped where that can be known; when the standby has not got all, the old
# primary is started again.
set -euo pipefail

# shellcheck source=docker/deploy/common.sh
. "$(dirname "$0")/common.sh"

primary=${PRIMARY:-} standby=${STANDBY:-} primary_data=${PRIMARY_DATA:-} standby_data=${STANDBY_DATA:-}
primary_run=${PRIMARY_RUN:-} standby_run=${STANDBY_RUN:-} install=${INSTALL:-} follow=${FOLLOW:-} slot=${SLOT:-}
databases=${DATABASES:-} update_to=${UPDATE_TO:-} pg_ctl=${PG_CTL:-pg_ctl}
primary_log=${PRIMARY_LOG:-} standby_log=${STANDBY_LOG:-}

while [ $# -gt 0 ]; do
	case $1 in
		--help) usage; exit 0 ;;
		--dry-run) dry_run=yes ;;
		--primary | --standby | --primary-data | --standby-data | --primary-run | --standby-run | --install | --follow | --slot | \
			--databases | --update-to | --pg-ctl | --primary-log | --standby-log | --patience)
			[ $# -gt 1 ] || die "$1 needs a value"
			name=${1#--}
			printf -v "${name//-/_}" '%s' "$2"
			shift
			;;
		*) die "unknown option $1; see --help" ;;
	esac
	shift
done
need primary standby primary_data standby_data follow
primary_log=${primary_log:-$primary_data/vqueue-rolling.log}
standby_log=${standby_log:-$standby_data/vqueue-rolling.log}
case $pg_ctl in
	*/*) pg_controldata=${pg_ctl%/*}/pg_controldata ;;
	*) pg_controldata=pg_controldata ;;
esac

# install_on PREFIX DATA
install_on()
{
	[ -z "$install" ] || on "$1" env VQUEUE_DATA="$2" sh -c "$install"
}

# library CONNINFO: the version of the library that a server has loaded, asked where there are its functions
library()
{
	ask "$1 dbname=${databases%%[[:space:]]*}" 'SELECT vqueue._library_version()'
}

caught_up="SELECT count(*) > 0 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= pg_current_wal_flush_lsn() - 1048576"

# ---- whether it can be done ----

[ "$(ask "$primary" 'SELECT pg_is_in_recovery()')" = f ] || die 'the primary is a standby'
[ "$(ask "$standby" 'SELECT pg_is_in_recovery()')" = t ] || die 'the standby is a primary'
[ "$(ask "$primary" 'SELECT system_identifier FROM pg_control_system()')" = "$(ask "$standby" 'SELECT system_identifier FROM pg_control_system()')" ] ||
	die 'the two servers are not of one family'
[ "$(ask "$primary" "$caught_up")" = t ] || die 'no standby streams from the primary, or it is far behind'
[ "$(ask "$primary" "SELECT current_setting('data_directory')")" = "$primary_data" ] || die "the primary's data is not in $primary_data"
[ "$(ask "$standby" "SELECT current_setting('data_directory')")" = "$standby_data" ] || die "the standby's data is not in $standby_data"
databases=${databases:-$(ask "$primary" 'SELECT current_database()')}
for database in $databases; do
	[ "$(ask "$primary dbname=$database" "SELECT count(*) FROM pg_extension WHERE extname = 'vqueue'")" = 1 ] ||
		die "database $database has no extension vqueue"
done
if [ -n "$(ask "$standby" "SELECT current_setting('synchronous_standby_names')")" ]; then
	say 'note: the standby has synchronous_standby_names set: once promoted, its commits wait until the old primary follows'
fi

say "the primary has library $(library "$primary"), the standby $(library "$standby")"

# ---- the standby first ----

say 'the standby gets the new library'
install_on "$standby_run" "$standby_data"
on "$standby_run" "$pg_ctl" -s -w -t "$patience" -D "$standby_data" -l "$standby_log" -m fast restart
await 'the standby streams again' "$primary" "$caught_up" || die 'the standby does not stream again; the primary is as it was'
[ -n "$dry_run" ] || say "the standby has library $(library "$standby"), the primary still $(library "$primary")"

# ---- they change places ----

say 'the two change places'
tell "$primary" "ALTER SYSTEM SET primary_conninfo = '${follow//\'/\'\'}'"
tell "$primary" "ALTER SYSTEM SET primary_slot_name = '$slot'"
tell "$primary" 'CHECKPOINT'
await 'the standby has all but the last' "$primary" "$caught_up" || die 'the standby has fallen behind; nothing was stopped'
began=$(now_ms)
on "$primary_run" "$pg_ctl" -s -w -t "$patience" -D "$primary_data" -m fast stop
if [ -z "$dry_run" ]; then
	last=$(on "$primary_run" env LC_ALL=C "$pg_controldata" -D "$primary_data" | sed -n 's/^Latest checkpoint location: *//p')
fi
if ! await 'the standby has replayed all' "$standby" "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0') > '${last:-0/0}'"; then
	on "$primary_run" "$pg_ctl" -s -w -t "$patience" -D "$primary_data" -l "$primary_log" start
	die 'the standby did not get all that the primary had; the primary runs again'
fi
tell "$standby" "SELECT pg_promote(true, $patience)"
await 'the standby is promoted' "$standby" 'SELECT NOT pg_is_in_recovery()' || die 'the standby is not promoted; start the primary again, or promote it by hand'
say "they have changed places in $(($(now_ms) - began)) ms"

# ---- the old primary ----

say 'the old primary gets the new library, and follows'
[ -z "$slot" ] || tell "$standby" "SELECT pg_create_physical_replication_slot('$slot', true)"
install_on "$primary_run" "$primary_data"
on "$primary_run" touch "$primary_data/standby.signal"
on "$primary_run" "$pg_ctl" -s -w -t "$patience" -D "$primary_data" -l "$primary_log" start
await 'the old primary streams' "$standby" "$caught_up" || die 'the old primary does not follow; see its log'
[ -n "$dry_run" ] || say "the old primary has library $(library "$primary"), the new one $(library "$standby")"

# ---- the SQL last, as the library serves the old one too ----

to=
if [ -n "$update_to" ]; then
	to=" TO '$update_to'"
fi

for database in $databases; do
	if [ "$update_to" != no ]; then
		say "the extension is updated in $database"
		tell "$standby dbname=$database" "SET lock_timeout = '5s'; ALTER EXTENSION vqueue UPDATE$to"
	fi
	[ -n "$dry_run" ] || [ -z "$(ask "$standby dbname=$database" 'SELECT * FROM vqueue.check()')" ] ||
		die "vqueue.check() finds differences in $database"
done
say 'done'
