#!/usr/bin/env bash
#
# private-prefix.sh DIRECTORY
#		Makes a copy of a PostgreSQL server in DIRECTORY and prints its pg_config.
#
# What is installed with that pg_config lands in DIRECTORY: a library built in
# an odd way stays out of the server that everybody else uses.  The server is
# that of $PG_CONFIG.  PostgreSQL finds its files by their place relative to the
# program that runs, so all keep their places.  Programs are copied, since they
# look at where they really are; the rest are links.
set -euo pipefail

from=${PG_CONFIG:-pg_config}
to=$(mkdir -p "$1" && cd "$1" && pwd)

# place COMMAND OPTION DIRECTORY: copy a directory to its place below $to
place()
{
	if [ -d "$3" ] && [ ! -e "$to$3" ]; then
		mkdir -p "$(dirname "$to$3")"
		"$1" "$2" "$3" "$to$3"
	fi
}

bindir=$("$from" --bindir)
place cp -RL "$bindir"
for option in --pkglibdir --sharedir --includedir --pkgincludedir --includedir-server; do
	directory=$("$from" "$option")
	# a directory that everything shares, such as /usr/include, is where it always was
	case $directory in
		*postgres* | *pgsql*) place cp -Rs "$directory" ;;
	esac
done

# pg_config --pgxs may lie elsewhere than --pkglibdir
pgxs=$("$from" --pgxs)
place cp -Rs "${pgxs%/src/makefiles/*}"

# no link to a vqueue that is installed there
find "$to" -type l -name 'vqueue*' -delete

[ "$("$to$bindir/pg_config" --pkglibdir)" = "$to$("$from" --pkglibdir)" ] || {
	echo "The copy of PostgreSQL in $to still looks for its files in $("$to$bindir/pg_config" --pkglibdir)." >&2
	exit 1
}
echo "$to$bindir/pg_config"
