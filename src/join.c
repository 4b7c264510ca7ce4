/*
 * join.c
 *		Joining a queue, one user or many.
 *
 * A ticket is reserved in memory first, then the row is written.  The unique
 * index of live sessions decides who was first when one user joins twice: the
 * later gets the earlier's session back, and its own ticket is void.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "client.h"
#include "due.h"
#include "executor/spi.h"
#include "feature.h"
#include "fmgr.h"
#include "funcapi.h"
#include "insert.h"
#include "miscadmin.h"
#include "pending.h"
#include "place.h"
#include "queue.h"
#include "quota.h"
#include "rebuild.h"
#include "reserve.h"
#include "seal.h"
#include "session.h"
#include "statement.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#define MAX_USER_TEXT 1000
#define MAX_USERS 1000000

/* The queue that is joined. */
typedef struct Target
{
	VqQueue    *queue;
	pg_uuid_t	id;
	VqSettings	settings;
	int64		quota;			/* of its tenant's waiting sessions */
	VqKind		lane;
} Target;

/* ---- arguments ---- */

static void
check_user_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	Size		size;

	if (PG_ARGISNULL(n))
		return;
	size = VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(n));
	if (size > MAX_USER_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is too long", name),
				 errdetail("It has %zu bytes, the limit is %d.", size, MAX_USER_TEXT),
				 errhint("Shorten it.")));
}

/* Find the queue and keep it from being dropped until our transaction ends. */
static void
get_target(FunctionCallInfo fcinfo, const char *function, int lane_argno, Target *target)
{
	PreventCommandIfReadOnly(function);
	if (PG_ARGISNULL(0))
		vq_null_argument("queue");
	target->lane = vq_lane_argument(fcinfo, lane_argno);
	target->queue = vq_queue_of(VQ_MAY_JOIN, PG_GETARG_TEXT_PP(0), &target->id);
	vq_lock_against_drop(&target->id);

	/* It may have been dropped while we waited for the lock. */
	target->queue = vq_queue_of(VQ_MAY_JOIN, PG_GETARG_TEXT_PP(0), &target->id);
	vq_settings_of(target->queue, &target->settings);
	target->quota = vq_waiting_quota(&target->settings.tenant_id);
}

/* ---- refusals ---- */

static bool
admits(const Target *target)
{
	return (target->settings.state & VQ_JOINS) != 0 && target->settings.method != VQ_REJECT;
}

static void
refuse_state(const Target *target)
{
	if ((target->settings.state & VQ_JOINS) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" rejects newcomers", target->settings.name),
				 errdetail("Its queueing method is reject."),
				 errhint("An operator sets another method with vqueue.alter_queue().")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("queue \"%s\" admits nobody", target->settings.name),
			 errdetail("Its state is %s.", vq_state_name(target->settings.state)),
			 errhint("An operator opens it with vqueue.open().")));
}

/* Whether n more would be too many. */
static bool
overfull(const Target *target, int n)
{
	bool		full;

	if (target->settings.max_waiting == 0)
		return false;
	vq_lock_whole(target->queue, LW_SHARED);
	full = vq_standing(target->queue) + n > target->settings.max_waiting;
	LWLockRelease(&target->queue->lock);
	return full;
}

static void
refuse_full(const Target *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("queue \"%s\" is full", target->settings.name),
			 errdetail("No more than %d sessions may wait in it.", target->settings.max_waiting),
			 errhint("Try again later, or have an operator raise max_waiting with vqueue.alter_queue().")));
}

static void
refuse_ticket(const Target *target, VqIssue issue)
{
	if (issue == VQ_OVER_QUOTA)
		vq_refuse_waiting(&target->settings.tenant_id, target->quota);
	vq_out_of_memory();
}

/* ---- one user ---- */

static void
begin_row(const Target *target, const pg_uuid_t *user_id, VqRow *row)
{
	row->queue_id = target->id;
	row->user_id = *user_id;
	row->lane = target->lane;
}

/* Issue tickets for new rows. */
static VqIssue
prepare_rows(const Target *target, VqRow *rows, int n)
{
	VqIssue		issue = vq_issue_tickets(target->queue, admits(target), target->quota, rows, n);

	for (int i = 0; i < n && issue == VQ_ISSUED; i++)
		vq_seal_id(&rows[i].id, rows[i].joined_at, &target->id, rows[i].ticket);
	return issue;
}

