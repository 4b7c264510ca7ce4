#!/usr/bin/env bash
#
# entrypoint.sh [OPTION OF POSTGRES...]
#		Starts a server with vqueue in a container: a primary, which is set up at its first
#		start, or a replica of one.
#
# Variable             | Default                    | Meaning
# VQUEUE_ENVIRONMENT   | development                | a folder of docker/env, whose settings it takes
# VQUEUE_DATABASE      | vqueue                     | the database that is made, with vqueue in it
# VQUEUE_PRIMARY       |                            | makes this a replica of the server at that host
# VQUEUE_PRIMARY_PORT  | 5432                       |
# VQUEUE_REPLICA_NAME  | replica                    | name of the replica, and of its replication slot
# VQUEUE_NETWORK       | samenet                    | who may connect, as an address of pg_hba.conf
# VQUEUE_SECRETS       | /run/secrets               | folder with the secrets, a file each
# VQUEUE_CONFIG        | /etc/vqueue/postgresql.conf | settings that count above the environment's
# PGDATA               | /var/lib/postgresql/data   |
#
# Its secrets are postgres_password, replication_password, and where the environment has TLS
# server.crt and server.key; the scripts of /docker-entrypoint-initdb.d, which run once on the new
# database with psql at hand, may want others.
set -euo pipefail

environment=${VQUEUE_ENVIRONMENT:-development}
export VQUEUE_DATABASE=${VQUEUE_DATABASE:-vqueue} VQUEUE_SECRETS=${VQUEUE_SECRETS:-/run/secrets}
export PGDATA=${PGDATA:-/var/lib/postgresql/data}
primary=${VQUEUE_PRIMARY:-}
replica=${VQUEUE_REPLICA_NAME:-replica}
share=${VQUEUE_SHARE:-/usr/local/share/vqueue}
scripts=${VQUEUE_INITDB:-/docker-entrypoint-initdb.d}
sockets=${VQUEUE_SOCKETS:-/var/run/postgresql}
fragment=$share/env/$environment/postgresql.conf

refuse()
{
	echo "vqueue: $*" >&2
	exit 1
}

say()
{
	echo "vqueue: $*"
}

# Fail unless there are these secrets.
need()
{
	local name

	for name in "$@"; do
		[ -s "$VQUEUE_SECRETS/$name" ] ||
			refuse "the secret \"$name\" is missing or empty: put it into a file of that name in ${VQUEUE_SECRETS_FROM:-$VQUEUE_SECRETS}; docker/make-secrets.sh makes all of them"
	done
}

has_tls()
{
	grep -q '^ssl = on' "$fragment"
}

[ -r "$fragment" ] || refuse "there is no environment \"$environment\": VQUEUE_ENVIRONMENT may be $(cd "$share/env" && echo */)"

# ---- the user ----

