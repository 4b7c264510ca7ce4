/*
 * version.h
 *		Of which version the SQL objects in this database are.
 */
#ifndef VQ_VERSION_H
#define VQ_VERSION_H

/* Room for the name of a version. */
#define VQ_VERSION_SIZE 32

/*
 * Whether the extension's SQL is of a later version than this library, and of
 * which.  An earlier one is served as it is.
 */
extern bool vq_sql_is_newer(char *version);

#endif							/* VQ_VERSION_H */
