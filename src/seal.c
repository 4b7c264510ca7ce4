/*
 * seal.c
 *		Ids of sessions: version 7 uuids that carry, sealed, their ticket.
 *
 * The first ten bytes of an id are its time, as in every version 7 uuid, and
 * 26 random bits.  They are the counter from which AES-128 makes the pad that
 * hides the last six: a mark of the queue and the ticket.  As tickets differ,
 * so do the ids of a queue, even where time and random bits should meet.
 *
 * The key is the oldest row of vqueue.secrets, so that a dump, a standby or a
 * replica that takes over has it too.  Ids of another key are found by the index.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "common/hashfn.h"
#include "entropy.h"
#include "fmgr.h"
#include "seal.h"
#include "shmem.h"
#include "table.h"
#include "utils/timestamp.h"

#define NONCE_LEN	10
#define KEY_LEN		16

/* With the key that was there when the names had this version. */
static EVP_CIPHER_CTX *cipher = NULL;
static uint64 cipher_version = 0;
static bool has_key = false;

static void
cipher_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not encrypt with AES-128"),
			 errdetail("The OpenSSL library of this server refuses it.")));
}

/* Make the cipher ready; false if there is no key for it, as somebody has deleted it. */
static bool
ready_cipher(void)
{
	uint64		version = pg_atomic_read_u64(&vq_database()->names_version);
	unsigned char key[KEY_LEN];

	if (cipher != NULL && cipher_version == version)
		return has_key;
	if (cipher == NULL && (cipher = EVP_CIPHER_CTX_new()) == NULL)
		cipher_failed();
	has_key = false;
	if (vq_fetch_secret("ids", key, KEY_LEN))
	{
		if (EVP_EncryptInit_ex(cipher, EVP_aes_128_ecb(), NULL, key, NULL) != 1 ||
			EVP_CIPHER_CTX_set_padding(cipher, 0) != 1)
			cipher_failed();
		explicit_bzero(key, KEY_LEN);
		has_key = true;
	}
	cipher_version = version;
	return has_key;
}

/* Seal or unseal the last six bytes with a ready cipher. */
static void
pad(pg_uuid_t *id)
{
	unsigned char counter[UUID_LEN] = {0};
	unsigned char block[UUID_LEN];
	int			length;

	memcpy(counter, id->data, NONCE_LEN);
	if (EVP_EncryptUpdate(cipher, block, &length, counter, UUID_LEN) != 1 || length != UUID_LEN)
		cipher_failed();
	for (int i = NONCE_LEN; i < UUID_LEN; i++)
		id->data[i] ^= block[i - NONCE_LEN];
}

static void
begin_uuid7(pg_uuid_t *id, TimestampTz at, int random_bytes)
{
	uint64		ms = (at + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;

	if (!vq_strong_random(id->data + 6, random_bytes))
		vq_no_randomness();
	for (int i = 0; i < 6; i++)
		id->data[i] = (ms >> (40 - 8 * i)) & 0xff;
	id->data[6] = (id->data[6] & 0x0f) | 0x70;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

uint16
vq_seal_mark(const pg_uuid_t *queue_id)
{
	return hash_bytes(queue_id->data, UUID_LEN) & 0xffff;
}

void
vq_seal_id(pg_uuid_t *id, TimestampTz at, const pg_uuid_t *queue_id, int64 ticket)
{
	uint16		mark = vq_seal_mark(queue_id);
	bool		sealed = ready_cipher();

	begin_uuid7(id, at, sealed ? NONCE_LEN - 6 : UUID_LEN - 6);
	if (!sealed)
		return;
	id->data[10] = mark >> 8;
	id->data[11] = mark & 0xff;
	for (int i = 0; i < 4; i++)
		id->data[12 + i] = (ticket >> (24 - 8 * i)) & 0xff;
	pad(id);
}

bool
vq_unseal_id(const pg_uuid_t *id, VqUnsealed *unsealed)
{
	pg_uuid_t	open = *id;

	if (!ready_cipher())
		return false;
	pad(&open);
	unsealed->queue = open.data[10] << 8 | open.data[11];
	unsealed->ticket = (uint32) open.data[12] << 24 | open.data[13] << 16 | open.data[14] << 8 | open.data[15];
	return true;
}

void
vq_new_uuid(pg_uuid_t *id)
{
	begin_uuid7(id, GetCurrentTimestamp(), UUID_LEN - 6);
}

/* For queues, and sessions inserted by hand. */
PG_FUNCTION_INFO_V1(vqueue_uuidv7);
Datum
vqueue_uuidv7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	vq_new_uuid(id);
	PG_RETURN_UUID_P(id);
}
