/*
 * share.c
 *		A share of a queue's newcomers, told by their tickets alone.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "share.h"

void
vq_share_begin(VqShare *share, double size, int64 from, const unsigned char *id)
{
	uint64		salt = 0;

	for (int i = 0; i < VQ_SHARE_ID_SIZE; i++)
		salt = vq_share_mix(salt + UINT64CONST(0x9e3779b97f4a7c15) + id[i]);
	share->from = Max(from, 1);
	share->salt = salt;
	share->below = (uint64) ceil(Min(Max(size, 0), 1) * 4294967296.0);
}
