#!/usr/bin/env bash
#
# blue-green.sh: move a database to another server by logical replication, such as
# one of a newer version of PostgreSQL or vqueue, while people wait and come in.
#
#   blue-green.sh prepare  have the green server follow the blue one: this takes as long as
#                          there is much, and disturbs nobody
#   blue-green.sh switch   freeze the blue one, let the green one catch up, and take over
#   blue-green.sh finish   after a while: forget the way back, and drop what is left on blue
#   blue-green.sh undo     before the switch: give it up, and leave both as they were
#
# Both servers preload vqueue, and blue has wal_level = logical.  Clients name both hosts, with
# target_session_attrs=read-write: the green one is read-only until the switch, the
# blue one from then on, so they find the right one by themselves.
#
# Each option can be given as a variable too: --blue-link as BLUE_LINK.
#
#   --blue CONNINFO       connection of a superuser to the database on the old server
#   --green CONNINFO      the same on the new one; the database is there, all roles and your own
#                         tables are, and vqueue is not, or is empty; what roles were granted
#                         on vqueue's schema, functions, tables and views is granted there too
#   --blue-link CONNINFO  how the green server connects to the blue one, as a role with REPLICATION
#   --tables "NAME..."    tables of your own to take along, with their schema; they are there on green
#   --history yes|no      take queue_stats along, at the finish (yes)
#   --name NAME           of publication, subscription and slot (vqueue_blue_green)
#   --patience SECONDS    how long to wait for the rest at the switch (60)
#   --dry-run             look whether it could be done, and say what would be
#
# The superusers of --blue and --green are not held back by the freeze: use others for
# clients.  At the switch queues get the states and timeouts that they have on blue; who
# waits then has a fresh grace.  Until "finish" blue is as it was, but frozen.
set -euo pipefail

# shellcheck source=docker/deploy/common.sh
. "$(dirname "$0")/common.sh"

blue=${BLUE:-} green=${GREEN:-} blue_link=${BLUE_LINK:-} tables=${TABLES:-} history=${HISTORY:-yes} name=${NAME:-vqueue_blue_green}
action=

while [ $# -gt 0 ]; do
	case $1 in
		--help) usage; exit 0 ;;
		--dry-run) dry_run=yes ;;
		prepare | switch | finish | undo) action=$1 ;;
		--blue | --green | --blue-link | --tables | --history | --name | --patience)
			[ $# -gt 1 ] || die "$1 needs a value"
			option=${1#--}
			printf -v "${option//-/_}" '%s' "$2"
			shift
			;;
		*) die "unknown option $1; see --help" ;;
	esac
	shift
done
[ -n "$action" ] || die 'say prepare, switch, finish or undo; see --help'
need blue green
case $name in
	*[!a-z0-9_]* | '') die '--name is of lower-case letters, digits and underscores' ;;
esac

# What a row of queues says that follows the way of the blue server, and what it does not: a queue
# that were open, or had timeouts, would be moved by both.
apart="'state', 'prequeue_at', 'opens_at', 'closes_at', 'waiting_timeout', 'serving_timeout', 'claim_timeout'"

# Settings of the database for all but the one who runs this.
freeze="DO \$\$BEGIN
	EXECUTE format('ALTER ROLE %I IN DATABASE %I SET default_transaction_read_only = off', current_user, current_database());
	EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
END\$\$"
thaw="DO \$\$BEGIN
	EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database());
	EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET default_transaction_read_only', current_user, current_database());
END\$\$"
# All are gone when it returns: one that is told to go may commit, and say so, before it does.
send_away="DO \$\$DECLARE
	since CONSTANT timestamptz := clock_timestamp();
BEGIN
	LOOP
		PERFORM pg_stat_clear_snapshot();
		PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
		  WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> current_user;
		EXIT WHEN NOT FOUND;
		PERFORM pg_sleep(0.01);
		IF clock_timestamp() > since + interval '10 s' THEN
			RAISE EXCEPTION 'clients of the database do not end';
		END IF;
	END LOOP;
END\$\$"

columns_of_queues()
{
	ask "$blue" "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
		 WHERE attrelid = 'vqueue.queues'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attname NOT IN ($apart)"
}

# Whether rows of it can be told apart on green: if not, once it is published
# nobody could delete one on blue any more.
has_identity="(SELECT c.relreplident = 'f' OR EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND
	CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'd' THEN i.indisprimary END) FROM pg_class c WHERE c.oid = to_regclass(t))"

# Those that there are, as they are not the same in every version, and that can be published.
tables_of_vqueue()
{
	ask "$blue" "SELECT string_agg(t, ', ') FROM unnest('{tenants,access,secrets,pass_keys,ticket_ceilings,user_sessions,draws,audit_log,client_joins,tenant_features}'::text[]) AS n (name),
		LATERAL (SELECT 'vqueue.' || n.name) AS q (t) WHERE $has_identity"
}

