/*
 * work.h
 *		Transactions of the worker.
 */
#ifndef VQ_WORK_H
#define VQ_WORK_H

/* Begin a transaction with an active snapshot, and end it. */
extern void vq_begin_work(const char *activity);
extern void vq_end_work(void);

/* After an error, in PG_CATCH: roll back, and return its message in this context. */
extern char *vq_abort_work(MemoryContext context, int *sqlerrcode);

/* Lock what the worker uses, without waiting; false if somebody else has it. */
extern bool vq_lock_tables(void);

#endif							/* VQ_WORK_H */
