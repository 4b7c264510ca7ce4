/*
 * still.c
 *		A connection that waits for its answers: it sets the stage for a storm, looks
 *		at the line while it stands still, and reads the tables in the end.
 */
#include "still_inside.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "steer.h"

/* How long the server may take to come back, and differences to go away. */
#define PATIENCE	(60 * SECOND)
#define SETTLING	(2 * SECOND)

static void
ignore_notice(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

void
still_nap(void)
{
	usleep(50000);
}

/* Connect if need be; false if that failed. */
static bool
connect_still(Still *still)
{
	static const char *const keywords[] = {"dbname", "application_name", NULL};
	const char *const values[] = {still->storm->options->direct, "crowd observer", NULL};

	if (still->conn != NULL && PQstatus(still->conn) == CONNECTION_OK)
		return true;
	PQfinish(still->conn);
	still->conn = PQconnectdbParams(keywords, values, 1);
	PQsetNoticeProcessor(still->conn, ignore_notice, NULL);
	return PQstatus(still->conn) == CONNECTION_OK;
}

PGresult *
still_ask(Still *still, const char *sql, int n, const char *const *params)
{
	int64_t		give_up_at = steady_time() + PATIENCE;

	for (;;)
	{
		PGresult   *result = NULL;
		ExecStatusType status = PGRES_FATAL_ERROR;

		if (connect_still(still))
		{
			result = PQexecParams(still->conn, sql, n, NULL, params, NULL, NULL, 0);
			status = PQresultStatus(result);
		}
		if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
			return result;
		if (!still->storm->options->faults || steady_time() > give_up_at)
			die("%s failed: %s", sql, PQerrorMessage(still->conn));
		PQclear(result);
		still_nap();
	}
}

void
still_tell(Still *still, const char *sql)
{
	PQclear(still_ask(still, sql, 0, NULL));
}

Still *
still_open(Storm *storm)
{
	Still	   *still = get_memory(sizeof(Still));

	still->storm = storm;
	return still;
}

void
still_close(Still *still)
{
	PQfinish(still->conn);
	free(still);
}

/* ---- beginning and end ---- */

/* A queue in which every release fails. */
static void
make_sick_queue(Still *still)
{
	char		sql[1000];
	const char *prefix = still->storm->options->prefix;
	PGresult   *result;

	snprintf(sql, sizeof(sql), "SELECT vqueue.create_queue('%s_sick', 60000, 100)", prefix);
	result = still_ask(still, sql, 0, NULL);
	snprintf(sql, sizeof(sql), "CREATE FUNCTION %s_refuse() RETURNS trigger LANGUAGE plpgsql AS"
			 " $$BEGIN RAISE EXCEPTION 'this queue is sick'; END$$", prefix);
	still_tell(still, sql);
	snprintf(sql, sizeof(sql), "CREATE TRIGGER %s_refuse BEFORE UPDATE ON vqueue.user_sessions"
			 " FOR EACH ROW WHEN (NEW.queue_id = '%s') EXECUTE FUNCTION %s_refuse()", prefix,
			 PQgetvalue(result, 0, 0), prefix);
	still_tell(still, sql);
	PQclear(result);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM vqueue.join_many('%s_sick',"
			 " ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 200)))", prefix);
	still_tell(still, sql);
}

void
still_begin(Still *still)
{
	Book	   *book = still->storm->book;
	char		sql[500];

	snprintf(sql, sizeof(sql), "CREATE TABLE %s (id uuid PRIMARY KEY)", still->storm->orders);
	still_tell(still, sql);
	still_mark_log(still);
	for (int q = 0; q < book->n_queues; q++)
	{
		int64_t		now = wall_time();
		Setting		setting = steer_beginning(still->storm->options, storm_kind(still->storm->options, q));
		BookQueue  *queue = &book->queues[q];

		(void) settings_asked(&queue->limits, &setting, now);
		(void) settings_asked(&queue->states, &setting, now);
		(void) settings_asked(&queue->methods, &setting, now);
		(void) settings_asked(&queue->turns, &setting, now);
		(void) settings_asked(&queue->graces, &setting, now);
		snprintf(sql, sizeof(sql), "SELECT vqueue.create_queue('%s', %lld, %lld, state => '%s', method => '%s',"
				 " waiting_timeout => '%lld us', serving_timeout => '%lld us', claim_timeout => '%lld us', lane_weights => CASE WHEN %d > 0"
				 " THEN ARRAY[%d, %d, %d, %d] END)", queue->name, (long long) setting.rate,
				 (long long) setting.cap, setting.open ? "open" : "paused", setting.random ? "random" : "fifo",
				 (long long) setting.waiting_timeout,
				 (long long) setting.serving_timeout, (long long) setting.claim_timeout, setting.weights[0],
				 setting.weights[0], setting.weights[1], setting.weights[2], setting.weights[3]);
		still_tell(still, sql);
		if (storm_kind(still->storm->options, q) == DRAWN)
			still_gather(still, q);
	}
	if (still->storm->options->sick)
		make_sick_queue(still);
}

/* Without timeouts nobody else would ever free the slot of one that was called. */
static void
claim_for_all(Still *still, const char *queue)
{
	char		sql[300];

	snprintf(sql, sizeof(sql), "SELECT count(vqueue.claim(s.id)) FROM vqueue.user_sessions s"
			 " JOIN vqueue.queues q ON q.id = s.queue_id WHERE q.name = '%s' AND s.status = 'ready'", queue);
	still_tell(still, sql);
}

void
still_end(Still *still)
{
	const char *prefix = still->storm->options->prefix;
	char		sql[300];

	for (int q = 0; q < still->storm->book->n_queues; q++)
		claim_for_all(still, still->storm->book->queues[q].name);
	if (!still->storm->options->sick)
		return;
	snprintf(sql, sizeof(sql), "DROP TRIGGER %s_refuse ON vqueue.user_sessions", prefix);
	still_tell(still, sql);
	snprintf(sql, sizeof(sql), "DROP FUNCTION %s_refuse()", prefix);
	still_tell(still, sql);
	snprintf(sql, sizeof(sql), "SELECT vqueue.drop_queue('%s_sick', force => true)", prefix);
	still_tell(still, sql);
}

/* ---- standing still ---- */

static void
set_states(Still *still, bool open)
{
	Book	   *book = still->storm->book;
	Setting		setting = {.open = open};

	for (int q = 0; q < book->n_queues; q++)
	{
		char		sql[300];
		int			change = settings_asked(&book->queues[q].states, &setting, wall_time());

		snprintf(sql, sizeof(sql), "SELECT vqueue.%s('%s')", open ? "resume" : "pause",
				 book->queues[q].name);
		still_tell(still, sql);
		settings_over(&book->queues[q].states, change, COMMITTED, wall_time());
	}
}

/* Have no timeouts any more, so that nothing goes on by itself. */
static void
end_timeouts(Still *still)
{
	Book	   *book = still->storm->book;
	Setting		setting = {0};

	for (int q = 0; q < book->n_queues; q++)
	{
		char		sql[300];
		int			change = settings_asked(&book->queues[q].graces, &setting, wall_time());

		snprintf(sql, sizeof(sql), "SELECT vqueue.alter_queue('%s', waiting_timeout => '0', serving_timeout => '0',"
				 " claim_timeout => '0')", book->queues[q].name);
		still_tell(still, sql);
		settings_over(&book->queues[q].graces, change, COMMITTED, wall_time());
	}
}

void
still_pause(Still *still)
{
	set_states(still, false);
	end_timeouts(still);
}

/* Compare some positions of a queue with a count; how many differ. */
static int
compare_queue(Still *still, const char *queue, bool weighted, int *compared)
{
	PGresult   *result;
	int			differ = 0;

	/* In turns by weight nobody can say from the table whose turn is next, but each has one. */
	if (weighted)
		result = still_ask(still,
						   "WITH w AS MATERIALIZED ("
						   " SELECT s.ticket, s.priority, vqueue.position(s.id) AS by_id, vqueue.position($1, s.ticket) AS by_ticket"
						   "  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id"
						   "  WHERE q.name = $1 AND s.status = 'waiting')"
						   " SELECT by_id, CASE WHEN row_number() OVER (PARTITION BY priority ORDER BY ticket) ="
						   " row_number() OVER (PARTITION BY priority ORDER BY by_id) THEN by_ticket END,"
						   " row_number() OVER (ORDER BY by_id) FROM w", 1, &queue);
	else
		result = still_ask(still,
						   "WITH w AS MATERIALIZED ("
						   " SELECT s.id, s.ticket, row_number() OVER (ORDER BY"
						   "  array_position('{vip,high,normal,low}'::text[], s.priority),"
						   "  vqueue._order_key(s.queue_id, s.ticket, s.place_key), s.ticket) AS place"
						   "  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id"
						   "  WHERE q.name = $1 AND s.status = 'waiting')"
						   " SELECT vqueue.position(w.id), vqueue.position($1, w.ticket), w.place"
						   " FROM w ORDER BY random() LIMIT 300", 1, &queue);
	*compared = PQntuples(result);
	for (int i = 0; i < *compared; i++)
		if (strcmp(PQgetvalue(result, i, 0), PQgetvalue(result, i, 2)) != 0 ||
			strcmp(PQgetvalue(result, i, 1), PQgetvalue(result, i, 2)) != 0)
			differ++;
	PQclear(result);
	return differ;
}

/*
 * Compare what some of a queue are told in other ways with their positions; how many
 * are told something else.  A board is right at its points, and in between off by less
 * than those differ; who stands ahead by an explanation is one less than the position;
 * of a wait nine in ten take no less time than half of them.
 */
static int
compare_answers(Still *still, const char *queue, int *compared)
{
	PGresult   *result = still_ask(still,
								   "WITH b AS MATERIALIZED (SELECT vqueue.board($1)::jsonb AS board),"
								   " w AS MATERIALIZED ("
								   " SELECT s.id, s.ticket, s.priority, vqueue.position(s.id) AS position"
								   "  FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id"
								   "  WHERE q.name = $1 AND s.status = 'waiting' ORDER BY random() LIMIT 20),"
								   " k AS (SELECT w.*, board, board->'lanes'->priority->'points' AS points,"
								   "  CASE board->>'order' WHEN 'key' THEN vqueue.board_number(id) ELSE ticket END AS key FROM w, b)"
								   " SELECT (SELECT count(*) FROM w), count(*) FROM k, vqueue.status(k.id) AS t"
								   "  WHERE t.position IS DISTINCT FROM k.position"
								   "  OR abs(vqueue.position_from_board(board, key, k.priority) - k.position) > ("
								   "   SELECT coalesce(min((p->>1)::bigint) FILTER (WHERE (p->>0)::bigint >= key)"
								   "    - max((p->>1)::bigint) FILTER (WHERE (p->>0)::bigint <= key), 0) FROM jsonb_array_elements(points) AS p)"
								   "  OR (SELECT coalesce(sum(e.n), 0) FROM vqueue.explain_position(k.id) AS e"
								   "       WHERE e.what = 'waits ahead') <> k.position - 1"
								   "  OR (t.next_poll_after BETWEEN '1 s' AND '1 h') IS NOT TRUE"
								   "  OR t.estimated_wait > t.estimated_wait_p90", 1, &queue);
	int			differ = (int) number_field(result, 0, 1, 0);

	*compared = (int) number_field(result, 0, 0, 0);
	PQclear(result);
	return differ;
}

/* Something may still be on its way, so what differs is looked at again for a while. */
static void
compare_positions(Still *still)
{
	Book	   *book = still->storm->book;

	for (int q = 0; q < book->n_queues; q++)
	{
		int64_t		give_up_at = steady_time() + SETTLING;
		int64_t		now = wall_time();
		bool		weighted = settings_any(&book->queues[q].turns, now, now, setting_is_weighted);
		const char *name = book->queues[q].name;
		int			compared;
		int			asked;
		int			differ;

		while ((differ = compare_queue(still, name, weighted, &compared) + compare_answers(still, name, &asked)) > 0 &&
			   steady_time() < give_up_at)
			still_nap();
		book->still_compared += compared + asked;
		book->still_wrong += differ;
	}
}

static void
check_memory(Still *still)
{
	PGresult   *result = still_ask(still, "SELECT queue, what, in_memory, in_table FROM vqueue.check()", 0, NULL);

	still->storm->book->checks_made++;
	still->storm->book->differences += PQntuples(result);
	for (int i = 0; i < PQntuples(result) && i < 10; i++)
		printf("# difference: queue %s, %s: %s in memory, %s in the table\n",
			   PQgetvalue(result, i, 0), PQgetvalue(result, i, 1), PQgetvalue(result, i, 2),
			   PQgetvalue(result, i, 3));
	PQclear(result);
}

void
still_compare(Still *still)
{
	compare_positions(still);
	check_memory(still);
}

void
still_moment(Still *still)
{
	set_states(still, false);
	still_compare(still);
	set_states(still, true);
}

/* ---- the end ---- */

void
still_await_clients(Still *still)
{
	int64_t		give_up_at = steady_time() + PATIENCE;
	const char *name = still->storm->name;
	/* A pooler keeps its connections, and ends those in the middle of something. */
	const char *sql = still->storm->options->direct == NULL ?
		"SELECT count(*) FROM pg_stat_activity WHERE application_name = $1" :
		"SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'";

	for (;;)
	{
		PGresult   *result = still_ask(still, sql, 1, &name);
		bool		gone = number_field(result, 0, 0, 0) == 0;

		PQclear(result);
		if (gone)
			return;
		if (steady_time() > give_up_at)
			die("processes of clients do not end");
		still_nap();
	}
}

static void
fetch_orders(Still *still)
{
	Book	   *book = still->storm->book;
	PGresult   *result;
	char		sql[200];

	snprintf(sql, sizeof(sql), "SELECT id FROM %s", still->storm->orders);
	result = still_ask(still, sql, 0, NULL);
	idmap_free(book->orders_found);
	book->orders_found = idmap_make();
	book->n_orders_found = PQntuples(result);
	for (int i = 0; i < PQntuples(result); i++)
	{
		Uuid		id;

		if (uuid_parse(PQgetvalue(result, i, 0), PQgetlength(result, i, 0), &id))
			(void) idmap_add(book->orders_found, &id, i);
	}
	PQclear(result);
}

void
still_fetch(Still *still)
{
	Book	   *book = still->storm->book;

	fetch_orders(still);
	for (int q = 0; q < book->n_queues; q++)
	{
		free(book->queues[q].rows);
		book->queues[q].rows = rows_fetch(still->conn, book->queues[q].name, &book->queues[q].n_rows);
	}
}
