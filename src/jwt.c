/*
 * jwt.c
 *		The form of a pass: writing, reading, signing and verifying tokens.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "common/hmac.h"
#include "common/int.h"
#include "common/sha2.h"
#include "jwt.h"

#define ED25519_KEY 32
#define ED25519_SIGNATURE 64

/* The longest claims of a token that is not too long. */
#define CLAIMS_MAX (VQ_JWT_MAX / 4 * 3)

const char *const vq_algorithm_names[VQ_ALGORITHMS] = {"HS256", "EdDSA"};

/* ---- base64url ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int
vq_base64url_encode(const unsigned char *src, int length, char *dst)
{
	char	   *out = dst;
	uint32		bits = 0;
	int			n_bits = 0;

	for (int i = 0; i < length; i++)
	{
		bits = bits << 8 | src[i];
		for (n_bits += 8; n_bits >= 6; n_bits -= 6)
			*out++ = alphabet[bits >> (n_bits - 6) & 63];
	}
	if (n_bits > 0)
		*out++ = alphabet[bits << (6 - n_bits) & 63];
	return out - dst;
}

static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int
vq_base64url_decode(const char *src, int length, unsigned char *dst, int room)
{
	unsigned char *out = dst;
	uint32		bits = 0;
	int			n_bits = 0;

	if (length % 4 == 1 || length / 4 * 3 + (length % 4 * 3) / 4 > room)
		return -1;
	for (int i = 0; i < length; i++)
	{
		int			value = sextet(src[i]);

		if (value < 0)
			return -1;
		bits = bits << 6 | value;
		n_bits += 6;
		if (n_bits >= 8)
		{
			n_bits -= 8;
			*out++ = bits >> n_bits & 255;
		}
	}

	/* Bits left over would let one value be written in several ways. */
	if ((bits & ((1 << n_bits) - 1)) != 0)
		return -1;
	return out - dst;
}

/* ---- signatures ---- */

static EVP_PKEY *
private_key(const VqSigner *signer)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, signer->secret, ED25519_KEY);
}

static bool
hmac(const VqSigner *signer, const char *input, int length, unsigned char *mac)
{
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);
	bool		done = context != NULL &&
	pg_hmac_init(context, signer->secret, signer->length) == 0 &&
	pg_hmac_update(context, (const uint8 *) input, length) == 0 &&
	pg_hmac_final(context, mac, PG_SHA256_DIGEST_LENGTH) == 0;

	pg_hmac_free(context);
	return done;
}

static bool
sign_ed25519(const VqSigner *signer, const char *input, int length, unsigned char *signature)
{
	EVP_PKEY   *key = private_key(signer);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	size_t		signature_length = ED25519_SIGNATURE;
	bool		done = key != NULL && context != NULL &&
	EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
	EVP_DigestSign(context, signature, &signature_length, (const unsigned char *) input, length) == 1 &&
	signature_length == ED25519_SIGNATURE;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return done;
}

int
vq_sign(const VqSigner *signer, const char *input, int length, unsigned char *signature)
{
	if (signer->algorithm == VQ_HS256)
		return hmac(signer, input, length, signature) ? PG_SHA256_DIGEST_LENGTH : -1;
	return sign_ed25519(signer, input, length, signature) ? ED25519_SIGNATURE : -1;
}

static VqVerdict
verify_hmac(const VqSigner *signer, const char *input, int length,
			const unsigned char *signature, int signature_length)
{
	unsigned char mac[PG_SHA256_DIGEST_LENGTH];

	if (signature_length != PG_SHA256_DIGEST_LENGTH)
		return VQ_FORGED;
	if (!hmac(signer, input, length, mac))
		return VQ_NO_VERDICT;
	return CRYPTO_memcmp(mac, signature, PG_SHA256_DIGEST_LENGTH) == 0 ? VQ_GENUINE : VQ_FORGED;
}

