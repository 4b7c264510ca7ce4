/*
 * relation.c
 *		Where the tables and indexes of vqueue are.
 *
 * They are looked up by name once, and again when the server says that one of
 * them has changed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "relation.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "version.h"

static const char *const relation_names[VQ_RELATIONS] = {
	"tenants", "queues", "ticket_ceilings", "user_sessions", "secrets", "draws",
	"events", "event_marks", "event_log", "queue_stats",
	"draws_pkey", "secrets_pkey", "tenants_pkey", "tenants_name_key",
	"queues_pkey", "queues_tenant_id_name_key",
	"user_sessions_pkey", "user_sessions_queue_id_ticket_key", "user_sessions_live_key", "user_sessions_left_key",
	"events_pkey", "events_queue_id_seq_key",
	"pass_keys", "pass_keys_pkey", "pass_keys_tenant_key",
	"audit_log", "client_joins", "client_joins_key", "access", "access_pkey",
	"tenant_features", "tenant_features_pkey", "queue_canaries", "queue_canaries_watching_key"
};

static Oid	relation_oids[VQ_RELATIONS];
static Oid	owner = InvalidOid;
static bool relations_known = false;
static uint64 relations_version = 0;
static bool lookup_disturbed = false;
static char newer_version[VQ_VERSION_SIZE] = "";	/* that of the SQL, if later than ours */

static void
relation_changed(Datum arg, Oid relid)
{
	lookup_disturbed = true;
	if (!OidIsValid(relid))
		relations_known = false;
	for (int i = 0; i < VQ_RELATIONS && relations_known; i++)
		if (relation_oids[i] == relid)
			relations_known = false;
}

static bool
look_up_relations(void)
{
	static bool registered = false;
	Oid			schema = get_namespace_oid("vqueue", true);
	HeapTuple	tuple;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}
	newer_version[0] = '\0';
	if (!OidIsValid(schema))
		return false;
	relations_version++;
	lookup_disturbed = false;
	if (vq_sql_is_newer(newer_version))
		return false;
	newer_version[0] = '\0';
	for (int i = 0; i < VQ_RELATIONS; i++)
	{
		relation_oids[i] = get_relname_relid(relation_names[i], schema);
		if (!OidIsValid(relation_oids[i]) && i < VQ_SINCE_1_1)
			return false;
	}

	/* By the catalog: to open the table would be to wait for whoever has it locked. */
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation_oids[VQ_SESSIONS]));
	if (!HeapTupleIsValid(tuple))
		return false;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);

	/* Only now, as looking it up may have been cancelled; and not if something changed meanwhile. */
	relations_known = !lookup_disturbed;
	return true;
}

bool
vq_installed(void)
{
	return relations_known || look_up_relations();
}

const char *
vq_newer_version(void)
{
	return vq_installed() || newer_version[0] == '\0' ? NULL : newer_version;
}

/* Say why there are no tables. */
static void
refuse(void)
{
	if (newer_version[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the library of vqueue is older than its tables and functions"),
				 errdetail("The library is of version %s, extension \"vqueue\" in this database of %s.", VQ_VERSION, newer_version),
				 errhint("Install version %s and restart the server; there ALTER EXTENSION vqueue UPDATE TO '%s' goes back.",
						 newer_version, VQ_VERSION)));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("extension \"vqueue\" is not installed in this database"),
			 errhint("Run CREATE EXTENSION vqueue.")));
}

Oid
vq_relation(VqRelation which)
{
	if (!relations_known && !look_up_relations())
		refuse();
	return relation_oids[which];
}

bool
vq_has_relation(VqRelation which)
{
	return OidIsValid(vq_relation(which));
}

uint64
vq_relations_version(void)
{
	return relations_version;
}

Oid
vq_owner(void)
{
	(void) vq_relation(VQ_SESSIONS);
	return owner;
}
