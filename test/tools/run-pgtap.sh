#!/usr/bin/env bash
#
# run-pgtap.sh [FILE...]
#		Runs pgTAP tests, all of test/pgtap or the given files, on the server that
#		PGHOST names, each file in a fresh database with pgtap and vqueue.
#
# To be run in with-server.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
shopt -s nullglob

files=("$@")
if [ ${#files[@]} -eq 0 ]; then
	files=(test/pgtap/*.sql)
fi

failed=0
for file in "${files[@]}"; do
	database=pgtap_$(basename "$file" .sql)
	createdb "$database"
	psql -Xq -v ON_ERROR_STOP=1 -d "$database" \
		-c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION vqueue'
	pg_prove --verbose --dbname "$database" "$file" || failed=1
	# no error here must hide the result of the test
	dropdb --if-exists "$database" || failed=1
done
exit "$failed"
