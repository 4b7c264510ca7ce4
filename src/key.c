/*
 * key.c
 *		The keys that passes are signed with: finding, making and replacing them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "key.h"
#include "seal.h"
#include "statement.h"
#include "table.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

void
vq_crypto_failed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("could not sign or verify"),
			 errdetail("The cryptographic library of this server refuses it.")));
}

void
vq_forget_key(VqKey *key)
{
	explicit_bzero(key->signer.secret, sizeof(key->signer.secret));
}

/* ---- reading ---- */

static Datum
column(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, desc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of vqueue.pass_keys", attnum);
	return value;
}

/* The constraints of the table let no other values be. */
static void
read_key(HeapTuple tuple, TupleDesc desc, VqKey *key)
{
	text	   *algorithm = DatumGetTextPP(column(tuple, desc, Anum_pass_keys_algorithm));
	bytea	   *secret = DatumGetByteaPP(column(tuple, desc, Anum_pass_keys_secret));

	key->id = *DatumGetUUIDP(column(tuple, desc, Anum_pass_keys_id));
	key->tenant_id = *DatumGetUUIDP(column(tuple, desc, Anum_pass_keys_tenant_id));
	key->signs_from = DatumGetTimestampTz(column(tuple, desc, Anum_pass_keys_signs_from));
	key->earlier_until = DatumGetTimestampTz(column(tuple, desc, Anum_pass_keys_earlier_until));
	key->signer.algorithm = VARSIZE_ANY_EXHDR(algorithm) == strlen(vq_algorithm_names[VQ_EDDSA]) &&
		memcmp(VARDATA_ANY(algorithm), vq_algorithm_names[VQ_EDDSA], VARSIZE_ANY_EXHDR(algorithm)) == 0 ?
		VQ_EDDSA : VQ_HS256;
	key->signer.length = VARSIZE_ANY_EXHDR(secret);
	if (key->signer.length < VQ_SECRET_MIN || key->signer.length > VQ_SECRET_MAX)
		elog(ERROR, "unexpected length of a secret in vqueue.pass_keys");
	memcpy(key->signer.secret, VARDATA_ANY(secret), key->signer.length);
}

static Snapshot
current_snapshot(void)
{
	/* A parallel query's snapshot is all there may be. */
	return RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
}

void
vq_visit_keys(const pg_uuid_t *tenant_id, TimestampTz now, VqKeyVisitor visit, void *arg)
{
	Relation	rel = table_open(vq_relation(VQ_PASS_KEYS), AccessShareLock);
	Relation	index = index_open(vq_relation(VQ_PASS_KEYS_TENANT), AccessShareLock);
	Snapshot	snapshot = current_snapshot();
	TimestampTz ends = DT_NOEND;
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple	tuple;
	VqKey		key;

	ScanKeyInit(&scan_key, Anum_pass_keys_tenant_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(tenant_id));
	scan = systable_beginscan_ordered(rel, index, snapshot, 1, &scan_key);

	/* Once one verifies no more, none before it does. */
	while (ends > now && (tuple = systable_getnext_ordered(scan, BackwardScanDirection)) != NULL)
	{
		read_key(tuple, RelationGetDescr(rel), &key);
		ends = Min(ends, key.earlier_until);
		if (!visit(&key, arg))
			break;
	}
	vq_forget_key(&key);
	systable_endscan_ordered(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, NoLock);
	table_close(rel, NoLock);
}

/* ---- finding ---- */

typedef struct Wanted
{
	const pg_uuid_t *id;		/* NULL: the one that signs */
	TimestampTz now;
	VqKey	   *key;
	bool		found;
} Wanted;

static bool
find_signing(const VqKey *key, void *arg)
{
	Wanted	   *wanted = arg;

	*wanted->key = *key;
	wanted->found = true;
	return key->signs_from > wanted->now;
}

bool
vq_find_signing_key(const pg_uuid_t *tenant_id, TimestampTz now, VqKey *key)
{
	Wanted		wanted = {NULL, now, key, false};

	vq_visit_keys(tenant_id, now, find_signing, &wanted);
	return wanted.found;
}

static bool
find_id(const VqKey *key, void *arg)
{
	Wanted	   *wanted = arg;

	wanted->found = memcmp(&key->id, wanted->id, UUID_LEN) == 0;
	if (wanted->found)
		*wanted->key = *key;
	return !wanted->found;
}

/* Whose key it is; false if there is none. */
static bool
find_owner(const pg_uuid_t *id, pg_uuid_t *tenant_id)
{
	Relation	rel = table_open(vq_relation(VQ_PASS_KEYS), AccessShareLock);
	Snapshot	snapshot = current_snapshot();
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&scan_key, Anum_pass_keys_id, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(rel, vq_relation(VQ_PASS_KEYS_PKEY), true, snapshot, 1, &scan_key);
	tuple = systable_getnext(scan);
	found = tuple != NULL;
	if (found)
		*tenant_id = *DatumGetUUIDP(column(tuple, RelationGetDescr(rel), Anum_pass_keys_tenant_id));
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return found;
}

bool
vq_find_key(const pg_uuid_t *id, TimestampTz now, VqKey *key)
{
	Wanted		wanted = {id, now, key, false};
	pg_uuid_t	tenant_id;

	if (find_owner(id, &tenant_id))
		vq_visit_keys(&tenant_id, now, find_id, &wanted);
	return wanted.found;
}

/* ---- making ---- */

/* Execute one of the statements on keys. */
static void
execute(VqStatement statement, Datum *values)
{
	VqCaller	caller;

	(void) vq_execute(statement, values, NULL, &caller);
	vq_executed(&caller);
}

void
vq_make_key(VqKey *key, TimestampTz now)
{
	Datum		insert[6];
	Datum		delete[2] = {UUIDPGetDatum(&key->tenant_id), TimestampTzGetDatum(now)};
	bytea	   *secret = palloc(VARHDRSZ + VQ_SECRET_MIN);

	key->signer.length = VQ_SECRET_MIN;
	if (!pg_strong_random(key->signer.secret, VQ_SECRET_MIN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	SET_VARSIZE(secret, VARHDRSZ + VQ_SECRET_MIN);
	memcpy(VARDATA(secret), key->signer.secret, VQ_SECRET_MIN);
	vq_new_uuid(&key->id);

	insert[0] = UUIDPGetDatum(&key->id);
	insert[1] = UUIDPGetDatum(&key->tenant_id);
	insert[2] = CStringGetTextDatum(vq_algorithm_names[key->signer.algorithm]);
	insert[3] = TimestampTzGetDatum(key->signs_from);
	insert[4] = TimestampTzGetDatum(key->earlier_until);
	insert[5] = PointerGetDatum(secret);
	execute(VQ_INSERT_PASS_KEY, insert);
	explicit_bzero(VARDATA(secret), VQ_SECRET_MIN);
	execute(VQ_DELETE_PASS_KEYS, delete);
}
