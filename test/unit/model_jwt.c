/*
 * model_jwt.c
 *		Random passes, genuine and tampered with, and random JSON.
 */
#include "postgres_fe.h"

#include "model_jwt.h"

#define MAX_NAME 200

typedef struct Made
{
	VqSigner	signer;
	pg_uuid_t	key_id;
	VqClaims	claims;
	char		name[MAX_NAME + 1];
	char		token[VQ_JWT_MAX + 1];
	int			length;
} Made;

/* ---- making ---- */

static void
random_bytes(Source *source, unsigned char *bytes, int n)
{
	for (int i = 0; i < n; i++)
		bytes[i] = source_below(source, 256);
}

static void
random_signer(Source *source, VqSigner *signer)
{
	memset(signer, 0, sizeof(*signer));
	signer->algorithm = source_one_in(source, 10) ? VQ_EDDSA : VQ_HS256;
	signer->length = signer->algorithm == VQ_EDDSA ? 32 : source_between(source, VQ_SECRET_MIN, VQ_SECRET_MAX);
	random_bytes(source, signer->secret, signer->length);
}

static void
random_claims(Source *source, Made *made)
{
	VqClaims   *claims = &made->claims;
	unsigned char id[VQ_TOKEN_ID_BYTES];
	int			length = source_between(source, 1, MAX_NAME);

	random_bytes(source, claims->issuer.data, UUID_LEN);
	random_bytes(source, claims->subject.data, UUID_LEN);
	random_bytes(source, claims->audience.data, UUID_LEN);
	claims->issued_at = source_scaled(source, 40);
	claims->not_before = source_scaled(source, 40);
	claims->expires_at = source_scaled(source, 62);
	claims->ticket = source_scaled(source, 60);
	random_bytes(source, id, sizeof(id));
	claims->token_id[vq_base64url_encode(id, sizeof(id), claims->token_id)] = '\0';
	for (int i = 0; i < length; i++)
		made->name[i] = source_between(source, 1, source_one_in(source, 3) ? 127 : 255);
	made->name[length] = '\0';
	claims->queue = made->name;
}

/* A token of a key of its own, even where a fuzzer's bytes have run out. */
static void
make(Source *source, uint32 number, Made *made)
{
	random_signer(source, &made->signer);
	random_bytes(source, made->key_id.data, UUID_LEN);
	memcpy(made->key_id.data, &number, sizeof(number));
	random_claims(source, made);
	made->length = vq_jwt_make(&made->signer, &made->key_id, &made->claims, made->token);
	MUST(made->length > 0 && made->length == (int) strlen(made->token));
}

/* Whether the token is one of this key, as verify_pass goes about it. */
static bool
accepted(const Made *made, const char *token, int length, VqClaims *claims)
{
	VqToken		read;

	return vq_jwt_read(token, length, &read) &&
		read.algorithm == (int) made->signer.algorithm && read.has_key_id &&
		memcmp(&read.key_id, &made->key_id, UUID_LEN) == 0 &&
		vq_jwt_verify(&read, &made->signer) == VQ_GENUINE && vq_jwt_claims(&read, claims);
}

static void
must_be_read_back(const Made *made)
{
	const VqClaims *wanted = &made->claims;
	VqClaims	got;

	MUST(accepted(made, made->token, made->length, &got));
	MUST(memcmp(&got.issuer, &wanted->issuer, UUID_LEN) == 0);
	MUST(memcmp(&got.subject, &wanted->subject, UUID_LEN) == 0);
	MUST(memcmp(&got.audience, &wanted->audience, UUID_LEN) == 0);
	MUST(got.issued_at == wanted->issued_at && got.not_before == wanted->not_before);
	MUST(got.expires_at == wanted->expires_at && got.ticket == wanted->ticket);
	MUST(strcmp(got.token_id, wanted->token_id) == 0);
}

/* ---- tampering ---- */

/* Change, take away, or add a character, or cut the token short; returns its length. */
static int
tamper(Source *source, char *token, int length)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n";
	int			at = source_one_in(source, 4) ? length - 1 - (int) source_below(source, Min(length, 4)) :
		(int) source_below(source, length);
	char		c = chars[source_below(source, sizeof(chars) - 1)];

	switch (source_below(source, 4))
	{
		case 0:
			token[at] = c;
			return length;
		case 1:
			memmove(token + at, token + at + 1, length - at - 1);
			return length - 1;
		case 2:
			memmove(token + at + 1, token + at, length - at);
			token[at] = c;
			return length + 1;
		default:
			return at;
	}
}

static void
must_be_refused(Source *source, const Made *made)
{
	char		token[VQ_JWT_MAX + 8];
	int			length = made->length;
	VqClaims	claims;

	memcpy(token, made->token, length);
	for (int i = source_between(source, 1, 3); i > 0 && length > 0; i--)
		length = tamper(source, token, length);
	if (length != made->length || memcmp(token, made->token, length) != 0)
		MUST(!accepted(made, token, length, &claims));
}

