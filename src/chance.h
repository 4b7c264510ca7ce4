/*
 * chance.h
 *		The places of newcomers, random or behind all others.
 *
 * Callers hold the queue's lock, exclusively where something changes.
 */
#ifndef VQ_CHANCE_H
#define VQ_CHANCE_H

#include "shmem.h"

/*
 * The place_key of a newcomer in a lane: random if the method is, otherwise such
 * that nobody with a key is overtaken, which is 0 where nobody has one.  False
 * without a source of randomness.
 */
extern bool vq_new_key(const VqQueue *queue, int lane, int64 *place_key);

/* Somebody was let in out of a lane, where nobody stands by this key any more. */
extern void vq_note_passed(VqQueue *queue, int lane, int64 ticket, int64 place_key);

/* After a rebuild: how far the lanes have got, as far as those who stand tell. */
extern void vq_guess_passed(VqQueue *queue);

#endif							/* VQ_CHANCE_H */
