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
#define FIRST_IN(lane) "(pg_catalog.min(ARRAY[vqueue._order_key(s.queue_id, s.ticket, s.place_key), s.ticket])" \
	" FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " '" lane "'))[2]"
#define COUNT_AHEAD(key, own_key) \
	"SELECT pg_catalog.count(*) FILTER (WHERE s.priority " EQ " $3" \
	" AND ROW(" key ", s.ticket) OPERATOR(pg_catalog.<) ROW(" own_key ", $2))," \
	" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'vip')," \
	" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'high')," \
	" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'normal')," \
	" pg_catalog.count(*) FILTER (WHERE s.priority " EQ " 'low') FROM vqueue.user_sessions AS s" \
	" WHERE s.queue_id " EQ " $1 AND s.left_at IS NULL AND s.status " EQ " 'waiting'"

static const struct
{
	const char *text;
	int			n_args;
	Oid			args[18];
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
	/*
	 * Not by "left_at IS NULL": while the statistics say that few are live, that
	 * would have the planner read the whole index of those, for good.
	 */
	[VQ_END_SESSION] = {
		"UPDATE vqueue.user_sessions SET status = $2, left_at = GREATEST($3, served_at, ready_at, extended_at),"
		" reason = COALESCE($4, reason)"
		" WHERE id " EQ " $1 AND status " EQ " ANY ('{waiting,ready,serving}')"
		" AND ($5 OR status " EQ " 'serving') RETURNING *",
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
	[VQ_DELETE_QUEUE] = {"DELETE FROM vqueue.queues WHERE id " EQ " $1", 1, {UUIDOID}},
	[VQ_DELETE_ENDED] = {
		"WITH gone AS (DELETE FROM vqueue.user_sessions AS s"
		" WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.ctid FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " $1 AND c.left_at OPERATOR(pg_catalog.>=) $2 AND c.left_at OPERATOR(pg_catalog.<) $3"
		" AND NOT vqueue._untold($1, c.ticket, c.left_at)"
		" ORDER BY c.left_at LIMIT $4 FOR UPDATE OF c SKIP LOCKED))"
		" RETURNING s.left_at) SELECT pg_catalog.count(*), pg_catalog.max(g.left_at) FROM gone AS g",
		4, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}
	},
	/* From the index, in its order; ctids rather than a join, so that no plan can do worse. */
	[VQ_PURGE_SESSIONS] = {
		"WITH gone AS (DELETE FROM vqueue.user_sessions AS s"
		" WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.ctid FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " $1 AND c.left_at OPERATOR(pg_catalog.>=) $2"
		" AND c.left_at OPERATOR(pg_catalog.<) (SELECT $3 OPERATOR(pg_catalog.-) q.session_retention"
		" FROM vqueue.queues AS q WHERE q.id " EQ " $1 AND q.session_retention OPERATOR(pg_catalog.>) '0')"
		" AND NOT vqueue._untold($1, c.ticket, c.left_at)"
		" ORDER BY c.left_at LIMIT $4 FOR UPDATE OF c SKIP LOCKED))"
		" RETURNING s.left_at) SELECT pg_catalog.count(*), pg_catalog.max(g.left_at) FROM gone AS g",
		4, {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID}
	},
	[VQ_INSERT_EVENTS] = {
		"INSERT INTO vqueue.events (seq, queue_id, at, event, payload)"
		" SELECT t.seq, t.queue_id, t.at, t.event, t.payload::pg_catalog.jsonb"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		" pg_catalog.unnest($4), pg_catalog.unnest($5)) AS t (seq, queue_id, at, event, payload)",
		5, {INT8ARRAYOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID}
	},
	[VQ_INSERT_MARK] = {
		"INSERT INTO vqueue.event_marks (queue_id, state) VALUES ($1, $2) ON CONFLICT (queue_id) DO NOTHING",
		2, {UUIDOID, TEXTOID}
	},
	[VQ_MARK_STATE] = {
		"UPDATE vqueue.event_marks AS m SET state = $2"
		" FROM (SELECT c.ctid FROM vqueue.event_marks AS c WHERE c.queue_id " EQ " $1 FOR UPDATE SKIP LOCKED) AS w"
		" WHERE m.ctid " EQ " w.ctid",
		2, {UUIDOID, TEXTOID}
	},
	/* The newest stays: by it the next server knows what was told. */
	[VQ_TRIM_EVENTS] = {
		"WITH gone AS (DELETE FROM vqueue.events AS e"
		" WHERE e.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT o.ctid FROM vqueue.events AS o WHERE o.seq OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.seq FROM (SELECT f.at, f.seq FROM vqueue.events AS f WHERE f.seq OPERATOR(pg_catalog.>) $1"
		" ORDER BY f.seq LIMIT $3) AS c WHERE c.at OPERATOR(pg_catalog.<) $2"
		" AND ($4 OR c.seq OPERATOR(pg_catalog.<) (SELECT pg_catalog.max(l.seq) FROM vqueue.events AS l))"
		" AND (NOT $5 OR c.seq OPERATOR(pg_catalog.<=) (SELECT l.counted_seq FROM vqueue.event_log AS l))))"
		" FOR UPDATE OF o SKIP LOCKED))"
		" RETURNING e.queue_id, e.seq),"
		" marked AS (UPDATE vqueue.event_marks AS m SET trimmed = GREATEST(m.trimmed, g.seq)"
		" FROM (SELECT n.queue_id, pg_catalog.max(n.seq) AS seq FROM gone AS n GROUP BY n.queue_id) AS g"
		" WHERE m.queue_id " EQ " g.queue_id)"
		" SELECT pg_catalog.count(*), pg_catalog.max(g.seq) FROM gone AS g",
		5, {INT8OID, TIMESTAMPTZOID, INT4OID, BOOLOID, BOOLOID}
	},
	[VQ_FOLD_EVENTS] = {
		"SELECT e.seq, e.queue_id, e.at, j.ticket, j.status, u.joined_at, u.served_at, u.ready_at, u.left_at"
		" FROM (SELECT f.* FROM vqueue.events AS f WHERE f.seq OPERATOR(pg_catalog.>) $1 ORDER BY f.seq LIMIT $2) AS e"
		" LEFT JOIN vqueue.event_marks AS m ON m.queue_id " EQ " e.queue_id"
		" LEFT JOIN LATERAL (SELECT (s.session OPERATOR(pg_catalog.->>) 'ticket')::pg_catalog.int8 AS ticket,"
		" s.session OPERATOR(pg_catalog.->>) 'status' AS status FROM pg_catalog.jsonb_array_elements("
		"CASE WHEN e.event OPERATOR(pg_catalog.<>) 'state' THEN e.payload OPERATOR(pg_catalog.->) 'sessions' END) AS s (session)"
		" WHERE e.seq OPERATOR(pg_catalog.>) m.counted_seq) AS j ON true"
		" LEFT JOIN LATERAL (SELECT c.joined_at, c.served_at, c.ready_at, c.left_at FROM vqueue.user_sessions AS c"
		" WHERE c.queue_id " EQ " e.queue_id AND c.ticket " EQ " j.ticket LIMIT 1) AS u ON true"
		" ORDER BY e.seq",
		2, {INT8OID, INT4OID}
	},
	[VQ_FOLD_JOINS] = {
		"SELECT pg_catalog.date_bin('1 minute', r.joined_at, '2000-01-01 00:00:00+00'), pg_catalog.count(*), pg_catalog.max(r.ticket)"
		" FROM (SELECT s.joined_at, s.ticket FROM vqueue.user_sessions AS s WHERE s.queue_id " EQ " $1"
		" AND s.ticket OPERATOR(pg_catalog.>) $2 AND s.ticket OPERATOR(pg_catalog.<=) $3"
		" AND pg_catalog.isfinite(s.joined_at) ORDER BY s.ticket LIMIT $4) AS r GROUP BY 1",
		4, {UUIDOID, INT8OID, INT8OID, INT4OID}
	},
	[VQ_READ_COUNTED] = {"SELECT l.counted_seq FROM vqueue.event_log AS l", 0, {0}},
	[VQ_READ_COUNTED_TICKET] = {
		"SELECT m.counted_ticket FROM vqueue.event_marks AS m WHERE m.queue_id " EQ " $1",
		1, {UUIDOID}
	},
	/* The queue's row is locked as the foreign key of queue_stats wants it, which would wait. */
	[VQ_MARK_COUNTED] = {
		"UPDATE vqueue.event_marks AS m SET counted_seq = GREATEST(m.counted_seq, $2),"
		" counted_ticket = GREATEST(m.counted_ticket, $3)"
		" FROM (SELECT q.id FROM vqueue.queues AS q WHERE q.id " EQ " $1 FOR KEY SHARE SKIP LOCKED) AS w"
		" WHERE m.queue_id " EQ " w.id",
		3, {UUIDOID, INT8OID, INT8OID}
	},
	[VQ_MARK_LOG] = {
		"UPDATE vqueue.event_log AS l SET counted_seq = GREATEST(l.counted_seq, $1), counted_at = GREATEST(l.counted_at, $2)",
		2, {INT8OID, TIMESTAMPTZOID}
	},
	[VQ_WRITE_STATS] = {
		"INSERT INTO vqueue.queue_stats AS t (queue_id, minute, joined, released, completed, \"left\", abandoned, no_shows,"
		" expired, removed, wait_p50, wait_p90, wait_p99, stay_p50, stay_p90, stay_p99, peak_waiting, peak_serving)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
		" ON CONFLICT (queue_id, minute) DO UPDATE SET"
		" joined = t.joined OPERATOR(pg_catalog.+) EXCLUDED.joined,"
		" released = t.released OPERATOR(pg_catalog.+) EXCLUDED.released,"
		" completed = t.completed OPERATOR(pg_catalog.+) EXCLUDED.completed,"
		" \"left\" = t.\"left\" OPERATOR(pg_catalog.+) EXCLUDED.\"left\","
		" abandoned = t.abandoned OPERATOR(pg_catalog.+) EXCLUDED.abandoned,"
		" no_shows = t.no_shows OPERATOR(pg_catalog.+) EXCLUDED.no_shows,"
		" expired = t.expired OPERATOR(pg_catalog.+) EXCLUDED.expired,"
		" removed = t.removed OPERATOR(pg_catalog.+) EXCLUDED.removed,"
		" wait_p50 = COALESCE(t.wait_p50, EXCLUDED.wait_p50), wait_p90 = COALESCE(t.wait_p90, EXCLUDED.wait_p90),"
		" wait_p99 = COALESCE(t.wait_p99, EXCLUDED.wait_p99), stay_p50 = COALESCE(t.stay_p50, EXCLUDED.stay_p50),"
		" stay_p90 = COALESCE(t.stay_p90, EXCLUDED.stay_p90), stay_p99 = COALESCE(t.stay_p99, EXCLUDED.stay_p99),"
		" peak_waiting = GREATEST(t.peak_waiting, EXCLUDED.peak_waiting),"
		" peak_serving = GREATEST(t.peak_serving, EXCLUDED.peak_serving)",
		18, {UUIDOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
		INTERVALOID, INTERVALOID, INTERVALOID, INTERVALOID, INTERVALOID, INTERVALOID, INT8OID, INT8OID}
	},
	[VQ_TRIM_STATS] = {
		"DELETE FROM vqueue.queue_stats AS s WHERE s.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.ctid FROM vqueue.queue_stats AS c WHERE c.minute OPERATOR(pg_catalog.<) $1"
		" ORDER BY c.minute LIMIT $2 FOR UPDATE SKIP LOCKED))",
		2, {TIMESTAMPTZOID, INT4OID}
	},
	[VQ_RECALL_EVENTS] = {
		"SELECT e.event, (s.session OPERATOR(pg_catalog.->>) 'ticket')::pg_catalog.int8, e.at"
		" FROM vqueue.events AS e, LATERAL pg_catalog.jsonb_array_elements("
		"CASE WHEN e.event OPERATOR(pg_catalog.<>) 'state' THEN e.payload OPERATOR(pg_catalog.->) 'sessions' END) AS s (session)"
		" WHERE e.queue_id " EQ " $1 AND e.seq OPERATOR(pg_catalog.>=) $2",
		2, {UUIDOID, INT8OID}
	},
	[VQ_RECALL_STATE] = {
		"SELECT m.state FROM vqueue.event_marks AS m WHERE m.queue_id " EQ " $1",
		1, {UUIDOID}
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
		COUNT_AHEAD("COALESCE(s.place_key, 0)", "$4"),
		4, {UUIDOID, INT8OID, TEXTOID, INT8OID}
	},
	[VQ_COUNT_AHEAD_DRAWN] = {
		COUNT_AHEAD("vqueue._order_key(s.queue_id, s.ticket, s.place_key)", "vqueue._order_key($1, $2, $4)"),
		4, {UUIDOID, INT8OID, TEXTOID, INT8OID}
	},
	[VQ_HOLD_DRAW] = {
		"UPDATE vqueue.draws SET drawn_at = $2, entrants = $3, entrants_hash = $4, key_hash = $5,"
		" first_ticket = $6, last_ticket = $7, tickets = $8 WHERE queue_id " EQ " $1",
		8, {UUIDOID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, INT8OID, INT8OID, BYTEAOID}
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
	[VQ_COUNT_QUEUE] = {
		"SELECT pg_catalog.count(*) FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " 'vip'),"
		" pg_catalog.count(*) FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " 'high'),"
		" pg_catalog.count(*) FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " 'normal'),"
		" pg_catalog.count(*) FILTER (WHERE s.status " EQ " 'waiting' AND s.priority " EQ " 'low'),"
		" pg_catalog.count(*) FILTER (WHERE s.status OPERATOR(pg_catalog.<>) 'waiting')"
		" FROM vqueue.user_sessions AS s WHERE s.queue_id " EQ " $1 AND s.left_at IS NULL",
		1, {UUIDOID}
	},
	[VQ_BOARD_TICKETS] = {
		"SELECT r.lane OPERATOR(pg_catalog.-) 1, r.n OPERATOR(pg_catalog.-) 1, r.ticket, r.key FROM"
		" (SELECT s.ticket, s.key, s.lane, pg_catalog.row_number() OVER (PARTITION BY s.lane ORDER BY s.key, s.ticket) AS n,"
		" pg_catalog.count(*) OVER (PARTITION BY s.lane) AS all_n"
		" FROM (SELECT w.ticket, vqueue._order_key(w.queue_id, w.ticket, w.place_key) AS key,"
		" pg_catalog.array_position('{vip,high,normal,low}'::pg_catalog.text[], w.priority)::pg_catalog.int8 AS lane"
		" FROM vqueue.user_sessions AS w"
		" WHERE w.queue_id " EQ " $1 AND w.left_at IS NULL AND w.status " EQ " 'waiting') AS s) AS r"
		" WHERE ((r.n OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.%) $2) " EQ " 0 OR r.n " EQ " r.all_n"
		" ORDER BY 1, 2",
		2, {UUIDOID, INT8OID}
	},
	[VQ_INSERT_PASS_KEY] = {
		"INSERT INTO vqueue.pass_keys (id, tenant_id, algorithm, signs_from, earlier_until, secret)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
		6, {UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BYTEAOID}
	},
	[VQ_DELETE_PASS_KEYS] = {
		"DELETE FROM vqueue.pass_keys AS k WHERE k.tenant_id " EQ " $1 AND EXISTS"
		" (SELECT FROM vqueue.pass_keys AS n WHERE n.tenant_id " EQ " $1 AND n.earlier_until OPERATOR(pg_catalog.<=) $2"
		" AND (n.signs_from OPERATOR(pg_catalog.>) k.signs_from"
		" OR n.signs_from " EQ " k.signs_from AND n.id OPERATOR(pg_catalog.>) k.id))",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[VQ_AUDIT_ACTION] = {
		"INSERT INTO vqueue.audit_log (tenant_id, queue_id, queue, actor, role, action, object, before, after, reason)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8::pg_catalog.jsonb, $9::pg_catalog.jsonb, $10)",
		10, {UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	},
	[VQ_AUDIT_CHANGE] = {
		"SELECT vqueue._audit_change($1, $2, $3::pg_catalog.jsonb, $4::pg_catalog.jsonb, $5, $6)",
		6, {TEXTOID, TEXTOID, JSONOID, JSONOID, TEXTOID, TEXTOID}
	},
	[VQ_TRIM_AUDIT] = {
		"DELETE FROM vqueue.audit_log AS a WHERE a.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT c.ctid FROM vqueue.audit_log AS c WHERE c.at OPERATOR(pg_catalog.<) $1"
		" ORDER BY c.at LIMIT $2 FOR UPDATE SKIP LOCKED))",
		2, {TIMESTAMPTZOID, INT4OID}
	},
	[VQ_INSERT_CLIENT] = {
		"INSERT INTO vqueue.client_joins (queue_id, client_hash, joined_at, ticket) VALUES ($1, $2, $3, $4)",
		4, {UUIDOID, BYTEAOID, TIMESTAMPTZOID, INT8OID}
	},
	[VQ_FORGET_CLIENTS] = {"DELETE FROM vqueue.client_joins AS c WHERE c.queue_id " EQ " $1", 1, {UUIDOID}},
	[VQ_FORGET_ALL_CLIENTS] = {"DELETE FROM vqueue.client_joins", 0, {0}},
	[VQ_FORGET_USERS_CLIENTS] = {
		"DELETE FROM vqueue.client_joins AS c USING vqueue.user_sessions AS s, vqueue.queues AS q"
		" WHERE s.user_id " EQ " $1 AND q.id " EQ " s.queue_id AND q.tenant_id " EQ " $2"
		" AND c.queue_id " EQ " s.queue_id AND c.ticket " EQ " s.ticket",
		2, {UUIDOID, UUIDOID}
	},
	[VQ_FORGET_USER] = {
		"UPDATE vqueue.user_sessions AS s SET user_name = NULL, user_email = NULL FROM vqueue.queues AS q"
		" WHERE s.user_id " EQ " $1 AND q.id " EQ " s.queue_id AND q.tenant_id " EQ " $2"
		" AND (s.user_name IS NOT NULL OR s.user_email IS NOT NULL)",
		2, {UUIDOID, UUIDOID}
	},
	[VQ_TRIM_CLIENTS] = {
		"DELETE FROM vqueue.client_joins AS j WHERE j.ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
		"SELECT w.ctid FROM vqueue.queues AS q, LATERAL (SELECT c.ctid FROM vqueue.client_joins AS c"
		" WHERE c.queue_id " EQ " q.id AND c.joined_at OPERATOR(pg_catalog.<)"
		" CASE WHEN q.client_limit " EQ " 0 THEN 'infinity' ELSE $1 OPERATOR(pg_catalog.-) q.client_window END"
		" ORDER BY c.joined_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS w LIMIT $2))",
		2, {TIMESTAMPTZOID, INT4OID}
	},
	[VQ_READ_PAGE] = {
		"SELECT s.queue_id, s.ticket FROM vqueue.user_sessions AS s"
		" WHERE s.ctid OPERATOR(pg_catalog.>=) $1 AND s.ctid OPERATOR(pg_catalog.<) $2"
		" AND s.left_at IS NULL LIMIT $3",
		3, {TIDOID, TIDOID, INT4OID}
	},
	[VQ_GRANT_ACCESS] = {
		"SELECT vqueue._grant_access($1, $2, $3, $4)",
		4, {TEXTOID, UUIDOID, TEXTOID, OIDOID}
	},
	[VQ_REVOKE_ACCESS] = {"SELECT vqueue._revoke_access($1, $2)", 2, {TEXTOID, UUIDOID}},
	[VQ_FIND_ARMED] = {
		"SELECT pg_catalog.quote_ident(t.tgname) FROM pg_catalog.pg_trigger AS t"
		" JOIN pg_catalog.pg_constraint AS c ON c.oid " EQ " t.tgconstraint"
		" WHERE t.tgrelid " EQ " 'vqueue.user_sessions'::pg_catalog.regclass"
		" AND c.conname " EQ " 'user_sessions_queue_id_fkey'"
		" AND t.tgfoid " EQ " 'pg_catalog.\"RI_FKey_check_ins\"'::pg_catalog.regproc"
		" AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'",
		0, {0}
	},
	[VQ_WATCH_CANARIES] = {"SELECT vqueue._watch_canaries()", 0, {0}},
	[VQ_HOLD_QUEUE] = {"SELECT FROM vqueue.queues WHERE id " EQ " $1 FOR NO KEY UPDATE", 1, {UUIDOID}},
	[VQ_TOUCH_QUEUE] = {"UPDATE vqueue.queues SET version = version WHERE id " EQ " $1", 1, {UUIDOID}},
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

static bool
execute_ceiling(VqStatement statement, const pg_uuid_t *queue_id, int64 ceiling)
{
	Datum		values[2] = {UUIDPGetDatum(queue_id), Int64GetDatum(ceiling)};
	VqCaller	caller;
	bool		done = vq_execute(statement, values, NULL, &caller) > 0;

	vq_executed(&caller);
	return done;
}

void
vq_begin_ceiling(const pg_uuid_t *queue_id, int64 ceiling)
{
	if (!execute_ceiling(VQ_RAISE_CEILING, queue_id, ceiling))
		vq_write_ceiling(queue_id, ceiling);
}

bool
vq_write_ceiling(const pg_uuid_t *queue_id, int64 ceiling)
{
	bool		done;

	writing_ceiling = true;
	PG_TRY();
	{
		/* Locked, or not there: new, or deleted by hand. */
		done = execute_ceiling(VQ_RAISE_CEILING, queue_id, ceiling) ||
			execute_ceiling(VQ_INSERT_CEILING, queue_id, ceiling);
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
