#!/usr/bin/env bash
#
# board.sh FOLDER QUEUE...
#		Writes the board of each queue into FOLDER/QUEUE.json once a second, for a web
#		server to hand out: one query a second, however many look.
#
# Found as libpq's environment says; the password may be in the file VQUEUE_PASSWORD_FILE.
# A file's time of modification is set to a second before the board should be looked at anew,
# which is after the shortest next_poll_after of those who wait: docker/nginx/nginx.conf makes
# max-age of it.
# Whoever reads a file sees all of a board.  While the server does not answer the last one stays,
# and grows old.  VQUEUE_BOARD_ROUNDS ends it after so many rounds.
set -euo pipefail

folder=${1:?the folder for the boards}
shift
[ $# -gt 0 ] || { echo 'board.sh: name the queues' >&2; exit 2; }
for queue in "$@"; do
	[[ $queue =~ ^[A-Za-z0-9_-]+$ ]] || {
		echo "board.sh: \"$queue\" cannot be part of an address: only letters, digits, _ and - can; give the queue's id instead" >&2
		exit 2
	}
done
if [ -n "${VQUEUE_PASSWORD_FILE:-}" ]; then
	PGPASSWORD=$(cat "$VQUEUE_PASSWORD_FILE")
	export PGPASSWORD
fi
export PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-5}

# A line for each: its name, the seconds, the board.  A queue that is not there does not stop the others.
query="SELECT :'queue', greatest(1, (SELECT min((p.value->>1)::float8)
                                    FROM json_each(b->'lanes') l, json_array_elements(l.value->'next_poll_after') p)), b
         FROM vqueue.board(:'queue') b;"

ask()
{
	local queue

	for queue in "$@"; do
		printf '%s\n' "\\set queue $queue" "$query"
	done | psql -XAtq -f - || echo 'board.sh: the server does not answer' >&2
}

round()
{
	local queue seconds board part

	while IFS='|' read -r queue seconds board; do
		part=$folder/.$queue.part
		printf '%s\n' "$board" >"$part"
		chmod 644 "$part"
		touch -d "@$(awk -v now="$(date +%s.%N)" -v s="$seconds" 'BEGIN { printf "%.3f", now + s - 1 }')" "$part"
		mv -T "$part" "$folder/$queue.json"
	done < <(ask "$@")
}

rounds=0
while [ "$rounds" -lt "${VQUEUE_BOARD_ROUNDS:-$((1 << 62))}" ]; do
	round "$@"
	rounds=$((rounds + 1))
	sleep "${VQUEUE_BOARD_PAUSE:-1}"
done
