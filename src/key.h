/*
 * key.h
 *		The keys that passes are signed with.
 *
 * Each key is a tenant's and says from when it signs, and until when those
 * before it verify; a key is never changed, so that two rotations at once do
 * no harm.  Reading goes past privilege checks; the SQL functions are the gate.
 */
#ifndef VQ_KEY_H
#define VQ_KEY_H

#include "compat.h"
#include "datatype/timestamp.h"
#include "jwt.h"

typedef struct VqKey
{
	pg_uuid_t	id;
	pg_uuid_t	tenant_id;
	TimestampTz signs_from;
	TimestampTz earlier_until;	/* when the tenant's keys before it cease to verify */
	VqSigner	signer;			/* holds the secret: wipe it by vq_forget_key */
} VqKey;

/* What is done with a key that verifies; false: no more of them. */
typedef bool (*VqKeyVisitor) (const VqKey *key, void *arg);

/* The tenant's keys that verify now, the newest first. */
extern void vq_visit_keys(const pg_uuid_t *tenant_id, TimestampTz now, VqKeyVisitor visit, void *arg);

/* The key that signs now: the newest that may, or else the oldest there is; false if there is none. */
extern bool vq_find_signing_key(const pg_uuid_t *tenant_id, TimestampTz now, VqKey *key);

/* A key by its id, of whichever tenant; false if there is none, or it verifies nothing any more. */
extern bool vq_find_key(const pg_uuid_t *id, TimestampTz now, VqKey *key);

/* Make a key of the tenant's, and delete those that verify nothing any more; key has all but id and signer's secret. */
extern void vq_make_key(VqKey *key, TimestampTz now);

extern void vq_forget_key(VqKey *key);

/* Raise XX000 as cryptography failed. */
pg_noreturn extern void vq_crypto_failed(void);

#endif							/* VQ_KEY_H */