static VqVerdict
verify_ed25519(const VqSigner *signer, const char *input, int length,
			   const unsigned char *signature, int signature_length)
{
	EVP_PKEY   *key;
	EVP_MD_CTX *context;
	VqVerdict	verdict = VQ_NO_VERDICT;

	if (signature_length != ED25519_SIGNATURE)
		return VQ_FORGED;
	key = private_key(signer);
	context = EVP_MD_CTX_new();
	if (key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1)
		verdict = EVP_DigestVerify(context, signature, signature_length,
								   (const unsigned char *) input, length) == 1 ? VQ_GENUINE : VQ_FORGED;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return verdict;
}

VqVerdict
vq_verify(const VqSigner *signer, const char *input, int length,
		  const unsigned char *signature, int signature_length)
{
	if (signer->algorithm == VQ_HS256)
		return verify_hmac(signer, input, length, signature, signature_length);
	return verify_ed25519(signer, input, length, signature, signature_length);
}

bool
vq_public_key(const VqSigner *signer, unsigned char *key)
{
	EVP_PKEY   *pair = private_key(signer);
	size_t		length = ED25519_KEY;
	bool		done = pair != NULL && EVP_PKEY_get_raw_public_key(pair, key, &length) == 1 &&
	length == ED25519_KEY;

	EVP_PKEY_free(pair);
	ERR_clear_error();
	return done;
}

/* ---- ids ---- */

#define UUID_TEXT 36

