/*
 * client.c
 *		How often one client may join a queue, and forgetting a user.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "audit.h"
#include "client.h"
#include "common/hashfn.h"
#include "common/hmac.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "place.h"
#include "queue.h"
#include "statement.h"
#include "storage/lmgr.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MAX_CLIENT_KEY 1000

/* Rows deleted in one transaction at the most, and how often to look (microseconds). */
#define TRIM_BATCH 1000
#define LOOK_AGAIN (10 * USECS_PER_SEC)

/* ---- who it is ---- */

void
vq_check_client(const text *key)
{
	int			size = VARSIZE_ANY_EXHDR(key);

	if (size == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("client_key must not be empty"),
				 errdetail("All clients without one would be the same client."),
				 errhint("Leave it out where the client is not known.")));
	if (size > MAX_CLIENT_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("client_key is too long"),
				 errdetail("It has %d bytes, the limit is %d.", size, MAX_CLIENT_KEY),
				 errhint("Give a hash of it.")));
}

/* The secret, with which names_version it was read. */
static void
read_secret(unsigned char *secret)
{
	static unsigned char known[VQ_CLIENT_HASH];
	static uint64 known_version = 0;
	uint64		version = vq_version_to_remember();

	if (version == 0 || version != known_version)
	{
		known_version = 0;
		if (!vq_fetch_secret("clients", known, VQ_CLIENT_HASH))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("clients cannot be told apart"),
					 errdetail("The key \"clients\" of 32 bytes is not in vqueue.secrets."),
					 errhint("Insert 32 random bytes under that name, or set client_limit to 0.")));
		known_version = version;
	}
	memcpy(secret, known, VQ_CLIENT_HASH);
}

/* By queue too, so that one client is not seen to be the same in two. */
void
vq_read_client(const text *key, const pg_uuid_t *queue_id, const VqSettings *settings, VqClient *client)
{
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);
	unsigned char secret[VQ_CLIENT_HASH];

	client->queue_id = *queue_id;
	client->limit = settings->client_limit;
	client->window = settings->client_window;
	read_secret(secret);
	if (hmac == NULL ||
		pg_hmac_init(hmac, secret, sizeof(secret)) < 0 ||
		pg_hmac_update(hmac, queue_id->data, UUID_LEN) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) < 0 ||
		pg_hmac_final(hmac, client->hash, VQ_CLIENT_HASH) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not hash client_key")));
	pg_hmac_free(hmac);
	explicit_bzero(secret, sizeof(secret));
}

static Datum
hash_datum(const VqClient *client)
{
	bytea	   *hash = palloc(VARHDRSZ + VQ_CLIENT_HASH);

	SET_VARSIZE(hash, VARHDRSZ + VQ_CLIENT_HASH);
	memcpy(VARDATA(hash), client->hash, VQ_CLIENT_HASH);
	return PointerGetDatum(hash);
}

/* ---- counting ---- */

/* Joins within the window: those that are certain, and somebody whose join is not yet. */
typedef struct Joins
{
	int			certain;
	int			in_flight;
	TransactionId xid;			/* of one in flight, or invalid */
} Joins;

/* Looks no further than at what decides: as many as the limit that are certain. */
static void
count_joins(const VqClient *client, Joins *joins)
{
	Relation	rel = table_open(vq_relation(VQ_CLIENT_JOINS), AccessShareLock);
	SnapshotData dirty;
	ScanKeyData keys[3];
	SysScanDesc scan;

	memset(joins, 0, sizeof(*joins));
	InitDirtySnapshot(dirty);
	ScanKeyInit(&keys[0], Anum_client_joins_queue_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&client->queue_id));
	ScanKeyInit(&keys[1], Anum_client_joins_client_hash, BTEqualStrategyNumber, F_BYTEAEQ, hash_datum(client));
	ScanKeyInit(&keys[2], Anum_client_joins_joined_at, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
				TimestampTzGetDatum(vq_now().wall - client->window));
	scan = systable_beginscan(rel, vq_relation(VQ_CLIENT_JOINS_KEY), true, &dirty, 3, keys);
	while (joins->certain < client->limit && systable_getnext(scan) != NULL)
	{
		if (!TransactionIdIsValid(dirty.xmin))
			joins->certain++;
		else
		{
			joins->in_flight++;
			joins->xid = dirty.xmin;
		}
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

bool
vq_client_is_over(const VqClient *client)
{
	Joins		joins;

	count_joins(client, &joins);
	return joins.certain >= client->limit;
}

void
vq_refuse_client(const VqClient *client, const char *queue)
{
	Interval	window = {0};

	window.time = client->window;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("client has joined queue \"%s\" too often", queue),
			 errdetail("One client may join it no more than %d times in %s.", client->limit,
					   DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&window)))),
			 errhint("Try again later; users who have a place keep it.")));
}

