#!/usr/bin/env bash
#
# with-build.sh [--keep FOLDER] COMMAND [ARGUMENT...]
#		Builds and installs vqueue, then runs the command in the built tree.
#
# All of it happens in a copy of the source tree in a temporary directory,
# which is removed at the end together with any server still running in it.
# The command runs with PG_CONFIG, PATH and TMPDIR set, and never as root, as
# PostgreSQL refuses that: root steps down to the user postgres (or to
# $VQUEUE_TEST_USER).  Its exit status is that of this script.  What it writes
# into FOLDER is copied to the same place of the source tree.
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail
cd "$(dirname "$0")/../.."

# A make further up has options of its own; those below get none of them.
unset MAKEFLAGS MFLAGS MAKELEVEL

# Databases are as the locale is; a fresh container has none.
unset LC_ALL LANGUAGE
export LANG=C.UTF-8

keep=
if [ "$1" = --keep ]; then
	keep=$2
	shift 2
fi
source=$PWD
build=
child=

cleanup()
{
	if [ -n "$build" ]; then
		"$source/test/tools/stop-servers.sh" "$build"
		rm -rf "$build"
	fi
}
trap cleanup EXIT

# The command has a process group of its own, to be ended as a whole.
interrupted()
{
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		kill -TERM -- "-$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	exit "$1"
}
trap 'interrupted 129' HUP
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

PG_CONFIG=$(test/tools/find-postgres.sh) || {
	echo "No PostgreSQL 15 or newer with development files was found; see make deps." >&2
	exit 1
}
export PG_CONFIG
bindir=$("$PG_CONFIG" --bindir)

# ${as_user[@]} before a command runs it as the user who owns the copy.
as_user=()
if [ "$(id -u)" = 0 ]; then
	user=${VQUEUE_TEST_USER:-postgres}
	id "$user" >/dev/null
	as_user=(runuser -u "$user" --)
fi

# ${as_owner[@]} runs it as one who may write into the server's directories.
as_owner=()
if [ ! -w "$("$PG_CONFIG" --pkglibdir)" ] || [ ! -w "$("$PG_CONFIG" --sharedir)/extension" ]; then
	as_owner=(sudo)
fi

# Not $TMPDIR: paths of Unix sockets must be short.
build=$(mktemp -d /tmp/vqueue.XXXXXX)
mkdir "$build/tree" "$build/tmp"
test/tools/copy-tree.sh "$build/tree"
if [ ${#as_user[@]} -gt 0 ]; then
	chown -R "$user" "$build"
fi
cd "$build/tree"

say()
{
	printf '\n=== %s\n' "$*"
}

say "build with $("$PG_CONFIG" --version)"
"${as_user[@]}" make --silent clean PG_CONFIG="$PG_CONFIG"
"${as_user[@]}" make --silent --jobs="$(nproc)" WERROR=1 PG_CONFIG="$PG_CONFIG"
say "install into $("$PG_CONFIG" --pkglibdir)"
"${as_owner[@]}" make --silent install WERROR=1 PG_CONFIG="$PG_CONFIG"

set -m
"${as_user[@]}" env TMPDIR="$build/tmp" PATH="$bindir:$PATH" "$@" </dev/null &
child=$!
set +m
status=0
wait "$child" || status=$?
child=
if [ -n "$keep" ] && [ -d "$keep" ]; then
	mkdir -p "$source/$keep"
	cp -R "$keep/." "$source/$keep"
	echo "Copied to $keep of the source tree"
fi
exit "$status"
