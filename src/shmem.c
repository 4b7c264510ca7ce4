/*
 * shmem.c
 *		The shared state: databases, queues, and the memory they live in.
 */
#include "postgres.h"

#include <time.h>

#include "guc.h"
#include "miscadmin.h"
#include "shmem.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Queues are allocated this many at a time, to share the pages of the area. */
#define QUEUES_A_SLAB 16

typedef struct RegistryKey
{
	Oid			dboid;
	pg_uuid_t	id;
} RegistryKey;

typedef struct RegistryEntry
{
	RegistryKey key;
	dsa_pointer queue;
} RegistryEntry;

VqShared   *vq_shared = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* This backend's view of the area, NULL until attached. */
static dsa_area *area = NULL;
static dshash_table *registry = NULL;
static VqArena arena;
static VqDatabase *my_database = NULL;

/* A worker is needed for each database, so more of them cannot be of use. */
static int
database_places(void)
{
	return Max(max_worker_processes, 8);
}

static Size
shared_size(void)
{
	return add_size(offsetof(VqShared, databases),
					mul_size(database_places(), sizeof(VqDatabase)));
}

static void
request_shmem(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche("vqueue", 1);
}

static void
clear_database(VqDatabase *db, Oid oid)
{
	db->oid = oid;
	pg_atomic_write_u32(&db->line_state, VQ_STALE);
	db->queues = InvalidDsaPointer;
	db->attention = InvalidDsaPointer;
	db->worker_latch = NULL;
	db->worker_pid = 0;
	db->installed = false;
	db->wanted = false;
	db->refused = false;
	db->barred = 0;
	db->last_round = 0;
	db->rounds = 0;
}

static void
init_shared(void)
{
	memset(vq_shared, 0, shared_size());
	vq_shared->lock = &GetNamedLWLockTranche("vqueue")->lock;
	vq_shared->tranche = vq_new_tranche("vqueue_line");
	vq_shared->area = DSM_HANDLE_INVALID;
	vq_shared->free_queues = InvalidDsaPointer;
	pg_atomic_init_u64(&vq_shared->memory_used, 0);
	pg_atomic_init_u32(&vq_shared->queue_count, 0);
	SpinLockInit(&vq_shared->mutex);
	vq_shared->n_databases = database_places();
	for (int i = 0; i < vq_shared->n_databases; i++)
	{
		VqDatabase *db = &vq_shared->databases[i];

		pg_atomic_init_u32(&db->line_state, VQ_STALE);
		pg_atomic_init_u64(&db->build, 1);
		pg_atomic_init_u64(&db->names_version, 1);
		ConditionVariableInit(&db->changed);
		LWLockInitialize(&db->lock, vq_shared->tranche);
		SpinLockInit(&db->mutex);
		clear_database(db, InvalidOid);
	}
}

static void
startup_shmem(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	/* After a crash of the server this process may still hold the old view. */
	area = NULL;
	registry = NULL;
	my_database = NULL;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	vq_shared = ShmemInitStruct("vqueue", shared_size(), &found);
	if (!found)
		init_shared();
	LWLockRelease(AddinShmemInitLock);
	vq_register_tranche(vq_shared->tranche, "vqueue_line");
}

void
vq_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

VqNow
vq_now(void)
{
	VqNow		now;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now.mono = (int64) ts.tv_sec * USECS_PER_SEC + ts.tv_nsec / 1000;
	now.wall = GetCurrentTimestamp();
	return now;
}

void
vq_out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory for waiting lines"),
			 errdetail("The lines of this server may take %d MB and have no room for more.",
					   vq_memory_limit),
			 errhint("Raise vqueue.memory_limit and reload the configuration, or wait until sessions have ended.")));
}

/* ---- the arena ---- */

/* What DSA takes for a request: whole pages, or a piece of its size classes, at most a sixteenth larger for chunks. */
static Size
charged_size(Size size)
{
	return size > 8192 ? TYPEALIGN(4096, size) : size + size / 16;
}