/* Write a row by SQL, for others may have a say in it. */
static bool
insert_row(const VqRow *row, Datum user_name, Datum user_email)
{
	Datum		values[12];
	char		nulls[13] = "            ";
	VqCaller	caller;
	uint64		n;

	values[0] = UUIDPGetDatum(&row->id);
	values[1] = UUIDPGetDatum(&row->queue_id);
	values[2] = UUIDPGetDatum(&row->user_id);
	values[3] = Int64GetDatum(row->ticket);
	values[4] = TimestampTzGetDatum(row->joined_at);
	values[5] = TimestampTzGetDatum(row->served_at);
	values[6] = CStringGetTextDatum(vq_status_names[row->status]);
	values[7] = CStringGetTextDatum(vq_lane_names[row->lane]);
	values[8] = user_name;
	values[9] = user_email;
	values[10] = TimestampTzGetDatum(row->ready_at);
	values[11] = Int64GetDatum(row->place_key);
	nulls[5] = row->served_at == 0 ? 'n' : ' ';
	nulls[8] = user_name == (Datum) 0 ? 'n' : ' ';
	nulls[9] = user_email == (Datum) 0 ? 'n' : ' ';
	nulls[10] = row->ready_at == 0 ? 'n' : ' ';
	nulls[11] = row->place_key == 0 ? 'n' : ' ';
	n = vq_execute(VQ_INSERT_SESSION, values, nulls, &caller);
	vq_executed(&caller);
	return n > 0;
}

static bool
write_row(const Target *target, VqRow *row, bool new_user, Datum user_name, Datum user_email)
{
	if (vq_may_insert())
		return vq_insert_session(target->queue, row, new_user, user_name, user_email);
	return insert_row(row, user_name, user_email);
}

/*
 * Join one user, or find the live session there is, of which a new user has none;
 * for a client whose joins are counted, or NULL.
 */
static void
join_user(const Target *target, const pg_uuid_t *user_id, bool new_user, Datum user_name, Datum user_email,
		  const VqClient *client, VqRow *row)
{
	for (;;)
	{
		bool		full = overfull(target, 1);
		int			mark = vq_pending_mark();
		bool		over = client != NULL && vq_client_is_over(client);
		VqIssue		issue;

		CHECK_FOR_INTERRUPTS();
		if (!admits(target) || full || over)
		{
			if (vq_fetch_live(&target->id, user_id, NULL, row))
				return;
			if (vq_await_live(&target->id, user_id))
				continue;
			if (over && admits(target))
				vq_refuse_client(client, target->settings.name);
			if (full && admits(target))
				refuse_full(target);
			refuse_state(target);
		}
		begin_row(target, user_id, row);
		issue = prepare_rows(target, row, 1);
		if (issue != VQ_ISSUED)
		{
			if (vq_fetch_live(&target->id, user_id, NULL, row))
				return;
			if (issue == VQ_OVER_QUOTA && vq_await_live(&target->id, user_id))
				continue;
			refuse_ticket(target, issue);
		}
		if (write_row(target, row, new_user, user_name, user_email))
		{
			if (client != NULL && !vq_note_client(client, row->ticket, row->joined_at))
				vq_refuse_client(client, target->settings.name);
			return;
		}
		vq_drop_unconfirmed(mark);
		if (vq_fetch_live(&target->id, user_id, NULL, row))
			return;
		/* It has ended since; try again. */
	}
}

/*
 * Whether an argument is a uuid made for this very call, as user_id is by default:
 * such a user can have no session yet, so none need be looked for.
 */
static bool
is_made_here(FunctionCallInfo fcinfo, int n)
{
	const Node *call = fcinfo->flinfo->fn_expr;
	const Node *argument;

	if (call == NULL || !IsA(call, FuncExpr) || list_length(((const FuncExpr *) call)->args) <= n)
		return false;
	argument = list_nth(((const FuncExpr *) call)->args, n);
	return IsA(argument, FuncExpr) && ((const FuncExpr *) argument)->funcid == F_GEN_RANDOM_UUID;
}

