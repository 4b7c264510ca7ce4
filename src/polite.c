/*
 * polite.c
 *		When somebody who waits should ask again.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <math.h>

#include "polite.h"

#define SECOND			1000000.0

/* Nobody is told to stay away for longer (microseconds). */
#define NEVER_LONGER	INT64CONST(3600000000)

/* From so many microseconds on delays are told to the second. */
#define PRECISE			INT64CONST(20000000)

/* A tenth of the wait. */
#define SHARE			10

int64
vq_poll_delay(int64 wait, int64 timeout, uint32 stretch)
{
	int64		delay = wait < 0 ? VQ_POLL_UNKNOWN : Min(Max(wait / SHARE, VQ_POLL_SHORTEST), VQ_POLL_LONGEST);

	if (stretch > VQ_STRETCH)
		delay = Min(delay * stretch / VQ_STRETCH, NEVER_LONGER);
	if (timeout > 0)
		delay = Min(delay, Max(timeout / 3, VQ_POLL_SHORTEST));
	if (delay >= PRECISE)
		delay -= delay % VQ_POLL_SHORTEST;
	return delay;
}

/*
 * Between two moments of the forecast the wait rises evenly, and so does the delay:
 * half way is near enough to its mean.
 */
double
vq_poll_load(const VqForecast *forecast, int64 waiting, int64 timeout)
{
	const float *positions;
	double		load = 0;
	double		done = 0;

	if (forecast == NULL)
		return waiting * SECOND / vq_poll_delay(-1, timeout, VQ_STRETCH);
	positions = forecast->expected[VQ_LANE_NORMAL];
	for (int m = 0; m < VQ_MOMENTS && done < waiting; m++)
	{
		double		upto = Min(Max(positions[m], done), (double) waiting);
		double		wait = (forecast->moment[m] + forecast->moment[Max(m - 1, 0)]) / 2 * SECOND;

		load += (upto - done) * SECOND / vq_poll_delay(Min(wait, 1e15), timeout, VQ_STRETCH);
		done = upto;
	}
	return load + (waiting - done) * SECOND / vq_poll_delay(VQ_NEVER, timeout, VQ_STRETCH);
}

uint32
vq_poll_stretch(double load, int budget)
{
	if (budget <= 0 || load <= budget)
		return VQ_STRETCH;
	return Min(ceil(load * VQ_STRETCH / budget), 1 << 30);
}
