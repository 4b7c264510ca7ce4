/*
 * shmem.c
 *		The shared state: databases, queues, and the memory they live in.
 */
#include "postgres.h"

#include <time.h>

#include "guc.h"
#include "miscadmin.h"
#include "shmem.h"
#include "spot.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

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
	RequestAddinShmemSpace(add_size(shared_size(), vq_spot_size()));
	RequestNamedLWLockTranche("vqueue", 1);
}

/* Caller holds VqShared.lock. */
void
vq_clear_database(VqDatabase *db, Oid oid)
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
		pg_atomic_init_u32(&db->demands, 0);
		pg_atomic_init_u64(&db->names_version, 1);
		ConditionVariableInit(&db->changed);
		LWLockInitialize(&db->lock, vq_shared->tranche);
		SpinLockInit(&db->mutex);
		vq_clear_database(db, InvalidOid);
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
	vq_spot_init();
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

bool
vq_charge_memory(size_t size)
{
	Size		charged = charged_size(size);
	uint64		limit = (uint64) vq_memory_limit * 1024 * 1024;

	if (pg_atomic_fetch_add_u64(&vq_shared->memory_used, charged) + charged <= limit)
		return true;
	vq_discharge_memory(size);
	return false;
}

void
vq_discharge_memory(size_t size)
{
	pg_atomic_fetch_sub_u64(&vq_shared->memory_used, charged_size(size));
}

static VqRef
arena_alloc(void *ctx, size_t size)
{
	dsa_pointer ref = InvalidDsaPointer;

	if (!vq_charge_memory(size))
		return 0;

	/* Raises an error where the system has no more shared memory. */
	PG_TRY();
	{
		ref = dsa_allocate_extended(area, size, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
	}
	PG_CATCH();
	{
		vq_discharge_memory(size);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (!DsaPointerIsValid(ref))
		vq_discharge_memory(size);
	return ref;
}

static void
arena_free(void *ctx, VqRef ref, size_t size)
{
	dsa_free(area, ref);
	vq_discharge_memory(size);
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
	dshash_parameters params = vq_dshash_parameters(sizeof(VqRegistryKey), sizeof(VqRegistryEntry),
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

dshash_table *
vq_registry(void)
{
	if (registry == NULL)
		attach_area();
	return registry;
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
		vq_clear_database(free_place, MyDatabaseId);
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
