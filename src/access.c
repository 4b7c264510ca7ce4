/*
 * access.c
 *		Who may do what in which tenant.
 *
 * What a user may is found out once and remembered, until names_version says that
 * a row of vqueue.access has changed, or the server that a role has.
 */
#include "postgres.h"

#include "access.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pending.h"
#include "rebuild.h"
#include "roster.h"
#include "statement.h"
#include "table.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* Of more than so many users and tenants nothing is remembered. */
#define MAX_REMEMBERED 4096

/* Names of levels: what who is given one has, and what who has it must have where it is asked for. */
static const struct
{
	const char *name;
	int			has;
	int			asks;
}			level_names[] =
{
	{"any", 0, VQ_ANY_LEVEL},
	{"app", VQ_APP, VQ_APP},
	{"monitor", VQ_MONITOR, VQ_MONITOR},
	{"operator", VQ_APP | VQ_MONITOR | VQ_OPERATOR, VQ_OPERATOR},
	{"admin", VQ_ANY_LEVEL, VQ_ADMIN},
	{"owner", 0, VQ_OWNER}
};

typedef struct AccessKey
{
	pg_uuid_t	tenant_id;
	Oid			userid;
} AccessKey;

typedef struct AccessEntry
{
	AccessKey	key;
	int			levels;
} AccessEntry;

static uint64 roles_version = 1;	/* changes with any role or membership */

static HTAB *remembered = NULL;
static AccessEntry *last = NULL;	/* of remembered, the one asked for last */
static uint64 remembered_names = 0; /* the versions as of which they are right */
static uint64 remembered_roles = 0;

uint64
vq_version_to_remember(void)
{
	if (RecoveryInProgress() || IsInParallelMode() || vq_names_pending())
		return 0;
	return pg_atomic_read_u64(&vq_database()->names_version);
}

/* Which of level_names, or -1. */
static int
find_level(const text *name)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	for (int i = 0; i < (int) lengthof(level_names); i++)
		if (strlen(level_names[i].name) == (size_t) len && memcmp(level_names[i].name, VARDATA_ANY(name), len) == 0)
			return i;
	return -1;
}

int
vq_asked_levels(const text *name)
{
	int			i = find_level(name);

	return i < 0 ? 0 : level_names[i].asks;
}

/* ---- what a role has ---- */

static void
roles_changed(Datum arg, int cache, uint32 hash)
{
	roles_version++;
}

static void
watch_roles(void)
{
	static bool watching = false;

	if (watching)
		return;
	CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, roles_changed, (Datum) 0);
	watching = true;
}

static int
find_levels_everywhere(Oid userid)
{
	if (superuser_arg(userid) || has_privs_of_role(userid, vq_owner()))
		return VQ_ANY_LEVEL | VQ_OWNER;
	return has_privs_of_role(userid, ROLE_PG_MONITOR) ? VQ_MONITOR : 0;
}

int
vq_levels_everywhere(void)
{
	static Oid	userid = InvalidOid;
	static int	levels;
	static uint64 roles;
	static uint64 relations;

	(void) vq_relation(VQ_SESSIONS);
	if (userid != GetUserId() || roles != roles_version || relations != vq_relations_version())
	{
		uint64		version;

		userid = InvalidOid;
		watch_roles();
		version = roles_version;
		levels = find_levels_everywhere(GetUserId());
		roles = version;
		relations = vq_relations_version();
		userid = GetUserId();
	}
	return levels;
}

/* ---- what the table says ---- */

static int
levels_of_row(HeapTuple tuple, TupleDesc desc, Oid userid)
{
	bool		isnull;
	Oid			role = DatumGetObjectId(heap_getattr(tuple, Anum_access_role, desc, &isnull));
	int			level = find_level(DatumGetTextPP(heap_getattr(tuple, Anum_access_level, desc, &isnull)));

	return level >= 0 && has_privs_of_role(userid, role) ? level_names[level].has : 0;
}

