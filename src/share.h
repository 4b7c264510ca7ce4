/*
 * share.h
 *		A share of a queue's newcomers, told by their tickets alone.
 *
 * Who belongs to it is known of every ticket for good, by whoever knows the share:
 * nothing is kept of anybody, and restarts, standbys and replicas agree.  Tickets
 * that follow each other are in it independently, as by lot; shares with other ids
 * are drawn anew.
 *
 * Knows nothing of the server and takes no locks.
 */
#ifndef VQ_SHARE_H
#define VQ_SHARE_H

#define VQ_SHARE_ID_SIZE 16

/* Zeroed is nobody. */
typedef struct VqShare
{
	int64		from;			/* the first ticket that may be in it; 0: none is */
	uint64		salt;
	uint64		below;			/* of 2^32 numbers, so many are in it */
} VqShare;

/* A share of 0 to 1 of the tickets from one on; there is somebody in it unless it is 0. */
extern void vq_share_begin(VqShare *share, double size, int64 from, const unsigned char *id);

/* Each bit of the result depends on each of x: the finalizer of splitmix64. */
static inline uint64
vq_share_mix(uint64 x)
{
	x = (x ^ x >> 30) * UINT64CONST(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64CONST(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline bool
vq_share_has(const VqShare *share, int64 ticket)
{
	return share->from != 0 && ticket >= share->from &&
		vq_share_mix(share->salt + (uint64) ticket * UINT64CONST(0x9e3779b97f4a7c15)) >> 32 < share->below;
}

#endif							/* VQ_SHARE_H */
