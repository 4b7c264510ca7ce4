/*
 * line.h
 *		The line of one queue: bitmaps over tickets with rank and select.
 *
 * A ticket is a positive bigint.  For each ticket the line keeps one bit a
 * kind (VqKind), and the marks of mark.h.  Tickets live in chunks of VQ_CHUNK
 * tickets, which exist only while some bit of theirs is set (or until they are
 * trimmed).  A directory sorted by chunk number finds the chunk; a Fenwick
 * tree a lane over the directory and counts a block inside the chunk make
 * rank (rank.h) cheap at any length.
 *
 * The module knows nothing of PostgreSQL's shared memory: all references are
 * VqRef, resolved by the caller's VqArena, so that it runs over DSA in the
 * server and over malloc in the unit tests.  It takes no locks: readers need
 * the caller's shared lock, writers its exclusive one.  It never raises an
 * error: what needs memory says false and leaves everything as it was.
 */
#ifndef VQ_LINE_H
#define VQ_LINE_H

#define VQ_CHUNK		1024	/* tickets a chunk: little for a small queue, 5.3 bytes a ticket in
								 * a large one */

typedef uint64 VqRef;			/* an address in an arena; 0 is none */

typedef struct VqArena
{
	VqRef		(*alloc) (void *ctx, size_t size);	/* 0 when out of memory; contents undefined */
	void		(*free) (void *ctx, VqRef ref, size_t size);
	void	   *(*addr) (void *ctx, VqRef ref); /* valid until the next alloc or free */
	void	   *ctx;
} VqArena;

/* Lanes come first, the first to be released first. */
typedef enum VqKind
{
	VQ_LANE_VIP,
	VQ_LANE_HIGH,
	VQ_LANE_NORMAL,
	VQ_LANE_LOW,
	VQ_LANES,
	VQ_INSIDE = VQ_LANES,		/* holds a slot, or reserved one */
	VQ_CALLED,					/* holds it, but has yet to claim it */
	VQ_HELD,					/* has a lane or INSIDE bit that has not committed */
	VQ_RELEASED,				/* was let in, not announced yet */
	VQ_ENDED,					/* has ended, not announced yet */
	VQ_TOUCHED,					/* changed since the present rebuild began */
	VQ_KINDS
} VqKind;

/* Lives in shared memory; zeroed is an empty line. */
typedef struct VqLine
{
	VqRef		directory;		/* chunk descriptors and Fenwick trees */
	uint32		capacity;		/* descriptors the directory has room for */
	uint32		used;			/* descriptors in use, dead ones included */
	uint32		dead;			/* of those, without a chunk */
	uint32		empty;			/* chunks in which no bit but TOUCHED is set */
	int64		count[VQ_KINDS];	/* bits set, by kind */
} VqLine;

/* Make sure that ticket has a chunk; false when out of memory or below 1. */
extern bool vq_line_reserve(VqLine *line, const VqArena *arena, int64 ticket);

/*
 * Set or clear a bit; true if that changed it.  Setting needs a reserved
 * ticket (without one it returns false); clearing without a chunk is a no-op.
 * Neither allocates nor frees, so both may run after a commit.
 */
extern bool vq_line_set(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket);
extern bool vq_line_clear(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket);
extern bool vq_line_test(const VqLine *line, const VqArena *arena, VqKind kind, int64 ticket);

/*
 * Set a bit and mark where the row is (mark.h), at the price of one; false if
 * the ticket is not reserved.
 */
extern bool vq_line_enter(VqLine *line, const VqArena *arena, VqKind kind, int64 ticket,
						  uint32 block, uint16 offset);

/* The lane in which ticket stands, or -1. */
extern int	vq_line_lane(const VqLine *line, const VqArena *arena, int64 ticket);

/*
 * Free the chunks, all of whose tickets are below this ticket, in which no bit
 * but TOUCHED is set; returns how many.
 */
extern int	vq_line_trim(VqLine *line, const VqArena *arena, int64 below);

/*
 * Begin a rebuild: clear the lanes, INSIDE and CALLED of every ticket that is not
 * HELD, TOUCHED of all, and where the rows were; the rest stays.
 */
extern void vq_line_wipe(VqLine *line, const VqArena *arena);

/* Clear all and free all memory; the line is empty again. */
extern void vq_line_destroy(VqLine *line, const VqArena *arena);

/* Bytes that the line holds from its arena. */
extern size_t vq_line_memory(const VqLine *line, const VqArena *arena);

#endif							/* VQ_LINE_H */
