/*
 * guc.c
 *		The settings of vqueue.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "guc.h"
#include "utils/guc.h"

char	   *vq_tenant = NULL;
int			vq_memory_limit = 1024;
int			vq_poll_budget = 5000;
int			vq_release_batch = 10000;
int			vq_old_snapshot = 600;
int			vq_event_retention = SECS_PER_DAY;
int			vq_stats_retention = 400 * SECS_PER_DAY;
int			vq_audit_retention = 10 * 365 * SECS_PER_DAY;

bool
vq_logging(void)
{
	return vq_event_retention > 0 || vq_stats_retention > 0;
}

void
vq_guc_init(void)
{
	DefineCustomStringVariable("vqueue.tenant",
							   "Name of the tenant whose queues this session sees.",
							   NULL,
							   &vq_tenant,
							   "default",
							   PGC_USERSET,
							   0,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.memory_limit",
							"Shared memory that the lines of all databases may take together.",
							"Joins fail with out_of_memory beyond it; the tables stay right.",
							&vq_memory_limit,
							1024, 1, 1024 * 1024,
							PGC_SIGHUP,
							GUC_UNIT_MB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.poll_budget",
							"Polls a second that next_poll_after aims at in a database at the most.",
							"0 means any number.",
							&vq_poll_budget,
							5000, 0, 10000000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.release_batch",
							"Sessions that the worker releases in one transaction at the most.",
							NULL,
							&vq_release_batch,
							10000, 1, 100000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.event_retention",
							"How long the log keeps events.",
							"With 0 there is no log to read; what is logged is only what is yet to be counted.",
							&vq_event_retention,
							SECS_PER_DAY, 0, 10 * 365 * SECS_PER_DAY,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.stats_retention",
							"How long the statistics of a minute are kept.",
							"0 turns them off.",
							&vq_stats_retention,
							400 * SECS_PER_DAY, 0, 10 * 365 * SECS_PER_DAY,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.audit_retention",
							"How long the log of what operators do is kept.",
							NULL,
							&vq_audit_retention,
							10 * 365 * SECS_PER_DAY, SECS_PER_DAY, 10 * 365 * SECS_PER_DAY,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("vqueue.old_snapshot",
							"Age of a transaction from which on vqueue.health() warns of it.",
							"It keeps rows that have died since from being removed.",
							&vq_old_snapshot,
							600, 1, 86400,
							PGC_USERSET,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("vqueue");
}
