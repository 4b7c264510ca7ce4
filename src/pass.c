/*
 * pass.c
 *		Passes: signed tokens by which a gateway knows who holds a slot.
 *
 * A pass is given out and verified without writing anything, hence on a standby
 * too.  It says until when its session has the slot for certain; that the session
 * gave the slot back earlier, only verify_pass knows.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "common/int.h"
#include "feature.h"
#include "fmgr.h"
#include "funcapi.h"
#include "guc.h"
#include "key.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "queue.h"
#include "session.h"
#include "trial.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Overlap and delay of a rotation at the most. */
#define LONGEST_SPAN (100 * USECS_PER_DAY)

#define UNIX_EPOCH ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* ---- times ---- */

/* Whole seconds since 1970, rounded down. */
static int64
unix_seconds(TimestampTz at)
{
	return (at + UNIX_EPOCH) / USECS_PER_SEC;
}

static TimestampTz
time_of_seconds(int64 seconds)
{
	if (seconds >= (END_TIMESTAMP - USECS_PER_SEC) / USECS_PER_SEC)
		return DT_NOEND;
	return seconds * USECS_PER_SEC - UNIX_EPOCH;
}

/* Microseconds, of months by 30 days; false if that is beyond all numbers. */
static bool
microseconds(const Interval *interval, int64 *span)
{
	int64		days = interval->day + interval->month * INT64CONST(30);

	return !pg_mul_s64_overflow(days, USECS_PER_DAY, span) && !pg_add_s64_overflow(*span, interval->time, span);
}

static int64
span_argument(FunctionCallInfo fcinfo, int n, const char *name, int64 lowest, int64 highest, const char *hint)
{
	int64		span;

	if (PG_ARGISNULL(n))
		vq_null_argument(name);
	if (!microseconds(PG_GETARG_INTERVAL_P(n), &span) || span < lowest || span > highest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s %s is out of range", name,
						DatumGetCString(DirectFunctionCall1(interval_out, PG_GETARG_DATUM(n)))),
				 errdetail("It must be an interval of %s to %s.", lowest == 0 ? "0" : "1 second",
						   highest == USECS_PER_DAY ? "1 day" : "100 days"),
				 errhint("%s", hint)));
	return span;
}

/* ---- giving out ---- */

static void
must_hold_slot(const VqRow *row)
{
	if (row->status == VQ_WAITING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("session \"%s\" is still waiting", vq_uuid_text(&row->id)),
				 errdetail("Only a session that holds a slot gets a pass."),
				 errhint("Poll until its status is serving or ready.")));
	if (!vq_is_live(row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("session \"%s\" has already ended", vq_uuid_text(&row->id)),
				 errdetail("Its status is %s.", vq_status_names[row->status]),
				 errhint("Join again with vqueue.join().")));
}

/* Until when the session holds its slot for certain. */
static TimestampTz
lease_end(const VqRow *row, const VqSettings *settings, TimestampTz now)
{
	bool		ready = row->status == VQ_IS_READY;
	TimestampTz begin = ready ? row->ready_at : row->extended_at != 0 ? row->extended_at : row->served_at;
	int64		timeout = vq_timeout_of(settings, ready ? VQ_IS_READY : VQ_SERVING, row->ticket);

	/* One of a clock that was ahead is not to last longer for that. */
	return timeout > 0 ? Min(begin, now) + timeout : DT_NOEND;
}

static void
must_last(const VqRow *row, int64 from, int64 to)
{
	if (from < to)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the lease of session \"%s\" has run out", vq_uuid_text(&row->id)),
			 errdetail("A pass must not outlive the slot, which is about to be taken away."),
			 errhint("Call vqueue.%s() first.", row->status == VQ_IS_READY ? "claim" : "extend")));
}

/* For how long the pass is to be good, whatever the lease. */
static int64
lifetime_of(FunctionCallInfo fcinfo, const VqSettings *settings)
{
	if (PG_ARGISNULL(1))
		return settings->pass_lifetime;
	return Min(settings->pass_lifetime,
			   span_argument(fcinfo, 1, "lifetime", USECS_PER_SEC, USECS_PER_DAY,
							 "Leave it out to get the queue's pass_lifetime."));
}

