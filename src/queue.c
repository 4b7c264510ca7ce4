/*
 * queue.c
 *		Queues and tenants by their names, and their figures.
 *
 * A backend remembers which queue a name meant until names_version tells that
 * any name may mean another one.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "due.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "miscadmin.h"
#include "outlook.h"
#include "pending.h"
#include "place.h"
#include "queue.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define KEY_SIZE 256

typedef struct NameEntry
{
	char		key[KEY_SIZE];	/* the current tenant, a newline, the argument */
	pg_uuid_t	id;
} NameEntry;

static HTAB *names = NULL;
static uint64 names_version = 0;	/* that of the remembered ones */

/* ---- names ---- */

/* The names known as of this version, which was read before any of them was looked up. */
static HTAB *
known_names(uint64 version)
{
	if (names != NULL && names_version != version)
	{
		hash_destroy(names);
		names = NULL;
	}
	if (names == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = KEY_SIZE;
		ctl.entrysize = sizeof(NameEntry);
		ctl.hcxt = TopMemoryContext;
		names = hash_create("vqueue names", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		names_version = version;
	}
	return names;
}

/* To whom has no level there, a tenant is as unknown as one that never was. */
static void
unknown_tenant(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("tenant \"%s\" does not exist", vq_tenant),
			 errdetail("The setting vqueue.tenant names the tenant whose queues are meant."),
			 errhint("Set vqueue.tenant to the name of a tenant to which this role has access.")));
}

static void
find_current_tenant(pg_uuid_t *id)
{
	static char known[VQ_NAME_SIZE];
	static pg_uuid_t known_id;
	static uint64 version = 0;
	uint64		now = vq_version_to_remember();

	if (now != 0 && version == now && strcmp(known, vq_tenant) == 0)
	{
		*id = known_id;
		return;
	}
	if (!vq_fetch_tenant(vq_tenant, id))
		unknown_tenant();
	version = 0;
	if (now != 0 && strlcpy(known, vq_tenant, VQ_NAME_SIZE) < VQ_NAME_SIZE)
	{
		known_id = *id;
		version = now;
	}
}

void
vq_current_tenant(int levels, pg_uuid_t *id)
{
	int			has;

	find_current_tenant(id);
	has = vq_levels(id);
	if (likely(has & levels))
		return;
	if (has == 0)
		unknown_tenant();
	vq_refuse_level(vq_tenant, levels);
}

void
vq_must_watch(void)
{
	pg_uuid_t	tenant;

	if ((vq_levels_everywhere() & VQ_MAY_WATCH) == 0)
		vq_current_tenant(VQ_MAY_WATCH, &tenant);
}

static int
hex_value(char c)
{
	return isdigit((unsigned char) c) ? c - '0' : tolower((unsigned char) c) - 'a' + 10;
}

/* As uuid_in, which would raise an error on anything else: braces, and dashes after each four digits. */
static bool
parse_uuid(const char *name, pg_uuid_t *id)
{
	int			length = strlen(name);
	const char *end = name + length;
	int			digits = 0;

	if (length > 2 && name[0] == '{' && end[-1] == '}')
	{
		name++;
		end--;
	}
	for (const char *c = name; c < end; c++)
	{
		if (*c == '-' && digits > 0 && digits < 32 && digits % 4 == 0 && c[-1] != '-')
			continue;
		if (!isxdigit((unsigned char) *c) || digits == 32)
			return false;
		id->data[digits / 2] = id->data[digits / 2] << 4 | hex_value(*c);
		digits++;
	}
	return digits == 32;
}

/* Look the queue up in the tables, as this transaction sees them. */
static bool
find_queue_id(const pg_uuid_t *tenant, const char *name, pg_uuid_t *id)
{
	VqSettings	settings;

	if (vq_fetch_queue_name(tenant, name, id))
		return true;
	return parse_uuid(name, id) && vq_fetch_queue(id, &settings) &&
		memcmp(&settings.tenant_id, tenant, sizeof(pg_uuid_t)) == 0;
}

