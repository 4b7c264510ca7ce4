#!/usr/bin/env bash
#
# pgbouncer.sh
#		Starts PgBouncer in a container, once the server has said which roles there are.
set -euo pipefail

from=/var/lib/vqueue/pgbouncer/userlist.txt
for _ in $(seq 60); do
	if [ -s "$from" ]; then
		install -o postgres -g postgres -m 600 -T "$from" /etc/pgbouncer/userlist.txt
		exec setpriv --reuid=postgres --regid=postgres --init-groups pgbouncer /etc/pgbouncer/pgbouncer.ini
	fi
	sleep 1
done
echo "vqueue: $from is not there: the server writes it when it is set up, into a volume that both share" >&2
exit 1
