#!/usr/bin/env bash
#
# indent.sh [--check] FILE...
#		Lays out C files as PostgreSQL's pgindent does, except that lines may
#		have 100 columns and comments are left as they are.
#
# The names in src/typedefs.list are types; a type that is missing there shows
# as "Type * name".  With --check nothing is changed: the differences are shown,
# and the exit status is 1 if there are any.
set -euo pipefail
cd "$(dirname "$0")/../.."

check=
if [ "${1:-}" = --check ]; then
	check=1
	shift
fi
if ! command -v pg_bsd_indent >/dev/null; then
	echo "pg_bsd_indent is not installed (Debian: pg-bsd-indent)." >&2
	exit 1
fi

options=(-bad -bap -bbb -bc -bl -cli1 -cp33 -cdb -nce -d0 -di12 -nfc1 -nfcb -i4 -l100
	-lp -lpl -nip -npro -sac -tpg -ts4 -Usrc/typedefs.list)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

status=0
for file in "$@"; do
	pg_bsd_indent "${options[@]}" "$file" "$dir/out" 2>"$dir/err" || {
		cat "$dir/err" >&2
		exit 1
	}
	# pgindent puts this right as well: a type on a line of its own is not a declaration
	sed -E -i 's/^([A-Za-z_][A-Za-z_0-9 ]*[A-Za-z_0-9])[ \t]+(\*+)$/\1 \2/' "$dir/out"
	if cmp -s "$file" "$dir/out"; then
		continue
	fi
	if [ -n "$check" ]; then
		diff -u --label "$file" --label "$file as indented" "$file" "$dir/out" || status=1
	else
		cat "$dir/out" >"$file"
		echo "$file"
	fi
done
exit "$status"
