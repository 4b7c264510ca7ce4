/*
 * diary.c
 *		The worker's diary: when it is to look at which queue.
 */
#include "postgres.h"

#include "diary.h"
#include "due.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* A queue in the heap. */
typedef struct Due
{
	VqQueue    *queue;			/* key of the table */
	pairingheap_node node;
	int64		at;				/* mono time */
	bool		queued;			/* is in the heap */
} Due;

static HTAB *known;				/* Due by queue */
static pairingheap *heap;

static int
earlier(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(Due, node, a)->at;
	int64		y = pairingheap_const_container(Due, node, b)->at;

	return x < y ? 1 : x > y ? -1 : 0;
}

void
vq_clear_diary(void)
{
	HASHCTL		ctl = {0};

	if (known != NULL)
		hash_destroy(known);
	if (heap == NULL)
		heap = pairingheap_allocate(earlier, NULL);
	pairingheap_reset(heap);
	ctl.keysize = sizeof(VqQueue *);
	ctl.entrysize = sizeof(Due);
	ctl.hcxt = TopMemoryContext;
	known = hash_create("vqueue dues", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
vq_note_due(VqQueue *queue, int64 at)
{
	bool		found;
	Due		   *due = hash_search(known, &queue, HASH_ENTER, &found);

	if (!found)
		due->queued = false;
	if (due->queued)
		pairingheap_remove(heap, &due->node);
	due->at = at;
	due->queued = at != VQ_NEVER;
	if (due->queued)
		pairingheap_add(heap, &due->node);
}

void
vq_strike_queue(VqQueue *queue)
{
	vq_note_due(queue, VQ_NEVER);
	hash_search(known, &queue, HASH_REMOVE, NULL);
}

static Due *
first(void)
{
	return pairingheap_is_empty(heap) ? NULL : pairingheap_container(Due, node, pairingheap_first(heap));
}

int64
vq_first_due(void)
{
	return first() == NULL ? VQ_NEVER : first()->at;
}

VqQueue *
vq_first_queue(void)
{
	return first() == NULL ? NULL : first()->queue;
}

double
vq_poll_load_of_all(void)
{
	double		load = 0;
	HASH_SEQ_STATUS scan;
	Due		   *due;

	hash_seq_init(&scan, known);
	while ((due = hash_seq_search(&scan)) != NULL)
	{
		LWLockAcquire(&due->queue->lock, LW_SHARED);
		if (due->queue->dboid == MyDatabaseId)
			load += due->queue->poll_load;
		LWLockRelease(&due->queue->lock);
	}
	return load;
}
