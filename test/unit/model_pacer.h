/*
 * model_pacer.h
 *		Random calls of a pacer under good and bad clocks, checked by its contract.
 */
#ifndef VQ_MODEL_PACER_H
#define VQ_MODEL_PACER_H

#include "source.h"

#include "pacer.h"

#define MAX_TAKES		400

/* Tokens that were taken, and how many of them were used. */
typedef struct Take
{
	VqNow		at;
	int32		n;
	int32		unused;			/* may yet be given back */
} Take;

/* The clock by which windows are measured. */
typedef enum Clock
{
	BY_WALL,
	BY_MONO
} Clock;

/*
 * Whether no window, from any take's stamp to any other's, holds more than
 * burst + rate_per_minute * w.  Sorts the takes.  By the monotonic clock the
 * pacer's slack of a millisecond is added to the window.
 */
extern bool bound_holds(Take *takes, int n, int32 rate_per_minute, int32 burst, Clock clock);

/* The life of one pacer until the source ends; aborts at the first breach. */
extern uint64 model_pacer_run(Source *source);

#endif							/* VQ_MODEL_PACER_H */
