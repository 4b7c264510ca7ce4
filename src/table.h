/*
 * table.h
 *		The rows of vqueue's tables as C sees them.
 *
 * Reading goes straight to an index, past the executor and thus past its
 * privilege checks.  The SQL functions that call this are the gate, see access.h.
 */
#ifndef VQ_TABLE_H
#define VQ_TABLE_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "relation.h"
#include "shmem.h"
#include "storage/itemptr.h"
#include "utils/snapshot.h"

/* Column numbers, fixed by the install script. */
enum
{
	Anum_tenants_id = 1,
	Anum_tenants_name = 2,
	Anum_tenants_max_queues = 6,
	Anum_tenants_max_waiting_sessions = 7,

	Anum_queues_id = 1,
	Anum_queues_tenant_id = 2,
	Anum_queues_name = 3,
	Anum_queues_max_concurrent_users = 5,
	Anum_queues_release_rate_per_minute = 6,
	Anum_queues_burst = 7,
	Anum_queues_max_waiting = 8,
	Anum_queues_method = 9,
	Anum_queues_lane_weights = 10,
	Anum_queues_waiting_timeout = 11,
	Anum_queues_serving_timeout = 12,
	Anum_queues_claim_timeout = 13,
	Anum_queues_prequeue_at = 14,
	Anum_queues_opens_at = 15,
	Anum_queues_closes_at = 16,
	Anum_queues_state = 17,
	Anum_queues_version = 19,
	Anum_queues_updated_at = 21,
	Anum_queues_session_retention = 22,
	Anum_queues_pass_lifetime = 23,
	Anum_queues_client_limit = 24,
	Anum_queues_client_window = 25,

	Anum_client_joins_queue_id = 1,
	Anum_client_joins_client_hash = 2,
	Anum_client_joins_joined_at = 3,

	Anum_ceilings_queue_id = 1,
	Anum_ceilings_ceiling = 2,

	Anum_events_seq = 1,
	Anum_events_queue_id,
	Anum_events_at,
	Anum_events_event,
	Anum_events_payload,

	Anum_secrets_name = 1,
	Anum_secrets_value = 3,

	Anum_draws_queue_id = 1,
	Anum_draws_seed = 2,
	Anum_draws_beacon = 4,
	Anum_draws_drawn_at = 6,
	Anum_draws_entrants = 7,
	Anum_draws_entrants_hash = 8,
	Anum_draws_last_ticket = 11,
	Anum_draws_tickets = 12,

	Anum_pass_keys_id = 1,
	Anum_pass_keys_tenant_id = 2,
	Anum_pass_keys_algorithm = 3,
	Anum_pass_keys_signs_from = 4,
	Anum_pass_keys_earlier_until = 5,
	Anum_pass_keys_secret = 6,

	Anum_access_role = 1,
	Anum_access_tenant_id = 2,
	Anum_access_level = 3,
	Anum_features_tenant_id = 1,
	Anum_features_feature = 2,
	Anum_features_enabled = 3,

	Anum_canaries_id = 1,
	Anum_canaries_queue_id = 2,
	Anum_canaries_settings = 5,
	Anum_canaries_share = 7,
	Anum_canaries_from_ticket = 8,
	Anum_canaries_state = 21,

	Anum_sessions_id = 1,
	Anum_sessions_queue_id,
	Anum_sessions_user_id,
	Anum_sessions_ticket,
	Anum_sessions_joined_at,
	Anum_sessions_served_at,
	Anum_sessions_left_at,
	Anum_sessions_status,
	Anum_sessions_priority,
	Anum_sessions_user_name,
	Anum_sessions_user_email,
	Anum_sessions_reason,
	Anum_sessions_ready_at,
	Anum_sessions_extended_at,
	Anum_sessions_place_key,
	Natts_sessions = Anum_sessions_place_key
};

typedef enum VqStatus
{
	VQ_WAITING,
	VQ_IS_READY,
	VQ_SERVING,
	VQ_COMPLETED,
	VQ_EXPIRED,
	VQ_LEFT,
	VQ_ABANDONED,
	VQ_NO_SHOW,
	VQ_REMOVED,
	VQ_STATUSES
} VqStatus;

extern const char *const vq_status_names[VQ_STATUSES];
extern const char *const vq_lane_names[VQ_LANES];
extern const char *vq_state_name(VqState state);

