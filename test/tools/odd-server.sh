#!/usr/bin/env bash
#
# odd-server.sh asan|valgrind DIRECTORY
#		Makes a private PostgreSQL in DIRECTORY whose servers run under a tool that
#		watches memory, builds and installs vqueue there to suit, and prints its
#		pg_config.
#
# Every test that takes PG_CONFIG then runs as it is: the program postgres of
# this PostgreSQL is a script that starts the true one with AddressSanitizer
# preloaded or in valgrind.  What they find is written to DIRECTORY/reports;
# show-reports.sh judges it.  To be run in a copy of the source tree, by the user
# who will run the tests.
#
# asan	 	vqueue built with AddressSanitizer, UndefinedBehaviorSanitizer and its
#			own assertions.  Sees what malloc gave, the stack and globals, but not the
#			pieces that palloc cuts out of it.
# valgrind	vqueue as usual, without optimisation beyond -O1.  Sees uninitialised
#			memory and system calls as well.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tool=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

pg_config=$("$here/private-prefix.sh" "$dir")
postgres=$("$pg_config" --bindir)/postgres
mkdir -p "$dir/reports" "$dir/tree"

case $tool in
	asan)
		# PostgreSQL's -fwrapv would hide overflows from the sanitizer.
		options=(with_llvm=no
			COPT="-O1 -g -fno-wrapv -fno-omit-frame-pointer -fsanitize=address,undefined -DUSE_ASSERT_CHECKING=1")
		gcc -shared -fPIC -O1 -DREPORTS="\"$dir/reports\"" -o "$dir/asan-preload.so" "$here/asan-preload.c"
		libasan=$(readlink -f "$(gcc -print-file-name=libasan.so)")
		run="env LD_PRELOAD='$libasan $dir/asan-preload.so'"
		run+=" ASAN_OPTIONS='detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1:log_path=$dir/reports/asan'"
		;;
	valgrind)
		options=(with_llvm=no COPT="-O1 -g -fno-omit-frame-pointer -DUSE_ASSERT_CHECKING=1")
		run="valgrind --quiet --trace-children=yes --leak-check=no --error-limit=no --num-callers=30 --fullpath-after=/tree/"
		run+=" --suppressions='$here/valgrind.supp' --gen-suppressions=all"
		run+=" --log-file='$dir/reports/valgrind.%p'"
		;;
	*)
		echo "odd-server.sh: there is no tool \"$tool\"" >&2
		exit 2
		;;
esac

{
	"$here/copy-tree.sh" "$dir/tree"
	make --silent -C "$dir/tree" clean PG_CONFIG="$pg_config"
	make --silent -C "$dir/tree" --jobs="$(nproc)" install PG_CONFIG="$pg_config" "${options[@]}"
} >&2

# initdb and pg_ctl only want to know the version, or to make a data directory:
# no place for vqueue's bugs.
mv "$postgres" "$postgres.true"
cat >"$postgres" <<SCRIPT
#!/bin/sh
case \$1 in
	-V | --version | --boot | --check | --single | --describe-config | -C) exec '$postgres.true' "\$@" ;;
esac
exec $run '$postgres.true' "\$@"
SCRIPT
chmod +x "$postgres"
echo "$pg_config"