# Root only hands over what others cannot read, and steps down.
if [ "$(id -u)" = 0 ]; then
	install -d -o postgres -g postgres -m 700 "$PGDATA" /dev/shm/vqueue-secrets
	for file in "$VQUEUE_SECRETS"/*; do
		[ ! -f "$file" ] || install -o postgres -g postgres -m 400 -t /dev/shm/vqueue-secrets "$file"
	done
	export VQUEUE_SECRETS_FROM=$VQUEUE_SECRETS VQUEUE_SECRETS=/dev/shm/vqueue-secrets HOME=/var/lib/postgresql
	exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if ! command -v initdb >/dev/null; then
	PATH=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1):$PATH
	export PATH
fi
umask 077

# ---- settings ----

# Written at each start, so that another environment counts from then on.
write_settings()
{
	cat >"$PGDATA/vqueue.conf" <<-CONF
		# Written by the entrypoint at each start.
		include '$fragment'

		# A container has a network of its own; who may come in is for pg_hba.conf to say.
		listen_addresses = '*'
		unix_socket_directories = '$sockets'
		hba_file = '$PGDATA/vqueue_hba.conf'

		include_if_exists '${VQUEUE_CONFIG:-/etc/vqueue/postgresql.conf}'
	CONF
	# a restored server of Debian's has no settings in its data directory
	grep -qsx "include 'vqueue.conf'" "$PGDATA/postgresql.conf" || echo "include 'vqueue.conf'" >>"$PGDATA/postgresql.conf"

	local host=host network=${VQUEUE_NETWORK:-samenet}
	if has_tls; then
		host=hostssl
		install -m 600 -t "$PGDATA" "$VQUEUE_SECRETS/server.crt" "$VQUEUE_SECRETS/server.key"
	fi
	cat >"$PGDATA/vqueue_hba.conf" <<-CONF
		# Written by the entrypoint at each start.  Local is who is in the container.
		local   all         all                    trust
		$host   replication replicator $network    scram-sha-256
		$host   all         all        $network    scram-sha-256
	CONF
}

# ---- first start of a primary ----

set_up_primary()
{
	local private script

	[ "$environment" != dr ] || refuse 'the environment "dr" is for a server that was restored from a backup, or for a replica: there is nothing in the volume'
	need postgres_password replication_password
	say "setting up a primary for $environment"
	initdb --pgdata="$PGDATA" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --data-checksums \
		--auth=scram-sha-256 --pwfile="$VQUEUE_SECRETS/postgres_password" >/dev/null
	touch "$PGDATA/set-up-unfinished"
	write_settings

	# Nobody reaches it yet but the scripts, and it waits for no standby.
	private=$(mktemp -d)
	pg_ctl --silent --wait --options="-c listen_addresses='' -c unix_socket_directories='$private' -c synchronous_standby_names='' -c archive_mode=off" start
	export PGHOST=$private PGUSER=postgres
	createdb "$VQUEUE_DATABASE"
	PGDATABASE=$VQUEUE_DATABASE
	export PGDATABASE
	for script in "$scripts"/*; do
		case $script in
			*.sh) say "running $script"; bash "$script" ;;
			*.sql) say "running $script"; psql -Xq -v ON_ERROR_STOP=1 -f "$script" ;;
		esac
	done
	pg_ctl --silent --wait --mode=fast stop
	unset PGHOST PGUSER PGDATABASE
	rmdir "$private"
	rm "$PGDATA/set-up-unfinished"
}

# ---- first start of a replica ----

# What it connects with, now and from then on; the password is in a file.
connection()
{
	echo "host=$primary port=${VQUEUE_PRIMARY_PORT:-5432} user=replicator passfile=$(dirname "$PGDATA")/.vqueue-pgpass" \
		"application_name=$replica sslmode=$(if has_tls; then echo require; else echo prefer; fi)"
}

write_passfile()
{
	need replication_password
	echo "*:*:*:replicator:$(sed 's/[\\:]/\\&/g' "$VQUEUE_SECRETS/replication_password")" >"$(dirname "$PGDATA")/.vqueue-pgpass"
}

set_up_replica()
{
	local tries=0 slot=(--create-slot)

	say "setting up a replica of $primary for $environment"
	until [ "$(psql -XAtq -d "$(connection) dbname=$VQUEUE_DATABASE connect_timeout=5" -c 'SELECT 1')" = 1 ]; do
		tries=$((tries + 1))
		[ "$tries" -lt "${VQUEUE_TRIES:-60}" ] || refuse "the primary at $primary does not answer, or refuses: see above"
		sleep 2
	done
	if [ "$(psql -XAtq -d "$(connection) dbname=$VQUEUE_DATABASE" \
		-c "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$replica'")" != 0 ]; then
		slot=()
	fi
	pg_basebackup --pgdata="$PGDATA" --dbname="$(connection)" --wal-method=stream --checkpoint=fast \
		--slot="$replica" "${slot[@]}" --write-recovery-conf --no-password
}

# ---- start ----

[[ $replica =~ ^[a-z0-9_]+$ ]] || refuse "VQUEUE_REPLICA_NAME takes lower case letters, digits and _, not \"$replica\""
if has_tls; then
	need server.crt server.key
fi
if [ -n "$primary" ]; then
	write_passfile
fi
if [ -e "$PGDATA/set-up-unfinished" ]; then
	refuse "setting up in $PGDATA was interrupted: empty the volume, and start again"
elif [ ! -e "$PGDATA/PG_VERSION" ]; then
	if [ -n "$primary" ]; then
		set_up_replica
	else
		set_up_primary
	fi
fi
write_settings
exec postgres "$@"