/* A row of user_sessions, as far as C needs it; a time of 0 is null. */
typedef struct VqRow
{
	pg_uuid_t	id;
	pg_uuid_t	queue_id;
	pg_uuid_t	user_id;
	int64		ticket;
	TimestampTz joined_at;
	TimestampTz served_at;
	TimestampTz left_at;
	TimestampTz ready_at;
	TimestampTz extended_at;
	int64		place_key;		/* 0: none */
	VqStatus	status;
	VqKind		lane;
	ItemPointerData tid;		/* where it was read */
} VqRow;

static inline bool
vq_is_live(const VqRow *row)
{
	return row->status <= VQ_SERVING;
}

/* When the session was let in, or called where it had to claim its slot; 0 if it was not. */
static inline TimestampTz
vq_let_in_at(const VqRow *row)
{
	return row->ready_at != 0 ? row->ready_at : row->served_at;
}

/* The kind of bit that a live row has in memory, or -1. */
static inline int
vq_row_kind(const VqRow *row)
{
	return row->status == VQ_WAITING ? (int) row->lane :
		vq_is_live(row) ? VQ_INSIDE : -1;
}

/* Lane of a priority's name, or -1. */
extern int	vq_parse_lane(const char *name, int len);
extern int	vq_parse_status(const char *name, int len);

/*
 * Read a row, from the values of its columns, or of those up to priority; the
 * last leaves out ready_at, extended_at and place_key.
 */
extern void vq_read_row(HeapTuple tuple, TupleDesc desc, VqRow *row);
extern void vq_whole_row_of(const Datum *values, const bool *nulls, const ItemPointerData *tid, VqRow *row);
extern void vq_row_of(const Datum *values, const bool *nulls, const ItemPointerData *tid, VqRow *row);
extern void vq_read_settings(HeapTuple tuple, TupleDesc desc, VqSettings *settings);

/* The burst in force. */
extern int32 vq_burst(const VqSettings *settings);

/* Fetch a session by one of its keys; snapshot NULL is the latest.  False if there is none. */
extern bool vq_fetch_session(const pg_uuid_t *id, Snapshot snapshot, VqRow *row);
extern bool vq_fetch_ticket(const pg_uuid_t *queue_id, int64 ticket, Snapshot snapshot, VqRow *row);
extern bool vq_fetch_live(const pg_uuid_t *queue_id, const pg_uuid_t *user_id,
						  Snapshot snapshot, VqRow *row);

/*
 * Wait for the transaction that is about to give the user a live session, if
 * there is one; false if there is none.
 */
extern bool vq_await_live(const pg_uuid_t *queue_id, const pg_uuid_t *user_id);

/* The latest event of the log, by the latest snapshot; false if it is empty. */
extern bool vq_fetch_last_event(int64 *seq, TimestampTz *at);

/* Call back for each row of a queue that ended since a moment. */
typedef void (*VqEndedCallback) (const VqRow *row, void *arg);
extern void vq_scan_ended(const pg_uuid_t *queue_id, TimestampTz since, Snapshot snapshot,
						  VqEndedCallback callback, void *arg);

/* When the first of a queue's ended sessions ended, but for those before a moment; DT_NOEND if there is none. */
extern TimestampTz vq_fetch_first_left(const pg_uuid_t *queue_id, TimestampTz from);

/* The highest ticket of a queue's rows, finished ones too; 0 if it has none. */
extern int64 vq_fetch_last_ticket(const pg_uuid_t *queue_id, Snapshot snapshot);

/* What a tenant may have, -1 for any number, which also goes for one that is not there. */
typedef struct VqQuotas
{
	int64		queues;
	int64		waiting;
} VqQuotas;

extern void vq_fetch_quotas(const pg_uuid_t *tenant_id, VqQuotas *quotas);

/* Names to ids, by the latest snapshot; false if there is none. */
extern bool vq_fetch_tenant(const char *name, pg_uuid_t *id);
extern char *vq_fetch_tenant_name(const pg_uuid_t *id); /* NULL if there is none */
extern bool vq_fetch_queue_name(const pg_uuid_t *tenant_id, const char *name, pg_uuid_t *id);
extern bool vq_fetch_queue(const pg_uuid_t *id, VqSettings *settings);

/* The oldest secret of a name, of so many bytes, by the latest snapshot; false if there is none. */
extern bool vq_fetch_secret(const char *name, void *key, Size length);

extern char *vq_uuid_text(const pg_uuid_t *id);

#endif							/* VQ_TABLE_H */
