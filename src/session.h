/*
 * session.h
 *		The session that a SQL function is called for.
 */
#ifndef VQ_SESSION_H
#define VQ_SESSION_H

#include "place.h"

/*
 * The session that the first argument means, with the name of its queue; as it
 * is now, or as lookup.h says.  Errors: 22004 null; 42704 there is none, or it is
 * another tenant's.
 */
extern void vq_get_session(FunctionCallInfo fcinfo, bool as_is_now, VqPlace *place);

/* What poll (alive) and status answer; the same errors. */
extern void vq_look(FunctionCallInfo fcinfo, bool alive, VqPlace *place);

/* The SQL functions themselves, for whom a scan recognizes. */
extern Datum vqueue_poll(PG_FUNCTION_ARGS);
extern Datum vqueue_status(PG_FUNCTION_ARGS);

#endif							/* VQ_SESSION_H */
