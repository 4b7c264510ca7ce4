/*
 * entropy.h
 *		Cryptographically strong random numbers, drawn in advance.
 */
#ifndef VQ_ENTROPY_H
#define VQ_ENTROPY_H

#include "compat.h"
#include "utils/uuid.h"

/* As pg_strong_random: false if the source gives none.  Takes no lock and raises no error. */
extern bool vq_strong_random(void *bytes, Size n);

/* A random (version 4) uuid, as gen_random_uuid() makes.  Errors: XX000 no randomness. */
extern void vq_random_uuid(pg_uuid_t *id);

/* Errors: XX000. */
pg_noreturn extern void vq_no_randomness(void);

#endif							/* VQ_ENTROPY_H */
