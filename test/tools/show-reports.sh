#!/usr/bin/env bash
#
# show-reports.sh DIRECTORY NAME
#		Shows what a server of odd-server.sh reported, as one TAP line.
#
# Any report of a sanitizer counts; of valgrind's, those that have vqueue
# among their frames, as PostgreSQL has noise of its own.
set -euo pipefail
shopt -s nullglob

reports=$1/reports
name=$2
bad=()
for file in "$reports"/*; do
	case $(basename "$file") in
		valgrind.*) ! grep -q '(in .*vqueue\.so\|vqueue\.so)\|src/[a-z0-9]*\.c:' "$file" || bad+=("$file") ;;
		*) [ ! -s "$file" ] || bad+=("$file") ;;
	esac
done

if [ ${#bad[@]} = 0 ]; then
	echo "ok - $name: no report"
	exit 0
fi
for file in "${bad[@]}"; do
	echo "# $(basename "$file")"
	head -n 60 "$file" | sed 's/^/# /'
done
echo "not ok - $name: reports of ${#bad[@]} processes"
exit 1
