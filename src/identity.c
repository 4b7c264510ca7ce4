/*
 * identity.c
 *		Ids for users who are known elsewhere by something that is no uuid.
 *
 * An id is a version 5 uuid (RFC 9562): the SHA-1 of a namespace, here the
 * tenant, and the name.  So it is the same wherever and whenever it is computed,
 * also by others than us, and nothing needs to be stored.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha1.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "place.h"
#include "queue.h"

#define MAX_IDENTITY 1000000

static void
hash_failed(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not compute a SHA-1 hash: %s", why),
			 errdetail("A user id is computed with SHA-1, as RFC 9562 has it."),
			 errhint("See whether the OpenSSL library of this server refuses it.")));
}

static void
sha1_of_both(const pg_uuid_t *space, const char *name, Size size, uint8 *digest)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA1);

	if (context == NULL)
		hash_failed("out of memory");
	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, space->data, UUID_LEN) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) name, size) < 0 ||
		pg_cryptohash_final(context, digest, SHA1_DIGEST_LENGTH) < 0)
	{
		char	   *why = pstrdup(pg_cryptohash_error(context));

		pg_cryptohash_free(context);
		hash_failed(why);
	}
	pg_cryptohash_free(context);
}

static void
make_uuid5(const pg_uuid_t *space, const char *name, Size size, pg_uuid_t *id)
{
	uint8		digest[SHA1_DIGEST_LENGTH];

	sha1_of_both(space, name, size, digest);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0f) | 0x50;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/*
 * The text in UTF-8, so that databases of different encodings agree.  One of
 * SQL_ASCII does not know in what its texts are: their bytes are taken.
 */
static const char *
in_utf8(const text *name, Size *size)
{
	const char *bytes = VARDATA_ANY(name);
	const char *converted;

	*size = VARSIZE_ANY_EXHDR(name);
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return bytes;
	converted = pg_server_to_any(bytes, *size, PG_UTF8);
	if (converted != bytes)
		*size = strlen(converted);
	return converted;
}

PG_FUNCTION_INFO_V1(vqueue_user_id);
Datum
vqueue_user_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	pg_uuid_t	tenant;
	const char *name;
	Size		size;

	if (PG_ARGISNULL(0))
		vq_null_argument("external");
	name = in_utf8(PG_GETARG_TEXT_PP(0), &size);
	if (size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("identity of a user must not be empty"),
				 errdetail("All users without one would be the same user."),
				 errhint("Leave user_id out when joining a user who is not known by anything.")));
	if (size > MAX_IDENTITY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("identity of a user is too long"),
				 errdetail("It has %zu bytes, the limit is %d.", size, MAX_IDENTITY),
				 errhint("Give a hash of it.")));
	vq_current_tenant(VQ_MAY_NAME, &tenant);
	make_uuid5(&tenant, name, size, id);
	PG_RETURN_UUID_P(id);
}
