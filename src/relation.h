/*
 * relation.h
 *		Where the tables and indexes of vqueue are, and whether they are there.
 */
#ifndef VQ_RELATION_H
#define VQ_RELATION_H

typedef enum VqRelation
{
	VQ_TENANTS,
	VQ_QUEUES,
	VQ_CEILINGS,
	VQ_SESSIONS,
	VQ_SECRETS,
	VQ_DRAWS,
	VQ_EVENTS,
	VQ_MARKS,
	VQ_LOG,
	VQ_STATS,
	VQ_DRAWS_PKEY,
	VQ_SECRETS_PKEY,
	VQ_TENANTS_PKEY,
	VQ_TENANTS_NAME,
	VQ_QUEUES_PKEY,
	VQ_QUEUES_NAME,
	VQ_SESSIONS_PKEY,
	VQ_SESSIONS_TICKET,
	VQ_SESSIONS_LIVE,
	VQ_SESSIONS_LEFT,
	VQ_EVENTS_PKEY,
	VQ_EVENTS_QUEUE,
	VQ_PASS_KEYS,
	VQ_PASS_KEYS_PKEY,
	VQ_PASS_KEYS_TENANT,
	VQ_AUDIT_LOG,
	VQ_CLIENT_JOINS,
	VQ_CLIENT_JOINS_KEY,
	VQ_ACCESS,
	VQ_ACCESS_PKEY,
	VQ_SINCE_1_1,				/* from here on: not there in earlier versions of the SQL */
	VQ_TENANT_FEATURES = VQ_SINCE_1_1,
	VQ_TENANT_FEATURES_PKEY,
	VQ_QUEUE_CANARIES,
	VQ_QUEUE_CANARIES_WATCHING,
	VQ_RELATIONS
} VqRelation;

/*
 * Whether the extension is installed here (that is, its tables are there), of a
 * version that this library knows.
 */
extern bool vq_installed(void);

/* The version of the extension here that is later than this library, or NULL. */
extern const char *vq_newer_version(void);

/* Changes whenever what is known of the tables and indexes has to be found out anew. */
extern uint64 vq_relations_version(void);

/*
 * Oid of a table or index, invalid for one that the version of the SQL does not have.
 * Errors: 42P01 the extension is not installed; 55000 it is of a later version.
 */
extern Oid	vq_relation(VqRelation which);

/* Whether the version of the SQL has it.  Errors: the same. */
extern bool vq_has_relation(VqRelation which);

/* The role that owns the tables. */
extern Oid	vq_owner(void);

#endif							/* VQ_RELATION_H */