static VqRef
arena_alloc(void *ctx, size_t size)
{
	Size		charged = charged_size(size);
	uint64		limit = (uint64) vq_memory_limit * 1024 * 1024;
	dsa_pointer ref;

	if (pg_atomic_fetch_add_u64(&vq_shared->memory_used, charged) + charged > limit)
		ref = InvalidDsaPointer;
	else
		ref = dsa_allocate_extended(area, size, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
	if (!DsaPointerIsValid(ref))
		pg_atomic_fetch_sub_u64(&vq_shared->memory_used, charged);
	return ref;
}

static void
arena_free(void *ctx, VqRef ref, size_t size)
{
	dsa_free(area, ref);
	pg_atomic_fetch_sub_u64(&vq_shared->memory_used, charged_size(size));
}

static void *
arena_addr(void *ctx, VqRef ref)
{
	return dsa_get_address(area, ref);
}

/* Make the area and the registry, or attach to them. */
static void
attach_area(void)
{
	dshash_parameters params = vq_dshash_parameters(sizeof(RegistryKey), sizeof(RegistryEntry),
													vq_shared->tranche);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	if (vq_shared->area == DSM_HANDLE_INVALID)
	{
		area = dsa_create(vq_shared->tranche);
		dsa_pin(area);
		dsa_pin_mapping(area);
		registry = dshash_create(area, &params, NULL);
		vq_shared->area = dsa_get_handle(area);
		vq_shared->registry = dshash_get_hash_table_handle(registry);
	}
	else
	{
		area = dsa_attach(vq_shared->area);
		dsa_pin_mapping(area);
		registry = dshash_attach(area, &params, vq_shared->registry, NULL);
	}
	LWLockRelease(vq_shared->lock);
	MemoryContextSwitchTo(old);

	arena.alloc = arena_alloc;
	arena.free = arena_free;
	arena.addr = arena_addr;
}

const VqArena *
vq_arena(void)
{
	if (registry == NULL)
		attach_area();
	return &arena;
}

/* ---- databases ---- */

VqDatabase *
vq_database(void)
{
	VqDatabase *free_place = NULL;

	if (my_database != NULL && my_database->oid == MyDatabaseId)
		return my_database;

	my_database = NULL;
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < vq_shared->n_databases; i++)
	{
		VqDatabase *db = &vq_shared->databases[i];

		if (db->oid == MyDatabaseId)
		{
			my_database = db;
			break;
		}
		if (free_place == NULL && !OidIsValid(db->oid))
			free_place = db;
	}
	if (my_database == NULL && free_place != NULL)
	{
		clear_database(free_place, MyDatabaseId);
		my_database = free_place;
	}
	LWLockRelease(vq_shared->lock);

	if (my_database == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases use vqueue"),
				 errdetail("This server has room for %d of them.", vq_shared->n_databases),
				 errhint("Raise max_worker_processes and restart the server.")));
	return my_database;
}

VqDatabase *
vq_known_database(Oid oid)
{
	VqDatabase *known = NULL;

	LWLockAcquire(vq_shared->lock, LW_SHARED);
	for (int i = 0; i < vq_shared->n_databases && known == NULL; i++)
		if (vq_shared->databases[i].oid == oid)
			known = &vq_shared->databases[i];
	LWLockRelease(vq_shared->lock);
	return known;
}

void
vq_forget_queues(VqDatabase *db)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	for (int i = 0; i < n; i++)
		vq_forget_queue(queues[i]);
	pfree(queues);
	pg_atomic_fetch_add_u64(&db->names_version, 1);
	pg_atomic_write_u32(&db->line_state, VQ_STALE);
	ConditionVariableBroadcast(&db->changed);
}

void
vq_forget_database(VqDatabase *db)
{
	vq_forget_queues(db);
	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	clear_database(db, InvalidOid);
	LWLockRelease(vq_shared->lock);
}

/* ---- queues ---- */

