#!/usr/bin/env bash
#
# install-packages.sh build|test|bench
#		Installs the packages that are missing on Debian or Ubuntu.
#
# "build" is what building and running vqueue needs.  "test" adds the tools of
# the tests; "bench" instead adds what the benchmark measures beside vqueue, as
# far as it can be had.  The server's major version is that of $PG_CONFIG if set,
# else the newest installed one, else the newest available one, from 15 on.
# Nothing is touched if nothing is missing.  Elsewhere than on Debian and Ubuntu
# this only says what is needed.
#
# Installing a server package creates Debian's cluster "main" as usual, ready
# for CREATE EXTENSION; the tests neither need nor touch it.
set -euo pipefail
cd "$(dirname "$0")/../.."

oldest=15
purpose=${1:?build, test or bench}

# ${root[@]} before a command runs it as root.
root=()
if [ "$(id -u)" != 0 ]; then
	root=(sudo)
fi

installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# After an update of apt's lists only: is there such a package?
available()
{
	[[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[0-9]* ]]
}

updated=
update_lists()
{
	if [ -z "$updated" ]; then
		echo "Updating apt's package lists"
		"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
			echo "apt-get update failed; trying with the lists there are" >&2
		updated=1
	fi
}

# Does clang find its libFuzzer?
can_fuzz()
{
	local program='int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return !data && size; }'

	clang -fsanitize=fuzzer -x c -o /dev/null - <<<"$program" 2>/dev/null
}

newest()
{
	sort -n | tail -n 1
}

