# shellcheck shell=bash
#
# common.sh
#		What the scripts of this folder share; they source it.
#
# With --dry-run what only looks is done, and what would change something is said.

dry_run=
patience=${PATIENCE:-60}

# What one server writes another one is to read.
plain="-c intervalstyle=postgres -c datestyle=ISO -c standard_conforming_strings=on"

say()
{
	printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

# usage: the head of the script, without its first line
usage()
{
	sed -n '3,/^[^#]/{/^#/!d;s/^#[[:blank:]]\{0,1\}//;p}' "$0"
}

need()
{
	local name
	for name in "$@"; do
		[ -n "${!name:-}" ] || die "--${name//_/-} is missing; see --help"
	done
}

# ask CONNINFO SQL: what a server answers; looks only
ask()
{
	PGOPTIONS="${PGOPTIONS:-} -c default_transaction_read_only=off $plain" psql -XAtq -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

# tell CONNINFO SQL...: has a server change something, each in a transaction of its own
tell()
{
	local server=$1 statement arguments=()
	shift
	if [ -n "$dry_run" ]; then
		for statement in "$@"; do
			say "would run, on \"$server\": $statement"
		done
		return
	fi
	for statement in "$@"; do
		arguments+=(-c "$statement")
	done
	PGOPTIONS="${PGOPTIONS:-} -c default_transaction_read_only=off -c client_min_messages=warning $plain" \
		psql -XAtq -v ON_ERROR_STOP=1 -d "$server" "${arguments[@]}" >/dev/null
}

# on PREFIX COMMAND...: runs a command on a machine; the prefix gets there, such as "ssh db1", and is empty for this one
on()
{
	local prefix=$1
	shift
	if [ -n "$dry_run" ]; then
		say "would run${prefix:+, by $prefix}: $*"
	elif [ -n "$prefix" ]; then
		# The prefix is words, and a shell at its other end takes the command apart again.
		# shellcheck disable=SC2086
		$prefix "$(printf '%q ' "$@")"
	else
		"$@"
	fi
}

# await WHAT CONNINFO SQL: until a query answers t
await()
{
	local what=$1 server=$2 query=$3 until
	if [ -n "$dry_run" ]; then
		say "would wait until $what"
		return
	fi
	until=$((SECONDS + patience))
	while [ "$(ask "$server" "$query" 2>/dev/null)" != t ]; do
		[ "$SECONDS" -lt "$until" ] || return 1
		sleep 0.05
	done
}

now_ms()
{
	date +%s%3N
}
