/*
 * release.c
 *		Letting the next sessions in: the worker's step, also callable by hand.
 */
#include "postgres.h"

#include "admit.h"
#include "audit.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "guc.h"
#include "insert.h"
#include "miscadmin.h"
#include "pending.h"
#include "place.h"
#include "queue.h"
#include "release.h"
#include "reserve.h"
#include "statement.h"
#include "table.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/* Look no further than this past locked rows in one step, */
#define MAX_PASSED 1000

/* nor, in the worker, which has other queues, for longer (microseconds). */
#define MAX_PASSING INT64CONST(50000)

#define MAX_BY_HAND 1000000

static int
by_ticket(const void *a, const void *b)
{
	int64		x = ((const VqReleased *) a)->ticket;
	int64		y = ((const VqReleased *) b)->ticket;

	return x < y ? -1 : x > y;
}

/* Write the rows of reserved tickets by SQL, for others may have a say in it; appends those let in to released. */
static int
update_rows(const pg_uuid_t *id, const int64 *tickets, int n, int64 at, bool called, VqReleased *released)
{
	Datum	   *elements = palloc(n * sizeof(Datum));
	Datum		values[4];
	VqCaller	caller;
	int			level = vq_force_index_plans();
	int			written;

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(tickets[i]);
	values[0] = UUIDPGetDatum(id);
	values[1] = PointerGetDatum(construct_array(elements, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[2] = TimestampTzGetDatum(at);
	values[3] = BoolGetDatum(called);
	written = vq_execute(VQ_RELEASE_SESSIONS, values, NULL, &caller);
	for (int i = 0; i < written; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		released[i].id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 1, &isnull));
		released[i].user_id = *DatumGetUUIDP(SPI_getbinval(tuple, desc, 2, &isnull));
		released[i].ticket = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
		released[i].at = at;
	}
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	pfree(elements);
	return written;
}

/* Put those first who have to claim their slots; how many. */
static int
part_called(int64 *tickets, const bool *called, int n)
{
	int64	   *others = palloc(n * sizeof(int64));
	int			first = 0;
	int			rest = 0;

	for (int i = 0; i < n; i++)
		if (called[i])
			tickets[first++] = tickets[i];
		else
			others[rest++] = tickets[i];
	memcpy(tickets + first, others, rest * sizeof(int64));
	pfree(others);
	return first;
}

static int
write_alike(VqQueue *queue, const pg_uuid_t *id, const int64 *tickets, int n, int64 at, bool called,
			VqReleased *released)
{
	if (n == 0)
		return 0;
	if (vq_may_update())
		return vq_admit_rows(queue, id, tickets, n, at, called, released);
	return update_rows(id, tickets, n, at, called, released);
}

static int
write_rows(VqQueue *queue, const pg_uuid_t *id, int64 *tickets, int n, int64 at, const bool *called,
		   VqReleased *released)
{
	int			first = part_called(tickets, called, n);
	int			written = write_alike(queue, id, tickets, first, at, true, released);

	written += write_alike(queue, id, tickets + first, n - first, at, false, released + written);
	qsort(released, written, sizeof(VqReleased), by_ticket);
	return written;
}

/* Add to passed what was reserved but not written; both released and passed are sorted. */
static int
add_passed(const int64 *tickets, int n, const VqReleased *released, int n_released,
		   int64 *passed, int n_passed)
{
	for (int i = 0; i < n; i++)
	{
		VqReleased	key;

		key.ticket = tickets[i];
		if (bsearch(&key, released, n_released, sizeof(VqReleased), by_ticket) == NULL)
			passed[n_passed++] = tickets[i];
	}
	qsort(passed, n_passed, sizeof(int64), vq_compare_tickets);
	return n_passed;
}

/*
 * What is free is reserved once and written.  Only if rows were locked is there
 * another round, and that looks from the head of the line again, for somebody
 * may have committed in between.
 */
int
vq_release_step(VqQueue *queue, const pg_uuid_t *id, int n, bool by_hand,
				VqReleased **released, int *n_passed)
{
	int64	   *tickets = palloc((n + MAX_PASSED + n) * sizeof(int64));
	int64	   *passed = palloc((MAX_PASSED + n) * sizeof(int64));
	bool	   *called = palloc(n * sizeof(bool));
	int			flags = by_hand ? VQ_ANNOUNCE : 0;	/* the worker announces its own as it goes */
	int			done = 0;
	int64		passing_since = 0;

	*released = palloc(n * sizeof(VqReleased));
	*n_passed = 0;
	while (done < n && *n_passed < MAX_PASSED)
	{
		int			mark = vq_pending_mark();
		int64		at;
		int			reserved = vq_reserve_slots(queue, id, passed, *n_passed, n - done, by_hand, flags,
												tickets, &at, called);
		int			written;

		CHECK_FOR_INTERRUPTS();
		if (reserved == 0)
			break;
		written = write_rows(queue, id, tickets, reserved, at, called, *released + done);
		vq_drop_unconfirmed(mark);
		if (written < reserved)
			*n_passed = add_passed(tickets, reserved, *released + done, written, passed, *n_passed);
		done += written;
		if (written == reserved)
			break;
		if (passing_since == 0)
			passing_since = vq_now().mono;
		else if (!by_hand && vq_now().mono - passing_since > MAX_PASSING)
			break;
	}
	pfree(tickets);
	pfree(passed);
	pfree(called);
	return done;
}

static void
audit_release(const pg_uuid_t *id, const VqSettings *settings, int n, int done)
{
	VqAction	action = {"release", &settings->tenant_id, id, settings->name};

	action.after = psprintf("{\"asked\": %d, \"released\": %d}", n, done);
	vq_audit(&action);
}

PG_FUNCTION_INFO_V1(vqueue_release);
Datum
vqueue_release(PG_FUNCTION_ARGS)
{
	pg_uuid_t	id;
	VqQueue    *queue;
	VqSettings	settings;
	VqReleased *released;
	int			passed;
	int			done = 0;
	int			n;

	PreventCommandIfReadOnly("vqueue.release()");
	if (PG_ARGISNULL(0))
		vq_null_argument("queue");
	if (PG_ARGISNULL(1))
		vq_null_argument("n");
	n = PG_GETARG_INT32(1);
	if (n < 1 || n > MAX_BY_HAND)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of sessions %d is out of range", n),
				 errdetail("From 1 to %d can be released by hand.", MAX_BY_HAND),
				 errhint("Call the function again for more.")));
	(void) vq_queue_of(VQ_MAY_STEER, PG_GETARG_TEXT_PP(0), &id);
	vq_lock_against_drop(&id);
	queue = vq_queue_of(VQ_MAY_STEER, PG_GETARG_TEXT_PP(0), &id);
	vq_settings_of(queue, &settings);
	if (settings.state == VQ_CLOSED)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" is closed", settings.name),
				 errdetail("A closed queue lets nobody in."),
				 errhint("Call vqueue.drain() to let in those who wait, or vqueue.open().")));
	while (done < n)
	{
		int			batch = Min(n - done, vq_release_batch);
		int			got = vq_release_step(queue, &id, batch, true, &released, &passed);

		pfree(released);
		done += got;
		if (got < batch)
			break;
	}
	audit_release(&id, &settings, n, done);
	PG_RETURN_INT32(done);
}
