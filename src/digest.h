/*
 * digest.h
 *		SHA-256, by the library that the server is built with.
 */
#ifndef VQ_DIGEST_H
#define VQ_DIGEST_H

#define VQ_DIGEST_LEN	32

/* Of so many bytes.  Errors: XX000 OpenSSL refuses. */
extern void vq_sha256(const void *data, size_t length, uint8 *digest);

/* Of what is added bit by bit; only one such at a time. */
extern void vq_digest_begin(void);
extern void vq_digest_add(const void *data, size_t length);
extern void vq_digest_end(uint8 *digest);

/* As 64 lower-case digits; text has room for them and the terminator. */
#define VQ_DIGEST_TEXT	(2 * VQ_DIGEST_LEN + 1)
extern void vq_digest_text(const uint8 *digest, char *text);

#endif							/* VQ_DIGEST_H */
