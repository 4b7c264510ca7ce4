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

#endif							/* VQ_SESSION_H */
