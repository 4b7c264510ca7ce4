/*
 * place.c
 *		What vqueue says of a session: its answers, and its rows.
 */
#include "place.h"

#include <string.h>

const char *const status_names[STATUSES] = {
	"waiting", "ready", "serving", "completed", "left", "abandoned", "no_show", "expired", "removed"
};

const char *const lane_names[LANES] = {"vip", "high", "normal", "low"};

/* Index of a name, or -1. */
static int
find_name(const char *const *names, int n, const char *text, size_t length)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == length && memcmp(names[i], text, length) == 0)
			return i;
	return -1;
}

bool
status_parse(const char *text, size_t length, Status *status)
{
	int			found = find_name(status_names, STATUSES, text, length);

	if (found >= 0)
		*status = found;
	return found >= 0;
}

bool
status_is_live(Status status)
{
	return status == WAITING || status == READY || status == SERVING;
}

/* ---- fields of a result ---- */

static Uuid
uuid_field(const PGresult *result, int row, int column)
{
	Uuid		uuid;

	if (!uuid_parse(PQgetvalue(result, row, column), PQgetlength(result, row, column), &uuid))
		die("\"%s\" is no uuid", PQgetvalue(result, row, column));
	return uuid;
}

int64_t
number_field(const PGresult *result, int row, int column, int64_t if_null)
{
	int64_t		number;

	if (PQgetisnull(result, row, column))
		return if_null;
	if (!parse_number(PQgetvalue(result, row, column), PQgetlength(result, row, column), &number))
		die("\"%s\" is no number", PQgetvalue(result, row, column));
	return number;
}

static Status
status_field(const PGresult *result, int row, int column)
{
	Status		status;

	if (!status_parse(PQgetvalue(result, row, column), PQgetlength(result, row, column), &status))
		die("\"%s\" is no status", PQgetvalue(result, row, column));
	return status;
}

static Lane
lane_field(const PGresult *result, int row, int column)
{
	int			lane = find_name(lane_names, LANES, PQgetvalue(result, row, column),
								 PQgetlength(result, row, column));

	if (lane < 0)
		die("\"%s\" is no priority", PQgetvalue(result, row, column));
	return lane;
}

Place
place_read(const PGresult *result, int row)
{
	Place		place;

	place.id = uuid_field(result, row, 0);
	place.user_id = uuid_field(result, row, 1);
	place.status = status_field(result, row, 2);
	place.lane = lane_field(result, row, 3);
	place.ticket = number_field(result, row, 4, -1);
	place.position = number_field(result, row, 5, -1);
	place.estimated_wait = number_field(result, row, 6, -1);
	place.next_poll_after = number_field(result, row, 7, -1);
	return place;
}

/* ---- the table ---- */

#define ROWS_QUERY \
	"SELECT s.id, s.user_id, s.status, s.priority, s.ticket," \
	" " MICROSECONDS("s.joined_at") "," \
	" " MICROSECONDS("s.served_at") "," \
	" " MICROSECONDS("s.left_at") "," \
	" " MICROSECONDS("s.ready_at") "," \
	" " MICROSECONDS("s.extended_at") "," \
	" vqueue._order_key(s.queue_id, s.ticket, s.place_key)" \
	" FROM vqueue.user_sessions s JOIN vqueue.queues q ON q.id = s.queue_id" \
	" WHERE q.name = $1 ORDER BY s.ticket"

Row *
rows_fetch(PGconn *conn, const char *queue, int *n)
{
	PGresult   *result = PQexecParams(conn, ROWS_QUERY, 1, NULL, &queue, NULL, NULL, 0);
	Row		   *rows;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("could not read the sessions: %s", PQresultErrorMessage(result));
	*n = PQntuples(result);
	rows = get_memory(*n * sizeof(Row));
	for (int i = 0; i < *n; i++)
	{
		rows[i].id = uuid_field(result, i, 0);
		rows[i].user_id = uuid_field(result, i, 1);
		rows[i].status = status_field(result, i, 2);
		rows[i].lane = lane_field(result, i, 3);
		rows[i].ticket = number_field(result, i, 4, 0);
		rows[i].joined_at = number_field(result, i, 5, 0);
		rows[i].served_at = number_field(result, i, 6, 0);
		rows[i].left_at = number_field(result, i, 7, 0);
		rows[i].ready_at = number_field(result, i, 8, 0);
		rows[i].extended_at = number_field(result, i, 9, 0);
		rows[i].order_key = number_field(result, i, 10, 0);
	}
	PQclear(result);
	return rows;
}
