/*
 * grant.c
 *		What is done as the owner for others, after their level was looked at:
 *		giving and taking access for an admin, and deleting rows for an operator.
 *
 * The owner of the extension's objects alone can grant rights on them.  And who
 * has the right to delete from a table has that to lock it, too.
 */
#include "postgres.h"

#include "access.h"
#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "place.h"
#include "statement.h"
#include "table.h"
#include "utils/builtins.h"

/* The tenant of an argument, which is as unknown to whom has no level there as one that never was. */
static void
tenant_argument(FunctionCallInfo fcinfo, int n, pg_uuid_t *id)
{
	char	   *name;
	int			levels;

	if (PG_ARGISNULL(n))
		vq_null_argument("tenant");
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	levels = vq_fetch_tenant(name, id) ? vq_levels(id) : 0;
	if (levels == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tenant \"%s\" does not exist", name),
				 errdetail("There is none of this name to which this role has access."),
				 errhint("The owner of the extension makes one with vqueue.create_tenant().")));
	if ((levels & VQ_MAY_GRANT) == 0)
		vq_refuse_level(name, VQ_MAY_GRANT);
}

PG_FUNCTION_INFO_V1(vqueue_grant_access);
Datum
vqueue_grant_access(PG_FUNCTION_ARGS)
{
	pg_uuid_t	tenant;
	Datum		values[4];
	VqCaller	caller;

	PreventCommandIfReadOnly("vqueue.grant_access()");
	if (PG_ARGISNULL(0))
		vq_null_argument("role");
	if (PG_ARGISNULL(2))
		vq_null_argument("level");
	tenant_argument(fcinfo, 1, &tenant);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = UUIDPGetDatum(&tenant);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = ObjectIdGetDatum(GetUserId());
	(void) vq_execute(VQ_GRANT_ACCESS, values, NULL, &caller);
	vq_executed(&caller);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(vqueue_revoke_access);
Datum
vqueue_revoke_access(PG_FUNCTION_ARGS)
{
	pg_uuid_t	tenant;
	Datum		values[2];
	VqCaller	caller;
	bool		isnull;
	bool		had;

	PreventCommandIfReadOnly("vqueue.revoke_access()");
	if (PG_ARGISNULL(0))
		vq_null_argument("role");
	tenant_argument(fcinfo, 1, &tenant);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = UUIDPGetDatum(&tenant);
	(void) vq_execute(VQ_REVOKE_ACCESS, values, NULL, &caller);
	had = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	vq_executed(&caller);
	PG_RETURN_BOOL(had);
}

PG_FUNCTION_INFO_V1(vqueue_delete_queue);
Datum
vqueue_delete_queue(PG_FUNCTION_ARGS)
{
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	VqCaller	caller;

	PreventCommandIfReadOnly("vqueue.drop_queue()");
	if (vq_may_queue(PG_GETARG_UUID_P(0), VQ_MAY_STEER))
	{
		(void) vq_execute(VQ_DELETE_QUEUE, values, NULL, &caller);
		vq_executed(&caller);
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(vqueue_delete_ended);
Datum
vqueue_delete_ended(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[4];
	Datum		result[2] = {Int64GetDatum(0), (Datum) 0};
	bool		nulls[2] = {false, true};
	VqCaller	caller;

	PreventCommandIfReadOnly("vqueue.purge()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (vq_may_queue(PG_GETARG_UUID_P(0), VQ_MAY_STEER))
	{
		for (int i = 0; i < (int) lengthof(values); i++)
			values[i] = PG_GETARG_DATUM(i);
		(void) vq_execute(VQ_DELETE_ENDED, values, NULL, &caller);
		for (int i = 0; i < (int) lengthof(result); i++)
			result[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
		vq_executed(&caller);
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), result, nulls));
}
