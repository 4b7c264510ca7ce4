/*
 * shmem.h
 *		The shared state: databases, queues, and the memory they live in.
 *
 * VqShared and its array of VqDatabase are in the main segment.  Queues and
 * their lines are in a DSA area, which the first backend that needs it makes.
 * The memory of a VqQueue is type-stable: it is recycled for another queue but
 * never freed, so a backend may keep a pointer over time and, having taken its
 * lock, see from the id whether it still is the queue that was meant.
 *
 * Lock order: VqShared.lock, then a partition of the registry, then one
 * VqQueue.lock, then VqDatabase.lock.  Nobody holds two queues' locks.
 */
#ifndef VQ_SHMEM_H
#define VQ_SHMEM_H

#include "compat.h"
#include "datatype/timestamp.h"
#include "estimate.h"
#include "figures.h"
#include "lanes.h"
#include "line.h"
#include "order.h"
#include "pacer.h"
#include "port/atomics.h"
#include "score.h"
#include "share.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/dsa.h"
#include "utils/uuid.h"

#define VQ_NAME_SIZE	201		/* a queue's name, with its terminator */
#define VQ_ERROR_SIZE	200
#define VQ_SECONDS		64		/* length of the rings of counts a second */

/* No ticket is above this, so that sums of tickets never overflow. */
#define VQ_MAX_TICKET	(INT64CONST(1) << 60)

/* Tickets for which the ceiling is raised ahead, at the least. */
#define VQ_CEILING_STEP 8192

/* Bits: a queue state may admit joins, releases, both or neither. */
typedef enum VqState
{
	VQ_CLOSED = 0,
	VQ_JOINS = 1,
	VQ_RELEASES = 2,
	VQ_PAUSED = VQ_JOINS,
	VQ_DRAINING = VQ_RELEASES,
	VQ_OPEN = VQ_JOINS | VQ_RELEASES
} VqState;

typedef enum VqMethod
{
	VQ_FIFO,
	VQ_PASSTHROUGH,
	VQ_REJECT,
	VQ_RANDOM,
	VQ_METHODS
} VqMethod;

/* Timeouts that are tried on a share of the newcomers; zeroed: none are. */
typedef struct VqTrial
{
	VqShare		share;
	int64		waiting_timeout;	/* of those in the share: what is not tried is as the queue's */
	int64		serving_timeout;
	int64		claim_timeout;
} VqTrial;

/* What memory keeps of a row of queues; timeouts in microseconds, 0 without one, moments 0 for none. */
typedef struct VqSettings
{
	pg_uuid_t	tenant_id;
	int64		version;		/* of the row; a lower one never replaces a higher */
	int32		rate_per_minute;
	int32		max_concurrent_users;
	int32		burst;			/* 0: vq_pacer_default_burst */
	int32		max_waiting;	/* 0: no limit */
	VqMethod	method;
	int32		weights[VQ_LANES];	/* of the lanes; all 0: strictly one after the other */
	int64		waiting_timeout;
	int64		serving_timeout;
	int64		claim_timeout;
	int64		session_retention;
	int64		pass_lifetime;
	int32		client_limit;	/* joins of one client in client_window; 0: any number */
	int64		client_window;
	TimestampTz prequeue_at;
	TimestampTz opens_at;
	TimestampTz closes_at;
	VqState		state;
	VqTrial		trial;			/* of queue_canaries; as of the same version (trial.h) */
	char		name[VQ_NAME_SIZE];
} VqSettings;

/* Counts by second of the monotonic clock; slot s % VQ_SECONDS is of second s. */
typedef struct VqRing
{
	int64		second;			/* the latest second counted */
	uint32		count[VQ_SECONDS];
} VqRing;

/* In which order the lanes stand; see standing.h.  Zeroed: by tickets. */
typedef struct VqStanding
{
	bool		ordered;		/* order[] decides, and has everybody who has a bit in a lane */
	int64		keyed;			/* of those the ones with a key other than 0 */
	VqOrder		order[VQ_LANES];
	uint32		drawn;			/* who were drawn, as far as that is known, which it is while one
								 * stands */
	int64		first_drawn;	/* the first and the last of their tickets */
	int64		last_drawn;
	VqRef		map;			/* their tickets, rising, then the places */
} VqStanding;

typedef enum VqDraftState
{
	VQ_DRAFT_NONE,
	VQ_DRAFT_LIVE,				/* follows every change, to take over when a draw commits */
	VQ_DRAFT_SPENT				/* what was in force before; to be freed */
} VqDraftState;

