/*
 * trial.h
 *		Settings on trial for a share of a queue's newcomers.
 *
 * Only timeouts can be tried so, as only they are of a session alone.  Those of the
 * share are kept beside the queue's own, and read with its row: whoever changes or ends
 * a trial writes that row too, and whoever starts one holds it.  So its version puts both
 * in order.
 */
#ifndef VQ_TRIAL_H
#define VQ_TRIAL_H

#include "table.h"

/* Read the trial of a queue, whose other settings are known already; none if there is none. */
extern void vq_read_trial(const pg_uuid_t *queue_id, VqSettings *settings);

/* Whether those in the share and the others have to be told apart. */
static inline bool
vq_has_trial(const VqSettings *settings)
{
	return settings->trial.share.from != 0;
}

static inline bool
vq_is_on_trial(const VqSettings *settings, int64 ticket)
{
	return vq_share_has(&settings->trial.share, ticket);
}

/* For how long (microseconds) a session may stay in a live status, in the share or not; 0: for any time. */
extern int64 vq_timeout(const VqSettings *settings, VqStatus status, bool on_trial);

/* The same of the session of a ticket. */
extern int64 vq_timeout_of(const VqSettings *settings, VqStatus status, int64 ticket);

/* For how long whoever waits may surely be silent, in the share or not; 0: for any time. */
extern int64 vq_shortest_patience(const VqSettings *settings);

#endif							/* VQ_TRIAL_H */
