/*
 * statement.c
 *		The statements by which C writes the tables, or counts in them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "statement.h"
#include "table.h"
#include "utils/guc.h"

#define EQ "OPERATOR(pg_catalog.=)"
#define FIRST_IN(lane) "pg_catalog.min(s.ticket) FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " '" lane "')"

static const struct
{
	const char *text;
	int			n_args;
	Oid			args[12];
}			statements[VQ_STATEMENTS] =

{
	[VQ_INSERT_SESSION] = {
		"INSERT INTO vqueue.user_sessions (id, queue_id, user_id, ticket, joined_at, served_at,"
		" status, priority, user_name, user_email, ready_at, place_key)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
		" ON CONFLICT (queue_id, user_id) WHERE left_at IS NULL DO NOTHING",
		12, {UUIDOID, UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
		TEXTOID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID}
	},
	[VQ_INSERT_SESSIONS] = {
		"INSERT INTO vqueue.user_sessions (id, queue_id, user_id, ticket, joined_at, served_at,"
		" status, priority, ready_at, place_key)"
		" SELECT t.id, $1, t.user_id, t.ticket, t.joined_at, t.served_at,"
		" CASE WHEN t.served_at IS NOT NULL THEN 'serving' WHEN t.ready_at IS NOT NULL THEN 'ready'"
		" ELSE 'waiting' END, $2, t.ready_at, t.place_key"
		" FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),"
		" pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9))"
		" AS t (id, user_id, ticket, joined_at, served_at, ready_at, place_key)"
		" ON CONFLICT (queue_id, user_id) WHERE left_at IS NULL DO NOTHING RETURNING ticket",
		9, {UUIDOID, TEXTOID, UUIDARRAYOID, UUIDARRAYOID, INT8ARRAYOID,
		TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID}
	},
	[VQ_END_SESSION] = {
		"UPDATE vqueue.user_sessions SET status = $2, left_at = GREATEST($3, served_at, ready_at),"
		" reason = COALESCE($4, reason)"
		" WHERE id " EQ " $1 AND left_at IS NULL AND ($5 OR status " EQ " 'serving') RETURNING *",
		5, {UUIDOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, BOOLOID}
	},
	[VQ_CLAIM_SESSION] = {
		"UPDATE vqueue.user_sessions SET status = 'serving', served_at = GREATEST($2, ready_at)"
		" WHERE id " EQ " $1 AND status " EQ " 'ready' RETURNING *",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[VQ_EXTEND_SESSION] = {
		"UPDATE vqueue.user_sessions SET extended_at = GREATEST($2, served_at, extended_at)"
		" WHERE id " EQ " $1 AND status " EQ " 'serving' RETURNING *",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[VQ_READMIT_SESSION] = {
		"UPDATE vqueue.user_sessions SET status = 'waiting', reason = COALESCE($2, reason)"
		" WHERE id " EQ " $1 AND status " EQ " ANY ('{no_show,expired,abandoned}') RETURNING *",
		2, {UUIDOID, TEXTOID}
	},
	[VQ_MOVE_SESSION] = {
		"UPDATE vqueue.user_sessions SET priority = $2"
		" WHERE id " EQ " $1 AND status " EQ " 'waiting' RETURNING *",
		2, {UUIDOID, TEXTOID}
	},
	/* $5: the latest moment at which what they hold may have begun. */
	[VQ_END_SILENT] = {
		"UPDATE vqueue.user_sessions AS s SET status = $4,"
		" left_at = GREATEST($6, s.joined_at, s.served_at, s.ready_at)"
		" FROM pg_catalog.unnest($2) AS t (ticket), LATERAL"
		" (SELECT c.ctid FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " $1 AND c.ticket " EQ " t.ticket AND c.status " EQ " $3"
		" AND COALESCE(c.extended_at, c.served_at, c.ready_at, c.joined_at) OPERATOR(pg_catalog.<=) $5"
		" FOR UPDATE SKIP LOCKED) AS w"
		" WHERE s.ctid " EQ " w.ctid",
		6, {UUIDOID, INT8ARRAYOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	/* From the index, in its order; ctids rather than a join, so that no plan can do worse. */
	[VQ_PURGE_SESSIONS] = {
		"WITH gone AS (DELETE FROM vqueue.user_sessions AS s"
		" WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.ctid FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " $1 AND c.left_at OPERATOR(pg_catalog.>=) $2"
		" AND c.left_at OPERATOR(pg_catalog.<) (SELECT $3 OPERATOR(pg_catalog.-) q.session_retention"
		" FROM vqueue.queues AS q WHERE q.id " EQ " $1 AND q.session_retention OPERATOR(pg_catalog.>) '0')"
		" ORDER BY c.left_at LIMIT $4 FOR UPDATE OF c SKIP LOCKED))"
		" RETURNING s.left_at) SELECT pg_catalog.count(*), pg_catalog.max(g.left_at) FROM gone AS g",
		4, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}
	},
	[VQ_MOVE_STATE] = {
		"UPDATE vqueue.queues AS q SET"
		" state = CASE WHEN q.closes_at OPERATOR(pg_catalog.<=) $2 THEN 'closed'"
		" WHEN q.opens_at OPERATOR(pg_catalog.<=) $2 THEN 'open' ELSE 'paused' END,"
		" prequeue_at = CASE WHEN q.prequeue_at OPERATOR(pg_catalog.>) $2 THEN q.prequeue_at END,"
		" opens_at = CASE WHEN q.opens_at OPERATOR(pg_catalog.>) $2 THEN q.opens_at END,"
		" closes_at = CASE WHEN q.closes_at OPERATOR(pg_catalog.>) $2 THEN q.closes_at END"
		" FROM (SELECT c.ctid FROM vqueue.queues AS c WHERE c.id " EQ " $1"
		" AND LEAST(c.prequeue_at, c.opens_at, c.closes_at) OPERATOR(pg_catalog.<=) $2"
		" FOR NO KEY UPDATE SKIP LOCKED) AS w WHERE q.ctid " EQ " w.ctid",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	/*
	 * One ticket at a time, so that queue and ticket are both of the index's
	 * condition: for "ticket = ANY", statistics of a small table would have the
	 * plan read all rows of the queue, and keep doing so when it has grown.
	 */
	[VQ_RELEASE_SESSIONS] = {
		"UPDATE vqueue.user_sessions AS s SET"
		" status = CASE WHEN $4 THEN 'ready' ELSE 'serving' END,"
		" served_at = CASE WHEN $4 THEN NULL ELSE $3 END, ready_at = CASE WHEN $4 THEN $3 END"
		" FROM pg_catalog.unnest($2) AS t (ticket), LATERAL"
		" (SELECT c.ctid FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " $1 AND c.ticket " EQ " t.ticket AND c.status " EQ " 'waiting'"
		" FOR UPDATE SKIP LOCKED) AS w"
		" WHERE s.ctid " EQ " w.ctid RETURNING s.id, s.user_id, s.ticket",
		4, {UUIDOID, INT8ARRAYOID, TIMESTAMPTZOID, BOOLOID}
	},
	[VQ_RAISE_CEILING] = {
		"UPDATE vqueue.ticket_ceilings AS t SET ceiling = GREATEST(t.ceiling, $2)"
		" FROM (SELECT c.ctid FROM vqueue.ticket_ceilings AS c"
		" WHERE c.queue_id " EQ " $1 FOR UPDATE SKIP LOCKED) AS w"
		" WHERE t.ctid " EQ " w.ctid",
		2, {UUIDOID, INT8OID}
	},
	[VQ_INSERT_CEILING] = {
		"INSERT INTO vqueue.ticket_ceilings (queue_id, ceiling) SELECT $1, $2"
		" WHERE NOT EXISTS (SELECT FROM vqueue.ticket_ceilings AS c WHERE c.queue_id " EQ " $1)",
		2, {UUIDOID, INT8OID}
	},
	[VQ_COUNT_AHEAD] = {
		"SELECT pg_catalog.count(*) FILTER (WHERE s.priority " EQ " $3 AND s.ticket OPERATOR(pg_catalog.<) $2),"
		" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'vip'),"
		" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'high'),"
		" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'normal'),"
		" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'low') FROM vqueue.user_sessions AS s"
		" WHERE s.queue_id " EQ " $1 AND s.left_at IS NULL AND s.status " EQ " 'waiting'",
		3, {UUIDOID, INT8OID, TEXTOID}
	},
	[VQ_COUNT_QUEUES] = {
		"SELECT q.id,"
		" pg_catalog.count(s.id) FILTER (WHERE s.status " EQ " 'waiting'),"
		" pg_catalog.count(s.id) FILTER (WHERE s.status OPERATOR(pg_catalog.<>) 'waiting'),"
		" COALESCE(" FIRST_IN("vip") ", " FIRST_IN("high") ", " FIRST_IN("normal") ", " FIRST_IN("low") "),"
		" pg_catalog.max(s.ticket)"
		" FROM vqueue.queues AS q LEFT JOIN vqueue.user_sessions AS s"
		" ON s.queue_id " EQ " q.id AND s.left_at IS NULL GROUP BY q.id",
		0, {0}
	},
	[VQ_READ_PAGE] = {
		"SELECT s.queue_id, s.ticket FROM vqueue.user_sessions AS s"
		" WHERE s.ctid OPERATOR(pg_catalog.>=) $1 AND s.ctid OPERATOR(pg_catalog.<) $2"
		" AND s.left_at IS NULL LIMIT $3",
		3, {TIDOID, TIDOID, INT4OID}
	},
	[VQ_DISARM] = {"SELECT vqueue._disarm_foreign_key()", 0, {0}},
};

static SPIPlanPtr plans[VQ_STATEMENTS];
static bool writing_ceiling = false;

/*
 * The rows are few and known by key, whatever the statistics say: an empty
 * table's would have the plan read all of it for ever.  No key comes twice,
 * so there is nothing to memoize.  Users' triggers get this too, and where they
 * read a whole table, its cost, put up so, must not have it compiled each time.
 */
int
vq_force_index_plans(void)
{
	static const char *const ways[] = {
		"enable_seqscan", "enable_hashjoin", "enable_mergejoin", "enable_memoize", "jit"
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(ways); i++)
		(void) set_config_option(ways[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

uint64
vq_execute(VqStatement statement, Datum *values, const char *nulls, VqCaller *caller)
{
	Oid			owner = vq_owner();
	int			rc;

	GetUserIdAndSecContext(&caller->userid, &caller->context);
	SetUserIdAndSecContext(owner, caller->context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (plans[statement] == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statements[statement].text, statements[statement].n_args,
									   (Oid *) statements[statement].args);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare statement %d", statement);
		plans[statement] = plan;
	}
	rc = SPI_execute_plan(plans[statement], values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "statement %d failed: %s", statement, SPI_result_code_string(rc));
	return SPI_processed;
}

void
vq_executed(const VqCaller *caller)
{
	SPI_finish();
	SetUserIdAndSecContext(caller->userid, caller->context);
}

bool
vq_write_ceiling(const pg_uuid_t *queue_id, int64 ceiling)
{
	Datum		values[2] = {UUIDPGetDatum(queue_id), Int64GetDatum(ceiling)};
	bool		done;
	VqCaller	caller;

	writing_ceiling = true;
	PG_TRY();
	{
		done = vq_execute(VQ_RAISE_CEILING, values, NULL, &caller) > 0;
		vq_executed(&caller);
		if (!done)
		{
			/* Locked, or not there: new, or deleted by hand. */
			done = vq_execute(VQ_INSERT_CEILING, values, NULL, &caller) > 0;
			vq_executed(&caller);
		}
	}
	PG_FINALLY();
	{
		writing_ceiling = false;
	}
	PG_END_TRY();
	return done;
}

bool
vq_writing_ceiling(void)
{
	return writing_ceiling;
}
