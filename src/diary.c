/*
 * diary.c
 *		The worker's diary: when it is to look at which queue.
 *
 * Queues that are to come are in a heap by their time.  Those whose time has come
 * stand behind others of their tenant, and the tenants take turns.
 */
#include "postgres.h"

#include "diary.h"
#include "due.h"
#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* A queue that is known. */
typedef struct Due
{
	VqQueue    *queue;			/* key of the table */
	pairingheap_node node;
	dlist_node	link;
	int64		at;				/* mono time */
	bool		queued;			/* is in the heap */
	bool		in_turn;		/* its time has come: is in its tenant's list instead */
	struct Party *party;		/* then: that tenant */
} Due;

/* A tenant, some queue of which has had its time come. */
typedef struct Party
{
	pg_uuid_t	id;				/* key of the table */
	dlist_node	link;			/* in parties */
	dlist_head	dues;			/* the first to be visited first; if empty it has no turn */
} Party;

static HTAB *known;				/* Due by queue */
static pairingheap *heap;
static HTAB *tenants;			/* Party by tenant */
static dlist_head parties;		/* those with a queue to be visited, the next in turn first */

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
	if (tenants != NULL)
		hash_destroy(tenants);
	dlist_init(&parties);
	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(Party);
	tenants = hash_create("vqueue turns", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Take a queue out of its tenant's list, and a tenant without any out of the turns. */
static void
leave_turn(Due *due)
{
	Party	   *party = due->party;

	dlist_delete(&due->link);
	due->in_turn = false;
	if (!dlist_is_empty(&party->dues))
		return;
	dlist_delete(&party->link);
	(void) hash_search(tenants, &party->id, HASH_REMOVE, NULL);
}

void
vq_note_due(VqQueue *queue, int64 at)
{
	bool		found;
	Due		   *due = hash_search(known, &queue, HASH_ENTER, &found);

	if (!found)
		due->queued = due->in_turn = false;
	if (due->in_turn && at != VQ_NEVER)
		return;					/* it comes before that */
	if (due->in_turn)
		leave_turn(due);
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

static void
enter_turn(Due *due)
{
	pg_uuid_t	id;
	Party	   *party;
	bool		found;

	LWLockAcquire(&due->queue->lock, LW_SHARED);
	id = due->queue->settings.tenant_id;
	LWLockRelease(&due->queue->lock);
	party = hash_search(tenants, &id, HASH_ENTER, &found);
	if (!found)
	{
		dlist_init(&party->dues);
		dlist_push_tail(&parties, &party->link);
	}
	dlist_push_tail(&party->dues, &due->link);
	due->party = party;
	due->in_turn = true;
}

void
vq_begin_turns(int64 now)
{
	while (vq_first_due() <= now)
	{
		Due		   *due = first();

		pairingheap_remove(heap, &due->node);
		due->queued = false;
		enter_turn(due);
	}
}

bool
vq_any_in_turn(void)
{
	return !dlist_is_empty(&parties);
}

VqQueue *
vq_next_in_turn(void)
{
	Party	   *party;
	Due		   *due;

	if (dlist_is_empty(&parties))
		return NULL;
	party = dlist_head_element(Party, link, &parties);
	due = dlist_head_element(Due, link, &party->dues);

	/* The next one is another tenant's, if there is one. */
	dlist_delete(&party->link);
	dlist_push_tail(&parties, &party->link);
	leave_turn(due);
	due->at = VQ_NEVER;
	return due->queue;
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
