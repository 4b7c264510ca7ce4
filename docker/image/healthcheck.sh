#!/usr/bin/env bash
#
# healthcheck.sh
#		Ends with status 0 if the server in this container is well: on a primary the worker
#		lets people in, on a replica the server answers.
set -euo pipefail

answer=$(psql -XAtq -h "${VQUEUE_SOCKETS:-/var/run/postgresql}" -U postgres -d "${VQUEUE_DATABASE:-vqueue}" \
	-c 'SELECT vqueue.is_healthy()')
[ "$answer" = t ]
