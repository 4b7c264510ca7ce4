/*
 * uuid7.c
 *		Version 7 uuids, which servers before 18 do not make.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "uuid7.h"
#include "utils/timestamp.h"

void
vq_make_uuid7(pg_uuid_t *id)
{
	int64		since_2000 = GetCurrentTimestamp();
	uint64		ms = (since_2000 + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;

	if (!pg_strong_random(id->data + 6, UUID_LEN - 6))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < 6; i++)
		id->data[i] = (ms >> (40 - 8 * i)) & 0xff;
	id->data[6] = (id->data[6] & 0x0f) | 0x70;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

PG_FUNCTION_INFO_V1(vqueue_uuidv7);
Datum
vqueue_uuidv7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	vq_make_uuid7(id);
	PG_RETURN_UUID_P(id);
}
