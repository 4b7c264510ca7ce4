/*
 * session.h
 *		The session that a SQL function is called for.
 */
#ifndef VQ_SESSION_H
#define VQ_SESSION_H

#include "access.h"
#include "place.h"

/*
 * The session that the first argument means, with the name of its queue; as it
 * is now, or as lookup.h says.  The caller must have one of the levels in the
 * current tenant, whose it must be.  Errors: 22004 null; 42704 there is none, or
 * it is another tenant's; as vq_current_tenant.
 */
extern void vq_get_session(FunctionCallInfo fcinfo, int levels, bool as_is_now, VqPlace *place);

/*
 * What the SQL functions of the same names answer, with their errors; for whom
 * needs no row made of it.  And these functions, for who recognizes their calls.
 */
extern void vq_poll(FunctionCallInfo fcinfo, VqPlace *place);
extern void vq_status(FunctionCallInfo fcinfo, VqPlace *place);
extern void vq_join(FunctionCallInfo fcinfo, VqPlace *place);
extern void vq_claim(FunctionCallInfo fcinfo, VqPlace *place);
extern void vq_complete(FunctionCallInfo fcinfo, VqPlace *place);
extern void vq_leave(FunctionCallInfo fcinfo, VqPlace *place);

extern Datum vqueue_poll(PG_FUNCTION_ARGS);
extern Datum vqueue_status(PG_FUNCTION_ARGS);
extern Datum vqueue_join(PG_FUNCTION_ARGS);
extern Datum vqueue_claim(PG_FUNCTION_ARGS);
extern Datum vqueue_complete(PG_FUNCTION_ARGS);
extern Datum vqueue_leave(PG_FUNCTION_ARGS);

#endif							/* VQ_SESSION_H */
