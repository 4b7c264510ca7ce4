/*
 * launcher.c
 *		The launcher: it finds the databases that have the extension and keeps
 *		a worker in each.
 *
 * Whether a database has the extension is known only inside it, so every
 * database that can be connected to is probed once, one after the other, by
 * starting a worker that leaves if it finds nothing.  After that, CREATE EXTENSION asks for a worker
 * (VqDatabase.wanted), and databases made later are seen by the regular scan.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "roster.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker.h"

/* Between two scans of pg_database, and between two starts of a failing worker (milliseconds). */
#define SCAN_DELAY 10000
#define RESTART_DELAY 1000

/* A database as the launcher knows it. */
typedef struct Known
{
	Oid			oid;			/* key */
	BackgroundWorkerHandle *handle; /* of its worker, NULL without one */
	bool		probed;
	bool		seen;			/* by the present scan */
	int64		retry_at;		/* mono time before which no worker is started */
} Known;

static HTAB *known;
static bool refusal_logged = false;

/* ---- starting workers ---- */

static void
log_refusal(void)
{
	if (refusal_logged)
		return;
	refusal_logged = true;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("vqueue: no worker slot is free"),
			 errdetail("Queues in databases without a worker let nobody in."),
			 errhint("Raise max_worker_processes and restart the server.")));
}

static void
start_worker(Known *entry, const char *name)
{
	VqDatabase *db = vq_known_database(entry->oid);
	BackgroundWorker worker = {0};
	bool		started;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "vqueue");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "vqueue_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "vqueue worker for database %s", name);
	snprintf(worker.bgw_type, BGW_MAXLEN, "vqueue worker");
	worker.bgw_main_arg = ObjectIdGetDatum(entry->oid);
	worker.bgw_notify_pid = MyProcPid;

	started = RegisterDynamicBackgroundWorker(&worker, &entry->handle);
	entry->probed |= started;
	if (!started)
	{
		entry->handle = NULL;
		entry->retry_at = vq_now().mono + SCAN_DELAY * INT64CONST(1000);
		log_refusal();
	}
	if (db != NULL)
	{
		SpinLockAcquire(&db->mutex);
		db->refused = !started;
		if (started)
			db->wanted = false;
		SpinLockRelease(&db->mutex);
	}
}

/* Forget the handle of a worker that has ended. */
static void
reap_worker(Known *entry)
{
	pid_t		pid;

	if (entry->handle == NULL || GetBackgroundWorkerPid(entry->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(entry->handle);
	entry->handle = NULL;
	entry->retry_at = vq_now().mono + RESTART_DELAY * INT64CONST(1000);
}

/* What is known of a database that the launcher is to act on. */
typedef struct Need
{
	bool		working;		/* has a worker, maybe one that an earlier launcher started */
	bool		needed;			/* has, or may have, the extension */
	bool		wanted;			/* at once */
	bool		barred;
} Need;

static Need
need_of(Known *entry)
{
	Need		need = {false, !entry->probed, false, false};
	VqDatabase *db = vq_known_database(entry->oid);

	if (db != NULL)
	{
		SpinLockAcquire(&db->mutex);
		need.working = db->worker_pid != 0;
		need.wanted = db->wanted;
		need.needed |= db->wanted || db->installed;
		need.barred = db->barred > 0;
		SpinLockRelease(&db->mutex);
	}
	return need;
}

/* Whether a worker was started that has not found out yet what is there. */
static bool
is_probing(void)
{
	HASH_SEQ_STATUS status;
	Known	   *entry;
	bool		probing = false;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
		probing |= entry->handle != NULL && !need_of(entry).working;
	return probing;
}

/* Whether to start a worker now. */
static bool
should_start(Known *entry)
{
	Need		need = need_of(entry);

	if (entry->handle != NULL || need.working || need.barred || !need.needed)
		return false;
	if (need.wanted && entry->retry_at - vq_now().mono <= RESTART_DELAY * INT64CONST(1000))
		return true;
	return vq_now().mono >= entry->retry_at && (entry->probed || !is_probing());
}

/* ---- databases ---- */

static void
look_at_database(Form_pg_database form)
{
	Oid			oid = form->oid;
	bool		found;
	Known	   *entry;

	if (!form->datallowconn || form->datistemplate)
		return;
	entry = hash_search(known, &oid, HASH_ENTER, &found);
	if (!found)
	{
		entry->handle = NULL;
		entry->probed = false;
		entry->retry_at = 0;
	}
	entry->seen = true;
	reap_worker(entry);
	if (should_start(entry))
		start_worker(entry, NameStr(form->datname));
}

/* Databases that are gone leave nothing behind. */
static void
forget_lost_databases(void)
{
	HASH_SEQ_STATUS status;
	Known	   *entry;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		VqDatabase *db = vq_known_database(entry->oid);

		if (entry->seen || entry->handle != NULL)
			continue;
		if (db != NULL)
			vq_forget_database(db);
		hash_search(known, &entry->oid, HASH_REMOVE, NULL);
	}
}

static void
mark_unseen(void)
{
	HASH_SEQ_STATUS status;
	Known	   *entry;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		entry->seen = false;
		reap_worker(entry);
	}
}

static void
scan_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	mark_unseen();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		/* Handles of workers must outlive this transaction. */
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		look_at_database((Form_pg_database) GETSTRUCT(tuple));
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	forget_lost_databases();
}

/* ---- life ---- */

static void
sign_off(int code, Datum arg)
{
	SpinLockAcquire(&vq_shared->mutex);
	vq_shared->launcher_latch = NULL;
	vq_shared->launcher_pid = 0;
	SpinLockRelease(&vq_shared->mutex);
}

static void
sign_on(void)
{
	SpinLockAcquire(&vq_shared->mutex);
	vq_shared->launcher_latch = MyLatch;
	vq_shared->launcher_pid = MyProcPid;
	SpinLockRelease(&vq_shared->mutex);
	before_shmem_exit(sign_off, (Datum) 0);
}

/* Soon, where a worker has ended or could not start; else the regular scan. */
static int
next_scan(void)
{
	HASH_SEQ_STATUS status;
	Known	   *entry;
	int			delay = SCAN_DELAY;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->handle == NULL && (!entry->probed || entry->retry_at > vq_now().mono))
			delay = RESTART_DELAY;
	return delay;
}

void
vqueue_launcher_main(Datum arg)
{
	HASHCTL		ctl = {0};
	uint32		wait_event;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("vqueue launcher");
	wait_event = vq_wait_event("VqueueLauncherMain");

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Known);
	ctl.hcxt = TopMemoryContext;
	known = hash_create("vqueue databases", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	sign_on();

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		scan_databases();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 next_scan(), wait_event);
		ResetLatch(MyLatch);
	}
}

void
vq_launcher_init(void)
{
	BackgroundWorker worker = {0};

	/* pg_upgrade wants its servers to itself: it moves the tables' files underneath. */
	if (IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "vqueue");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "vqueue_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "vqueue launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "vqueue launcher");
	RegisterBackgroundWorker(&worker);
}