look()
{
	[ "$(ask "$blue" "SELECT count(*) FROM pg_extension WHERE extname = 'vqueue'")" = 1 ] || die 'the database on blue has no extension vqueue'
	[ "$(ask "$blue" "SELECT current_setting('wal_level')")" = logical ] || die 'blue needs wal_level = logical'
	[ "$(ask "$green" "SELECT current_setting('shared_preload_libraries') LIKE '%vqueue%'")" = t ] || die 'green does not preload vqueue'
	[ "$(ask "$blue" 'SELECT pg_is_in_recovery()')$(ask "$green" 'SELECT pg_is_in_recovery()')" = ff ] || die 'one of the servers is a standby'
	[ "$(ask "$blue" 'SELECT system_identifier FROM pg_control_system()')" != "$(ask "$green" 'SELECT system_identifier FROM pg_control_system()')" ] ||
		die 'blue and green are the same server, or one a copy of the other'
	[ "$(ask "$green" "SELECT coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false)")" = t ] || die 'green needs a superuser'
}

# follows WHAT LSN: whether green has all that blue wrote up to there
follows()
{
	await "$1" "$blue" "SELECT coalesce(bool_or(s.active AND s.confirmed_flush_lsn >= '$2'), false) FROM pg_replication_slots s WHERE s.slot_name = '$name'"
}

# What was granted on blue, beyond what CREATE EXTENSION grants, as statements for green.
grants()
{
	ask "$blue" "WITH things AS (
			SELECT 'pg_proc'::regclass AS class, oid, 'FUNCTION ' || oid::regprocedure AS thing, proacl AS acl, proowner AS owner FROM pg_proc WHERE pronamespace = 'vqueue'::regnamespace
			UNION ALL SELECT 'pg_class'::regclass, oid, 'TABLE ' || oid::regclass, relacl, relowner FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v')
			UNION ALL SELECT 'pg_namespace'::regclass, oid, 'SCHEMA vqueue', nspacl, nspowner FROM pg_namespace WHERE nspname = 'vqueue')
		SELECT string_agg(format('GRANT %s ON %s TO %s%s', a.privilege_type, t.thing, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
		                         CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), '; ' ORDER BY t.thing)
		  FROM things t, aclexplode(t.acl) a
		 WHERE a.grantee <> t.owner
		   AND NOT EXISTS (SELECT FROM pg_init_privs i, aclexplode(i.initprivs) b
		                    WHERE i.classoid = t.class AND i.objoid = t.oid AND i.objsubid = 0 AND b.grantee = a.grantee AND b.privilege_type = a.privilege_type)"
}

prepare()
{
	local columns others table granted
	need blue_link
	[ "$(ask "$green" "SELECT to_regclass('vqueue.queues') IS NULL")" = t ] || [ "$(ask "$green" 'SELECT count(*) FROM vqueue.queues')" = 0 ] ||
		die 'the database on green has queues already'
	[ "$(ask "$green" "SELECT count(*) FROM pg_subscription WHERE subname = '$name'")" = 0 ] || die "green has a subscription $name already; see undo"
	columns=$(columns_of_queues)
	others=$(tables_of_vqueue)
	for table in $tables; do
		[ "$(ask "$green" "SELECT to_regclass('$table') IS NOT NULL")" = t ] || die "green has no table $table"
		[ "$(ask "$blue" "SELECT $has_identity FROM (VALUES ('$table')) AS q (t)")" = t ] || die "table $table is not on blue, or has no replica identity"
		others="$others, $table"
	done

	say 'green is made ready'
	tell "$green" "$freeze" 'CREATE EXTENSION IF NOT EXISTS vqueue' 'DELETE FROM vqueue.tenants' \
		"ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'closed'"
	granted=$(grants)
	[ -z "$granted" ] || tell "$green" "$granted"
	tell "$blue" "CREATE PUBLICATION $name FOR TABLE $others, vqueue.queues ($columns)"
	tell "$green" "CREATE SUBSCRIPTION $name CONNECTION '${blue_link//\'/\'\'}' PUBLICATION $name WITH (synchronous_commit = on)"
	say 'green copies what there is'
	patience=2000000000 await 'all is copied' "$green" "SELECT count(*) > 0 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel"
	[ -n "$dry_run" ] || [ -z "$(ask "$green" 'SELECT * FROM vqueue.check()')" ] || die 'vqueue.check() finds differences on green'
	tell "$green" 'SELECT vqueue.renew_access()'
	say 'green follows; switch when it suits you'
}

# Freeze blue, in as few steps as can be, as nobody can join from here on; says up to where it has
# written, and what puts the queues' states and timeouts where they are.  Who was let in just
# before the freeze began is sent away the second time; the worker ends with the state.
freeze_blue()
{
	local close="UPDATE vqueue.queues SET state = 'closed', prequeue_at = NULL, opens_at = NULL, closes_at = NULL"
	local restore="SELECT 'restore ' || string_agg(format('UPDATE vqueue.queues SET (state, prequeue_at, opens_at, closes_at, waiting_timeout, serving_timeout, claim_timeout) = '
		'ROW(%L, %L, %L, %L, %L, %L, %L) WHERE id = %L', state, prequeue_at, opens_at, closes_at, waiting_timeout, serving_timeout, claim_timeout, id), '; ') FROM vqueue.queues"

	if [ -n "$dry_run" ]; then
		tell "$blue" "$freeze" "$send_away" "$close" "$send_away" >&2
		return
	fi
	PGOPTIONS="${PGOPTIONS:-} -c default_transaction_read_only=off -c client_min_messages=error $plain" psql -XAtq -v ON_ERROR_STOP=1 -d "$blue" \
		-c "$freeze" -c "$send_away" -c "$restore" -c "$close" -c "$send_away" -c "SELECT 'written ' || pg_current_wal_flush_lsn()"
}

