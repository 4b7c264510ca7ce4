/*
 * constant.c
 *		The floor of every function that returns a place: the same row, always.
 *
 * The row is read from the table bench.sample at the first call in a process,
 * and has whatever columns that has, so that it keeps the shape of a place
 * when a place gets another column.  From then on a call only forms the row
 * and returns it: the least that a function in C can do for a row of that shape.
 * Arguments, if there are any, are not looked at.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/datum.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(constant_place);

static TupleDesc shape = NULL;
static Datum *values;
static bool *nulls;

static void
read_sample(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "constant_place has to return a composite type");
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	SPI_connect();
	if (SPI_execute("SELECT * FROM bench.sample", true, 1) != SPI_OK_SELECT || SPI_processed != 1 ||
		SPI_tuptable->tupdesc->natts != desc->natts)
		elog(ERROR, "bench.sample has not one row of the shape that is returned");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (TupleDescAttr(SPI_tuptable->tupdesc, i)->atttypid != column->atttypid)
			elog(ERROR, "column %d of bench.sample has another type", i + 1);
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
		if (!nulls[i])
		{
			/* SPI's memory ends with SPI_finish */
			MemoryContextSwitchTo(TopMemoryContext);
			values[i] = datumCopy(values[i], column->attbyval, column->attlen);
		}
	}
	SPI_finish();
	MemoryContextSwitchTo(old);
	shape = desc;
}

Datum
constant_place(PG_FUNCTION_ARGS)
{
	if (shape == NULL)
		read_sample(fcinfo);
	return HeapTupleGetDatum(heap_form_tuple(shape, values, nulls));
}
