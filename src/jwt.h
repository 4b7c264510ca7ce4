/*
 * jwt.h
 *		The form of a pass: a signed JSON Web Token (RFC 7519, in the compact
 *		serialization of RFC 7515).  No server calls.
 *
 * Only what vq_jwt_make writes is read: a header with alg, kid and typ, the
 * claims below, each once, none else, without spaces, and base64url in its one
 * canonical form.  So nothing is left to the token to choose: neither how it
 * is to be read nor, as the key says it, by which algorithm.
 */
#ifndef VQ_JWT_H
#define VQ_JWT_H

#include "utils/uuid.h"

/* The longest token, which is the longest cookie too. */
#define VQ_JWT_MAX 4096

/* Bytes of a secret, and of a signature. */
#define VQ_SECRET_MIN 32
#define VQ_SECRET_MAX 64
#define VQ_SIGNATURE_MAX 64

/* A token's id: 16 random bytes in base64url. */
#define VQ_TOKEN_ID_BYTES 16
#define VQ_TOKEN_ID_LEN 22

typedef enum VqAlgorithm
{
	VQ_HS256,					/* HMAC with SHA-256; the secret has 32 to 64 bytes */
	VQ_EDDSA,					/* Ed25519; the secret is the private key of 32 bytes */
	VQ_ALGORITHMS
} VqAlgorithm;

extern const char *const vq_algorithm_names[VQ_ALGORITHMS];

/* What signs and verifies. */
typedef struct VqSigner
{
	VqAlgorithm algorithm;
	int			length;			/* of the secret */
	unsigned char secret[VQ_SECRET_MAX];
} VqSigner;

typedef enum VqVerdict
{
	VQ_GENUINE,
	VQ_FORGED,
	VQ_NO_VERDICT				/* the library failed */
} VqVerdict;

/* What a pass says; times in seconds since 1970. */
typedef struct VqClaims
{
	pg_uuid_t	issuer;			/* the tenant */
	pg_uuid_t	subject;		/* the session */
	pg_uuid_t	audience;		/* the queue */
	int64		issued_at;
	int64		not_before;
	int64		expires_at;
	char		token_id[VQ_TOKEN_ID_LEN + 1];
	const char *queue;			/* its name in UTF-8; written, not read */
	int64		ticket;
} VqClaims;

/* A token taken apart; it points into the text. */
typedef struct VqToken
{
	const char *input;
	int			signed_length;	/* of what is signed: header, dot, claims */
	const char *claims;			/* in base64url */
	int			claims_length;
	int			algorithm;		/* a VqAlgorithm, or -1: none that is known */
	bool		has_key_id;
	pg_uuid_t	key_id;
	int			signature_length;
	unsigned char signature[VQ_SIGNATURE_MAX];
} VqToken;

/* base64url without padding; dst has room for (length * 4 + 2) / 3 and is not terminated.  Returns its length. */
extern int	vq_base64url_encode(const unsigned char *src, int length, char *dst);

/* Returns the length, or -1 if this is not what encoding gives, or has more than room bytes. */
extern int	vq_base64url_decode(const char *src, int length, unsigned char *dst, int room);

/* Sign; the signature has room for VQ_SIGNATURE_MAX.  Returns its length, or -1 if the library failed. */
extern int	vq_sign(const VqSigner *signer, const char *input, int length, unsigned char *signature);

/* In constant time as far as it depends on the secret. */
extern VqVerdict vq_verify(const VqSigner *signer, const char *input, int length,
						   const unsigned char *signature, int signature_length);

/* The public key, 32 bytes, of an Ed25519 signer; false if the library failed. */
extern bool vq_public_key(const VqSigner *signer, unsigned char *key);

/*
 * Write a token, terminated, of VQ_JWT_MAX characters at the most.  Returns its
 * length, or -1 if the library failed or the queue's name is beyond all bounds.
 */
extern int	vq_jwt_make(const VqSigner *signer, const pg_uuid_t *key_id, const VqClaims *claims,
						char token[VQ_JWT_MAX + 1]);

/* Take a token apart; false if it is malformed.  Nothing of it can be believed yet. */
extern bool vq_jwt_read(const char *input, int length, VqToken *token);

/* Whether the signer made the token; the signer's algorithm is that of the token. */
extern VqVerdict vq_jwt_verify(const VqToken *token, const VqSigner *signer);

/* Read the claims of a genuine token; false if they are malformed. */
extern bool vq_jwt_claims(const VqToken *token, VqClaims *claims);

#endif							/* VQ_JWT_H */
