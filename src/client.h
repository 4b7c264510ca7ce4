/*
 * client.h
 *		How often one client may join a queue.
 *
 * A client is known by what the application calls it: an address, a device.  It
 * is kept as a keyed hash, for as long as the queue's window alone.
 *
 * Joins of one client do not wait for each other's commit but at the limit: each
 * writes its row under a short lock, having counted the rows there are, those not
 * committed included.  Only one that these would refuse waits for them to end.
 */
#ifndef VQ_CLIENT_H
#define VQ_CLIENT_H

#include "shmem.h"

#define VQ_CLIENT_HASH 32

typedef struct VqClient
{
	pg_uuid_t	queue_id;
	int32		limit;			/* joins */
	int64		window;			/* microseconds */
	unsigned char hash[VQ_CLIENT_HASH];
} VqClient;

/*
 * The client that an argument of a join means.  Errors: 22023 empty or too long;
 * 55000 there is no key to hash it with.
 */
extern void vq_check_client(const text *key);
extern void vq_read_client(const text *key, const pg_uuid_t *queue_id, const VqSettings *settings, VqClient *client);

/* Whether it has joined as often as it may, certainly: a cheap look before anything is written. */
extern bool vq_client_is_over(const VqClient *client);

/* Raise 54000. */
pg_noreturn extern void vq_refuse_client(const VqClient *client, const char *queue);

/*
 * Count a join whose row was written; false if the client has joined as often as
 * it may, so that the caller has to refuse it.
 */
extern bool vq_note_client(const VqClient *client, int64 ticket, TimestampTz joined_at);

/* A queue is deleted, or all are (NULL): so is what was counted. */
extern void vq_forget_clients(const pg_uuid_t *queue_id);

/* Delete a batch of what is older than its queue's window; as vq_trim_audit. */
extern int64 vq_trim_clients(void);

#endif							/* VQ_CLIENT_H */
