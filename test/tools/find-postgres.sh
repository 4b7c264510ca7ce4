#!/usr/bin/env bash
#
# find-postgres.sh
#		Prints the pg_config of the PostgreSQL to build against and to test.
#
# That is $PG_CONFIG if it is set, else the newest server with development
# files among Debian's, else the pg_config of the PATH.  Prints nothing, and
# fails, if there is none that can build extensions.
set -euo pipefail

oldest=15

# Can extensions be built with this pg_config, for a server new enough?
usable()
{
	local pgxs major

	pgxs=$("$1" --pgxs 2>/dev/null) && [ -e "$pgxs" ] || return 1
	major=$("$1" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	[ "$major" -ge "$oldest" ] && [ -x "$("$1" --bindir)/postgres" ]
}

candidates()
{
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" || true
	else
		find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -t/ -k5,5nr || true
		command -v pg_config || true
	fi
}

while read -r candidate; do
	if usable "$candidate"; then
		echo "$candidate"
		exit 0
	fi
done < <(candidates)
exit 1
