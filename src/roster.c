/*
 * roster.c
 *		The queues that are in memory.
 *
 * The registry finds a queue by its database and id; a list a database has
 * them all.  The memory of a queue that was taken out goes to a free list.
 */
#include "postgres.h"

#include "guc.h"
#include "miscadmin.h"
#include "quota.h"
#include "roster.h"
#include "standing.h"

/* Queues are allocated this many at a time, to share the pages of the area. */
#define QUEUES_A_SLAB 16

static VqQueue *
queue_at(dsa_pointer ref)
{
	const VqArena *arena = vq_arena();

	return arena->addr(arena->ctx, ref);
}

static void
registry_key(VqRegistryKey *key, Oid dboid, const pg_uuid_t *id)
{
	memset(key, 0, sizeof(*key));
	key->dboid = dboid;
	key->id = *id;
}

/*
 * Queues found lately.  As the memory of queues is type-stable, one can be
 * looked at without a lock, to see whether it still is the queue wanted; if it
 * is about to go, the caller finds that out under its lock.
 */
#define MEMO_SIZE 64
static VqQueue *memo[MEMO_SIZE];

VqQueue *
vq_find_queue(const pg_uuid_t *id)
{
	VqQueue   **place = &memo[id->data[UUID_LEN - 1] % MEMO_SIZE];
	VqRegistryKey key;
	VqRegistryEntry *entry;
	dsa_pointer ref;

	if (*place != NULL && (*place)->dboid == MyDatabaseId && vq_is_queue(*place, id))
		return *place;
	registry_key(&key, MyDatabaseId, id);
	entry = dshash_find(vq_registry(), &key, false);
	if (entry == NULL)
		return NULL;
	ref = entry->queue;
	dshash_release_lock(vq_registry(), entry);
	*place = queue_at(ref);
	return *place;
}

/* Put a slab of queues on the free list.  Caller holds VqShared.lock. */
static void
add_free_queues(void)
{
	const VqArena *arena = vq_arena();
	dsa_pointer slab = arena->alloc(arena->ctx, QUEUES_A_SLAB * sizeof(VqQueue));

	if (!DsaPointerIsValid(slab))
		vq_out_of_memory();
	vq_discharge_memory(QUEUES_A_SLAB * sizeof(VqQueue));	/* each counts when it is taken */
	for (int i = 0; i < QUEUES_A_SLAB; i++)
	{
		dsa_pointer self = slab + i * sizeof(VqQueue);
		VqQueue    *queue = queue_at(self);

		memset(queue, 0, sizeof(VqQueue));
		LWLockInitialize(&queue->lock, vq_shared->tranche);
		queue->self = self;
		queue->next = vq_shared->free_queues;
		vq_shared->free_queues = self;
	}
}

/* Make a recycled queue new; nobody else can have found it yet. */
static void
reset_queue(VqQueue *queue, const pg_uuid_t *id)
{
	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	memset((char *) queue + offsetof(VqQueue, dboid), 0, sizeof(VqQueue) - offsetof(VqQueue, dboid));
	queue->dboid = MyDatabaseId;
	queue->id = *id;
	queue->nascent = true;
	queue->next_ticket = 1;
	queue->due = VQ_NEVER;
	LWLockRelease(&queue->lock);
}