/*
 * A queue.  Every field is read under lock shared and written under lock
 * exclusive, unless it says otherwise.
 */
typedef struct VqQueue
{
	LWLock		lock;
	dsa_pointer self;			/* constant */
	dsa_pointer next;			/* next of its database, or of the free list; VqShared.lock */
	bool		attention;		/* is on the attention list; VqDatabase.lock */
	dsa_pointer next_attention; /* VqDatabase.lock */

	/* From here on, all is zeroed when the memory is recycled. */
	Oid			dboid;			/* InvalidOid while on the free list */
	pg_uuid_t	id;
	bool		nascent;		/* its row has not committed; nobody else uses it */
	bool		gone;			/* its row was deleted; the worker takes it out of memory */
	uint64		build;			/* the last rebuild that saw it, or during which it was committed */
	bool		claimed;		/* somebody has claimed a slot since the present rebuild began */
	VqSettings	settings;
	dsa_pointer tenant;			/* VqTenant whose word has its waiting (quota.h); VqShared.lock too */
	int64		counted;		/* how many of its own are in that */
	VqPacer		pacer;
	VqLine		line;
	VqLanes		lanes;			/* whose turn it is, by what has committed */
	VqLanes		lanes_ahead;	/* the same with what is being released; while taken[] is not all 0 */
	int32		taken[VQ_LANES];	/* reserved for release from each lane, not committed */
	VqStanding	standing;
	VqStanding	draft;			/* made by the transaction that draws, which holds the queue's row */
	VqDraftState draft_state;
	int64		drawn_last;		/* the last ticket of the draw that was held, 0 without one */
	int64		passed[VQ_LANES];	/* the greatest place_key let in while others stood */
	int64		next_ticket;	/* the next to be issued */
	int64		ceiling;		/* tickets up to here may be issued */

	int64		due;			/* mono time when the worker looks at it next, or VQ_NEVER */
	int64		reap_at;		/* mono time before which nobody's time is up; 0: not known */

	int64		purge_at;		/* mono time before which no ended session is old enough; 0: not
								 * known */

	int64		peak_waiting;	/* since the last minute was closed */
	int64		peak_inside;
	TimestampTz told_until;		/* all that memory knew of then is told; by the worker */
	TimestampTz counted_until;	/* who ended before is counted; by the worker */
	int64		cut_ticket;		/* the last one issued a minute ago, and */
	int64		old_cut_ticket; /* two minutes ago, or longer; by the worker */
	int64		cut_at;			/* mono time of cut_ticket; by the worker */
	int64		counted_ticket; /* joins up to here are counted; 0: not known.  By the worker */
	TimestampTz recall_since;	/* changes since then may not have been told (recall.c); 0: all
								 * were */
	uint64		recall_build;	/* the rebuild that loads them */

	VqRing		released;		/* releases committed */
	int64		released_total;
	VqFlow		flow;			/* what is measured of it, by commits and by the worker */
	VqForecast	forecast;		/* by the worker; whoever lets in counts gone */
	int64		look_at;		/* mono time when to make another though nothing moves; by the
								 * worker */
	double		poll_load;		/* polls a second of all who wait, if nothing is stretched; by the
								 * worker */
	VqScore		score;			/* by the worker; whoever lets in settles */

	VqFigures	figures;
	bool		moved;			/* something moved since the last "moved" event */
	bool		state_news;		/* the state changed since the last "state" event */

	/* Written by the worker only, still under lock. */
	int			failures;		/* steps that failed in a row */
	int64		retry_at;		/* mono time before which it is left alone */
	int64		announced_at;	/* mono time of the last "moved" event */
	char		last_error[VQ_ERROR_SIZE];
	int64		purge_from;		/* no session that ended earlier is left, but for locked ones */
	int64		purge_again;	/* mono time when to look for those from the start */
} VqQueue;

typedef enum VqLineState
{
	VQ_STALE,					/* memory must be built from the tables */
	VQ_WIPING,					/* somebody is at it: what there was is being cleared */
	VQ_BUILDING,				/* and then loaded, by a snapshot taken after this began */
	VQ_READY
} VqLineState;