# Majors of the servers that are installed, one a line.
installed_majors()
{
	local dir

	for dir in /usr/lib/postgresql/*/bin/postgres; do
		dir=${dir#/usr/lib/postgresql/}
		dir=${dir%%/*}
		if [[ $dir =~ ^[0-9]+$ ]] && [ "$dir" -ge "$oldest" ]; then
			echo "$dir"
		fi
	done
}

available_majors()
{
	apt-cache pkgnames postgresql-server-dev- |
		sed -n 's/^postgresql-server-dev-\([0-9]*\)$/\1/p' |
		while read -r major; do
			if [ "$major" -ge "$oldest" ] && available "postgresql-$major"; then
				echo "$major"
			fi
		done
}

# The major version to use; empty for a server that is not Debian's.
wanted_major()
{
	if [ -n "${PG_CONFIG:-}" ] && [ "$PG_CONFIG" != pg_config ]; then
		sed -n 's,^/usr/lib/postgresql/\([0-9]*\)/bin/pg_config$,\1,p' <<<"$PG_CONFIG"
	elif [ -n "$(installed_majors)" ]; then
		installed_majors | newest
	elif ! test/tools/find-postgres.sh >/dev/null; then
		update_lists >&2
		available_majors | newest
	fi
}

if ! command -v apt-get >/dev/null; then
	cat <<-TEXT
		This is neither Debian nor Ubuntu, so no package is installed.  Needed are
		PostgreSQL $oldest or newer with its development files, libpq, libssl, gcc, make, and
		for the tests also pgTAP with pg_prove, pg_cron, plpgsql_check, perl with IPC::Run, clang with libFuzzer, gcc with libasan and
		libubsan, valgrind, libfaketime, Python with PyJWT, cryptography and psycopg, node with pg, DBD::Pg, a JDK with
		the JDBC driver, Go with lib/pq, PgBouncer, Prometheus with promtool, Alertmanager and postgres_exporter,
		nginx, Compose, shellcheck and openssl.
	TEXT
	exit 0
fi

major=$(wanted_major)
if [ -z "$major" ] && ! test/tools/find-postgres.sh >/dev/null; then
	echo "No PostgreSQL $oldest or newer is installed or available here." >&2
	echo "Add the packages of apt.postgresql.org, or name a server with PG_CONFIG=..." >&2
	exit 1
fi

# What the examples of test/drivers take, which test/t/034_drivers.pl leaves out where it is not
# installed.  Most of it are Java, 120 MB to fetch, and Go, 90 MB; VQUEUE_DRIVERS=no leaves them out.
wanted_drivers=(python3-psycopg libdbd-pg-perl default-jdk-headless libpostgresql-jdbc-java golang-go golang-github-lib-pq-dev)

wanted=(gcc libc6-dev make libpq-dev libssl-dev)
if [ -n "$major" ]; then
	wanted+=("postgresql-$major" "postgresql-server-dev-$major")
fi
if [ "$purpose" = test ]; then
	wanted+=(perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl clang valgrind faketime
		python3 python3-jwt python3-cryptography openssl)
	command -v node >/dev/null || wanted+=(nodejs)
	if [ -n "$major" ]; then
		wanted+=("postgresql-$major-pgtap" "postgresql-$major-cron" "postgresql-$major-plpgsql-check")
	fi
	can_fuzz || wanted+=(libclang-rt-dev)
fi

drivers=()
if [ "$purpose" = test ] && [ "${VQUEUE_DRIVERS:-yes}" != no ]; then
	for package in "${wanted_drivers[@]}"; do
		installed "$package" || drivers+=("$package")
	done
fi

# What is monitored with, by test/t/032_monitoring.pl, which is skipped without it: 36 MB;
# VQUEUE_MONITORING=no leaves it out.  And PgBouncer, for test/t/033_pgbouncer.pl, and for
# test/t/038_images.pl the web server, Compose and shellcheck: 20 MB.
services=()
if [ "$purpose" = test ]; then
	wanted_services=(pgbouncer nginx-light docker-compose shellcheck)
	if [ "${VQUEUE_MONITORING:-yes}" != no ]; then
		wanted_services+=(prometheus prometheus-alertmanager prometheus-postgres-exporter)
	fi
	for package in "${wanted_services[@]}"; do
		installed "$package" || services+=("$package")
	done
fi

# Debian starts a service when its package is installed, and at each boot.  The tests
# start their own; none is to run beside them.
install_services()
{
	local policy=/usr/sbin/policy-rc.d package ours=

	if [ ! -e "$policy" ]; then
		ours=1
		"${root[@]}" sh -c "printf '%s\n' '#!/bin/sh' 'case \$1 in prometheus* | pgbouncer | nginx*) exit 101 ;; esac' > $policy && chmod 755 $policy"
	fi
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \
		--no-install-recommends "$@" || echo "They could not be installed: tests that need them are skipped" >&2
	[ -z "$ours" ] || "${root[@]}" rm "$policy"
	for package in "$@"; do
		package=${package%-light}
		if installed "$package" && [ -e "/lib/systemd/system/$package.service" ]; then
			"${root[@]}" systemctl --quiet disable "$package.service" 2>/dev/null || true
			"${root[@]}" systemctl --quiet stop "$package.service" 2>/dev/null || true
		fi
	done
}

missing=()
for package in "${wanted[@]}"; do
	installed "$package" || missing+=("$package")
done

# redis-tools has the server too, without Debian's service; PgQ is there for some majors only.
peers=()
if [ "$purpose" = bench ]; then
	for package in redis-tools ${major:+"postgresql-$major-pgq3"}; do
		installed "$package" || peers+=("$package")
	done
fi

install()
{
	echo "Installing $*"
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \
		--no-install-recommends "$@"
}

can_install()
{
	[ ${#root[@]} -eq 0 ] || command -v sudo >/dev/null
}

if [ ${#missing[@]} -gt 0 ]; then
	echo "Missing packages: ${missing[*]}"
	if ! can_install; then
		echo "Installing them takes root: run this as root, or install sudo." >&2
		exit 1
	fi
	update_lists
	# Before Debian 12 the fuzzer's runtime came with clang, in no package of its own;
	# not every server that there is a package of has one of pg_cron or plpgsql_check too.
	for i in "${!missing[@]}"; do
		case ${missing[i]} in
			libclang-rt-dev | *-cron | *-plpgsql-check) available "${missing[i]}" || unset 'missing[i]' ;;
		esac
	done
	if [ ${#missing[@]} -gt 0 ]; then
		install "${missing[@]}"
	fi
fi

# Those that can be had, and where they cannot be had together, each that can.
if [ ${#drivers[@]} -gt 0 ] && can_install; then
	update_lists
	for i in "${!drivers[@]}"; do
		available "${drivers[i]}" || unset 'drivers[i]'
	done
	if [ ${#drivers[@]} -gt 0 ] && ! install "${drivers[@]}"; then
		for package in "${drivers[@]}"; do
			installed "$package" || install "$package" ||
				echo "$package could not be installed: examples that need it are skipped" >&2
		done
	fi
fi

# node-postgres is Debian's where node is, which cannot be installed beside another node.
have_node_postgres()
{
	local modules

	modules=$(npm root --global 2>/dev/null || true)
	NODE_PATH="$modules:/usr/local/lib/node_modules:/usr/share/nodejs" node -e 'require("pg")' 2>/dev/null
}

install_node_postgres()
{
	if apt-get --simulate -qq install --no-install-recommends node-pg >/dev/null 2>&1; then
		install node-pg
	elif command -v npm >/dev/null; then
		echo "Installing pg of npm"
		"${root[@]}" npm install --global --silent pg@8
	else
		false
	fi
}

if [ "$purpose" = test ] && [ "${VQUEUE_DRIVERS:-yes}" != no ] && ! have_node_postgres && can_install; then
	update_lists
	install_node_postgres || echo "node-postgres could not be installed: its example is skipped" >&2
fi

# The benchmark runs without them as well, and says so.
for package in ${peers[@]+"${peers[@]}"}; do
	if ! can_install; then
		echo "$package is not installed, which takes root; the benchmark leaves its rows out." >&2
		continue
	fi
	update_lists
	if ! available "$package" || ! install "$package"; then
		echo "$package cannot be installed here; the benchmark leaves its rows out." >&2
	fi
done

# The tests that need these say so when they are left out.
if [ ${#services[@]} -gt 0 ] && can_install; then
	update_lists
	for i in "${!services[@]}"; do
		available "${services[i]}" || unset 'services[i]'
	done
	[ ${#services[@]} -eq 0 ] || install_services "${services[@]}"
fi
