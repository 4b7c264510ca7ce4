/*
 * worker.c
 *		The worker of one database: it visits each queue when it is due.
 *
 * It waits on its latch for the next due moment and never on a lock: tables
 * that are locked, say by DROP EXTENSION, are tried again a little later.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "chore.h"
#include "commands/dbcommands.h"
#include "diary.h"
#include "due.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "outlook.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "rebuild.h"
#include "roster.h"
#include "round.h"
#include "statement.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "work.h"
#include "worker.h"

/* Wake up this often (microseconds) even if nothing is due, to show life. */
#define IDLE_DELAY	INT64CONST(10000000)

/* When memory cannot be built: the first delay, doubled each time, up to the longest. */
#define FIRST_BUILD_DELAY	INT64CONST(20000)
#define LONGEST_BUILD_DELAY	INT64CONST(5000000)

static VqDatabase *db;
static uint32 wait_event;

/* ---- what is due ---- */

/* Queues that others want us to look at. */
static void
take_calls(void)
{
	VqQueue    *queues[64];
	int			n;

	while ((n = vq_take_attention(db, queues, lengthof(queues))) > 0)
		for (int i = 0; i < n; i++)
		{
			int64		due;

			LWLockAcquire(&queues[i]->lock, LW_SHARED);
			due = queues[i]->due;
			LWLockRelease(&queues[i]->lock);
			vq_note_due(queues[i], due);
		}
}

/* A worker that has just begun knows nothing, so it looks at all queues. */
static void
take_all(void)
{
	int			n;
	VqQueue   **queues = vq_list_queues(db, &n);

	vq_clear_diary();
	vq_begin_chores();
	for (int i = 0; i < n; i++)
	{
		bool		nascent;

		LWLockAcquire(&queues[i]->lock, LW_EXCLUSIVE);
		queues[i]->purge_at = 0;
		nascent = queues[i]->nascent;
		LWLockRelease(&queues[i]->lock);
		if (!nascent)			/* who makes one calls us when it is there */
			vq_note_due(queues[i], 0);
	}
	pfree(queues);
}

/* ---- chores ---- */

/*
 * One of the things that nobody waits for, such as the deletion of old rows.
 * It is done between visits, not instead of one that is due.
 */
static void
do_chore(void)
{
	VqQueue    *queue = vq_do_chore(db);

	if (queue != NULL)
	{
		int64		due;

		LWLockAcquire(&queue->lock, LW_EXCLUSIVE);
		due = queue->due = Min(queue->due, vq_next_due(queue, vq_now(), false));
		LWLockRelease(&queue->lock);
		vq_note_due(queue, due);
	}
}

/* ---- polls ---- */

/* About once a second (microseconds): how often all who wait would poll. */
#define BUDGET_DELAY INT64CONST(1000000)

/* Returns the mono time when it is to be done again, VQ_NEVER if not before something changes. */
static int64
keep_budget(bool changed)
{
	static int64 done_at = 0;
	static bool wanted = false;
	int64		now = vq_now().mono;

	wanted |= changed;
	if (!wanted)
		return VQ_NEVER;
	if (now - done_at < BUDGET_DELAY)
		return done_at + BUDGET_DELAY;
	done_at = now;
	wanted = false;
	vq_keep_budget(db, vq_poll_load_of_all());
	return VQ_NEVER;
}

/* ---- life ---- */

/* Whether the extension is (still) here. */
static bool
is_installed(void)
{
	bool		installed;

	StartTransactionCommand();
	installed = vq_installed();
	CommitTransactionCommand();
	return installed;
}

static void
sign_off(int code, Datum arg)
{
	SpinLockAcquire(&db->mutex);
	db->worker_latch = NULL;
	db->worker_pid = 0;
	SpinLockRelease(&db->mutex);
	vq_wake_launcher();
}

/* Take this database's place; false if another worker has it. */
static bool
sign_on(void)
{
	bool		free;

	SpinLockAcquire(&db->mutex);
	free = db->worker_pid == 0 && db->barred == 0;
	if (free)
	{
		db->worker_latch = MyLatch;
		db->worker_pid = MyProcPid;
		db->round_end = vq_now().mono;
		db->installed = true;
		db->wanted = false;
		db->refused = false;
	}
	SpinLockRelease(&db->mutex);
	if (free)
		before_shmem_exit(sign_off, (Datum) 0);
	return free;
}

static void
show_life(int64 began)
{
	int64		now = vq_now().mono;

	SpinLockAcquire(&db->mutex);
	db->last_round = GetCurrentTimestamp();
	db->rounds++;
	db->round_end = now;
	db->round_usecs += now - began;
	SpinLockRelease(&db->mutex);
}

