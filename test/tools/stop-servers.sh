#!/usr/bin/env bash
#
# stop-servers.sh FOLDER
#		Ends the servers whose data lies in the folder, by the pid they wrote down.
set -euo pipefail

while read -r file; do
	pid=$(head -n 1 "$file" 2>/dev/null) || continue
	if [ "$pid" -gt 1 ] 2>/dev/null && [ "/proc/$pid/cwd" -ef "$(dirname "$file")" ]; then
		kill -QUIT "$pid" 2>/dev/null || true
		timeout 20 tail --pid="$pid" -f /dev/null || true
	fi
done < <(find "$1" -name postmaster.pid 2>/dev/null)
