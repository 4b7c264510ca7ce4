/*
 * digest.c
 *		SHA-256, by the library that the server is built with.
 *
 * A draw takes one for each entrant, and to look the algorithm up anew, as the
 * server's own interface does, takes longer than the digest.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "digest.h"

static EVP_MD_CTX *single = NULL;
static EVP_MD_CTX *running = NULL;

static void
must(bool done)
{
	if (!done)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-256"),
				 errdetail("The OpenSSL library of this server refuses it.")));
}

/* Begin, the first time with looking up the algorithm. */
static void
begin(EVP_MD_CTX **context)
{
	EVP_MD_CTX *new;

	if (*context != NULL)
	{
		must(EVP_DigestInit_ex(*context, NULL, NULL) == 1);
		return;
	}
	must((new = EVP_MD_CTX_new()) != NULL);
	if (EVP_DigestInit_ex(new, EVP_sha256(), NULL) != 1)
	{
		EVP_MD_CTX_free(new);
		must(false);
	}
	*context = new;
}

static void
end(EVP_MD_CTX *context, uint8 *digest)
{
	unsigned int length;

	must(EVP_DigestFinal_ex(context, digest, &length) == 1 && length == VQ_DIGEST_LEN);
}

void
vq_sha256(const void *data, size_t length, uint8 *digest)
{
	begin(&single);
	must(EVP_DigestUpdate(single, data, length) == 1);
	end(single, digest);
}

void
vq_digest_begin(void)
{
	begin(&running);
}

void
vq_digest_add(const void *data, size_t length)
{
	must(EVP_DigestUpdate(running, data, length) == 1);
}

void
vq_digest_end(uint8 *digest)
{
	end(running, digest);
}

void
vq_digest_text(const uint8 *digest, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < VQ_DIGEST_LEN; i++)
	{
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 0x0f];
	}
	hex[2 * VQ_DIGEST_LEN] = '\0';
}
