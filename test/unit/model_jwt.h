/*
 * model_jwt.h
 *		Random passes, genuine and tampered with, and random JSON.
 */
#ifndef VQ_MODEL_JWT_H
#define VQ_MODEL_JWT_H

#include "source.h"

#include "jwt.h"

/*
 * Passes until the source ends: what was written is read back, and whatever is
 * done to a token, none but the very same is genuine.  Aborts at the first breach;
 * returns how many tokens were tampered with.
 */
extern uint64 model_jwt_run(Source *source);

/* These bytes as a token, or as its header or claims: what is accepted is what the bytes say. */
extern void model_jwt_bytes(const uint8 *bytes, size_t size);

#endif							/* VQ_MODEL_JWT_H */