void
vq_join(FunctionCallInfo fcinfo, VqPlace *place)
{
	Target		target;
	VqClient	client;
	bool		counted;

	memset(place, 0, sizeof(VqPlace));
	if (PG_ARGISNULL(1))
		vq_null_argument("user_id");
	check_user_text(fcinfo, 2, "user_name");
	check_user_text(fcinfo, 3, "user_email");
	if (!PG_ARGISNULL(2) || !PG_ARGISNULL(3))
		vq_need_feature(VQ_FEATURE_USER_DATA);
	if (!PG_ARGISNULL(5))
		vq_check_client(PG_GETARG_TEXT_PP(5));
	get_target(fcinfo, "vqueue.join()", 4, &target);
	counted = target.settings.client_limit > 0 && !PG_ARGISNULL(5);
	if (counted)
		vq_read_client(PG_GETARG_TEXT_PP(5), &target.id, &target.settings, &client);
	join_user(&target, PG_GETARG_UUID_P(1), is_made_here(fcinfo, 1),
			  PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2),
			  PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3),
			  counted ? &client : NULL, &place->row);
	strlcpy(place->queue, target.settings.name, VQ_NAME_SIZE);
	vq_locate(place, true);
}

PG_FUNCTION_INFO_V1(vqueue_join);
Datum
vqueue_join(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_join(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

/* ---- many users ---- */

/* The values of one column for a statement that writes many rows. */
typedef struct Column
{
	Oid			type;
	Datum	   *values;
	bool	   *nulls;
} Column;

static void
put_in_column(Column *column, int i, Datum value, bool isnull)
{
	column->values[i] = value;
	column->nulls[i] = isnull;
}

static Datum
column_array(const Column *column, int n)
{
	bool		is_uuid = column->type == UUIDOID;
	int			lower = 1;

	return PointerGetDatum(construct_md_array(column->values, column->nulls, 1, &n, &lower, column->type,
											  is_uuid ? UUID_LEN : 8, is_uuid ? false : FLOAT8PASSBYVAL,
											  is_uuid ? TYPALIGN_CHAR : TYPALIGN_DOUBLE));
}

/* Write rows with one statement, for others may have a say in it; those not written have their ticket zeroed. */
static void
insert_rows(const Target *target, VqRow *rows, int n)
{
	enum
	{
		IDS, USERS, TICKETS, JOINED, SERVED, READY, KEYS, COLUMNS
	};
	Column		columns[COLUMNS] = {
		{UUIDOID}, {UUIDOID}, {INT8OID}, {TIMESTAMPTZOID}, {TIMESTAMPTZOID}, {TIMESTAMPTZOID}, {INT8OID}
	};
	Datum		values[2 + COLUMNS];
	VqCaller	caller;
	uint64		written;

	for (int c = 0; c < COLUMNS; c++)
	{
		columns[c].values = palloc(n * sizeof(Datum));
		columns[c].nulls = palloc(n * sizeof(bool));
	}
	for (int i = 0; i < n; i++)
	{
		put_in_column(&columns[IDS], i, UUIDPGetDatum(&rows[i].id), false);
		put_in_column(&columns[USERS], i, UUIDPGetDatum(&rows[i].user_id), false);
		put_in_column(&columns[TICKETS], i, Int64GetDatum(rows[i].ticket), false);
		put_in_column(&columns[JOINED], i, TimestampTzGetDatum(rows[i].joined_at), false);
		put_in_column(&columns[SERVED], i, TimestampTzGetDatum(rows[i].served_at), rows[i].served_at == 0);
		put_in_column(&columns[READY], i, TimestampTzGetDatum(rows[i].ready_at), rows[i].ready_at == 0);
		put_in_column(&columns[KEYS], i, Int64GetDatum(rows[i].place_key), rows[i].place_key == 0);
	}
	values[0] = UUIDPGetDatum(&target->id);
	values[1] = CStringGetTextDatum(vq_lane_names[target->lane]);
	for (int c = 0; c < COLUMNS; c++)
		values[2 + c] = column_array(&columns[c], n);
	written = vq_execute(VQ_INSERT_SESSIONS, values, NULL, &caller);

	/* They come back in the order they were given. */
	for (int i = 0, w = 0; i < n; i++)
	{
		bool		isnull;

		if (w < (int) written &&
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[w], SPI_tuptable->tupdesc, 1, &isnull)) == rows[i].ticket)
			w++;
		else
			rows[i].ticket = 0;
	}
	vq_executed(&caller);
}

static void
write_rows(const Target *target, VqRow *rows, int n)
{
	if (vq_may_insert())
		vq_insert_sessions(target->queue, rows, n);
	else
		insert_rows(target, rows, n);
}

/* Where not all may join: those who have a live session, all others refused. */
static bool
all_have_sessions(const Target *target, const Datum *users, VqRow *rows, int n)
{
	for (int i = 0; i < n; i++)
		if (!vq_fetch_live(&target->id, DatumGetUUIDP(users[i]), NULL, &rows[i]))
			return false;
	return true;
}

