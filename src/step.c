/*
 * step.c
 *		What changes a session: claim, extend, complete and leave, and an
 *		operator's remove, readmit and set_priority.  Joining is in join.c,
 *		being let in is in release.c.
 *
 * Each step is one statement that says itself from which status it starts, so
 * that two steps of one session cannot both be taken.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "session.h"
#include "statement.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define MAX_REASON 1000
#define MAX_VALUES 5

typedef struct Step
{
	const char *function;		/* for errors */
	int			levels;			/* of which the caller must have one */

	/* Raises an error if the step cannot be taken from here; false if there is nothing to do. */
	bool		(*wanted) (const VqRow *row);
	VqStatement statement;		/* its first parameter is the session; returns the row as written */
	Datum		values[MAX_VALUES];
	const char *nulls;			/* as SPI has them */
	int			time_at;		/* of the values the one that is the present time; 0: none */
	bool		revives;		/* may meet another live session of its user */
	const char *action;			/* of an operator, to be logged; NULL: of the user */
	const text *reason;			/* that the operator gave, or NULL */
} Step;

static void
not_possible(const VqRow *row, const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("session \"%s\" %s", vq_uuid_text(&row->id), what),
			 errdetail("%s", detail),
			 errhint("%s", hint)));
}

static void
must_not_wait(const VqRow *row, const char *detail, const char *hint)
{
	if (row->status == VQ_WAITING)
		not_possible(row, "is still waiting", detail, hint);
}

static void
must_have_claimed(const VqRow *row, const char *detail)
{
	if (row->status == VQ_IS_READY)
		not_possible(row, "has not claimed its slot", detail,
					 "Call vqueue.claim() first, or vqueue.leave() for a user who walks away.");
}

static void
must_be_live(const VqRow *row)
{
	if (!vq_is_live(row))
		not_possible(row, "has already ended",
					 psprintf("Its status is %s.", vq_status_names[row->status]),
					 "Join again with vqueue.join().");
}

/*
 * Try the step; false if somebody else was faster.  The row is then as it was
 * written: it may have been let in, or moved, while we waited for it.
 */
static bool
try_step(Step *step, VqRow *row, TimestampTz now)
{
	VqCaller	caller;
	uint64		n;

	step->values[0] = UUIDPGetDatum(&row->id);
	if (step->time_at > 0)
		step->values[step->time_at] = TimestampTzGetDatum(now);
	n = vq_execute(step->statement, step->values, step->nulls, &caller);
	if (n > 0)
		vq_read_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, row);
	vq_executed(&caller);
	return n > 0;
}

/*
 * The same, where the unique index of live sessions may object: false as well if
 * its user has joined anew, which a look at the tables then tells.  Who is just
 * about to join is waited for by the index.
 */
static bool
try_revival(Step *step, VqRow *row, TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool taken = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		taken = try_step(step, row, now);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
			ReThrowError(error);
		FreeErrorData(error);
	}
	PG_END_TRY();
	return taken;
}

static void
take_step(FunctionCallInfo fcinfo, Step *step, VqPlace *place)
{
	PreventCommandIfReadOnly(step->function);
	for (int tries = 0;; tries++)
	{
		TimestampTz now = GetCurrentTimestamp();
		VqRow		before;

		CHECK_FOR_INTERRUPTS();
		vq_get_session(fcinfo, step->levels, true, place);
		before = place->row;
		if (!step->wanted(&place->row))
			break;
		if (step->revives ? try_revival(step, &place->row, now) : try_step(step, &place->row, now))
		{
			if (step->action != NULL)
				vq_audit_step(step->action, place->queue, &before, &place->row, step->reason);
			break;
		}

		/* A transaction with one snapshot may never get to see the row as it is. */
		if (IsolationUsesXactSnapshot() && tries > 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access to session \"%s\"", vq_uuid_text(&place->row.id)),
					 errhint("Run the transaction again.")));
	}
	vq_locate(place, false);
}

static Datum
step_datum(FunctionCallInfo fcinfo, Step *step)
{
	VqPlace		place;

	take_step(fcinfo, step, &place);
	return vq_place_datum(fcinfo, &place);
}

/* ---- arguments ---- */

/* A reason, or 0 for none. */
static Datum
reason_argument(FunctionCallInfo fcinfo, int n)
{
	text	   *reason = PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);

	if (reason && VARSIZE_ANY_EXHDR(reason) > MAX_REASON)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason is too long"),
				 errdetail("It has %d bytes, the limit is %d.", (int) VARSIZE_ANY_EXHDR(reason), MAX_REASON),
				 errhint("Shorten it.")));
	return PointerGetDatum(reason);
}

/* ---- endings ---- */

static bool
wants_end(const VqRow *row)
{
	if (!vq_is_live(row))
		ereport(NOTICE,
				(errmsg("session \"%s\" has already ended", vq_uuid_text(&row->id)),
				 errdetail("Its status is %s.", vq_status_names[row->status])));
	return vq_is_live(row);
}

static bool
wants_completion(const VqRow *row)
{
	must_not_wait(row, "Only a session that was let in can be completed.",
				  "Call vqueue.leave() for a user who walks away from the line.");
	must_have_claimed(row, "Only a session that has claimed its slot can be completed.");
	return wants_end(row);
}

