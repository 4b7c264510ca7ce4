/*
 * quota.c
 *		What a tenant may have: so many queues, so many waiting sessions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "common/hashfn.h"
#include "due.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "place.h"
#include "queue.h"
#include "quota.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* ---- tenants in memory ---- */

static VqTenant *
tenant_at(dsa_pointer ref)
{
	const VqArena *arena = vq_arena();

	return arena->addr(arena->ctx, ref);
}

static void
tenant_key(VqRegistryKey *key, Oid dboid, const pg_uuid_t *id)
{
	memset(key, 0, sizeof(*key));
	key->dboid = dboid;
	key->id = *id;
	key->is_tenant = true;
}

/* Find or make a tenant's word.  Caller holds VqShared.lock exclusively.  Invalid when out of memory. */
static dsa_pointer
enter_tenant(const pg_uuid_t *id)
{
	const VqArena *arena = vq_arena();
	VqRegistryKey key;
	VqRegistryEntry *entry;
	VqTenant   *tenant;
	dsa_pointer ref;
	bool		found;

	tenant_key(&key, MyDatabaseId, id);
	entry = dshash_find_or_insert(vq_registry(), &key, &found);
	if (found)
		ref = entry->queue;
	else
	{
		ref = arena->alloc(arena->ctx, sizeof(VqTenant));
		if (!DsaPointerIsValid(ref))
		{
			dshash_delete_entry(vq_registry(), entry);
			return ref;
		}
		tenant = tenant_at(ref);
		memset(tenant, 0, sizeof(VqTenant));
		tenant->dboid = MyDatabaseId;
		tenant->id = *id;
		pg_atomic_init_u64(&tenant->waiting, 0);
		entry->queue = ref;
	}
	dshash_release_lock(vq_registry(), entry);
	tenant_at(ref)->queues++;
	return ref;
}

/* One queue less; with the last one the word goes.  Caller holds VqShared.lock exclusively. */
static void
leave_tenant(dsa_pointer ref)
{
	const VqArena *arena = vq_arena();
	VqTenant   *tenant = tenant_at(ref);
	VqRegistryKey key;

	if (--tenant->queues > 0)
		return;
	tenant_key(&key, tenant->dboid, &tenant->id);
	(void) dshash_delete_key(vq_registry(), &key);
	arena->free(arena->ctx, ref, sizeof(VqTenant));
}

/* Move what is counted of a queue from one word to another, either of which may be none. */
static dsa_pointer
exchange_tenant(VqQueue *queue, dsa_pointer ref)
{
	dsa_pointer old;

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	old = queue->tenant;
	if (DsaPointerIsValid(old))
		pg_atomic_fetch_sub_u64(&tenant_at(old)->waiting, queue->counted);
	queue->tenant = ref;
	queue->counted = 0;
	vq_settle_built(queue);
	LWLockRelease(&queue->lock);
	return old;
}

void
vq_join_tenant(VqQueue *queue, const pg_uuid_t *tenant_id)
{
	dsa_pointer ref;
	dsa_pointer old;

	(void) vq_arena();			/* attaching takes the lock too */
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	if (DsaPointerIsValid(queue->tenant) && memcmp(&tenant_at(queue->tenant)->id, tenant_id, UUID_LEN) == 0)
	{
		LWLockRelease(vq_shared->lock);
		return;
	}
	ref = enter_tenant(tenant_id);
	if (!DsaPointerIsValid(ref))
	{
		LWLockRelease(vq_shared->lock);
		vq_out_of_memory();
	}
	old = exchange_tenant(queue, ref);
	if (DsaPointerIsValid(old))
		leave_tenant(old);
	LWLockRelease(vq_shared->lock);
}

void
vq_leave_tenant(VqQueue *queue)
{
	dsa_pointer old = exchange_tenant(queue, InvalidDsaPointer);

	if (DsaPointerIsValid(old))
		leave_tenant(old);
}

/* ---- counting those who wait ---- */

void
vq_settle_built(VqQueue *queue)
{
	int64		standing = vq_standing(queue);

	if (standing == queue->counted || !DsaPointerIsValid(queue->tenant))
		return;
	pg_atomic_fetch_add_u64(&tenant_at(queue->tenant)->waiting, standing - queue->counted);
	queue->counted = standing;
}