/* Claims of one with the signature of another. */
static void
must_not_mix(const Made *made, const Made *other)
{
	char		token[2 * VQ_JWT_MAX];
	VqClaims	claims;
	int			n = snprintf(token, sizeof(token), "%.*s%s", (int) (strrchr(made->token, '.') - made->token),
							 made->token, strrchr(other->token, '.'));

	MUST(!accepted(made, token, n, &claims));
	MUST(!accepted(made, other->token, other->length, &claims));
}

uint64
model_jwt_run(Source *source)
{
	uint64		tampered = 0;
	uint32		number = 0;
	Made		made[2];

	make(source, number++, &made[0]);
	for (int i = 1; !source_ended(source); i ^= 1)
	{
		make(source, number++, &made[i]);
		must_be_read_back(&made[i]);
		must_not_mix(&made[i], &made[i ^ 1]);
		for (int n = source_between(source, 1, 20); n > 0 && !source_ended(source); n--, tampered++)
			must_be_refused(source, &made[i]);
	}
	return tampered;
}

/* ---- any bytes ---- */

static bool
contains(const char *bytes, int length, const char *word)
{
	int			n = strlen(word);

	for (int i = 0; i + n <= length; i++)
		if (memcmp(bytes + i, word, n) == 0)
			return true;
	return false;
}

/* Claims that are accepted are there, word by word. */
static void
must_say(const char *json, int length, const VqClaims *claims)
{
	char		word[100];

	snprintf(word, sizeof(word), "\"exp\":" INT64_FORMAT, claims->expires_at);
	MUST(contains(json, length, word));
	snprintf(word, sizeof(word), "\"nbf\":" INT64_FORMAT, claims->not_before);
	MUST(contains(json, length, word));
	snprintf(word, sizeof(word), "\"ticket\":" INT64_FORMAT, claims->ticket);
	MUST(contains(json, length, word));
	snprintf(word, sizeof(word), "\"jti\":\"%s\"", claims->token_id);
	MUST(contains(json, length, word));
	snprintf(word, sizeof(word), "\"sub\":\"%02x%02x%02x%02x-", claims->subject.data[0], claims->subject.data[1],
			 claims->subject.data[2], claims->subject.data[3]);
	MUST(contains(json, length, word));
	MUST(json[0] == '{' && json[length - 1] == '}');
}

static void
try_claims(const char *json, int length)
{
	char		token[VQ_JWT_MAX];
	int			n = snprintf(token, sizeof(token), "eyJhbGciOiJIUzI1NiJ9.");	/* {"alg":"HS256"} */
	VqToken		read;
	VqClaims	claims;

	n += vq_base64url_encode((const unsigned char *) json, length, token + n);
	token[n++] = '.';
	MUST(vq_jwt_read(token, n, &read) && read.algorithm == VQ_HS256 && !read.has_key_id);
	if (vq_jwt_claims(&read, &claims))
		must_say(json, length, &claims);
}

static void
try_header(const char *json, int length)
{
	char		token[VQ_JWT_MAX];
	int			n = vq_base64url_encode((const unsigned char *) json, length, token);
	VqToken		read;

	token[n++] = '.';
	token[n++] = '.';
	if (!vq_jwt_read(token, n, &read))
		return;
	MUST(contains(json, length, "\"alg\":\""));
	MUST((read.algorithm == VQ_HS256) == contains(json, length, "\"alg\":\"HS256\""));
	MUST((read.algorithm == VQ_EDDSA) == contains(json, length, "\"alg\":\"EdDSA\""));
	MUST(!read.has_key_id || contains(json, length, "\"kid\":\""));
}

/* Each segment of a token that is read is what encoding gives. */
static void
try_token(const char *token, int length)
{
	unsigned char bytes[VQ_JWT_MAX];
	char		again[VQ_JWT_MAX + 1];
	VqToken		read;
	int			n;

	if (!vq_jwt_read(token, length, &read))
		return;
	MUST(memchr(read.claims, '.', read.claims_length) == NULL);
	n = vq_base64url_encode(read.signature, read.signature_length, again);
	MUST(n == length - read.signed_length - 1);
	MUST(memcmp(again, token + read.signed_length + 1, n) == 0);
	n = vq_base64url_decode(token, read.claims - 1 - token, bytes, sizeof(bytes));
	MUST(n > 0);
	n = vq_base64url_encode(bytes, n, again);
	MUST(n == read.claims - 1 - token && memcmp(again, token, n) == 0);
}

void
model_jwt_bytes(const uint8 *bytes, size_t size)
{
	const char *rest = (const char *) bytes + 1;
	int			length = Min(size, 3000) - 1;

	if (size < 2)
		return;
	switch (bytes[0] % 3)
	{
		case 0:
			try_token(rest, length);
			break;
		case 1:
			try_header(rest, length);
			break;
		default:
			try_claims(rest, length);
			break;
	}
}