# However it ends, blue is not left frozen unless green may let in.
frozen='' restore='' in_hand=''
give_back()
{
	local following
	[ -n "$in_hand" ] || return 0
	if [ "$in_hand" = green ]; then
		following=$(ask "$green" "SELECT count(*) FROM pg_subscription WHERE subname = '$name'" 2>/dev/null) || true
		if [ "$following" != 1 ]; then
			say 'green may let in already, so blue stays frozen: look what is wrong on green'
			return
		fi
	fi
	tell "$blue" "${restore:-SELECT}" "$thaw"
	say 'blue goes on as before'
}

switch()
{
	local began written
	[ -n "$dry_run" ] || [ "$(ask "$green" "SELECT count(*) FROM pg_subscription WHERE subname = '$name'")" = 1 ] || die 'green does not follow; prepare it first'
	follows 'green is near' "$(ask "$blue" 'SELECT pg_current_wal_flush_lsn() - 1048576')" || die 'green is far behind; nothing was done'

	say 'blue is frozen'
	began=$(now_ms)
	trap give_back EXIT
	[ -n "$dry_run" ] || in_hand=blue
	frozen=$(freeze_blue)
	restore=$(sed -n 's/^restore //p' <<<"$frozen")
	written=$(sed -n 's/^written //p' <<<"$frozen")
	follows 'green has all' "${written:-0/0}" || die 'green did not get all in time'
	in_hand=${in_hand:+green}
	tell "$green" "ALTER SUBSCRIPTION $name DISABLE" "ALTER SUBSCRIPTION $name SET (slot_name = NONE)" "DROP SUBSCRIPTION $name" \
		"ALTER TABLE vqueue.queues ALTER COLUMN state SET DEFAULT 'open'; ${restore:-SELECT}" "$thaw"
	in_hand=
	say "green has taken over in $(($(now_ms) - began)) ms"

	# For roles that were given access since it was prepared.
	tell "$green" 'SELECT vqueue.renew_access()'
	tell "$blue" "SELECT pg_drop_replication_slot('$name') FROM pg_replication_slots WHERE slot_name = '$name' AND NOT active"
	[ -n "$dry_run" ] || [ -z "$(ask "$green" 'SELECT * FROM vqueue.check()')" ] || die 'vqueue.check() finds differences on green'
	say 'done; "finish", a few minutes later, when there is no way back to blue any more'
}

# By then blue has counted its last minute, which green has too, as far as it counted it itself.
copy_history()
{
	local columns
	columns=$(ask "$blue" "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
		 WHERE attrelid = 'vqueue.queue_stats'::regclass AND attnum > 0 AND NOT attisdropped")
	{
		printf '%s\n' 'BEGIN;' 'CREATE TEMP TABLE past (LIKE vqueue.queue_stats) ON COMMIT DROP;' "COPY past ($columns) FROM stdin;"
		ask "$blue" "COPY (SELECT $columns FROM vqueue.queue_stats) TO STDOUT"
		printf '%s\n' '\.' 'DELETE FROM vqueue.queue_stats s WHERE s.minute < (SELECT max(p.minute) FROM past p);' \
			"INSERT INTO vqueue.queue_stats ($columns) SELECT $columns FROM past p
			WHERE EXISTS (SELECT FROM vqueue.queues q WHERE q.id = p.queue_id) ON CONFLICT DO NOTHING;" 'COMMIT;'
	} | psql -XAtq -v ON_ERROR_STOP=1 -d "$green" >/dev/null
}

case $action in
	prepare) look; prepare ;;
	switch) look; switch ;;
	finish)
		[ "$(ask "$green" "SELECT count(*) FROM pg_subscription WHERE subname = '$name'")" = 0 ] || die 'green still follows; switch first'
		if [ "$history" = yes ]; then
			[ -n "$dry_run" ] || copy_history
			say 'the statistics of blue are on green'
		fi
		tell "$blue" "DROP PUBLICATION IF EXISTS $name" "SELECT pg_drop_replication_slot('$name') FROM pg_replication_slots WHERE slot_name = '$name' AND NOT active"
		say 'what is left on blue is its database, frozen and with closed queues'
		;;
	undo)
		if [ "$(ask "$green" "SELECT count(*) FROM pg_subscription WHERE subname = '$name'")" = 1 ]; then
			tell "$green" "DROP SUBSCRIPTION $name" 'DROP EXTENSION vqueue'
		fi
		tell "$green" "$thaw"
		tell "$blue" "DROP PUBLICATION IF EXISTS $name"
		say 'blue is as it was, green has no vqueue'
		;;
esac