static int
by_user(const void *a, const void *b)
{
	return memcmp(DatumGetUUIDP(*(const Datum *) a), DatumGetUUIDP(*(const Datum *) b), UUID_LEN);
}

/* How many different users have no live session. */
static int
count_newcomers(const Target *target, const Datum *users, int n)
{
	Datum	   *sorted = palloc(n * sizeof(Datum));
	int			newcomers = 0;
	VqRow		row;

	memcpy(sorted, users, n * sizeof(Datum));
	qsort(sorted, n, sizeof(Datum), by_user);
	for (int i = 0; i < n; i++)
		if ((i == 0 || by_user(&sorted[i - 1], &sorted[i]) != 0) &&
			!vq_fetch_live(&target->id, DatumGetUUIDP(sorted[i]), NULL, &row))
			newcomers++;
	pfree(sorted);
	return newcomers;
}

/* Where there may not be room for all at once: newcomers one by one, past those who have a session. */
static void
join_newcomers(const Target *target, const Datum *users, VqRow *rows, int n)
{
	for (int i = 0; i < n; i++)
		if (!vq_fetch_live(&target->id, DatumGetUUIDP(users[i]), NULL, &rows[i]))
			join_user(target, DatumGetUUIDP(users[i]), false, (Datum) 0, (Datum) 0, NULL, &rows[i]);
}

static void
join_users(const Target *target, const Datum *users, VqRow *rows, int n)
{
	int			mark = vq_pending_mark();
	VqIssue		issue;

	if (!admits(target))
	{
		if (all_have_sessions(target, users, rows, n))
			return;
		refuse_state(target);
	}
	if (overfull(target, n) && overfull(target, count_newcomers(target, users, n)))
	{
		if (all_have_sessions(target, users, rows, n))
			return;
		refuse_full(target);
	}
	for (int i = 0; i < n; i++)
		begin_row(target, DatumGetUUIDP(users[i]), &rows[i]);
	issue = prepare_rows(target, rows, n);
	if (issue != VQ_ISSUED)
	{
		vq_drop_unconfirmed(mark);
		if (issue == VQ_OVER_QUOTA)
			join_newcomers(target, users, rows, n);
		else if (!all_have_sessions(target, users, rows, n))
			refuse_ticket(target, issue);
		return;
	}
	write_rows(target, rows, n);
	vq_drop_unconfirmed(mark);
	for (int i = 0; i < n; i++)
		if (rows[i].ticket == 0 &&
			!vq_fetch_live(&target->id, DatumGetUUIDP(users[i]), NULL, &rows[i]))
			join_user(target, DatumGetUUIDP(users[i]), false, (Datum) 0, (Datum) 0, NULL, &rows[i]);
}

static int
users_argument(FunctionCallInfo fcinfo, Datum **users)
{
	ArrayType  *array;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(1))
		vq_null_argument("user_ids");
	array = PG_GETARG_ARRAYTYPE_P(1);
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > MAX_USERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("user_ids has too many elements"),
				 errdetail("No more than %d users can join in one call.", MAX_USERS),
				 errhint("Call the function again for more.")));
	deconstruct_array(array, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, users, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("user_ids must not contain nulls"),
					 errdetail("Element %d is null.", i + 1),
					 errhint("Leave it out, or use gen_random_uuid() for a user without an id.")));
	return n;
}

static void
put_places(ReturnSetInfo *rsinfo, VqPlace *place, const VqRow *rows, int n)
{
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "vqueue places",
													  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row_context);

	for (int i = 0; i < n; i++)
	{
		Datum		values[VQ_PLACE_COLUMNS];
		bool		nulls[VQ_PLACE_COLUMNS];

		place->row = rows[i];
		vq_locate(place, true);
		vq_place_values(place, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
}

PG_FUNCTION_INFO_V1(vqueue_join_many);
Datum
vqueue_join_many(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Target		target;
	Datum	   *users;
	VqRow	   *rows;
	VqPlace		place = {0};
	int			n = users_argument(fcinfo, &users);

	InitMaterializedSRF(fcinfo, 0);
	get_target(fcinfo, "vqueue.join_many()", 2, &target);
	if (n == 0)
		return (Datum) 0;
	rows = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(VqRow));
	join_users(&target, users, rows, n);

	strlcpy(place.queue, target.settings.name, VQ_NAME_SIZE);
	put_places(rsinfo, &place, rows, n);
	return (Datum) 0;
}