static void
registry_key(RegistryKey *key, Oid dboid, const pg_uuid_t *id)
{
	memset(key, 0, sizeof(*key));
	key->dboid = dboid;
	key->id = *id;
}

VqQueue *
vq_find_queue(const pg_uuid_t *id)
{
	RegistryKey key;
	RegistryEntry *entry;
	dsa_pointer ref;

	(void) vq_arena();
	registry_key(&key, MyDatabaseId, id);
	entry = dshash_find(registry, &key, false);
	if (entry == NULL)
		return NULL;
	ref = entry->queue;
	dshash_release_lock(registry, entry);
	return dsa_get_address(area, ref);
}

/* Put a slab of queues on the free list.  Caller holds VqShared.lock. */
static void
add_free_queues(void)
{
	dsa_pointer slab = arena_alloc(NULL, QUEUES_A_SLAB * sizeof(VqQueue));

	if (!DsaPointerIsValid(slab))
		vq_out_of_memory();
	for (int i = 0; i < QUEUES_A_SLAB; i++)
	{
		dsa_pointer self = slab + i * sizeof(VqQueue);
		VqQueue    *queue = dsa_get_address(area, self);

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
	RegistryKey key;
	RegistryEntry *entry;
	VqQueue    *queue;
	bool		found;

	(void) vq_arena();
	registry_key(&key, MyDatabaseId, id);

	LWLockAcquire(vq_shared->lock, LW_EXCLUSIVE);
	if (!DsaPointerIsValid(vq_shared->free_queues))
		add_free_queues();
	entry = dshash_find_or_insert(registry, &key, &found);
	if (found)
	{
		queue = dsa_get_address(area, entry->queue);
		if (queue->gone)
		{
			/* Deleted and made again before the worker came by. */
			vq_line_destroy(&queue->line, &arena);
			reset_queue(queue, id);
			found = false;
		}
	}
	else
	{
		queue = dsa_get_address(area, vq_shared->free_queues);
		vq_shared->free_queues = queue->next;
		reset_queue(queue, id);
		queue->next = db->queues;
		db->queues = queue->self;
		entry->queue = queue->self;
		pg_atomic_fetch_add_u32(&vq_shared->queue_count, 1);
	}
	dshash_release_lock(registry, entry);
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
		VqQueue    *listed = dsa_get_address(area, *link);

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
		VqQueue    *listed = dsa_get_address(area, *link);

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
	RegistryKey key;

	(void) vq_arena();
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

	LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
	vq_line_destroy(&queue->line, &arena);
	queue->dboid = InvalidOid;
	LWLockRelease(&queue->lock);

	if (dshash_delete_key(registry, &key))
	{
		queue->next = vq_shared->free_queues;
		vq_shared->free_queues = queue->self;
		pg_atomic_fetch_sub_u32(&vq_shared->queue_count, 1);
	}
	LWLockRelease(vq_shared->lock);
}

VqQueue **
vq_list_queues(VqDatabase *db, int *n)
{
	int			room = 64;
	VqQueue   **queues = palloc(room * sizeof(VqQueue *));

	(void) vq_arena();
	*n = 0;
	LWLockAcquire(vq_shared->lock, LW_SHARED);
	for (dsa_pointer ref = db->queues; DsaPointerIsValid(ref);)
	{
		VqQueue    *queue = dsa_get_address(area, ref);

		if (*n == room)
			queues = repalloc(queues, (room *= 2) * sizeof(VqQueue *));
		queues[(*n)++] = queue;
		ref = queue->next;
	}
	LWLockRelease(vq_shared->lock);
	return queues;
}

int64
vq_standing(const VqQueue *queue)
{
	int64		n = 0;

	for (int lane = 0; lane < VQ_LANES; lane++)
		n += queue->line.count[lane];
	return n;
}

int64
vq_release_due(const VqQueue *queue, VqNow now)
{
	if ((queue->settings.state & VQ_RELEASES) == 0 || queue->nascent ||
		vq_standing(queue) == 0 ||
		queue->line.count[VQ_INSIDE] >= queue->settings.max_concurrent_users)
		return VQ_NEVER;
	return Max(vq_pacer_due(&queue->pacer, now, 1), queue->retry_at);
}

int64
vq_next_due(const VqQueue *queue, VqNow now, bool releases)
{
	int64		due = releases ? vq_release_due(queue, now) : VQ_NEVER;

	if (queue->gone)
		return now.mono;
	if (queue->nascent)
		return VQ_NEVER;
	if (queue->ceiling - queue->next_ticket < VQ_CEILING_STEP / 2)
		return now.mono;
	if (queue->state_news)
		due = Min(due, now.mono);
	if (queue->line.count[VQ_RELEASED] > 0 || queue->line.count[VQ_ENDED] > 0)
		due = Min(due, now.mono + VQ_EVENT_DELAY);
	if (queue->moved)
		due = Min(due, Max(now.mono, queue->announced_at + VQ_MOVED_DELAY));
	if (queue->line.empty > 1)
		due = Min(due, now.mono + VQ_TRIM_DELAY);	/* one may be where tickets are issued */
	return Max(due, queue->retry_at);
}

/* ---- counts a second ---- */

static int64
ring_second(VqNow now)
{
	return now.mono / USECS_PER_SEC;
}

void
vq_ring_add(VqRing *ring, VqNow now, int n)
{
	int64		second = ring_second(now);

	if (second - ring->second >= VQ_SECONDS)
		memset(ring->count, 0, sizeof(ring->count));
	else
		for (int64 s = ring->second + 1; s <= second; s++)
			ring->count[s % VQ_SECONDS] = 0;
	ring->second = Max(ring->second, second);
	if (ring->first == 0)
		ring->first = second;
	ring->count[second % VQ_SECONDS] += n;
}

int
vq_ring_span(const VqRing *ring, VqNow now)
{
	return ring->first == 0 ? 0 : (int) Min(ring_second(now) - ring->first, VQ_SECONDS - 4);
}

int
vq_ring_sum(const VqRing *ring, VqNow now, int seconds)
{
	int64		second = ring_second(now);
	int			sum = 0;

	for (int64 s = Max(second - seconds, ring->second - VQ_SECONDS + 1); s < second; s++)
		if (s <= ring->second && s >= 0)
			sum += ring->count[s % VQ_SECONDS];
	return sum;
}

/* ---- calling the worker ---- */

/* Only touches memory that the caller has mapped: it runs after commits. */
void
vq_call_worker(VqQueue *queue, int64 due)
{
	VqDatabase *db = vq_database();
	bool		called = false;

	if (due >= queue->due)
		return;
	queue->due = due;
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	if (!queue->attention)
	{
		queue->attention = called = true;
		queue->next_attention = db->attention;
		db->attention = queue->self;
	}
	LWLockRelease(&db->lock);
	if (called)
		vq_wake_worker(db);
}

int
vq_take_attention(VqDatabase *db, VqQueue **queues, int n)
{
	int			taken = 0;

	(void) vq_arena();
	LWLockAcquire(&db->lock, LW_EXCLUSIVE);
	while (taken < n && DsaPointerIsValid(db->attention))
	{
		VqQueue    *queue = dsa_get_address(area, db->attention);

		db->attention = queue->next_attention;
		queue->attention = false;
		queues[taken++] = queue;
	}
	LWLockRelease(&db->lock);
	return taken;
}

void
vq_wake_worker(VqDatabase *db)
{
	Latch	   *latch;

	SpinLockAcquire(&db->mutex);
	latch = db->worker_latch;
	SpinLockRelease(&db->mutex);
	if (latch)
		SetLatch(latch);
}

void
vq_wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&vq_shared->mutex);
	latch = vq_shared->launcher_latch;
	SpinLockRelease(&vq_shared->mutex);
	if (latch)
		SetLatch(latch);
}
