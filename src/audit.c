/*
 * audit.c
 *		The log of what operators do.
 *
 * Changes of settings are logged by a trigger, so that plain SQL is too; what an
 * operator does to sessions, by the functions that do it.
 */
#include "postgres.h"

#include "audit.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "place.h"
#include "postmaster/bgworker.h"
#include "queue.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Entries deleted in one transaction at the most, and how often to look (microseconds). */
#define TRIM_BATCH 500
#define LOOK_AGAIN (10 * USECS_PER_SEC)

/* ---- who ---- */

static bool
is_worker(void)
{
	return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_type, "vqueue worker") == 0;
}

/* Who has logged in, and as whom that one acts: not whose rights a function has, which may be its owner's. */
static void
name_actor(Datum *actor, Datum *role)
{
	char	   *user = is_worker() ? NULL : GetUserNameFromId(GetSessionUserId(), true);
	char	   *outer = is_worker() ? NULL : GetUserNameFromId(GetOuterUserId(), true);

	*actor = CStringGetTextDatum(user != NULL ? user : "vqueue worker");
	*role = CStringGetTextDatum(outer != NULL ? outer : "vqueue worker");
}

/* ---- actions ---- */

static void
put_text(Datum *values, char *nulls, int i, const char *value)
{
	nulls[i] = value == NULL ? 'n' : ' ';
	if (value != NULL)
		values[i] = CStringGetTextDatum(value);
}

static void
put_uuid(Datum *values, char *nulls, int i, const pg_uuid_t *value)
{
	nulls[i] = value == NULL ? 'n' : ' ';
	if (value != NULL)
		values[i] = UUIDPGetDatum(value);
}

void
vq_audit(const VqAction *action)
{
	Datum		values[10] = {0};
	char		nulls[11] = "          ";
	VqCaller	caller;

	put_uuid(values, nulls, 0, action->tenant_id);
	put_uuid(values, nulls, 1, action->queue_id);
	put_text(values, nulls, 2, action->queue);
	name_actor(&values[3], &values[4]);
	put_text(values, nulls, 5, action->action);
	put_text(values, nulls, 6, action->object);
	put_text(values, nulls, 7, action->before);
	put_text(values, nulls, 8, action->after);
	nulls[9] = action->reason == NULL ? 'n' : ' ';
	values[9] = PointerGetDatum(action->reason);
	(void) vq_execute(VQ_AUDIT_ACTION, values, nulls, &caller);
	vq_executed(&caller);
}

static const char *
session_text(const VqRow *row)
{
	return psprintf("{\"status\": \"%s\", \"priority\": \"%s\"}", vq_status_names[row->status], vq_lane_names[row->lane]);
}

void
vq_audit_step(const char *action, const char *queue, const VqRow *before, const VqRow *after, const text *reason)
{
	VqAction	entry = {action};
	pg_uuid_t	tenant;

	vq_current_tenant(VQ_ANY_LEVEL, &tenant);
	entry.tenant_id = &tenant;
	entry.queue_id = &after->queue_id;
	entry.queue = queue;
	entry.object = vq_uuid_text(&after->id);
	entry.before = session_text(before);
	entry.after = session_text(after);
	entry.reason = reason;
	vq_audit(&entry);
}

/*
 * What SQL functions log.  Those who may call them may call this too, so it
 * takes no other action than theirs.
 */
PG_FUNCTION_INFO_V1(vqueue_audit);
Datum
vqueue_audit(PG_FUNCTION_ARGS)
{
	static const char *const known[] = {"purge", "schedule", "unschedule", "import_sessions", "set_feature",
	"canary", "canary_keep", "canary_revert"};
	VqAction	entry = {0};
	pg_uuid_t	tenant;
	pg_uuid_t	id;
	VqSettings	settings;
	bool		is_known = false;

	if (PG_ARGISNULL(0))
		vq_null_argument("action");
	entry.action = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < (int) lengthof(known); i++)
		is_known |= strcmp(entry.action, known[i]) == 0;
	if (!is_known)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("action \"%s\" is not known", entry.action),
				 errdetail("Other actions are logged by those who do them."),
				 errhint("Write what else is to be kept into a table of your own.")));
	vq_current_tenant(VQ_MAY_STEER, &tenant);
	entry.tenant_id = &tenant;
	if (!PG_ARGISNULL(1))
	{
		id = *PG_GETARG_UUID_P(1);
		entry.queue_id = &id;
		if (vq_fetch_queue(&id, &settings) && memcmp(&settings.tenant_id, &tenant, sizeof(tenant)) == 0)
			entry.queue = settings.name;
	}
	if (!PG_ARGISNULL(2))
		entry.object = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		entry.after = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(3)));
	vq_audit(&entry);
	PG_RETURN_VOID();
}

/* ---- changes of rows ---- */

/* Have times and intervals written the same way whatever the session prefers, until AtEOXact_GUC(true, level). */
static int
write_alike(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("intervalstyle", "postgres", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("timezone", "UTC", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
put_row(Datum *values, char *nulls, int i, HeapTuple tuple, TupleDesc desc)
{
	nulls[i] = tuple == NULL ? 'n' : ' ';
	if (tuple != NULL)
		values[i] = DirectFunctionCall1(row_to_json, heap_copy_tuple_as_datum(tuple, desc));
}

/* Which of the rows of a change are which: the old one, and the new. */
static const char *
change_of(const TriggerData *data, HeapTuple *old, HeapTuple *new)
{
	*old = *new = NULL;
	if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event))
		return "TRUNCATE";
	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		*new = data->tg_trigtuple;
		return "INSERT";
	}
	*old = data->tg_trigtuple;
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		return "DELETE";
	*new = data->tg_newtuple;
	return "UPDATE";
}

PG_FUNCTION_INFO_V1(vqueue_audit_change);
Datum
vqueue_audit_change(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	Datum		values[6] = {0};
	char		nulls[7] = "      ";
	HeapTuple	old;
	HeapTuple	new;
	VqCaller	caller;
	int			level;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function was not called by a trigger")));

	/* What is replicated was logged where it comes from, and the log is replicated too. */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(NULL);
	values[0] = CStringGetTextDatum(RelationGetRelationName(data->tg_relation));
	values[1] = CStringGetTextDatum(change_of(data, &old, &new));
	level = write_alike();
	put_row(values, nulls, 2, old, RelationGetDescr(data->tg_relation));
	put_row(values, nulls, 3, new, RelationGetDescr(data->tg_relation));
	AtEOXact_GUC(true, level);
	name_actor(&values[4], &values[5]);
	(void) vq_execute(VQ_AUDIT_CHANGE, values, nulls, &caller);
	vq_executed(&caller);
	return PointerGetDatum(NULL);
}

/* ---- old entries ---- */

int64
vq_trim_audit(void)
{
	VqNow		now = vq_now();
	Datum		values[2] = {TimestampTzGetDatum(now.wall - (int64) vq_audit_retention * USECS_PER_SEC), Int32GetDatum(TRIM_BATCH)};
	VqCaller	caller;
	uint64		n;
	int			level;

	if (!ConditionalLockRelationOid(vq_relation(VQ_AUDIT_LOG), RowExclusiveLock))
		return -1;
	level = vq_force_index_plans();
	n = vq_execute(VQ_TRIM_AUDIT, values, NULL, &caller);
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return n == TRIM_BATCH ? 0 : now.mono + LOOK_AGAIN;
}
