#!/usr/bin/env bash
#
# 10-vqueue.sh
#		Sets up the new database: vqueue, and the roles of the compose stack, each with no
#		more rights than it needs.
#
# Run once by the entrypoint, with PGHOST and the like set.
set -euo pipefail

for name in app_password board_password exporter_password; do
	[ -s "$VQUEUE_SECRETS/$name" ] || {
		echo "vqueue: the secret \"$name\" is missing or empty: put it into a file of that name in ${VQUEUE_SECRETS_FROM:-$VQUEUE_SECRETS}; docker/make-secrets.sh makes all of them" >&2
		exit 1
	}
done

psql -Xq -v ON_ERROR_STOP=1 -v dir="$VQUEUE_SECRETS" <<'SQL'
\setenv DIR :dir
\set app `cat "$DIR/app_password"`
\set board `cat "$DIR/board_password"`
\set exporter `cat "$DIR/exporter_password"`
\set replicator `cat "$DIR/replication_password"`

-- No password gets into the log.
SET log_statement = none;
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;

BEGIN;
CREATE EXTENSION vqueue;

-- What serves visitors.
CREATE ROLE app LOGIN PASSWORD :'app';
SELECT vqueue.grant_access('app', 'default', 'app');

-- What writes boards for the web server.
CREATE ROLE board LOGIN PASSWORD :'board';
SELECT vqueue.grant_access('board', 'default', 'monitor');

-- What is asked by Prometheus' exporter.
CREATE ROLE exporter LOGIN PASSWORD :'exporter' IN ROLE pg_monitor;

-- Replicas.
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
COMMIT;
SQL

# PgBouncer knows roles by what the server keeps of their passwords.
if [ -d "${VQUEUE_USERLIST:-/var/lib/vqueue/pgbouncer}" ] && [ -w "${VQUEUE_USERLIST:-/var/lib/vqueue/pgbouncer}" ]; then
	psql -XAtq -v ON_ERROR_STOP=1 -c "SELECT format('\"%s\" \"%s\"', rolname, rolpassword) FROM pg_authid WHERE rolname = 'app'" \
		>"${VQUEUE_USERLIST:-/var/lib/vqueue/pgbouncer}/userlist.txt"
fi
