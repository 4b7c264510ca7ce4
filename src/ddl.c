/*
 * ddl.c
 *		Keeping out of the way of DDL on databases and on the extension.
 *
 * A database cannot be dropped, renamed, moved or copied while anybody is
 * connected to it, so our worker leaves first and is kept out until the
 * command has ended, whichever way.  And policies that a dump has, though they
 * are there, are let pass.
 */
#include "postgres.h"

#include <signal.h>

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/policy.h"
#include "due.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "note.h"
#include "rebuild.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "worker.h"

/* How long to wait for the worker to leave, in milliseconds; the command itself waits some seconds too. */
#define LEAVE_PATIENCE 5000

static ProcessUtility_hook_type previous_utility_hook = NULL;
static object_access_hook_type previous_access_hook = NULL;

/* ---- databases ---- */

static const char *
string_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* Name of the database that nobody may be connected to, NULL if there is none. */
static const char *
database_to_leave(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_CreatedbStmt:
			return string_option(((CreatedbStmt *) statement)->options, "template");
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (string_option(((AlterDatabaseStmt *) statement)->options, "tablespace"))
				return ((AlterDatabaseStmt *) statement)->dbname;
			return NULL;
		default:
			return NULL;
	}
}

/*
 * Whether this is to make a policy of ours that is there.  A dump has the policies of
 * an extension's tables, though CREATE EXTENSION makes them, and one that cannot be
 * restored without an error is not worth much.
 */
static bool
repeats_policy(Node *statement)
{
	CreatePolicyStmt *policy = (CreatePolicyStmt *) statement;
	Oid			extension;
	Oid			relid;

	if (!IsA(statement, CreatePolicyStmt) || creating_extension ||
		strncmp(policy->policy_name, "vqueue_", strlen("vqueue_")) != 0)
		return false;
	relid = RangeVarGetRelid(policy->table, NoLock, true);
	extension = get_extension_oid("vqueue", true);
	return OidIsValid(relid) && OidIsValid(extension) &&
		getExtensionOfObject(RelationRelationId, relid) == extension &&
		OidIsValid(get_relation_policy_oid(relid, policy->policy_name, true));
}

/* Count one in or out who bars workers from the database; returns its worker's pid. */
static int
bar(VqDatabase *db, int change)
{
	int			pid;

	SpinLockAcquire(&db->mutex);
	db->barred += change;
	pid = db->worker_pid;
	SpinLockRelease(&db->mutex);
	return pid;
}

static void
lift_bar(int code, Datum arg)
{
	(void) bar((VqDatabase *) DatumGetPointer(arg), -1);
	vq_wake_launcher();
}

static void
send_worker_away(VqDatabase *db)
{
	int			pid = bar(db, 0);

	if (pid != 0)
		kill(pid, SIGTERM);
	for (int waited = 0; waited < LEAVE_PATIENCE && bar(db, 0) != 0; waited += 10)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(10000L);
	}
}

static void
run_utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *completion)
{
	if (previous_utility_hook)
		previous_utility_hook(pstmt, query, read_only, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only, context, params, environment, dest, completion);
}

static void
on_utility(PlannedStmt *pstmt, const char *query, bool read_only, ProcessUtilityContext context,
		   ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		   QueryCompletion *completion)
{
	const char *name = database_to_leave(pstmt->utilityStmt);
	Oid			oid = name ? get_database_oid(name, true) : InvalidOid;
	VqDatabase *db = OidIsValid(oid) ? vq_known_database(oid) : NULL;

	if (repeats_policy(pstmt->utilityStmt))
	{
		ereport(NOTICE,
				(errmsg("policy \"%s\" for table \"%s\" already exists, skipping",
						((CreatePolicyStmt *) pstmt->utilityStmt)->policy_name,
						((CreatePolicyStmt *) pstmt->utilityStmt)->table->relname)));
		return;
	}

	/* Who may not do it anyway must not disturb the worker. */
	if (db == NULL || !vq_owns_database(oid, GetUserId()))
	{
		run_utility(pstmt, query, read_only, context, params, environment, dest, completion);
		return;
	}
	(void) bar(db, 1);
	PG_ENSURE_ERROR_CLEANUP(lift_bar, PointerGetDatum(db));
	{
		send_worker_away(db);
		run_utility(pstmt, query, read_only, context, params, environment, dest, completion);
	}
	PG_END_ENSURE_ERROR_CLEANUP(lift_bar, PointerGetDatum(db));
	lift_bar(0, PointerGetDatum(db));
}

/* ---- the extension ---- */

static void
on_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, class_id, object_id, sub_id, arg);
	if (access == OAT_DROP && class_id == ExtensionRelationId)
	{
		char	   *name = get_extension_name(object_id);

		if (name != NULL && strcmp(name, "vqueue") == 0)
			vq_note_extension(false);
	}
}

PG_FUNCTION_INFO_V1(vqueue_extension_created);
Datum
vqueue_extension_created(PG_FUNCTION_ARGS)
{
	if (!creating_extension)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this function is for the script of CREATE EXTENSION"),
				 errhint("To build memory anew call vqueue.rebuild().")));
	vq_begin_empty();
	vq_note_extension(true);
	PG_RETURN_VOID();
}

void
vq_ddl_init(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
	previous_access_hook = object_access_hook;
	object_access_hook = on_object_access;
}
