#!/usr/bin/env bash
#
# runtime.sh FOLDER
#		Makes an image of a server with vqueue: of what build.sh has put under FOLDER, and
#		of the files beside this script.
#
# What the last stages of the Dockerfile do, as root.  Where there is no server yet, as on
# Debian, it installs one of Debian's, without the cluster that comes with it.
set -euo pipefail

built=${1:?the folder that build.sh has installed under}
major=${PG_MAJOR:-15}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
share=/usr/local/share/vqueue

if [ ! -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update
	apt-get -qq install --yes --no-install-recommends postgresql-common
	echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
	apt-get -qq install --yes --no-install-recommends "postgresql-$major"
	apt-get -qq clean
	rm -rf /var/lib/apt/lists/*
fi

cp -R "$built/." /

install -m 755 -T "$here/image/entrypoint.sh" /usr/local/bin/vqueue-entrypoint
install -m 755 -T "$here/image/healthcheck.sh" /usr/local/bin/vqueue-healthcheck
install -m 755 -T "$here/image/board.sh" /usr/local/bin/vqueue-board
install -m 755 -T "$here/deploy/archive-wal.sh" /usr/local/bin/vqueue-archive-wal
install -d "$share" /docker-entrypoint-initdb.d /etc/vqueue
cp -R "$here/env" "$share"
install -m 755 -t /docker-entrypoint-initdb.d "$here"/image/initdb.d/*

# Volumes take over the owner of what they are mounted on.
install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data /var/lib/postgresql/archive /var/lib/postgresql/archive-dr
install -d -o postgres -g postgres -m 750 /var/lib/vqueue/pgbouncer
install -d -o postgres -g postgres -m 755 /var/lib/vqueue/boards
install -d -o postgres -g postgres -m 2775 /var/run/postgresql