static void
lock_client(const VqClient *client, bool lock)
{
	/* Two clients of one hash share a lock, which does no harm. */
	uint32		hash = hash_combine(hash_bytes(client->queue_id.data, UUID_LEN), hash_bytes(client->hash, VQ_CLIENT_HASH));

	if (lock)
		LockDatabaseObject(vq_relation(VQ_CLIENT_JOINS), hash, 0, ExclusiveLock);
	else
		UnlockDatabaseObject(vq_relation(VQ_CLIENT_JOINS), hash, 0, ExclusiveLock);
}

static void
insert_join(const VqClient *client, int64 ticket, TimestampTz joined_at)
{
	Datum		values[4] = {UUIDPGetDatum(&client->queue_id), hash_datum(client), TimestampTzGetDatum(joined_at),
	Int64GetDatum(ticket)};
	VqCaller	caller;

	(void) vq_execute(VQ_INSERT_CLIENT, values, NULL, &caller);
	vq_executed(&caller);
}

bool
vq_note_client(const VqClient *client, int64 ticket, TimestampTz joined_at)
{
	for (;;)
	{
		Joins		joins;

		CHECK_FOR_INTERRUPTS();
		lock_client(client, true);
		count_joins(client, &joins);
		if (joins.certain + joins.in_flight < client->limit)
			insert_join(client, ticket, joined_at);
		lock_client(client, false);
		if (joins.certain + joins.in_flight < client->limit)
			return true;
		if (joins.certain >= client->limit)
			return false;
		XactLockTableWait(joins.xid, NULL, NULL, XLTW_None);
	}
}

/* ---- forgetting ---- */

void
vq_forget_clients(const pg_uuid_t *queue_id)
{
	Datum		values[1] = {UUIDPGetDatum(queue_id)};
	VqCaller	caller;

	(void) vq_execute(queue_id != NULL ? VQ_FORGET_CLIENTS : VQ_FORGET_ALL_CLIENTS, values, NULL, &caller);
	vq_executed(&caller);
}

int64
vq_trim_clients(void)
{
	VqNow		now = vq_now();
	Datum		values[2] = {TimestampTzGetDatum(now.wall), Int32GetDatum(TRIM_BATCH)};
	VqCaller	caller;
	uint64		n;
	int			level;

	if (!ConditionalLockRelationOid(vq_relation(VQ_CLIENT_JOINS), RowExclusiveLock))
		return -1;
	level = vq_force_index_plans();
	n = vq_execute(VQ_TRIM_CLIENTS, values, NULL, &caller);
	vq_executed(&caller);
	AtEOXact_GUC(true, level);
	return n == TRIM_BATCH ? 0 : now.mono + LOOK_AGAIN;
}

/* What is known of a person, in all queues of the current tenant; the places stay. */
PG_FUNCTION_INFO_V1(vqueue_forget_user);
Datum
vqueue_forget_user(PG_FUNCTION_ARGS)
{
	Datum		values[2];
	VqAction	action = {"forget_user"};
	pg_uuid_t	tenant;
	VqCaller	caller;
	uint64		rows;

	PreventCommandIfReadOnly("vqueue.forget_user()");
	if (PG_ARGISNULL(0))
		vq_null_argument("user_id");
	vq_current_tenant(VQ_MAY_STEER, &tenant);
	values[0] = PG_GETARG_DATUM(0);
	values[1] = UUIDPGetDatum(&tenant);
	rows = vq_execute(VQ_FORGET_USERS_CLIENTS, values, NULL, &caller);
	vq_executed(&caller);
	rows += vq_execute(VQ_FORGET_USER, values, NULL, &caller);
	vq_executed(&caller);

	action.tenant_id = &tenant;
	action.object = vq_uuid_text(PG_GETARG_UUID_P(0));
	action.after = psprintf("{\"rows\": " UINT64_FORMAT "}", rows);
	vq_audit(&action);
	PG_RETURN_INT32((int32) Min(rows, PG_INT32_MAX));
}