/* Convert a name to UTF-8; false if some of it is no character of the database's encoding, or of none known. */
static bool
convert_name(const char *name, int length, char *utf8, int room)
{
	int			encoding = GetDatabaseEncoding();
	Oid			proc;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
	{
		strlcpy(utf8, name, room);
		return pg_verify_mbstr(PG_UTF8, name, length, true);
	}
	proc = FindDefaultConversionProc(encoding, PG_UTF8);
	return OidIsValid(proc) &&
		pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8, (unsigned char *) name, length,
									  (unsigned char *) utf8, room, true) == length;
}

/* The queue's name in UTF-8; if that is not possible its bytes are taken for LATIN1. */
static char *
utf8_name(const char *name)
{
	int			length = strlen(name);
	int			room = length * MAX_CONVERSION_GROWTH + 1;
	char	   *utf8 = palloc(room);
	StringInfoData latin;

	if (convert_name(name, length, utf8, room))
		return utf8;
	initStringInfo(&latin);
	for (const unsigned char *c = (const unsigned char *) name; *c != '\0'; c++)
	{
		if (*c >= 0x80)
			appendStringInfoChar(&latin, 0xc0 | *c >> 6);
		appendStringInfoChar(&latin, *c >= 0x80 ? 0x80 | (*c & 0x3f) : *c);
	}
	return latin.data;
}

static void
make_token_id(char *id)
{
	unsigned char bytes[VQ_TOKEN_ID_BYTES];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	id[vq_base64url_encode(bytes, sizeof(bytes), id)] = '\0';
}

/* Sign with the tenant's key of now. */
static text *
sign_claims(const VqClaims *claims, TimestampTz now)
{
	char		token[VQ_JWT_MAX + 1];
	VqKey		key;
	int			length;

	if (!vq_find_signing_key(&claims->issuer, now, &key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("tenant \"%s\" has no key to sign passes with", vq_tenant),
				 errdetail("Keys are made when they are asked for."),
				 errhint("Call vqueue.rotate_key() once.")));
	length = vq_jwt_make(&key.signer, &key.id, claims, token);
	vq_forget_key(&key);
	if (length < 0)
		vq_crypto_failed();
	return cstring_to_text_with_len(token, length);
}

PG_FUNCTION_INFO_V1(vqueue_pass);
Datum
vqueue_pass(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	VqPlace		place;
	const VqRow *row = &place.row;
	VqSettings	settings;
	VqClaims	claims;

	vq_need_feature(VQ_FEATURE_PASSES);
	vq_get_session(fcinfo, VQ_MAY_PASS, true, &place);
	must_hold_slot(row);
	if (!vq_fetch_queue(&row->queue_id, &settings))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("session \"%s\" does not exist", vq_uuid_text(&row->id)),
				 errdetail("Its queue was dropped meanwhile."),
				 errhint("See vqueue.overview for the queues there are.")));
	claims.issuer = settings.tenant_id;
	claims.subject = row->id;
	claims.audience = row->queue_id;
	claims.issued_at = unix_seconds(now);
	claims.not_before = Max(unix_seconds(Min(now, vq_let_in_at(row))), 0);
	claims.expires_at = unix_seconds(Min(now + lifetime_of(fcinfo, &settings), lease_end(row, &settings, now)));
	must_last(row, claims.issued_at, claims.expires_at);
	make_token_id(claims.token_id);
	claims.queue = utf8_name(settings.name);
	claims.ticket = row->ticket;
	PG_RETURN_TEXT_P(sign_claims(&claims, now));
}

/* ---- verifying ---- */

typedef enum Fault
{
	NO_FAULT,
	MALFORMED,
	ALGORITHM,
	UNKNOWN_KEY,
	SIGNATURE,
	WRONG_TENANT,
	NOT_YET,
	EXPIRED,
	WRONG_QUEUE,
	REVOKED
} Fault;

static const char *const reasons[] = {
	NULL, "malformed", "algorithm", "unknown key", "signature", "wrong tenant", "not yet", "expired",
	"wrong queue", "revoked"
};

/* What is being found out of a pass. */
typedef struct Inquiry
{
	pg_uuid_t	tenant;			/* the current one */
	pg_uuid_t	queue;			/* which it shall be for, if any_queue is not set */
	bool		any_queue;
	TimestampTz now;
	bool		genuine;		/* the claims can be believed, and are of this tenant */
	VqClaims	claims;
	bool		found;			/* there is such a session, in such a queue */
	VqRow		row;
	VqSettings	settings;
} Inquiry;