void
vq_settle(VqQueue *queue)
{
	if (vq_standing(queue) != queue->counted && vq_is_whole())
		vq_settle_built(queue);
}

bool
vq_count_in(VqQueue *queue, int64 quota)
{
	VqTenant   *tenant;

	if (quota == VQ_NO_QUOTA || !DsaPointerIsValid(queue->tenant))
		return true;
	tenant = tenant_at(queue->tenant);
	if ((int64) pg_atomic_fetch_add_u64(&tenant->waiting, 1) >= quota)
	{
		pg_atomic_fetch_sub_u64(&tenant->waiting, 1);
		return false;
	}
	queue->counted++;
	return true;
}

int64
vq_tenant_waiting(VqQueue *queue)
{
	return DsaPointerIsValid(queue->tenant) ? (int64) pg_atomic_read_u64(&tenant_at(queue->tenant)->waiting) : 0;
}

/* ---- limits ---- */

int64
vq_waiting_quota(const pg_uuid_t *tenant_id)
{
	static pg_uuid_t known;
	static int64 known_quota;
	static uint64 known_version = 0;
	uint64		version = vq_version_to_remember();
	VqQuotas	quotas;

	if (version != 0 && version == known_version && memcmp(&known, tenant_id, UUID_LEN) == 0)
		return known_quota;
	vq_fetch_quotas(tenant_id, &quotas);
	known = *tenant_id;
	known_quota = quotas.waiting;
	known_version = version;
	return quotas.waiting;
}

static const char *
name_of(const pg_uuid_t *tenant_id)
{
	const char *name = vq_fetch_tenant_name(tenant_id);

	return name != NULL ? name : vq_uuid_text(tenant_id);
}

void
vq_refuse_waiting(const pg_uuid_t *tenant_id, int64 quota)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("tenant \"%s\" has no room for another waiting session", name_of(tenant_id)),
			 errdetail("No more than " INT64_FORMAT " sessions may wait in all its queues together.", quota),
			 errhint("Try again later, or have max_waiting_sessions raised with vqueue.alter_tenant().")));
}

/*
 * By a dirty snapshot, which has the rows of this very command, too, and those of
 * others that may yet commit.
 */
static int64
count_queues(const pg_uuid_t *tenant_id)
{
	Relation	rel = table_open(vq_relation(VQ_QUEUES), AccessShareLock);
	SnapshotData dirty;
	ScanKeyData key;
	SysScanDesc scan;
	int64		n = 0;

	InitDirtySnapshot(dirty);
	ScanKeyInit(&key, Anum_queues_tenant_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(tenant_id));
	scan = systable_beginscan(rel, vq_relation(VQ_QUEUES_NAME), true, &dirty, 1, &key);
	while (systable_getnext(scan) != NULL)
		n++;
	systable_endscan(scan);
	table_close(rel, NoLock);
	return n;
}

void
vq_admit_queue(const pg_uuid_t *tenant_id)
{
	VqQuotas	quotas;

	/* Row-level security refuses who may make none, who is not told how many there are. */
	if ((vq_levels(tenant_id) & VQ_MAY_STEER) == 0)
		return;
	vq_fetch_quotas(tenant_id, &quotas);
	if (quotas.queues == VQ_NO_QUOTA)
		return;

	/* One at a time, so that who waits here sees what the other has made. */
	LockDatabaseObject(vq_relation(VQ_TENANTS), hash_bytes(tenant_id->data, UUID_LEN), 0, ExclusiveLock);
	vq_fetch_quotas(tenant_id, &quotas);
	if (quotas.queues == VQ_NO_QUOTA || count_queues(tenant_id) < quotas.queues)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("tenant \"%s\" has no room for another queue", name_of(tenant_id)),
			 errdetail("It may have no more than " INT64_FORMAT " queues.", quotas.queues),
			 errhint("Drop one that is not needed any more, or have max_queues raised with vqueue.alter_tenant().")));
}

PG_FUNCTION_INFO_V1(vqueue_admit_queue);
Datum
vqueue_admit_queue(PG_FUNCTION_ARGS)
{
	vq_admit_queue(PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}
