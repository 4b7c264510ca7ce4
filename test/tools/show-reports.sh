#!/usr/bin/env bash
#
# show-reports.sh DIRECTORY NAME
#		Shows what a server of odd-server.sh reported, as one TAP line.
#
# Any report of a sanitizer counts.  Of valgrind's only those do that have
# vqueue's code among their frames and that valgrind.supp does not excuse, as
# PostgreSQL has noise of its own.
set -euo pipefail
shopt -s nullglob

reports=$1/reports
name=$2

# The blocks of valgrind's reports with one of our files among the frames.  The
# hook that all utility statements pass through, whatever they do, is no sign.
ours()
{
	awk '
		/^==[0-9]+== [^ ]/	{ block = ""; counts = 0 }
		/^==[0-9]+== /		{ block = block $0 "\n" }
		/\(src\/[a-z0-9_]+\.c:/ && !/: (run|on)_utility \(/	{ counts = 1 }
		/^==[0-9]+== *$|^\{/	{ if (counts) printf "%s\n", block; block = ""; counts = 0 }
		END					{ if (counts) printf "%s\n", block }
	' "$1"
}

bad=0
found=
for file in "$reports"/*; do
	case $(basename "$file") in
		valgrind.*) text=$(ours "$file") ;;
		*) text=$(cat "$file") ;;
	esac
	if [ -n "$text" ]; then
		bad=$((bad + 1))
		found+="# $(basename "$file")"$'\n'$(head -n 60 <<<"$text" | sed 's/^/# /')$'\n'
	fi
done

if [ "$bad" != 0 ]; then
	echo "not ok - $name: reports of $bad processes"
	printf %s "$found"
	exit 1
fi
echo "ok - $name: nothing reported"