/* Whether a key of ours made this token.  Then its claims are read. */
static Fault
check_signature(Inquiry *inquiry, const VqToken *token)
{
	VqKey		key;
	VqVerdict	verdict;

	if (!token->has_key_id || !vq_find_key(&token->key_id, inquiry->now, &key))
		return UNKNOWN_KEY;
	if ((int) key.signer.algorithm != token->algorithm)
	{
		vq_forget_key(&key);
		return ALGORITHM;
	}
	verdict = vq_jwt_verify(token, &key.signer);
	vq_forget_key(&key);
	if (verdict == VQ_NO_VERDICT)
		vq_crypto_failed();
	if (verdict == VQ_FORGED)
		return SIGNATURE;
	if (!vq_jwt_claims(token, &inquiry->claims))
		return MALFORMED;
	if (memcmp(&key.tenant_id, &inquiry->tenant, UUID_LEN) != 0 ||
		memcmp(&inquiry->claims.issuer, &inquiry->tenant, UUID_LEN) != 0)
		return WRONG_TENANT;
	inquiry->genuine = true;
	return NO_FAULT;
}

static Fault
check_token(Inquiry *inquiry, const char *text, int length)
{
	VqToken		token;

	if (!vq_jwt_read(text, length, &token))
		return MALFORMED;
	if (token.algorithm < 0)
		return ALGORITHM;
	return check_signature(inquiry, &token);
}

static void
find_session(Inquiry *inquiry)
{
	const VqClaims *claims = &inquiry->claims;

	inquiry->found = vq_fetch_session(&claims->subject, NULL, &inquiry->row) &&
		memcmp(&inquiry->row.queue_id, &claims->audience, UUID_LEN) == 0 &&
		inquiry->row.ticket == claims->ticket &&
		vq_fetch_queue(&claims->audience, &inquiry->settings) &&
		memcmp(&inquiry->settings.tenant_id, &inquiry->tenant, UUID_LEN) == 0;
}

static Fault
check_claims(Inquiry *inquiry)
{
	const VqClaims *claims = &inquiry->claims;
	int64		now = unix_seconds(inquiry->now);

	find_session(inquiry);
	if (now < claims->not_before)
		return NOT_YET;
	if (now >= claims->expires_at)
		return EXPIRED;
	if (!inquiry->any_queue && memcmp(&claims->audience, &inquiry->queue, UUID_LEN) != 0)
		return WRONG_QUEUE;
	if (!inquiry->found || inquiry->row.status == VQ_WAITING || !vq_is_live(&inquiry->row))
		return REVOKED;
	return NO_FAULT;
}