/* A database that has, or may have, the extension. */
typedef struct VqDatabase
{
	Oid			oid;			/* InvalidOid: a free place; VqShared.lock */
	pg_atomic_uint32 line_state;	/* VqLineState; STALE to WIPING by compare-and-swap */
	pg_atomic_uint64 build;		/* counts rebuilds; by the builder */
	pg_atomic_uint32 demands;	/* counts who found memory stale; by anybody, before line_state */
	pg_atomic_uint64 names_version; /* changes whenever a name may mean another queue */
	pg_atomic_uint32 poll_stretch;	/* of delays between polls, as in polite.h; by the worker */
	ConditionVariable changed;	/* line_state or some queue's ceiling changed */
	dsa_pointer queues;			/* list of its queues; VqShared.lock */

	LWLock		lock;			/* protects the attention list */
	dsa_pointer attention;		/* queues that the worker should look at before their due */

	slock_t		mutex;			/* protects what follows */
	Latch	   *worker_latch;	/* of the worker, NULL without one; by the worker */
	int			worker_pid;		/* by the worker; 0 without one */
	bool		installed;		/* a worker has found the extension here; by the worker */
	bool		wanted;			/* launcher: start a worker; by anybody */
	bool		refused;		/* the last start found no worker slot; by the launcher */
	int			barred;			/* DDL on the database runs: no worker may connect */
	TimestampTz last_round;		/* by the worker */
	uint64		rounds;			/* by the worker */
	bool		count_now;		/* count what there is, though the minute is not over; by anybody */
	int64		round_end;		/* mono time of the last one's end; by the worker */
	int64		round_usecs;	/* what all of them took together; by the worker */
} VqDatabase;

typedef struct VqShared
{
	LWLock	   *lock;			/* databases, their queue lists, the free list, creation of the
								 * area */
	int			tranche;		/* constant, of the area, the registry and the queues' locks */
	dsa_handle	area;			/* DSM_HANDLE_INVALID before first use; lock */
	dshash_table_handle registry;	/* lock */
	dsa_pointer free_queues;	/* lock */
	pg_atomic_uint64 memory_used;	/* bytes of lines and queues */
	pg_atomic_uint32 queue_count;

	slock_t		mutex;			/* protects the launcher's fields */
	Latch	   *launcher_latch; /* NULL without one */
	int			launcher_pid;
	int			n_databases;	/* constant */
	VqDatabase	databases[FLEXIBLE_ARRAY_MEMBER];
} VqShared;

/* An entry of the registry, from database and id to the queue, or the tenant (quota.h). */
typedef struct VqRegistryKey
{
	Oid			dboid;
	pg_uuid_t	id;
	bool		is_tenant;
} VqRegistryKey;

typedef struct VqRegistryEntry
{
	VqRegistryKey key;
	dsa_pointer queue;			/* or VqTenant */
} VqRegistryEntry;

extern VqShared *vq_shared;

extern void vq_shmem_init(void);

/* Both clocks, read together. */
extern VqNow vq_now(void);

/* The arena that lines live in; attaches this backend to it on first use. */
extern const VqArena *vq_arena(void);

/*
 * Count bytes as used, unless vqueue.memory_limit has no room for them, and
 * count them out again.  The arena does so by itself; a queue counts while it
 * is in memory, though its memory, recycled, stays.
 */
extern bool vq_charge_memory(size_t size);
extern void vq_discharge_memory(size_t size);

/* The registry of queues; for roster.c. */
extern dshash_table *vq_registry(void);
extern void vq_clear_database(VqDatabase *db, Oid oid);

/* This database's entry, made on first use.  Errors: 53400 all places taken. */
extern VqDatabase *vq_database(void);

/* The entry of a database, NULL if it has none. */
extern VqDatabase *vq_known_database(Oid oid);

static inline bool
vq_is_queue(const VqQueue *queue, const pg_uuid_t *id)
{
	return OidIsValid(queue->dboid) && !queue->gone &&
		memcmp(&queue->id, id, sizeof(pg_uuid_t)) == 0;
}

/*
 * Whether lines are whole, not being built: of a queue that is so as long as the
 * caller goes on to hold its lock, as whoever builds takes that to begin.
 */
static inline bool
vq_is_whole(void)
{
	return pg_atomic_read_u32(&vq_database()->line_state) == VQ_READY;
}

/* Whether all who come are let in, past rate and cap.  Caller holds the queue's lock. */
static inline bool
vq_lets_all_in(const VqQueue *queue)
{
	return queue->settings.method == VQ_PASSTHROUGH && (queue->settings.state & VQ_RELEASES) != 0;
}

/* Raise 53200 with the way out. */
pg_noreturn extern void vq_out_of_memory(void);

#endif							/* VQ_SHMEM_H */