/* Find out which queue an argument means, by the names known or the tables. */
static void
look_up_name(const pg_uuid_t *tenant, const char *name, uint64 version, pg_uuid_t *id)
{
	char		key[KEY_SIZE];
	bool		cached = version != 0 &&
	snprintf(key, KEY_SIZE, "%s\n%s", vq_tenant, name) < KEY_SIZE;
	NameEntry  *entry;
	bool		found;

	if (cached)
	{
		entry = hash_search(known_names(version), key, HASH_FIND, NULL);
		if (entry != NULL)
		{
			*id = entry->id;
			return;
		}
	}
	if (!find_queue_id(tenant, name, id))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("queue \"%s\" does not exist", name),
				 errdetail("There is no such queue in tenant \"%s\".", vq_tenant),
				 errhint("See vqueue.overview for the queues there are, or make one with vqueue.create_queue().")));
	if (cached)
	{
		entry = hash_search(known_names(version), key, HASH_ENTER, &found);
		entry->id = *id;
	}
}

/* The last answer, as most sessions ask for one queue over and over. */
static struct
{
	uint64		version;		/* 0: none */
	int			length;
	char		argument[VQ_NAME_SIZE];
	char		tenant[VQ_NAME_SIZE];
	pg_uuid_t	id;
	VqQueue    *queue;			/* NULL until somebody asked for its memory */
}			last;

void
vq_resolve_queue(int levels, const text *arg, pg_uuid_t *id)
{
	pg_uuid_t	tenant;
	int			length = VARSIZE_ANY_EXHDR(arg);
	uint64		version = vq_version_to_remember();
	bool		cached = version != 0 && length < VQ_NAME_SIZE;
	char	   *name;

	vq_current_tenant(levels, &tenant);
	if (cached && last.version == version && last.length == length &&
		memcmp(last.argument, VARDATA_ANY(arg), length) == 0 && strcmp(last.tenant, vq_tenant) == 0)
	{
		*id = last.id;
		return;
	}
	name = text_to_cstring(arg);
	look_up_name(&tenant, name, version, id);
	pfree(name);
	last.version = 0;
	if (cached && strlcpy(last.tenant, vq_tenant, VQ_NAME_SIZE) < VQ_NAME_SIZE)
	{
		memcpy(last.argument, VARDATA_ANY(arg), length);
		last.length = length;
		last.id = *id;
		last.queue = NULL;
		last.version = version;
	}
}

VqQueue *
vq_queue_of(int levels, const text *arg, pg_uuid_t *id)
{
	VqQueue    *queue;

	vq_ready();
	vq_resolve_queue(levels, arg, id);
	if (last.version != 0 && last.queue != NULL && memcmp(&last.id, id, sizeof(pg_uuid_t)) == 0)
		return last.queue;		/* a queue taken out of memory changes the version */
	queue = vq_find_queue(id);
	if (last.version != 0 && memcmp(&last.id, id, sizeof(pg_uuid_t)) == 0)
		last.queue = queue;
	if (queue == NULL || queue->gone)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("queue \"%s\" does not exist", text_to_cstring(arg)),
				 errdetail("It was dropped meanwhile."),
				 errhint("See vqueue.overview for the queues there are.")));
	return queue;
}

/* ---- locks ---- */

static void
lock_object(const pg_uuid_t *id, LOCKMODE mode)
{
	/* Two ids of one hash share a lock, which does no harm. */
	LockDatabaseObject(vq_relation(VQ_QUEUES), hash_bytes(id->data, UUID_LEN), 0, mode);
}

void
vq_lock_against_drop(const pg_uuid_t *id)
{
	lock_object(id, AccessShareLock);
}

void
vq_lock_against_joins(const pg_uuid_t *id)
{
	lock_object(id, AccessExclusiveLock);
}

/* ---- SQL functions ---- */

/* The levels of which the caller of _tenant or _queue has to have one. */
static int
levels_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? VQ_MAY_NAME : vq_asked_levels(PG_GETARG_TEXT_PP(n));
}

PG_FUNCTION_INFO_V1(vqueue_current_tenant);
Datum
vqueue_current_tenant(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	vq_current_tenant(levels_argument(fcinfo, 0), id);
	PG_RETURN_UUID_P(id);
}

