/*
 * compat.h
 *		Where the supported major versions of PostgreSQL differ, and only here.
 */
#ifndef VQ_COMPAT_H
#define VQ_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "lib/dshash.h"
#include "storage/lwlock.h"
#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

/* 16 moved the macros of variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "vqueue needs PostgreSQL 15 or newer"
#endif

/* 18 has another word for what never returns. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 18 moved what writes a property of a plan. */
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif

/* 18 counts what index scans do where asked to. */
static inline IndexScanDesc
vq_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int n_keys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, n_keys, 0);
#else
	return index_beginscan(heap, index, snapshot, n_keys, 0);
#endif
}

/*
 * 16 tells of which indexes a new version of a row has to be in.  Update a row;
 * *moved says whether it is where no index finds it.
 */
static inline TM_Result
vq_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot, bool wait, bool *moved)
{
	CommandId	cid = GetCurrentCommandId(true);
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes = TU_None;

	result = table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, wait, &failure, &mode, &indexes);
	*moved = indexes == TU_All;
#else
	result = table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, wait, &failure, &mode, moved);
#endif
	return result;
}

/* 17 gave dshash a copy function. */
static inline dshash_parameters
vq_dshash_parameters(size_t key_size, size_t entry_size, int tranche_id)
{
	dshash_parameters params;

	memset(&params, 0, sizeof(params));
	params.key_size = key_size;
	params.entry_size = entry_size;
	params.compare_function = dshash_memcmp;
	params.hash_function = dshash_memhash;
#if PG_VERSION_NUM >= 170000
	params.copy_function = dshash_memcpy;
#endif
	params.tranche_id = tranche_id;
	return params;
}

/* 17 gave extensions wait events with names. */
static inline uint32
vq_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 19 names a tranche when its id is taken. */
static inline int
vq_new_tranche(const char *name)
{
#if PG_VERSION_NUM >= 190000
	return LWLockNewTrancheId(name);
#else
	return LWLockNewTrancheId();
#endif
}

static inline void
vq_register_tranche(int tranche_id, const char *name)
{
#if PG_VERSION_NUM < 190000
	LWLockRegisterTranche(tranche_id, name);
#endif
}

/* 16 made one function of the many that check ownership. */
static inline bool
vq_owns_database(Oid dboid, Oid userid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dboid, userid);
#else
	return pg_database_ownercheck(dboid, userid);
#endif
}

static inline AclResult
vq_function_aclcheck(Oid function, Oid userid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, userid, ACL_EXECUTE);
#else
	return pg_proc_aclcheck(function, userid, ACL_EXECUTE);
#endif
}

/* 16 renamed what tells a relation's file. */
#if PG_VERSION_NUM >= 160000
typedef RelFileLocator VqLocator;
#define VQ_LOCATOR(rel) ((rel)->rd_locator)
#else
typedef RelFileNode VqLocator;
#define VQ_LOCATOR(rel) ((rel)->rd_node)
#endif

#endif							/* VQ_COMPAT_H */
