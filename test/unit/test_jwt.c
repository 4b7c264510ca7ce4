/*
 * test_jwt.c
 *		Passes: the vectors of the standards, tokens by hand, and random ones.
 */
#include "postgres_fe.h"

#include "model_jwt.h"
#include "tap.h"

static int
decode(const char *encoded, unsigned char *bytes, int room)
{
	return vq_base64url_decode(encoded, strlen(encoded), bytes, room);
}

static void
signer_of(VqSigner *signer, VqAlgorithm algorithm, const char *secret)
{
	memset(signer, 0, sizeof(*signer));
	signer->algorithm = algorithm;
	signer->length = decode(secret, signer->secret, sizeof(signer->secret));
}

/* ---- base64url ---- */

static void
test_base64url(void)
{
	/* RFC 4648, section 10, without padding */
	static const char *const vectors[][2] = {
		{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"},
		{"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}
	};
	static const char *const bad[] = {
		"Z", "Zg==", "Zm8=", "Zh", "Zn", "Zm9", "Zm9vY", "Zm9vYg=", "Z g", "Zm9+", "Zm9/", "Zg\n", "Zm\xc3\xa9"
	};
	unsigned char bytes[64];
	char		text[64];

	for (int i = 0; i < (int) lengthof(vectors); i++)
	{
		const char *plain = vectors[i][0];
		const char *encoded = vectors[i][1];
		int			n = vq_base64url_encode((const unsigned char *) plain, strlen(plain), text);

		ok(n == (int) strlen(encoded) && memcmp(text, encoded, n) == 0, "\"%s\" is encoded", encoded);
		n = decode(encoded, bytes, sizeof(bytes));
		ok(n == (int) strlen(plain) && memcmp(bytes, plain, n) == 0, "and decoded");
	}
	for (int i = 0; i < (int) lengthof(bad); i++)
		is(decode(bad[i], bytes, sizeof(bytes)), -1, "%d: what encoding does not give is refused", i);
	is(decode("Zm9vYmFy", bytes, 5), -1, "what does not fit is refused");
	is(decode("Zm9vYmFy", bytes, 6), 6, "what just fits is not");
	for (int length = 0; length <= 20; length++)
	{
		int			n = vq_base64url_encode(bytes, length, text);

		is(n, (length * 4 + 2) / 3, "%d bytes have the length that was promised", length);
	}
}

/* ---- signatures ---- */

static void
test_vector(const char *name, const VqSigner *signer, const char *input, const char *wanted)
{
	unsigned char signature[VQ_SIGNATURE_MAX];
	unsigned char expected[VQ_SIGNATURE_MAX];
	int			length = vq_sign(signer, input, strlen(input), signature);

	is(length, decode(wanted, expected, sizeof(expected)), "%s: the signature has its length", name);
	ok(memcmp(signature, expected, length) == 0, "%s: and is the standard's", name);
	is(vq_verify(signer, input, strlen(input), expected, length), VQ_GENUINE, "%s: which is genuine", name);
	is(vq_verify(signer, input, strlen(input) - 1, expected, length), VQ_FORGED, "%s: but not of another text", name);
	is(vq_verify(signer, input, strlen(input), expected, length - 1), VQ_FORGED, "%s: nor cut short", name);
	is(vq_verify(signer, input, strlen(input), expected, 0), VQ_FORGED, "%s: nor empty", name);
	for (int bit = 0, refused = 0; bit < length * 8; bit++)
	{
		expected[bit / 8] ^= 1 << bit % 8;
		refused += vq_verify(signer, input, strlen(input), expected, length) == VQ_FORGED;
		expected[bit / 8] ^= 1 << bit % 8;
		if (bit == length * 8 - 1)
			is(refused, length * 8, "%s: nor with any bit changed", name);
	}
}

static void
test_standards(void)
{
	VqSigner	signer;
	unsigned char public_key[32];
	unsigned char wanted[32];

	signer_of(&signer, VQ_HS256, "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
	is(signer.length, 64, "the secret of RFC 7515 has 64 bytes");
	test_vector("RFC 7515 A.1", &signer,
				"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
				".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
				"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
	signer_of(&signer, VQ_EDDSA, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
	test_vector("RFC 8037 A.4", &signer,
				"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
				"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
	ok(vq_public_key(&signer, public_key), "RFC 8037 A.2: there is a public key");
	(void) decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", wanted, sizeof(wanted));
	ok(memcmp(public_key, wanted, sizeof(wanted)) == 0, "and it is the standard's");
}

/* ---- tokens by hand ---- */

#define KEY_ID "0190a1b2-0000-7000-8000-00000000000a"
#define CLAIMS "\"iss\":\"00000000-0000-7000-8000-000000000001\",\"sub\":\"00000000-0000-7000-8000-000000000002\"," \
	"\"aud\":\"00000000-0000-7000-8000-000000000003\",\"iat\":10,\"nbf\":10,\"exp\":20," \
	"\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"queue\":\"q\",\"ticket\":1"

/* A token of this header and these claims. */
static int
token_of(const char *header, const char *claims, char *token)
{
	int			n = vq_base64url_encode((const unsigned char *) header, strlen(header), token);

	token[n++] = '.';
	n += vq_base64url_encode((const unsigned char *) claims, strlen(claims), token + n);
	token[n++] = '.';
	return n;
}

static bool
reads_header(const char *header, VqToken *token)
{
	static char text[VQ_JWT_MAX];

	return vq_jwt_read(text, token_of(header, "{}", text), token);
}

static bool
reads_claims(const char *json, VqClaims *claims)
{
	char		text[VQ_JWT_MAX];
	VqToken		token;

	return vq_jwt_read(text, token_of("{\"alg\":\"HS256\"}", json, text), &token) && vq_jwt_claims(&token, claims);
}

static void
test_headers(void)
{
	static const char *const malformed[] = {
		"", "{}", "[]", "null", "{\"alg\"}", "{\"alg\":}", "{\"alg\":5}", "{\"alg\":null}", "{\"alg\":\"HS256\"",
		"{\"alg\":\"HS256\"}}", "{\"alg\":\"HS256\"} ", " {\"alg\":\"HS256\"}", "{ \"alg\":\"HS256\"}",
		"{\"alg\": \"HS256\"}", "{\"alg\":\"HS256\",}", "{,\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"alg\":\"HS256\"}",
		"{\"alg\":\"HS256\",\"alg\":\"none\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"typ\":\"JWT\"}",
		"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "{\"alg\":\"HS256\",\"crit\":\"exp\"}",
		"{\"alg\":\"HS256\",\"jku\":\"http://evil\"}", "{\"alg\":\"HS256\",\"jwk\":{}}", "{\"alg\":\"HS256\",\"x5u\":\"\"}",
		"{\"alg\":\"HS256\",\"b64\":false}", "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", "{\"alg\":\"HS256\",\"typ\":\"JWE\"}",
		"{\"alg\":\"HS256\",\"typ\":\"J\\u0057T\"}", "{\"typ\":\"JWT\"}", "{\"\\u0061lg\":\"HS256\"}", "{\"Alg\":\"HS256\"}",
		"{\"alg\":\"HS\n256\"}", "{\"alg\":\"HS\\x256\"}", "{\"alg\":\"\\u12\"}", "{\"alg\":[\"HS256\"]}", "{\"alg\":\"\\"
	};
	static const char *const no_algorithm[] = {
		"{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"\"}", "{\"alg\":\"hs256\"}", "{\"alg\":\"HS384\"}",
		"{\"alg\":\"HS512\"}", "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}", "{\"alg\":\"EdDSA \"}", "{\"alg\":\"HS25\"}",
		"{\"alg\":\"H\\u0053256\"}", "{\"alg\":\"Ed25519\"}"
	};
	static const char *const no_key[] = {
		"{\"alg\":\"HS256\"}", "{\"alg\":\"HS256\",\"kid\":\"\"}", "{\"alg\":\"HS256\",\"kid\":\"1\"}",
		"{\"alg\":\"HS256\",\"kid\":\"0190A1B2-0000-7000-8000-00000000000A\"}",
		"{\"alg\":\"HS256\",\"kid\":\"{" KEY_ID "}\"}", "{\"alg\":\"HS256\",\"kid\":\"0190a1b2000070008000-00000000000a\"}",
		"{\"alg\":\"HS256\",\"kid\":\"0190a1b2-0000-7000-8000-00000000000g\"}",
		"{\"alg\":\"HS256\",\"kid\":\"0190a1b2+0000-7000-8000-00000000000a\"}", "{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}"
	};
	VqToken		token;

	ok(reads_header("{\"alg\":\"EdDSA\",\"kid\":\"" KEY_ID "\",\"typ\":\"JWT\"}", &token), "a header is read");
	is(token.algorithm, VQ_EDDSA, "with its algorithm");
	ok(token.has_key_id && token.key_id.data[0] == 1 && token.key_id.data[15] == 10, "and its key's id");
	ok(reads_header("{\"typ\":\"JWT\",\"alg\":\"HS256\",\"kid\":\"" KEY_ID "\"}", &token) &&
	   token.algorithm == VQ_HS256 && token.has_key_id, "in any order");
	for (int i = 0; i < (int) lengthof(malformed); i++)
		ok(!reads_header(malformed[i], &token), "malformed: %d", i);
	for (int i = 0; i < (int) lengthof(no_algorithm); i++)
		ok(reads_header(no_algorithm[i], &token) && token.algorithm == -1, "no algorithm: %s", no_algorithm[i]);
	for (int i = 0; i < (int) lengthof(no_key); i++)
		ok(reads_header(no_key[i], &token) && !token.has_key_id, "no key: %s", no_key[i]);
}

static void
test_claims(void)
{
	static const char *const bad[] = {
		"", "{}", "[]", "{" CLAIMS, "{" CLAIMS "} ", "{" CLAIMS ",\"ticket\":1}", "{" CLAIMS ",\"admin\":\"true\"}",
		"{" CLAIMS ",\"exp\":30}", "{\"exp\":30," CLAIMS "}", "{" CLAIMS ",}", "{" CLAIMS "}{" CLAIMS "}"
	};
	static const char *const bad_numbers[] = {
		"-1", "+1", "01", "00", "1.0", "1e3", "\"20\"", "", "null", "true", "0x10", "9223372036854775808",
		"99999999999999999999", "[20]", " 20", "20 "
	};
	char		json[600];
	VqClaims	claims;

	ok(reads_claims("{" CLAIMS "}", &claims), "claims are read");
	ok(claims.issuer.data[15] == 1 && claims.subject.data[15] == 2 && claims.audience.data[15] == 3, "with their ids");
	ok(claims.issued_at == 10 && claims.not_before == 10 && claims.expires_at == 20 && claims.ticket == 1,
	   "and their numbers");
	for (int i = 0; i < (int) lengthof(bad); i++)
		ok(!reads_claims(bad[i], &claims), "malformed claims: %s", bad[i]);
	for (int i = 0; i < (int) lengthof(bad_numbers); i++)
	{
		const char *exp = strstr(CLAIMS, "20,");

		snprintf(json, sizeof(json), "{%.*s%s%s}", (int) (exp - CLAIMS), CLAIMS, bad_numbers[i], exp + 2);
		ok(!reads_claims(json, &claims), "an exp of %s is refused", bad_numbers[i]);
	}
	{
		const char *exp = strstr(CLAIMS, "20,");

		snprintf(json, sizeof(json), "{%.*s%s%s}", (int) (exp - CLAIMS), CLAIMS, "9223372036854775807", exp + 2);
		ok(reads_claims(json, &claims) && claims.expires_at == PG_INT64_MAX, "the largest number is read");
	}
	for (int i = 0; i < (int) strlen(CLAIMS) - 1; i++)
	{
		snprintf(json, sizeof(json), "{%.*s}", i, CLAIMS);
		if (reads_claims(json, &claims))
			ok(false, "cut short after %d characters claims are refused", i);
	}
	ok(true, "claims cut short anywhere are refused");
}

static void
test_sizes(void)
{
	VqSigner	signer;
	VqClaims	claims = {0};
	pg_uuid_t	key_id = {{0}};
	VqToken		read;
	char		name[4000];
	char		token[VQ_JWT_MAX + 1];
	int			length = 0;

	signer_of(&signer, VQ_HS256, "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
	strcpy(claims.token_id, "AAAAAAAAAAAAAAAAAAAAAA");
	claims.queue = name;
	for (int n = 0; n < (int) sizeof(name); n++)
	{
		int			made;

		memset(name, 'x', n);
		name[n] = '\0';
		made = vq_jwt_make(&signer, &key_id, &claims, token);
		if (made < 0)
			break;
		length = made;
	}
	ok(length > VQ_JWT_MAX - 4 && length <= VQ_JWT_MAX, "the longest token that is written has %d characters", length);
	memset(name, 'x', sizeof(name));
	name[200] = '\0';
	length = vq_jwt_make(&signer, &key_id, &claims, token);
	ok(length > 0 && length < 1000, "with a long name it has %d", length);
	memset(name, 1, 200);
	is(vq_jwt_make(&signer, &key_id, &claims, token) > 0, 1, "one with the longest name, all of it to be escaped, fits");
	for (int i = 0; i < (int) sizeof(name); i++)
		name[i] = i % 2 ? 'A' : '.';
	ok(!vq_jwt_read(name, sizeof(name), &read), "many dots are refused");
	memset(name, '.', sizeof(name));
	for (int n = 0; n <= 4; n++)
		ok(!vq_jwt_read(name, n, &read), "%d dots alone are refused", n);
	ok(!vq_jwt_read("", 0, &read), "nothing is refused");
	{
		char	   *huge = malloc(100000);
		int			n = token_of("{\"alg\":\"HS256\"}", "{}", huge);

		memset(huge + n, 'A', 100000 - n);
		ok(!vq_jwt_read(huge, 100000, &read), "an endless one is refused");
		ok(!vq_jwt_read(huge, n + 88, &read), "a signature that is too long is refused");
		ok(vq_jwt_read(huge, n + 86, &read), "one of 64 bytes is not");
		free(huge);
	}
}

int
main(int argc, char **argv)
{
	uint64		seed = tap_seed(argc, argv, 20261125);
	Source		source = source_of_seed(seed, getenv("VQ_EFFORT") ? 20000 : 2000000);
	uint64		tampered;

	test_base64url();
	test_standards();
	test_headers();
	test_claims();
	test_sizes();
	tampered = model_jwt_run(&source);
	ok(tampered > 1000, "none of " UINT64_FORMAT " tokens that were tampered with is genuine", tampered);
	return tap_done();
}