static const text *
queue_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		vq_null_argument("queue");
	return PG_GETARG_TEXT_PP(0);
}

PG_FUNCTION_INFO_V1(vqueue_resolve_queue);
Datum
vqueue_resolve_queue(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	vq_resolve_queue(levels_argument(fcinfo, 1), queue_argument(fcinfo), id);
	PG_RETURN_UUID_P(id);
}

PG_FUNCTION_INFO_V1(vqueue_lock_queue);
Datum
vqueue_lock_queue(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("vqueue.drop_queue()");
	if (vq_may_queue(PG_GETARG_UUID_P(0), VQ_MAY_STEER))
		vq_lock_against_joins(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

/* Columns of _counters, and which one is there on a standby too though it is not counted. */
#define COUNTERS		12
#define FAILURES		10

/* One row of _counters from memory. */
static void
put_counters(ReturnSetInfo *rsinfo, const VqQueue *queue, VqNow now)
{
	Datum		values[COUNTERS];
	bool		nulls[COUNTERS] = {false};
	pg_uuid_t	id = queue->id;
	int64		head = vq_head(queue);
	VqWait		wait = vq_newcomers_wait(queue, now, VQ_LANE_NORMAL);
	float		error = vq_score_error(&queue->score);

	values[0] = UUIDPGetDatum(&id);
	values[1] = Int64GetDatum(vq_standing(queue));
	values[2] = Int64GetDatum(queue->line.count[VQ_INSIDE]);
	values[3] = Int64GetDatum(head);
	nulls[3] = head == 0;
	values[4] = Int64GetDatum(queue->next_ticket - 1);
	values[5] = Int32GetDatum(vq_ring_sum(&queue->released, now, 60));
	values[6] = Int64GetDatum(queue->released_total);
	values[7] = PointerGetDatum(vq_interval(wait.median));
	nulls[7] = wait.median < 0;
	values[8] = PointerGetDatum(vq_interval(wait.p90));
	nulls[8] = wait.p90 < 0;
	values[9] = Float4GetDatum(error);
	nulls[9] = error < 0;
	values[FAILURES] = Int32GetDatum(queue->failures);
	values[11] = CStringGetTextDatum(queue->last_error);
	nulls[11] = queue->last_error[0] == '\0';
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
counters_from_memory(ReturnSetInfo *rsinfo)
{
	int			n;
	VqQueue   **queues = vq_list_queues(vq_ready(), &n);

	for (int i = 0; i < n; i++)
	{
		VqQueue    *queue = queues[i];

		if (!vq_may_see(queue, VQ_MAY_WATCH))
			continue;
		vq_lock_whole(queue, LW_SHARED);
		if (!queue->nascent && !queue->gone && queue->dboid == MyDatabaseId)
			put_counters(rsinfo, queue, vq_now());
		LWLockRelease(&queue->lock);
	}
}

static void
counters_from_tables(ReturnSetInfo *rsinfo)
{
	VqCaller	caller;
	uint64		n = vq_execute(VQ_COUNT_QUEUES, NULL, NULL, &caller);

	/* What may be seen of it is asked of the caller, not of the owner. */
	SetUserIdAndSecContext(caller.userid, caller.context);
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		Datum		values[COUNTERS] = {0};
		bool		nulls[COUNTERS];

		memset(nulls, true, sizeof(nulls));
		for (int column = 0; column < 5; column++)
			values[column] = SPI_getbinval(tuple, desc, column + 1, &nulls[column]);
		if (!vq_may_queue(DatumGetUUIDP(values[0]), VQ_MAY_WATCH))
			continue;
		values[FAILURES] = Int32GetDatum(0);
		nulls[FAILURES] = false;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	vq_executed(&caller);
}

PG_FUNCTION_INFO_V1(vqueue_counters);
Datum
vqueue_counters(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	if (RecoveryInProgress())
		counters_from_tables((ReturnSetInfo *) fcinfo->resultinfo);
	else
		counters_from_memory((ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
