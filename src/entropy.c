/*
 * entropy.c
 *		Cryptographically strong random numbers, drawn in advance.
 *
 * One call of pg_strong_random costs as much as a good part of a row's insertion,
 * whether it gives 4 bytes or 400.  So each process draws some for the next ids
 * at once.  What was handed out is wiped, and a process does not go on with what
 * the one that it was forked from has drawn.
 */
#include "postgres.h"

#include "entropy.h"
#include "miscadmin.h"

#define STORE 512

static struct
{
	int			pid;			/* of the process that has drawn them */
	Size		left;			/* bytes not handed out, at the end */
	unsigned char bytes[STORE];
}			store;

static bool
fill_store(void)
{
	store.left = 0;
	if (!pg_strong_random(store.bytes, STORE))
		return false;
	store.pid = MyProcPid;
	store.left = STORE;
	return true;
}

bool
vq_strong_random(void *bytes, Size n)
{
	unsigned char *from;

	if (n > STORE)
		return pg_strong_random(bytes, n);
	if ((store.left < n || store.pid != MyProcPid) && !fill_store())
		return false;
	from = store.bytes + STORE - store.left;
	memcpy(bytes, from, n);
	explicit_bzero(from, n);
	store.left -= n;
	return true;
}

void
vq_no_randomness(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not generate random values"),
			 errdetail("The server's source of random numbers gave none.")));
}

void
vq_random_uuid(pg_uuid_t *id)
{
	if (!vq_strong_random(id->data, UUID_LEN))
		vq_no_randomness();
	id->data[6] = (id->data[6] & 0x0f) | 0x40;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}
