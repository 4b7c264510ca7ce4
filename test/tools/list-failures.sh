#!/usr/bin/env bash
#
# list-failures.sh LOG [TESTDIR]
#		Names what failed by the TAP lines of a log, as "FILE: TEST", each followed by
#		its first diagnostic lines, indented.
#
# A file of prove's that ended before it said how many tests it has, or that failed
# without a failed test, is one failure as well; what it said last is taken from its
# log in TESTDIR/tmp_check, as only that has it.
set -euo pipefail

log=$1
dir=${2:-.}

# Lines of TAP; the file is known by what prove, or the Makefile of test/unit, says before.
failed_tests()
{
	awk '
		/^(\[[0-9:]+\] )?[^ #]+\.(pl|t|sql) \.\.+ *$/	{ file = $(NF - 1) ": "; next }
		/^# build\/test_[a-z]+$/		{ file = $2 ": "; next }
		/^not ok( |$)/ && tolower($0) !~ /# *todo/ {
			name = $0
			sub(/^not ok *[0-9]* *(- *)?/, "", name)
			print file (name == "" ? "a test without a name" : name)
			lines = 0
			mine = 1
			next
		}
		/^#   Failed test /				{ next }
		/^[^#]/							{ mine = 0 }
		mine && /./ && (lines < 8 || /not ok/ && lines < 16)	{ print "    " $0; lines++ }
	' "$log"
}

# Files that the report at the end of prove blames for more than failed tests: FILE REASON
broken_files()
{
	awk '
		function flush()
		{
			if (why != "" && (failed == 0 || why ~ /Parse errors/))
				print file " ended early (" why ")"
			file = why = ""
		}
		/^[^ ]+ +\(Wstat: .*Failed: [0-9]+\)/	{ flush(); file = $1; failed = $0; sub(/.*Failed: /, "", failed); failed += 0; next }
		!/^ /									{ flush() }
		file != "" && /^  (Non-zero|Parse errors)/	{ sub(/^ +/, ""); why = why (why == "" ? "" : "; ") $0 }
		END										{ flush() }
	' "$log"
}

failed_tests
broken_files | while read -r file reason; do
	echo "$file: $reason"
	own="$dir/tmp_check/log/regress_log_$(basename "${file%.*}")"
	if [ -s "$own" ]; then
		# after the last result, and without what the end of a cluster leaves there
		tac "$own" | sed -E '/^(\[[0-9:.]+\]\([0-9.]+s\) )?(not )?ok /q' | tac |
			sed -E '/^(\[[0-9:.]+\]\([0-9.]+s\) )?((not )?ok |1\.\.|### |# |waiting for server|server (stopped|started)|$)/d' |
			tail -n 6 | sed 's/^/    # /' || true
	fi
done
