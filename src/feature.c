/*
 * feature.c
 *		What can be switched off for a tenant.
 *
 * All is on unless a row of tenant_features says otherwise.  A backend remembers
 * what is off for the tenant that it asked about last, until the table's entry in
 * the relation cache is invalidated, which its trigger does: so that holds at
 * commit, for savepoints and on a standby, as with a changed table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "feature.h"
#include "fmgr.h"
#include "place.h"
#include "queue.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static const char *const feature_names[VQ_FEATURE_COUNT] = {
	"passes", "board", "draw", "events_log", "user_data"
};

/* The feature of a name, or -1. */
static int
parse_feature(const char *name)
{
	for (int i = 0; i < VQ_FEATURE_COUNT; i++)
		if (strcmp(feature_names[i], name) == 0)
			return i;
	return -1;
}

/* ---- reading ---- */

/* The bit of a row's feature if that is off. */
static uint32
bit_of_row(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		name = heap_getattr(tuple, Anum_features_feature, desc, &isnull);
	int			feature = isnull ? -1 : parse_feature(TextDatumGetCString(name));
	Datum		enabled = heap_getattr(tuple, Anum_features_enabled, desc, &isnull);

	return feature < 0 || isnull || DatumGetBool(enabled) ? 0 : ((uint32) 1) << feature;
}

static uint32
read_switched_off(const pg_uuid_t *tenant)
{
	Relation	rel = table_open(vq_relation(VQ_TENANT_FEATURES), AccessShareLock);
	Snapshot	snapshot;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint32		off = 0;

	/* A parallel query's snapshot is all there may be. */
	snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	ScanKeyInit(&key, Anum_features_tenant_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(tenant));
	scan = systable_beginscan(rel, vq_relation(VQ_TENANT_FEATURES_PKEY), true, snapshot, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		off |= bit_of_row(tuple, RelationGetDescr(rel));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);

	/* As it is given back at once, nobody who drops the table waits for us while we wait for him. */
	table_close(rel, AccessShareLock);
	return off;
}

/* What is switched off for a tenant, a bit each. */
static uint32
switched_off(const pg_uuid_t *tenant)
{
	static pg_uuid_t known_tenant;
	static uint32 known_off;
	static uint64 known_version = 0;
	uint64		version;
	uint32		off;

	if (!vq_has_relation(VQ_TENANT_FEATURES))
		return 0;
	version = vq_relations_version();
	if (known_version == version && memcmp(&known_tenant, tenant, sizeof(pg_uuid_t)) == 0)
		return known_off;
	off = read_switched_off(tenant);

	/* If something changed meanwhile, the version does, here at the latest. */
	known_version = vq_has_relation(VQ_TENANT_FEATURES) && vq_relations_version() == version ? version : 0;
	known_tenant = *tenant;
	known_off = off;
	return off;
}

void
vq_need_feature_of(const pg_uuid_t *tenant, VqFeature feature)
{
	char	   *name;

	if ((switched_off(tenant) & (((uint32) 1) << feature)) == 0)
		return;
	name = vq_fetch_tenant_name(tenant);
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("feature \"%s\" is switched off", feature_names[feature]),
			 errdetail("It was switched off for tenant \"%s\".", name != NULL ? name : vq_uuid_text(tenant)),
			 errhint("An operator switches it on by vqueue.set_feature('%s', true).", feature_names[feature])));
}

void
vq_need_feature(VqFeature feature)
{
	pg_uuid_t	tenant;

	/* Where there is nothing to switch off, as in earlier versions, nobody need be asked. */
	if (!vq_has_relation(VQ_TENANT_FEATURES))
		return;
	vq_current_tenant(VQ_ANY_LEVEL, &tenant);
	vq_need_feature_of(&tenant, feature);
}

/* ---- SQL functions ---- */

static VqFeature
feature_argument(FunctionCallInfo fcinfo)
{
	char	   *name;
	int			feature;

	if (PG_ARGISNULL(0))
		vq_null_argument("feature");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	feature = parse_feature(name);
	if (feature < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("feature \"%s\" is not known", name),
				 errdetail("Some capabilities can be switched off for a tenant, and others not."),
				 errhint("See vqueue.features for those that can.")));
	return (VqFeature) feature;
}

PG_FUNCTION_INFO_V1(vqueue_feature);
Datum
vqueue_feature(PG_FUNCTION_ARGS)
{
	VqFeature	feature = feature_argument(fcinfo);
	pg_uuid_t	tenant;

	vq_current_tenant(VQ_ANY_LEVEL, &tenant);
	PG_RETURN_BOOL((switched_off(&tenant) & (((uint32) 1) << feature)) == 0);
}

PG_FUNCTION_INFO_V1(vqueue_need_feature);
Datum
vqueue_need_feature(PG_FUNCTION_ARGS)
{
	vq_need_feature(feature_argument(fcinfo));
	PG_RETURN_VOID();
}

/* All that is remembered of a changed table is forgotten, everywhere, at commit. */
PG_FUNCTION_INFO_V1(vqueue_features_changed);
Datum
vqueue_features_changed(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !vq_has_relation(VQ_TENANT_FEATURES) ||
		RelationGetRelid(data->tg_relation) != vq_relation(VQ_TENANT_FEATURES))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function is only for the trigger of vqueue.tenant_features"),
				 errhint("Change the table, and it is called.")));
	CacheInvalidateRelcache(data->tg_relation);
	return PointerGetDatum(NULL);
}