/* A text is not even read if it is too long. */
static Fault
inquire(Inquiry *inquiry, Datum token)
{
	text	   *value;
	Fault		fault;

	if (toast_raw_datum_size(token) - VARHDRSZ > VQ_JWT_MAX)
		return MALFORMED;
	value = DatumGetTextPP(token);
	fault = check_token(inquiry, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	return fault == NO_FAULT ? check_claims(inquiry) : fault;
}

static Datum
inquiry_datum(FunctionCallInfo fcinfo, const Inquiry *inquiry, Fault fault)
{
	const VqClaims *claims = &inquiry->claims;
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	values[0] = BoolGetDatum(fault == NO_FAULT);
	nulls[0] = false;
	if (fault != NO_FAULT)
	{
		values[1] = CStringGetTextDatum(reasons[fault]);
		nulls[1] = false;
	}
	if (inquiry->genuine)
	{
		values[2] = UUIDPGetDatum(&claims->subject);
		values[5] = Int64GetDatum(claims->ticket);
		values[6] = TimestampTzGetDatum(time_of_seconds(claims->issued_at));
		values[7] = TimestampTzGetDatum(time_of_seconds(claims->expires_at));
		nulls[2] = nulls[5] = nulls[6] = nulls[7] = false;
	}
	if (inquiry->genuine && inquiry->found)
	{
		values[3] = UUIDPGetDatum(&inquiry->row.user_id);
		values[4] = CStringGetTextDatum(inquiry->settings.name);
		nulls[3] = nulls[4] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(vqueue_verify_pass);
Datum
vqueue_verify_pass(PG_FUNCTION_ARGS)
{
	Inquiry		inquiry = {0};

	if (PG_ARGISNULL(0))
		vq_null_argument("token");
	vq_current_tenant(VQ_MAY_PASS, &inquiry.tenant);
	vq_need_feature_of(&inquiry.tenant, VQ_FEATURE_PASSES);
	inquiry.any_queue = PG_ARGISNULL(1);
	if (!inquiry.any_queue)
		vq_resolve_queue(VQ_MAY_PASS, PG_GETARG_TEXT_PP(1), &inquiry.queue);
	inquiry.now = GetCurrentTimestamp();
	return inquiry_datum(fcinfo, &inquiry, inquire(&inquiry, PG_GETARG_DATUM(0)));
}

/* ---- keys ---- */

static bool
add_public_key(const VqKey *key, void *arg)
{
	StringInfo	json = arg;
	unsigned char public_key[32];
	char		x[44];

	if (key->signer.algorithm != VQ_EDDSA)
		return true;
	if (!vq_public_key(&key->signer, public_key))
		vq_crypto_failed();
	x[vq_base64url_encode(public_key, sizeof(public_key), x)] = '\0';
	appendStringInfo(json, "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"%s\",\"use\":\"sig\",\"kid\":\"%s\",\"x\":\"%s\"}",
					 json->data[json->len - 1] == '[' ? "" : ",", vq_algorithm_names[VQ_EDDSA],
					 vq_uuid_text(&key->id), x);
	return true;
}

PG_FUNCTION_INFO_V1(vqueue_jwks);
Datum
vqueue_jwks(PG_FUNCTION_ARGS)
{
	StringInfoData json;
	pg_uuid_t	tenant;

	if (PG_ARGISNULL(0))
		vq_current_tenant(VQ_MAY_NAME, &tenant);
	else if (!vq_fetch_tenant(text_to_cstring(PG_GETARG_TEXT_PP(0)), &tenant) ||
			 (vq_levels(&tenant) & VQ_MAY_NAME) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tenant \"%s\" does not exist", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 errdetail("There is no such row in vqueue.tenants."),
				 errhint("Leave it out to get the keys of the tenant that vqueue.tenant names.")));
	vq_need_feature_of(&tenant, VQ_FEATURE_PASSES);
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"keys\":[");
	vq_visit_keys(&tenant, GetCurrentTimestamp(), add_public_key, &json);
	appendStringInfoString(&json, "]}");
	PG_RETURN_TEXT_P(cstring_to_text_with_len(json.data, json.len));
}

/* The algorithm of the first argument, or else that of the present key. */
static VqAlgorithm
algorithm_argument(FunctionCallInfo fcinfo, const pg_uuid_t *tenant, TimestampTz now)
{
	char	   *name;
	VqKey		key;

	if (PG_ARGISNULL(0))
	{
		if (!vq_find_signing_key(tenant, now, &key))
			return VQ_EDDSA;
		vq_forget_key(&key);
		return key.signer.algorithm;
	}
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < VQ_ALGORITHMS; i++)
		if (strcmp(name, vq_algorithm_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("algorithm \"%s\" is not known", name),
			 errdetail("Passes are signed with Ed25519, or with a secret that the gateway has too."),
			 errhint("Use EdDSA or HS256.")));
	return VQ_EDDSA;			/* not reached */
}

PG_FUNCTION_INFO_V1(vqueue_rotate_key);
Datum
vqueue_rotate_key(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	const char *hint = "The overlap is how long passes of the keys before the new one are good, the delay when it begins to sign.";
	int64		overlap = span_argument(fcinfo, 1, "overlap", 0, LONGEST_SPAN, hint);
	int64		delay = span_argument(fcinfo, 2, "delay", 0, LONGEST_SPAN, hint);
	VqKey		key;
	pg_uuid_t  *id;

	PreventCommandIfReadOnly("vqueue.rotate_key()");
	vq_current_tenant(VQ_MAY_ROTATE, &key.tenant_id);
	vq_need_feature_of(&key.tenant_id, VQ_FEATURE_PASSES);
	key.signer.algorithm = algorithm_argument(fcinfo, &key.tenant_id, now);
	key.signs_from = now + delay;
	key.earlier_until = key.signs_from + overlap;
	vq_make_key(&key, now);
	vq_forget_key(&key);
	id = palloc(sizeof(pg_uuid_t));
	*id = key.id;
	PG_RETURN_UUID_P(id);
}
