#!/usr/bin/env bash
#
# build-package.sh DIRECTORY [VERSION]
#		Puts below DIRECTORY what a package of vqueue would install: copied to /, or
#		to where private-prefix.sh has put a server, its files are where they belong.
#
# It is built for the server of $PG_CONFIG from a copy of the source tree; what is
# built there is taken along, so that little is left to do.  With a VERSION the
# library says that it is of that one, which is the one that the SQL has by default,
# and scripts of later ones are left out: as it was when that one was the latest.
set -euo pipefail
cd "$(dirname "$0")/../.."

PG_CONFIG=${PG_CONFIG:-pg_config}
version=${2:-}
to=$(mkdir -p "$1" && cd "$1" && pwd)
tree=$(mktemp -d "${TMPDIR:-/tmp}/vqueue-package.XXXXXX")
trap 'rm -rf "$tree"' EXIT

# A make further up has options of its own; those below get none of them.
unset MAKEFLAGS MFLAGS MAKELEVEL

cp -pR Makefile vqueue.control src sql "$tree"
options=(--silent --no-print-directory -C "$tree" PG_CONFIG="$PG_CONFIG" with_llvm=no)
if [ -n "$version" ]; then
	sed -i "s/^default_version *=.*/default_version = '$version'/" "$tree/vqueue.control"
	for script in "$tree"/sql/*; do
		case $script in
			*/vqueue--"$version".sql) ;;
			*) rm "$script" ;;
		esac
	done

	# The objects that know the version were made for another one.
	grep -l VQ_VERSION "$tree"/src/*.c | xargs touch
fi
make "${options[@]}" --jobs="$(nproc)"
make "${options[@]}" install DESTDIR="$to"
