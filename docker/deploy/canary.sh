#!/usr/bin/env bash
#
# canary.sh: new settings in one queue, watched, and taken back by the worker when
# a bound is passed.
#
#   canary.sh start   put the queue under new settings, and wait for what becomes of it
#   canary.sh watch   wait for what becomes of one that was started
#   canary.sh keep    keep the settings, now
#   canary.sh revert  take them back, now
#
# Each option can be given as a variable too: --queue as QUEUE.
#
#   --server CONNINFO     connection to the database (libpq's variables, if not given)
#   --tenant NAME         the queue's tenant (default)
#   --queue NAME          the queue
#   --settings JSON       what to try, such as {"release_rate_per_minute": 1200}
#   --share NUMBER        try it on such a share of newcomers, above 0; timeouts alone
#                         can be tried so (1: the whole queue)
#   --abandonment SHARE   take it back when a greater share of those who end gave up
#   --error NUMBER        take it back when the estimates' error is greater
#   --watch-for INTERVAL  for how long to watch (1 hour); then it is kept
#   --min-ended NUMBER    visits that must have ended before a bound counts (50)
#   --look-every INTERVAL how often the worker looks (10 s)
#   --reason TEXT         of keep and revert
#   --every SECONDS       how often to tell how it fares (10)
#   --dry-run             look whether it could be done, and say what would be
#
# The exit status is 0 if the settings were kept, 3 if they were taken back, 1 if
# something is wrong.  To end the script ends nothing: the worker goes on to watch.
set -euo pipefail

# shellcheck source=docker/deploy/common.sh
. "$(dirname "$0")/common.sh"

server=${SERVER:-} tenant=${TENANT:-default} queue=${QUEUE:-} settings=${SETTINGS:-} abandonment=${ABANDONMENT:-} error=${ERROR:-}
watch_for=${WATCH_FOR:-1 hour} min_ended=${MIN_ENDED:-50} look_every=${LOOK_EVERY:-10 s} reason=${REASON:-} every=${EVERY:-10} share=${SHARE:-1}
action=

while [ $# -gt 0 ]; do
	case $1 in
		--help) usage; exit 0 ;;
		--dry-run) dry_run=yes ;;
		start | watch | keep | revert) action=$1 ;;
		--server | --tenant | --queue | --settings | --share | --abandonment | --error | --watch-for | --min-ended | --look-every | --reason | --every)
			[ $# -gt 1 ] || die "$1 needs a value"
			name=${1#--}
			printf -v "${name//-/_}" '%s' "$2"
			shift
			;;
		*) die "unknown option $1; see --help" ;;
	esac
	shift
done
[ -n "$action" ] || die 'say start, watch, keep or revert; see --help'
need queue

literal()
{
	[ -n "$1" ] && printf "'%s'" "${1//\'/\'\'}" || printf NULL
}

export PGOPTIONS="${PGOPTIONS:-} -c vqueue.tenant=${tenant//[ \\]/\\&}"
name=$(literal "$queue")
[ "$(ask "$server" "SELECT count(*) FROM pg_extension WHERE extname = 'vqueue' AND to_regclass('vqueue.queue_canaries') IS NOT NULL")" = 1 ] ||
	die 'the database has no vqueue, or one that knows no canaries'
ask "$server" "SELECT 'queue ' || queue || ': ' || state || ', ' || waiting || ' wait, ' || serving || ' are in' FROM vqueue.overview WHERE id = vqueue._queue($name)"

# verdict: state and reason of the latest one
verdict()
{
	ask "$server" "SELECT state || '|' || ended || ' have ended, ' || gave_up || ' of them gave up'
		|| CASE WHEN share < 1 THEN ', and of ' || others_ended || ' other newcomers ' || others_gave_up ELSE '' END || coalesce(', the error of the estimates is ' || round(estimate_error::numeric, 3), '')
		|| coalesce('; ' || reason, '') FROM vqueue.canaries WHERE queue_id = vqueue._queue($name) ORDER BY started_at DESC LIMIT 1"
}

watch()
{
	local seen
	while :; do
		seen=$(verdict)
		[ -n "$seen" ] || die 'the queue has no canary'
		say "${seen%%|*}: ${seen#*|}"
		case $seen in
			kept*) exit 0 ;;
			reverted*) exit 3 ;;
		esac
		sleep "$every"
	done
}

case $action in
	start)
		need settings
		[ -n "$abandonment$error" ] || die '--abandonment or --error is missing; see --help'
		tell "$server" "SELECT vqueue.canary($name, $(literal "$settings"), $(literal "$abandonment"), $(literal "$error"), $(literal "$watch_for"), $min_ended, $(literal "$look_every"), $(literal "$share"))"
		[ -n "$dry_run" ] || watch
		;;
	watch) watch ;;
	keep | revert)
		tell "$server" "SELECT vqueue.canary_$action($name, $(literal "$reason"))"
		seen=$(verdict)
		[ -n "$dry_run" ] || say "${seen%%|*}: ${seen#*|}"
		;;
esac