static void
end_session(FunctionCallInfo fcinfo, const char *function, VqStatus status, Datum reason, VqPlace *place)
{
	Step		step = {function, status == VQ_REMOVED ? VQ_MAY_STEER : VQ_MAY_MOVE, wants_end, VQ_END_SESSION};

	if (status == VQ_COMPLETED)
		step.wanted = wants_completion;
	step.values[1] = CStringGetTextDatum(vq_status_names[status]);
	step.time_at = 2;
	step.values[3] = reason;
	step.values[4] = BoolGetDatum(status != VQ_COMPLETED);
	step.nulls = reason == (Datum) 0 ? "   n " : NULL;
	step.action = status == VQ_REMOVED ? "remove" : NULL;
	step.reason = (const text *) DatumGetPointer(reason);
	take_step(fcinfo, &step, place);
}

void
vq_leave(FunctionCallInfo fcinfo, VqPlace *place)
{
	end_session(fcinfo, "vqueue.leave()", VQ_LEFT, (Datum) 0, place);
}

PG_FUNCTION_INFO_V1(vqueue_leave);
Datum
vqueue_leave(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_leave(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

void
vq_complete(FunctionCallInfo fcinfo, VqPlace *place)
{
	end_session(fcinfo, "vqueue.complete()", VQ_COMPLETED, (Datum) 0, place);
}

PG_FUNCTION_INFO_V1(vqueue_complete);
Datum
vqueue_complete(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_complete(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

PG_FUNCTION_INFO_V1(vqueue_remove);
Datum
vqueue_remove(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	end_session(fcinfo, "vqueue.remove()", VQ_REMOVED, reason_argument(fcinfo, 1), &place);
	return vq_place_datum(fcinfo, &place);
}

/* ---- the slot ---- */

/* Claimed once, it is claimed: again is no error, and no second time. */
static bool
wants_claim(const VqRow *row)
{
	must_not_wait(row, "Only a session that was called can claim its slot.",
				  "Poll until the status is ready, or listen for its release.");
	must_be_live(row);
	return row->status == VQ_IS_READY;
}

void
vq_claim(FunctionCallInfo fcinfo, VqPlace *place)
{
	Step		step = {"vqueue.claim()", VQ_MAY_MOVE, wants_claim, VQ_CLAIM_SESSION};

	step.time_at = 1;
	take_step(fcinfo, &step, place);
}

PG_FUNCTION_INFO_V1(vqueue_claim);
Datum
vqueue_claim(PG_FUNCTION_ARGS)
{
	VqPlace		place;

	vq_claim(fcinfo, &place);
	return vq_place_datum(fcinfo, &place);
}

static bool
wants_extension(const VqRow *row)
{
	must_not_wait(row, "Only a serving session has a lease to be extended.",
				  "Poll or call vqueue.heartbeat() to show that a waiting user is there.");
	must_be_live(row);
	must_have_claimed(row, "Only a serving session has a lease to be extended.");
	return true;
}

PG_FUNCTION_INFO_V1(vqueue_extend);
Datum
vqueue_extend(PG_FUNCTION_ARGS)
{
	Step		step = {"vqueue.extend()", VQ_MAY_MOVE, wants_extension, VQ_EXTEND_SESSION};

	step.time_at = 1;
	return step_datum(fcinfo, &step);
}

/* ---- the line ---- */

static bool
wants_readmission(const VqRow *row)
{
	VqRow		live;

	if (vq_is_live(row))
		not_possible(row, "has not ended", psprintf("Its status is %s.", vq_status_names[row->status]),
					 "Only a session that is no_show, expired or abandoned can be readmitted.");
	if (row->status != VQ_NO_SHOW && row->status != VQ_EXPIRED && row->status != VQ_ABANDONED)
		not_possible(row, "cannot be readmitted", psprintf("Its status is %s.", vq_status_names[row->status]),
					 "Only a session that is no_show, expired or abandoned can be readmitted; others join again.");
	if (vq_fetch_live(&row->queue_id, &row->user_id, NULL, &live))
		not_possible(row, "cannot be readmitted", "Its user has joined anew.",
					 "Its newer session has a place of its own; remove that one first.");
	return true;
}

PG_FUNCTION_INFO_V1(vqueue_readmit);
Datum
vqueue_readmit(PG_FUNCTION_ARGS)
{
	Step		step = {"vqueue.readmit()", VQ_MAY_STEER, wants_readmission, VQ_READMIT_SESSION};

	step.values[1] = reason_argument(fcinfo, 1);
	step.nulls = step.values[1] == (Datum) 0 ? " n" : NULL;
	step.revives = true;
	step.action = "readmit";
	step.reason = (const text *) DatumGetPointer(step.values[1]);
	return step_datum(fcinfo, &step);
}

static bool
wants_move(const VqRow *row)
{
	must_be_live(row);
	if (row->status != VQ_WAITING)
		not_possible(row, "does not wait any more", psprintf("Its status is %s.", vq_status_names[row->status]),
					 "Only a waiting session has a place in a lane.");
	return true;
}

PG_FUNCTION_INFO_V1(vqueue_set_priority);
Datum
vqueue_set_priority(PG_FUNCTION_ARGS)
{
	Step		step = {"vqueue.set_priority()", VQ_MAY_STEER, wants_move, VQ_MOVE_SESSION};

	step.values[1] = CStringGetTextDatum(vq_lane_names[vq_lane_argument(fcinfo, 1)]);
	step.action = "set_priority";
	return step_datum(fcinfo, &step);
}
