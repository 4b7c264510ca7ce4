#!/usr/bin/env bash
#
# build.sh FOLDER
#		Builds vqueue from the source tree that this is in, and installs it under FOLDER,
#		from where runtime.sh puts it into an image.
#
# What the build stages of the Dockerfile do.  Runs on Debian and in the official image of
# postgres; as root it first installs what building takes.  PG_MAJOR (15) is the server's
# version, PG_CONFIG names one that is elsewhere.
set -euo pipefail

to=${1:?the folder to install under}
major=${PG_MAJOR:-15}
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$major/bin/pg_config}

if [ ! -e "$("$PG_CONFIG" --pgxs 2>/dev/null || true)" ]; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update
	apt-get -qq install --yes --no-install-recommends gcc libc6-dev make libssl-dev "postgresql-server-dev-$major"
fi

# In a copy, as the source may be read-only.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$to"
to=$(cd "$to" && pwd)
cp -R "$source/Makefile" "$source/vqueue.control" "$source/src" "$source/sql" "$work"
cd "$work"

# Without code for the JIT, which would be most of it: no statement here runs long enough for that.
unset MAKEFLAGS MFLAGS MAKELEVEL
make --silent clean PG_CONFIG="$PG_CONFIG" with_llvm=no
make --silent --jobs="$(nproc)" PG_CONFIG="$PG_CONFIG" with_llvm=no
make --silent install PG_CONFIG="$PG_CONFIG" with_llvm=no DESTDIR="$to"
strip --strip-unneeded "$to$("$PG_CONFIG" --pkglibdir)/vqueue.so"
