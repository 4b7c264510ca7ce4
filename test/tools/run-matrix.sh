#!/usr/bin/env bash
#
# run-matrix.sh [SUITE...]
#		All tests on every major version of PostgreSQL that Debian packages.
#
# Each suite, by default bookworm (15), trixie (17) and forky (18), is installed
# into a directory by debootstrap, once, and used again; "make test" then runs in
# there as on a fresh machine, and installs what it misses.  $PARTS are its
# parts, all by default, and $PROVE_TESTS files of the part tap.  Directories are in
# $MATRIX_DIR, which must be outside the source tree: /var/tmp/vqueue-matrix by
# default, some 2 GB each.  Whatever runs there ends with this script, however that
# ends.
#
# Runs as root, on Debian or whatever has debootstrap.  A suite that cannot be
# installed counts as a failure.  The last line is "N passed, N failed".
# shellcheck disable=SC2317 # functions that only a trap calls
set -euo pipefail
cd "$(dirname "$0")/../.."
source=$PWD

mirror=${MATRIX_MIRROR:-http://deb.debian.org/debian}
home=${MATRIX_DIR:-/var/tmp/vqueue-matrix}
suites=("$@")
if [ ${#suites[@]} -eq 0 ]; then
	suites=(bookworm trixie forky)
fi

if [ "$(id -u)" != 0 ]; then
	echo "This installs whole systems into $home, which takes root: sudo make matrix" >&2
	exit 1
fi
if ! command -v debootstrap >/dev/null; then
	if ! command -v apt-get >/dev/null; then
		echo "debootstrap is needed; install it first." >&2
		exit 1
	fi
	apt-get -qq update || true
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends debootstrap
fi

say()
{
	printf '\n=== %s\n' "$*"
}

# What runs is in the background and waited for, as a shell hears of signals only then.
# It has mounts and processes of its own, all of which the kernel ends with its first
# one; and that one ends with this script, even if nobody can tell it to.
running=
contained()
{
	local status=0

	setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child "$@" </dev/null &
	running=$!
	wait "$running" || status=$?
	running=
	return "$status"
}

# What a script of before may have left: mounts below the directory, and builds in there.
tidy()
{
	local mounted

	awk -v root="$1/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mounted; do
		umount --lazy "$mounted"
	done
	rm -rf --one-file-system "$1"/tmp/vqueue.*
}

root=
cleanup()
{
	if [ -n "$running" ]; then
		kill -KILL "$running" 2>/dev/null || true
		wait "$running" 2>/dev/null || true
	fi
	[ -z "$root" ] || tidy "$root"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# inside ROOT COMMAND [ARGUMENT...]: run it there as root.  The sources are at /source, not
# to be changed.
inside()
{
	local root=$1

	shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	contained sh -c '
		set -e
		root=$1 source=$2
		shift 2
		mount -t proc proc "$root/proc"
		mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
		mkdir -p "$root/source"
		mount --bind "$source" "$root/source"
		mount -o remount,bind,ro "$root/source"
		exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
			DEBIAN_FRONTEND=noninteractive "$@"' inside "$root" "$source" "$@"
}

# A minimal system, in which installing a server starts none.
make_root()
{
	local suite=$1 root=$2 script

	tidy "$root"
	rm -rf --one-file-system "$root"
	mkdir -p "$root"
	# an older debootstrap has no script for a newer suite; all are as that of sid
	script=/usr/share/debootstrap/scripts/$suite
	[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid
	contained --mount-proc debootstrap --variant=minbase --include=ca-certificates,make "$suite" "$root" "$mirror" "$script" || return 1
	printf '%s\n' '#!/bin/sh' 'exit 101' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	mkdir -p "$root/etc/postgresql-common" "$root/dev/shm"
	echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
	echo 'path-exclude=/usr/share/doc/*' >"$root/etc/dpkg/dpkg.cfg.d/no-docs"
	# a suite in the making may be signed for a time that is past
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/no-valid-until"
	touch "$root/.complete"
}

# The tests there, in a copy; what they print is in the log.
run_tests()
{
	local root=$1

	tidy "$root"
	# shellcheck disable=SC2016 # expanded in there
	inside "$root" sh -c '
		apt-get -qq update || true
		rm -rf /vqueue
		mkdir /vqueue
		tar -C /source --exclude=.git -cf - . | tar -C /vqueue -xf -
		cd /vqueue
		parts=$1
		make test PARTS="$parts" VQUEUE_MONITORING="$2" VQUEUE_DRIVERS="$3" ${4:+"PROVE_TESTS=$4"}' \
		run "${PARTS:-}" "${VQUEUE_MONITORING:-yes}" "${VQUEUE_DRIVERS:-yes}" "${PROVE_TESTS:-}"
}

mkdir -p "$home"
total_passed=0
total_failed=0
summary=
for suite in "${suites[@]}"; do
	root=$home/$suite
	log=$home/$suite.log
	started=$SECONDS
	say "$suite"
	if [ ! -e "$root/.complete" ] && ! make_root "$suite" "$root"; then
		echo "$suite could not be installed from $mirror" >&2
		total_failed=$((total_failed + 1))
		summary+="$suite: could not be installed"$'\n'
		continue
	fi
	exec {output}> >(tee "$log")
	shown=$!
	run_tests "$root" >&"$output" 2>&1 || true
	exec {output}>&-
	wait "$shown" || true
	count=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1 || true)
	version=$(sed -n 's/^=== build with //p' "$log" | tail -n 1)
	passed=${count%% *}
	failed=${count#*, }
	failed=${failed%% *}
	total_passed=$((total_passed + ${passed:-0}))
	total_failed=$((total_failed + ${failed:-1}))
	summary+=$(printf '%-10s %-40s %5d passed %4d failed %5d s' "$suite" "${version:-was not built}" \
		"${passed:-0}" "${failed:-1}" "$((SECONDS - started))")$'\n'
done

printf '\n=== matrix; the logs are in %s\n%s\n' "$home" "$summary"
echo "$total_passed passed, $total_failed failed"
[ "$total_failed" = 0 ]