static int
read_levels(const pg_uuid_t *tenant_id, Oid userid)
{
	Relation	rel = table_open(vq_relation(VQ_ACCESS), AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int			levels = 0;

	ScanKeyInit(&key, Anum_access_tenant_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(tenant_id));
	scan = systable_beginscan(rel, vq_relation(VQ_ACCESS_PKEY), true, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		levels |= levels_of_row(tuple, RelationGetDescr(rel), userid);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return levels;
}

/* The entry of a key, with its levels if that is found; those of other versions are thrown away. */
static AccessEntry *
find_remembered(const AccessKey *key, uint64 names, uint64 roles, bool *found)
{
	if (remembered != NULL && (remembered_names != names || remembered_roles != roles ||
							   hash_get_num_entries(remembered) >= MAX_REMEMBERED))
	{
		last = NULL;
		hash_destroy(remembered);
		remembered = NULL;
	}
	if (remembered == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(AccessKey);
		ctl.entrysize = sizeof(AccessEntry);
		ctl.hcxt = TopMemoryContext;
		remembered = hash_create("vqueue access", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		remembered_names = names;
		remembered_roles = roles;
	}
	return hash_search(remembered, key, HASH_FIND, found);
}

/* Of a user who has no level everywhere but that to watch. */
static int
look_up_levels(const AccessKey *key, uint64 names)
{
	uint64		roles = roles_version;
	AccessEntry *entry = NULL;
	bool		found = false;
	int			levels;

	if (names != 0)
		entry = find_remembered(key, names, roles, &found);
	if (entry == NULL)
	{
		levels = read_levels(&key->tenant_id, key->userid);
		if (names == 0 || roles != roles_version)
			return levels;
		/* Reading may have come by here again, or have taken in news. */
		(void) find_remembered(key, names, roles, &found);
		entry = hash_search(remembered, key, HASH_ENTER, &found);
		entry->levels = levels;
	}
	last = entry;
	return entry->levels;
}

int
vq_levels(const pg_uuid_t *tenant_id)
{
	int			everywhere = vq_levels_everywhere();
	uint64		names;
	AccessKey	key;

	if (everywhere & VQ_OWNER)
		return everywhere;
	names = vq_version_to_remember();
	if (last != NULL && names == remembered_names && remembered_roles == roles_version &&
		last->key.userid == GetUserId() && memcmp(&last->key.tenant_id, tenant_id, sizeof(pg_uuid_t)) == 0)
		return last->levels | everywhere;
	memset(&key, 0, sizeof(key));
	key.tenant_id = *tenant_id;
	key.userid = GetUserId();
	return look_up_levels(&key, names) | everywhere;
}

/* ---- queues ---- */

/* By the lines where they are known, else by the table. */
static bool
find_tenant(const pg_uuid_t *queue_id, pg_uuid_t *tenant_id)
{
	VqSettings	settings;
	VqQueue    *queue = NULL;
	char		name[VQ_NAME_SIZE];

	if (!RecoveryInProgress() && pg_atomic_read_u32(&vq_database()->line_state) == VQ_READY)
		queue = vq_find_queue(queue_id);
	if (queue != NULL && vq_is_queue(queue, queue_id))
	{
		vq_label_of(queue, name, tenant_id);
		return true;
	}
	if (!vq_fetch_queue(queue_id, &settings))
		return false;
	*tenant_id = settings.tenant_id;
	return true;
}

bool
vq_may_queue(const pg_uuid_t *queue_id, int levels)
{
	pg_uuid_t	tenant_id;

	if (vq_levels_everywhere() & levels)
		return true;
	return find_tenant(queue_id, &tenant_id) && (vq_levels(&tenant_id) & levels) != 0;
}

bool
vq_may_see(VqQueue *queue, int levels)
{
	pg_uuid_t	tenant_id;
	char		name[VQ_NAME_SIZE];

	if (vq_levels_everywhere() & levels)
		return true;
	vq_label_of(queue, name, &tenant_id);
	return (vq_levels(&tenant_id) & levels) != 0;
}

/* ---- refusals ---- */

void
vq_refuse_level(const char *tenant, int levels)
{
	const char *wanted = NULL;

	for (int i = 0; i < (int) lengthof(level_names) && wanted == NULL; i++)
		if (level_names[i].has & levels)
			wanted = level_names[i].name;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for tenant \"%s\"", tenant),
			 errdetail("It takes the level %s, which role \"%s\" does not have there.",
					   wanted, GetUserNameFromId(GetUserId(), true)),
			 errhint("An admin of the tenant gives it by vqueue.grant_access().")));
}

void
vq_must_own(const char *function)
{
	if ((vq_levels_everywhere() & VQ_OWNER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for %s", function),
				 errdetail("It concerns all tenants."),
				 errhint("Call it as the owner of the extension.")));
}

/* ---- SQL functions ---- */

/* What was last answered, as rows of one queue mostly come together. */
typedef struct Answered
{
	bool		known;			/* what follows is right, as of these versions */
	uint64		names;
	uint64		roles;
	Oid			userid;
	pg_uuid_t	id;
	int			levels;
	bool		answer;
} Answered;

static bool
is_allowed(FunctionCallInfo fcinfo, bool (*ask) (const pg_uuid_t *id, int levels))
{
	Answered   *last_one = fcinfo->flinfo->fn_extra;
	const pg_uuid_t *id = PG_GETARG_UUID_P(0);
	int			levels = vq_asked_levels(PG_GETARG_TEXT_PP(1));
	uint64		names = vq_version_to_remember();

	if (last_one == NULL)
		last_one = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Answered));
	if (!last_one->known || last_one->names != names || last_one->roles != roles_version ||
		last_one->userid != GetUserId() || last_one->levels != levels ||
		memcmp(&last_one->id, id, sizeof(pg_uuid_t)) != 0)
	{
		last_one->known = false;
		last_one->names = names;
		last_one->roles = roles_version;
		last_one->userid = GetUserId();
		last_one->levels = levels;
		last_one->id = *id;
		last_one->answer = ask(id, levels);
		last_one->known = !vq_names_pending();
	}
	return last_one->answer;
}

static bool
may_tenant(const pg_uuid_t *id, int levels)
{
	return (vq_levels(id) & levels) != 0;
}

PG_FUNCTION_INFO_V1(vqueue_may);
Datum
vqueue_may(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_allowed(fcinfo, may_tenant));
}

PG_FUNCTION_INFO_V1(vqueue_may_queue);
Datum
vqueue_may_queue(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_allowed(fcinfo, vq_may_queue));
}

PG_FUNCTION_INFO_V1(vqueue_must_own);
Datum
vqueue_must_own(PG_FUNCTION_ARGS)
{
	vq_must_own(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