/* Execute a command as ourselves: nobody but a superuser may switch off a trigger of the system. */
static void
execute_as_superuser(const char *command)
{
	Oid			userid;
	int			context;

	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context);
	if (SPI_connect() != SPI_OK_CONNECT || SPI_execute(command, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute: %s", command);
	SPI_finish();
	SetUserIdAndSecContext(userid, context);
}

/* As _disarm_foreign_key does, which pg_upgrade forgets. */
static void
repair_foreign_key(void)
{
	char	   *command = NULL;
	VqCaller	caller;

	vq_begin_work("visiting queues");
	if (vq_lock_tables())
	{
		MemoryContext context = CurrentMemoryContext;

		if (vq_execute(VQ_FIND_ARMED, NULL, NULL, &caller) > 0)
		{
			char	   *name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
			MemoryContext old = MemoryContextSwitchTo(context);

			command = psprintf("ALTER TABLE vqueue.user_sessions DISABLE TRIGGER %s", name);
			MemoryContextSwitchTo(old);
		}
		vq_executed(&caller);
	}
	if (command != NULL)
		execute_as_superuser(command);
	vq_end_work();
}

/*
 * Build memory.  False if that failed, which is reported from the third time
 * on: when the extension is being dropped, the first may be in between.
 */
static bool
build(int failures)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		vq_begin_work("visiting queues");
		vq_ready();
		vq_end_work();
		done = true;
	}
	PG_CATCH();
	{
		if (failures >= 2)
			EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return done;
}

static void
wait_until(int64 at)
{
	int64		now = vq_now().mono;
	int64		rest = at - now;

	if (rest <= 0)
		return;
	if (rest < 1000)
	{
		/* Less than the latch's clock can tell. */
		pg_usleep(rest);
		return;
	}
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 rest / 1000, wait_event);
	ResetLatch(MyLatch);
}

static void
start(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	wait_event = vq_wait_event("VqueueWorkerMain");

	/* A user's settings of the database must not reach us where they do harm. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_OVERRIDE);

	/* A user's trigger may wait for a lock, and with it all queues of this database. */
	SetConfigOption("lock_timeout", "250ms", PGC_USERSET, PGC_S_OVERRIDE);
	pgstat_report_appname("vqueue worker");
}

/* An older library was put in the place of the one that made the tables: nobody is let in. */
static void
report_newer(void)
{
	const char *version;

	StartTransactionCommand();
	version = vq_newer_version();
	if (version != NULL)
		ereport(LOG,
				(errmsg("vqueue: the library is older than the tables and functions of a database"),
				 errdetail("The library is of version %s, the extension in database \"%s\" of %s: nobody is let in there.",
						   VQ_VERSION, get_database_name(MyDatabaseId), version),
				 errhint("Install version %s and restart the server.", version)));
	CommitTransactionCommand();
}

/* The extension is not in this database, or not any more. */
static void
leave_database(void)
{
	db = vq_known_database(MyDatabaseId);
	if (db != NULL)
	{
		vq_end_empty(db);
		SpinLockAcquire(&db->mutex);
		db->installed = false;
		SpinLockRelease(&db->mutex);
	}
	proc_exit(0);
}

void
vqueue_worker_main(Datum arg)
{
	bool		known_all = false;
	int			failures = 0;
	int64		budget_due;
	bool		changed;

	start(DatumGetObjectId(arg));
	if (!is_installed())
	{
		report_newer();
		leave_database();
	}
	db = vq_database();
	if (!sign_on())
		proc_exit(0);
	ereport(DEBUG1, (errmsg_internal("vqueue: worker started")));
	repair_foreign_key();

	for (;;)
	{
		int64		began = vq_now().mono;

		CHECK_FOR_INTERRUPTS();
		changed = ConfigReloadPending;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (pg_atomic_read_u32(&db->line_state) != VQ_READY)
		{
			known_all = false;
			if (!is_installed())
				leave_database();
			if (!build(failures))
			{
				wait_until(vq_now().mono + Min(FIRST_BUILD_DELAY << Min(failures, 20), LONGEST_BUILD_DELAY));
				failures++;
				continue;
			}
			failures = 0;
		}
		if (!known_all)
			take_all();
		known_all = true;
		take_calls();
		if (db->count_now)
			vq_hasten_counting();
		changed |= vq_make_round();
		if (vq_chore_due() <= vq_now().mono)
			do_chore();
		budget_due = keep_budget(changed);
		show_life(began);
		if (!vq_any_in_turn())
			wait_until(Min(Min(Min(vq_first_due(), vq_chore_due()), budget_due), vq_now().mono + IDLE_DELAY));
	}
}
