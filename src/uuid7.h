/*
 * uuid7.h
 *		Version 7 uuids, which servers before 18 do not make.
 */
#ifndef VQ_UUID7_H
#define VQ_UUID7_H

#include "utils/uuid.h"

/* Milliseconds of the wall clock, then 74 bits of the strong random source. */
extern void vq_make_uuid7(pg_uuid_t *id);

#endif							/* VQ_UUID7_H */