VqQueue *
vq_make_queue(const pg_uuid_t *id, bool *made)
{
	VqDatabase *db = vq_database();
	VqRegistryKey key;
	VqRegistryEntry *entry;
	VqQueue    *queue;
	bool		found;

	registry_key(&key, MyDatabaseId, id);

	(void) vq_arena();			/* attaching takes the lock too */
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	if (!DsaPointerIsValid(vq_shared->free_queues))
		add_free_queues();
	entry = dshash_find_or_insert(vq_registry(), &key, &found);
	if (found)
	{
		queue = queue_at(entry->queue);
		dshash_release_lock(vq_registry(), entry);
		if (queue->gone)
		{
			/* Deleted and made again before the worker came by. */
			vq_leave_tenant(queue);
			vq_destroy_standing(queue);
			vq_line_destroy(&queue->line, vq_arena());
			reset_queue(queue, id);
			found = false;
		}
	}
	else if (!vq_charge_memory(sizeof(VqQueue)))
	{
		dshash_delete_entry(vq_registry(), entry);
		LWLockRelease(vq_shared->lock);
		vq_out_of_memory();
	}
	else
	{
		queue = queue_at(vq_shared->free_queues);
		vq_shared->free_queues = queue->next;
		reset_queue(queue, id);
		queue->next = db->queues;
		db->queues = queue->self;
		entry->queue = queue->self;
		pg_atomic_fetch_add_u32(&vq_shared->queue_count, 1);
		dshash_release_lock(vq_registry(), entry);
	}
	LWLockRelease(vq_shared->lock);
	*made = !found;
	return queue;
}

static void
unlink_attention(VqDatabase *db, VqQueue *queue)
{
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	for (dsa_pointer *link = &db->attention; DsaPointerIsValid(*link);)
	{
		VqQueue    *listed = queue_at(*link);

		if (listed == queue)
		{
			*link = listed->next_attention;
			break;
		}
		link = &listed->next_attention;
	}
	queue->attention = false;
	LWLockRelease(&db->lock);
}

static void
unlink_queue(VqDatabase *db, VqQueue *queue)
{
	for (dsa_pointer *link = &db->queues; DsaPointerIsValid(*link);)
	{
		VqQueue    *listed = queue_at(*link);

		if (listed == queue)
		{
			*link = queue->next;
			break;
		}
		link = &listed->next;
	}
}

void
vq_forget_queue(VqQueue *queue)
{
	VqRegistryKey key;

	(void) vq_arena();			/* attaching takes the lock too */
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < vq_shared->n_databases; i++)
	{
		VqDatabase *db = &vq_shared->databases[i];

		if (OidIsValid(queue->dboid) && db->oid == queue->dboid)
		{
			unlink_queue(db, queue);
			unlink_attention(db, queue);
		}
	}
	registry_key(&key, queue->dboid, &queue->id);
	vq_leave_tenant(queue);

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	vq_destroy_standing(queue);
	vq_line_destroy(&queue->line, vq_arena());
	queue->dboid = InvalidOid;
	LWLockRelease(&queue->lock);

	if (dshash_delete_key(vq_registry(), &key))
	{
		queue->next = vq_shared->free_queues;
		vq_shared->free_queues = queue->self;
		pg_atomic_fetch_sub_u32(&vq_shared->queue_count, 1);
		vq_discharge_memory(sizeof(VqQueue));
	}
	LWLockRelease(vq_shared->lock);
}

VqQueue **
vq_list_queues(VqDatabase *db, int *n)
{
	int			room = 64;
	VqQueue   **queues = palloc(room * sizeof(VqQueue *));

	*n = 0;
	(void) vq_arena();			/* attaching takes the lock too */
	LWLockAcquire(vq_shared->lock, LW_SHARED);
	for (dsa_pointer ref = db->queues; DsaPointerIsValid(ref);)
	{
		VqQueue    *queue = queue_at(ref);

		if (*n == room)
			queues = repalloc(queues, (room *= 2) * sizeof(VqQueue *));
		queues[(*n)++] = queue;
		ref = queue->next;
	}
	LWLockRelease(vq_shared->lock);
	return queues;
}

/* ---- databases ---- */

void
vq_forget_queues(VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	for (int i = 0; i < n; i++)
		vq_forget_queue(queues[i]);
	pfree(queues);
	pg_atomic_fetch_add_u64(&db->names_version, 1);
}

void
vq_forget_database(VqDatabase *db)
{
	vq_forget_queues(db);
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	vq_clear_database(db, InvalidOid);
	LWLockRelease(vq_shared->lock);
}
