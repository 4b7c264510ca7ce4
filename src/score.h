/*
 * score.h
 *		How far estimates of waits were off.
 *
 * Now and then an estimate is noted, and compared with what came true when the
 * session is let in.  A few are kept of each order of length, so that long waits
 * do not keep short ones from being noted.
 *
 * Knows nothing of the server, takes no locks and never fails.
 */
#ifndef VQ_SCORE_H
#define VQ_SCORE_H

/* Waits of 5 to 10 s, 10 to 20 s and so on, up to some hours, and how many are kept of each. */
#define VQ_ORDERS		12
#define VQ_OF_EACH		2
#define VQ_ERRORS		64

typedef struct VqNoted
{
	int64		ticket;			/* 0: none */
	int64		at;				/* mono time */
	int64		wait;			/* microseconds, as estimated then */
} VqNoted;

/* Lives in shared memory; zeroed is nothing noted. */
typedef struct VqScore
{
	VqNoted		noted[VQ_ORDERS][VQ_OF_EACH];
	int32		pending;		/* of these, how many are there */
	uint32		judged;			/* so many came true or not; */
	float		errors[VQ_ERRORS];	/* the last ones' errors, relative to the wait */
} VqScore;

/* Note an estimate, if it is not too short, and enough of its order are not noted yet. */
extern void vq_score_note(VqScore *score, int64 ticket, int64 mono, int64 wait);

/* A ticket stands no more where it stood: was let in, or will not be from there. */
extern void vq_score_settle(VqScore *score, int64 ticket, int64 mono, bool let_in);

/* What was noted will not come true, as rules have changed. */
extern void vq_score_void(VqScore *score);

/* The median error of the last ones; negative if nothing is known. */
extern float vq_score_error(const VqScore *score);

#endif							/* VQ_SCORE_H */