static bool
is_dash(int i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

static void
write_uuid(const pg_uuid_t *id, char chars[UUID_TEXT + 1])
{
	static const char digits[] = "0123456789abcdef";
	int			nibble = 0;

	for (int i = 0; i < UUID_TEXT; i++)
	{
		chars[i] = is_dash(i) ? '-' : digits[id->data[nibble / 2] >> (nibble % 2 ? 0 : 4) & 15];
		nibble += !is_dash(i);
	}
	chars[UUID_TEXT] = '\0';
}

/* Only as it is written above. */
static bool
read_uuid(const char *chars, int length, pg_uuid_t *id)
{
	int			nibble = 0;

	if (length != UUID_TEXT)
		return false;
	for (int i = 0; i < UUID_TEXT; i++)
	{
		char		c = chars[i];
		int			value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (is_dash(i))
		{
			if (c != '-')
				return false;
			continue;
		}
		if (value < 0)
			return false;
		id->data[nibble / 2] = id->data[nibble / 2] << 4 | value;
		nibble++;
	}
	return true;
}

/* ---- writing ---- */

/* A text that is being written, and never overrun. */
typedef struct Output
{
	char	   *data;
	int			length;
	int			room;			/* the terminator not counted */
	bool		full;
} Output;

static void
put(Output *out, const char *data, int length)
{
	if (length > out->room - out->length)
		out->full = true;
	if (out->full)
		return;
	memcpy(out->data + out->length, data, length);
	out->length += length;
	out->data[out->length] = '\0';
}

static void
put_text(Output *out, const char *data)
{
	put(out, data, strlen(data));
}

static void
put_uuid(Output *out, const char *before, const pg_uuid_t *id)
{
	char		uuid[UUID_TEXT + 1];

	write_uuid(id, uuid);
	put_text(out, before);
	put_text(out, uuid);
}

static void
put_number(Output *out, const char *before, int64 number)
{
	char		digits[32];

	snprintf(digits, sizeof(digits), INT64_FORMAT, number);
	put_text(out, before);
	put_text(out, digits);
}

/* The inside of a JSON string. */
static void
put_escaped(Output *out, const char *data)
{
	for (const unsigned char *c = (const unsigned char *) data; *c != '\0'; c++)
	{
		char		escape[8];

		if (*c == '"' || *c == '\\')
			put_text(out, "\\");
		if (*c >= 0x20)
			put(out, (const char *) c, 1);
		else
		{
			snprintf(escape, sizeof(escape), "\\u%04x", *c);
			put_text(out, escape);
		}
	}
}

static void
put_encoded(Output *out, const unsigned char *data, int length)
{
	int			encoded = (length * 4 + 2) / 3;

	if (encoded > out->room - out->length)
		out->full = true;
	if (out->full)
		return;
	out->length += vq_base64url_encode(data, length, out->data + out->length);
	out->data[out->length] = '\0';
}

static void
put_header(Output *token, VqAlgorithm algorithm, const pg_uuid_t *key_id)
{
	char		buffer[128];
	Output		header = {buffer, 0, sizeof(buffer) - 1, false};

	put_text(&header, "{\"alg\":\"");
	put_text(&header, vq_algorithm_names[algorithm]);
	put_uuid(&header, "\",\"kid\":\"", key_id);
	put_text(&header, "\",\"typ\":\"JWT\"}");
	put_encoded(token, (unsigned char *) header.data, header.length);
}

static void
put_claims(Output *token, const VqClaims *claims)
{
	char		buffer[CLAIMS_MAX + 1];
	Output		out = {buffer, 0, CLAIMS_MAX, false};

	put_uuid(&out, "{\"iss\":\"", &claims->issuer);
	put_uuid(&out, "\",\"sub\":\"", &claims->subject);
	put_uuid(&out, "\",\"aud\":\"", &claims->audience);
	put_number(&out, "\",\"iat\":", claims->issued_at);
	put_number(&out, ",\"nbf\":", claims->not_before);
	put_number(&out, ",\"exp\":", claims->expires_at);
	put_text(&out, ",\"jti\":\"");
	put_text(&out, claims->token_id);
	put_text(&out, "\",\"queue\":\"");
	put_escaped(&out, claims->queue);
	put_number(&out, "\",\"ticket\":", claims->ticket);
	put_text(&out, "}");
	token->full |= out.full;
	put_encoded(token, (unsigned char *) out.data, out.length);
}

int
vq_jwt_make(const VqSigner *signer, const pg_uuid_t *key_id, const VqClaims *claims,
			char token[VQ_JWT_MAX + 1])
{
	Output		out = {token, 0, VQ_JWT_MAX, false};
	unsigned char signature[VQ_SIGNATURE_MAX];
	int			length;

	put_header(&out, signer->algorithm, key_id);
	put_text(&out, ".");
	put_claims(&out, claims);
	length = vq_sign(signer, out.data, out.length, signature);
	if (length < 0)
		return -1;
	put_text(&out, ".");
	put_encoded(&out, signature, length);
	return out.full ? -1 : out.length;
}

/* ---- reading ---- */

/* A member that an object may have. */
typedef struct Member
{
	const char *name;
	bool		is_number;
	bool		there;
	bool		escaped;		/* a string with backslashes */
	const char *chars;			/* of a string, between the quotes */
	int			length;
	int64		number;
} Member;

/* What is yet to be read. */
typedef struct Rest
{
	const char *next;
	const char *end;
} Rest;

static bool
take(Rest *rest, char c)
{
	if (rest->next == rest->end || *rest->next != c)
		return false;
	rest->next++;
	return true;
}

static bool
take_escape(Rest *rest)
{
	if (rest->next == rest->end)
		return false;
	if (*rest->next != 'u')
		return memchr("\"\\/bfnrt", *rest->next++, 8) != NULL;
	rest->next++;
	for (int i = 0; i < 4; i++)
		if (rest->next == rest->end || !isxdigit((unsigned char) *rest->next++))
			return false;
	return true;
}

static bool
take_string(Rest *rest, Member *member)
{
	if (!take(rest, '"'))
		return false;
	member->chars = rest->next;
	member->escaped = false;
	while (rest->next < rest->end && *rest->next != '"')
	{
		char		c = *rest->next++;

		if ((unsigned char) c < 0x20)
			return false;
		if (c == '\\')
		{
			member->escaped = true;
			if (!take_escape(rest))
				return false;
		}
	}
	member->length = rest->next - member->chars;
	return take(rest, '"');
}

/* Whole and not negative, without zeros before it. */
static bool
take_number(Rest *rest, Member *member)
{
	const char *begin = rest->next;

	member->number = 0;
	while (rest->next < rest->end && *rest->next >= '0' && *rest->next <= '9')
		if (pg_mul_s64_overflow(member->number, 10, &member->number) ||
			pg_add_s64_overflow(member->number, *rest->next++ - '0', &member->number))
			return false;
	return rest->next > begin && (*begin != '0' || rest->next - begin == 1);
}

static bool
take_member(Rest *rest, Member *members, int n)
{
	Member		name;

	if (!take_string(rest, &name) || name.escaped || !take(rest, ':'))
		return false;
	for (int i = 0; i < n; i++)
	{
		Member	   *member = &members[i];

		if ((int) strlen(member->name) != name.length || memcmp(member->name, name.chars, name.length) != 0)
			continue;
		if (member->there)
			return false;
		member->there = true;
		return member->is_number ? take_number(rest, member) : take_string(rest, member);
	}
	return false;
}

/* An object of some of these members, each once at the most, and nothing else. */
static bool
read_object(const char *json, int length, Member *members, int n)
{
	Rest		rest = {json, json + length};

	if (!take(&rest, '{'))
		return false;
	do
	{
		if (!take_member(&rest, members, n))
			return false;
	} while (take(&rest, ','));
	return take(&rest, '}') && rest.next == rest.end;
}

static bool
says(const Member *member, const char *word)
{
	return member->there && !member->escaped && member->length == (int) strlen(word) &&
		memcmp(member->chars, word, member->length) == 0;
}

static bool
reads_uuid(const Member *member, pg_uuid_t *id)
{
	return member->there && read_uuid(member->chars, member->length, id);
}

static bool
read_header(const char *input, int length, VqToken *token)
{
	unsigned char json[CLAIMS_MAX];
	Member		members[] = {{.name = "alg"}, {.name = "kid"}, {.name = "typ"}};
	int			json_length = vq_base64url_decode(input, length, json, sizeof(json));

	if (json_length < 0 || !read_object((char *) json, json_length, members, lengthof(members)) ||
		!members[0].there || (members[2].there && !says(&members[2], "JWT")))
		return false;
	token->algorithm = -1;
	for (int i = 0; i < VQ_ALGORITHMS; i++)
		if (says(&members[0], vq_algorithm_names[i]))
			token->algorithm = i;
	token->has_key_id = reads_uuid(&members[1], &token->key_id);
	return true;
}

bool
vq_jwt_read(const char *input, int length, VqToken *token)
{
	const char *end = input + length;
	const char *first = memchr(input, '.', length);
	const char *second = first ? memchr(first + 1, '.', end - first - 1) : NULL;

	if (length > VQ_JWT_MAX || second == NULL)
		return false;
	token->input = input;
	token->signed_length = second - input;
	token->claims = first + 1;
	token->claims_length = second - first - 1;
	token->signature_length = vq_base64url_decode(second + 1, end - second - 1, token->signature,
												  VQ_SIGNATURE_MAX);
	return token->signature_length >= 0 && read_header(input, first - input, token);
}

VqVerdict
vq_jwt_verify(const VqToken *token, const VqSigner *signer)
{
	Assert(token->algorithm == (int) signer->algorithm);
	return vq_verify(signer, token->input, token->signed_length, token->signature, token->signature_length);
}

bool
vq_jwt_claims(const VqToken *token, VqClaims *claims)
{
	unsigned char json[CLAIMS_MAX];
	Member		members[] = {
		{.name = "iss"}, {.name = "sub"}, {.name = "aud"}, {.name = "iat", .is_number = true},
		{.name = "nbf", .is_number = true}, {.name = "exp", .is_number = true},
		{.name = "jti"}, {.name = "queue"}, {.name = "ticket", .is_number = true}
	};
	int			length = vq_base64url_decode(token->claims, token->claims_length, json, sizeof(json));

	memset(claims, 0, sizeof(*claims));
	if (length < 0 || !read_object((char *) json, length, members, lengthof(members)))
		return false;
	for (int i = 0; i < (int) lengthof(members); i++)
		if (!members[i].there)
			return false;
	if (!reads_uuid(&members[0], &claims->issuer) || !reads_uuid(&members[1], &claims->subject) ||
		!reads_uuid(&members[2], &claims->audience) || members[6].length != VQ_TOKEN_ID_LEN)
		return false;
	claims->issued_at = members[3].number;
	claims->not_before = members[4].number;
	claims->expires_at = members[5].number;
	memcpy(claims->token_id, members[6].chars, VQ_TOKEN_ID_LEN);
	claims->ticket = members[8].number;
	return true;
}
