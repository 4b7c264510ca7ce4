#!/usr/bin/env bash
#
# run-crowd.sh [OPTION...]
#		Runs a crowd, with its options, on the server that PGHOST names: a storm
#		if --storm is the first of them, else the trace of the demo.
#
# To be run in with-server.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."

psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION vqueue'
if [ "${1:-}" = --storm ]; then
	exec test/crowd/build/crowd "$@"
fi
exec test/crowd/build/crowd --trace test/crowd/nasa-jul95-hour.txt "$@"
