/*
 * vqueue 1.0.0: schema, tables, triggers and functions of the waiting room.
 *
 * Order of this file: types and tables, then triggers, then the functions by
 * who calls them (sessions, operators, watchers), then privileges.  What is on
 * the hot path is C; everything else is SQL or PL/pgSQL, easier to audit.
 * Names that begin with an underscore are internal.
 */

-- complain if this script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION vqueue" to load this file. \quit

CREATE SCHEMA vqueue;
COMMENT ON SCHEMA vqueue IS 'virtual waiting room: queues, sessions and the functions that move them';

-- Fails at once, and says how to mend it, on a server that did not preload the library.
CREATE FUNCTION vqueue._uuidv7() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_uuidv7';
COMMENT ON FUNCTION vqueue._uuidv7() IS
    'internal: a version 7 uuid, its free bits from the strong random source';

/* ---------------------------------------------------------------- tables */

/*
 * Names have no control characters.  The class [:cntrl:] goes by code points:
 * it takes in 0x80 to 0x9f, which are letters in some encodings of one byte.
 */
CREATE TABLE vqueue.tenants (
    id          uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    name        text NOT NULL UNIQUE
                CONSTRAINT tenants_name_check
                CHECK (octet_length(name) BETWEEN 1 AND 200
                       AND name !~ CASE WHEN pg_catalog.getdatabaseencoding() ~ '^(WIN|KOI|SQL)'
                                        THEN '[\x01-\x1f\x7f]' ELSE '[[:cntrl:]]' END),
    domain      text
                CONSTRAINT tenants_domain_check CHECK (octet_length(domain) <= 253),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    max_queues  int
                CONSTRAINT tenants_max_queues_check CHECK (max_queues BETWEEN 0 AND 1000000),
    max_waiting_sessions int
                CONSTRAINT tenants_max_waiting_sessions_check CHECK (max_waiting_sessions BETWEEN 0 AND 1000000000)
);
COMMENT ON TABLE vqueue.tenants IS
    'customers of this installation; each sees only its own queues. Setting vqueue.tenant names the current one';

COMMENT ON COLUMN vqueue.tenants.max_queues IS 'no more queues than this can be made; null: any number';
COMMENT ON COLUMN vqueue.tenants.max_waiting_sessions IS
    'joins are refused where they would have to wait while so many wait in all queues of the tenant; null: any number';

/* A fixed id, so that a dump restores onto the row that CREATE EXTENSION made. */
INSERT INTO vqueue.tenants (id, name)
VALUES ('00000000-0000-7000-8000-000000000001', 'default');

CREATE TABLE vqueue.queues (
    id                      uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    tenant_id               uuid NOT NULL DEFAULT '00000000-0000-7000-8000-000000000001'
                            REFERENCES vqueue.tenants,
    name                    text NOT NULL
                            CONSTRAINT queues_name_check
                            CHECK (octet_length(name) BETWEEN 1 AND 200
                                   AND name !~ CASE WHEN pg_catalog.getdatabaseencoding() ~ '^(WIN|KOI|SQL)'
                                                    THEN '[\x01-\x1f\x7f]' ELSE '[[:cntrl:]]' END
                                   AND name !~* '^\{?[0-9a-f]{4}-?([0-9a-f]{4}-?){6}[0-9a-f]{4}\}?$'),
    description             text
                            CONSTRAINT queues_description_check CHECK (octet_length(description) <= 10000),
    max_concurrent_users    int NOT NULL DEFAULT 100
                            CONSTRAINT queues_max_concurrent_users_check
                            CHECK (max_concurrent_users BETWEEN 1 AND 100000000),
    release_rate_per_minute int NOT NULL DEFAULT 10
                            CONSTRAINT queues_release_rate_per_minute_check
                            CHECK (release_rate_per_minute BETWEEN 1 AND 10000000),
    burst                   int NOT NULL DEFAULT 0
                            CONSTRAINT queues_burst_check CHECK (burst BETWEEN 0 AND 1000000),
    max_waiting             int NOT NULL DEFAULT 0
                            CONSTRAINT queues_max_waiting_check CHECK (max_waiting BETWEEN 0 AND 1000000000),
    method                  text NOT NULL DEFAULT 'fifo'
                            CONSTRAINT queues_method_check
                            CHECK (method IN ('fifo', 'random', 'passthrough', 'reject')),
    lane_weights            int[]
                            CONSTRAINT queues_lane_weights_check
                            CHECK (cardinality(lane_weights) = 4 AND array_ndims(lane_weights) = 1
                                   AND array_lower(lane_weights, 1) = 1
                                   AND array_position(lane_weights, NULL) IS NULL
                                   AND 1 <= ALL (lane_weights) AND 100 >= ALL (lane_weights)),
    waiting_timeout         interval NOT NULL DEFAULT '0'
                            CONSTRAINT queues_waiting_timeout_check
                            CHECK (waiting_timeout BETWEEN '0' AND '1 day'),
    serving_timeout         interval NOT NULL DEFAULT '0'
                            CONSTRAINT queues_serving_timeout_check
                            CHECK (serving_timeout BETWEEN '0' AND '1 day'),
    claim_timeout           interval NOT NULL DEFAULT '0'
                            CONSTRAINT queues_claim_timeout_check
                            CHECK (claim_timeout BETWEEN '0' AND '1 day'),
    prequeue_at             timestamptz,
    opens_at                timestamptz,
    closes_at               timestamptz,
    state                   text NOT NULL DEFAULT 'open'
                            CONSTRAINT queues_state_check
                            CHECK (state IN ('open', 'paused', 'draining', 'closed')),
    is_active               bool GENERATED ALWAYS AS (state IN ('open', 'paused')) STORED,
    version                 bigint NOT NULL DEFAULT 1
                            CONSTRAINT queues_version_check CHECK (version BETWEEN 1 AND 4611686018427387904),
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    session_retention       interval NOT NULL DEFAULT '0'
                            CONSTRAINT queues_session_retention_check
                            CHECK (session_retention BETWEEN '0' AND '100 years'),
    pass_lifetime           interval NOT NULL DEFAULT '15 min'
                            CONSTRAINT queues_pass_lifetime_check
                            CHECK (pass_lifetime BETWEEN '1 s' AND '1 day'),
    client_limit            int NOT NULL DEFAULT 0
                            CONSTRAINT queues_client_limit_check CHECK (client_limit BETWEEN 0 AND 1000000),
    client_window           interval NOT NULL DEFAULT '10 min'
                            CONSTRAINT queues_client_window_check
                            CHECK (client_window BETWEEN '1 s' AND '30 days'),
    UNIQUE (tenant_id, name),
    CONSTRAINT queues_schedule_check
    CHECK ((prequeue_at < opens_at) IS NOT FALSE AND (prequeue_at < closes_at) IS NOT FALSE
           AND (opens_at < closes_at) IS NOT FALSE AND isfinite(coalesce(prequeue_at, 'epoch'))
           AND isfinite(coalesce(opens_at, 'epoch')) AND isfinite(coalesce(closes_at, 'epoch')))
);
COMMENT ON TABLE vqueue.queues IS 'waiting rooms, one in front of each scarce thing';
COMMENT ON COLUMN vqueue.queues.max_concurrent_users IS 'the cap: how many sessions may hold a slot at a time';
COMMENT ON COLUMN vqueue.queues.release_rate_per_minute IS 'the rate: releases a minute, paced evenly';
COMMENT ON COLUMN vqueue.queues.burst IS
    'how many releases may come at once after a quiet time; 0 means a tenth of a second''s worth of the rate, at least 1';
COMMENT ON COLUMN vqueue.queues.max_waiting IS 'joins are refused while this many sessions wait; 0 means no limit';
COMMENT ON COLUMN vqueue.queues.method IS
    'fifo (in the order of arrival), random (each newcomer at a random place among those waiting), passthrough (all in at once, past rate and cap), reject (no newcomers)';
COMMENT ON COLUMN vqueue.queues.lane_weights IS
    'releases in turn for vip, high, normal and low, 1 to 100 each; null: strictly one lane after the other';
COMMENT ON COLUMN vqueue.queues.waiting_timeout IS
    'a waiting session that gives no sign of life for so long becomes abandoned; 0: never';
COMMENT ON COLUMN vqueue.queues.serving_timeout IS
    'a serving session becomes expired so long after it came in or was extended; 0: never';
COMMENT ON COLUMN vqueue.queues.claim_timeout IS
    'a released session is ready first, and becomes no_show unless claimed for so long; 0: it is serving at once';
COMMENT ON COLUMN vqueue.queues.prequeue_at IS 'when the worker will let people join without releasing them (state paused); null once it has';
COMMENT ON COLUMN vqueue.queues.opens_at IS 'when the worker will open the queue; null once it has';
COMMENT ON COLUMN vqueue.queues.closes_at IS 'when the worker will close the queue; null once it has';
COMMENT ON COLUMN vqueue.queues.state IS
    'open (join and release), paused (join, no release), draining (release, no join), closed (neither)';
COMMENT ON COLUMN vqueue.queues.session_retention IS
    'sessions that ended so long ago are deleted by the worker; 0: they are kept';
COMMENT ON COLUMN vqueue.queues.pass_lifetime IS
    'a pass is good for so long at the most; the session''s lease may end it earlier';
COMMENT ON COLUMN vqueue.queues.client_limit IS
    'how often one client, by its client_key, may join within client_window; 0: any number';
COMMENT ON COLUMN vqueue.queues.client_window IS 'for so long a join of a client counts, and its hashed key is kept';
COMMENT ON COLUMN vqueue.queues.version IS 'counts the changes of this row; the later one wins in memory';

/*
 * A ticket at or below the ceiling may have been issued, one above it was not.
 * The worker raises a ceiling, durably, before the tickets below it are handed
 * out: hence no ticket comes twice, not after an abort, a purge or a crash.
 * It is a table of its own so that a locked queue row cannot hold up joins.
 */
CREATE TABLE vqueue.ticket_ceilings (
    queue_id    uuid PRIMARY KEY REFERENCES vqueue.queues ON DELETE CASCADE,
    ceiling     bigint NOT NULL
                CONSTRAINT ticket_ceilings_ceiling_check CHECK (ceiling BETWEEN 0 AND 1152921504606846976)
) WITH (fillfactor = 50);
COMMENT ON TABLE vqueue.ticket_ceilings IS 'internal: up to which ticket each queue may have issued';

/*
 * left_at, not status, says whether a session is live.  The unique index below
 * depends on it alone, so the step from waiting to serving touches no index.
 *
 * What a row may be is checked by the trigger session_after rather than by
 * CHECK constraints, which each INSERT would read anew from the catalog, at a
 * third of its cost: a ticket is from 1 to 2^60, status and priority are of the words
 * known, served_at and left_at are there exactly if the status wants them, and
 * texts have at most 1000 bytes.  It fires ALWAYS, and raises 23514.
 */
CREATE TABLE vqueue.user_sessions (
    id          uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    queue_id    uuid NOT NULL,
    user_id     uuid NOT NULL,
    ticket      bigint NOT NULL,
    joined_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    served_at   timestamptz,
    left_at     timestamptz,
    status      text NOT NULL DEFAULT 'waiting',
    priority    text NOT NULL DEFAULT 'normal',
    user_name   text,
    user_email  text,
    reason      text,
    ready_at    timestamptz,
    extended_at timestamptz,
    place_key   bigint
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE vqueue.user_sessions IS
    'one row a visit of a user to a queue: the truth that memory only indexes';
COMMENT ON COLUMN vqueue.user_sessions.ticket IS 'arrival number in the queue, never issued twice, never changed';
COMMENT ON COLUMN vqueue.user_sessions.left_at IS 'when the session ended; null while it is live';
COMMENT ON COLUMN vqueue.user_sessions.reason IS 'what the operator gave as the reason of its last step';
COMMENT ON COLUMN vqueue.user_sessions.ready_at IS 'when the session was called, in a queue with a claim_timeout';
COMMENT ON COLUMN vqueue.user_sessions.extended_at IS 'when the lease of a serving session was last renewed';
COMMENT ON COLUMN vqueue.user_sessions.place_key IS 
    'internal: the place in its lane where that is not the order of arrival: who has none stands first, then the lowest';

CREATE UNIQUE INDEX user_sessions_queue_id_ticket_key ON vqueue.user_sessions (queue_id, ticket);
CREATE UNIQUE INDEX user_sessions_live_key ON vqueue.user_sessions (queue_id, user_id) WHERE left_at IS NULL;

/* Who ended when: a join, which is live, has no entry here and pays nothing for it. */
CREATE INDEX user_sessions_left_key ON vqueue.user_sessions (queue_id, left_at) WHERE left_at IS NOT NULL;

ALTER TABLE vqueue.user_sessions
    ADD CONSTRAINT user_sessions_queue_id_fkey
    FOREIGN KEY (queue_id) REFERENCES vqueue.queues ON DELETE CASCADE;

/*
 * A foreign key locks the referenced row in every inserting transaction, which
 * would make each queue's row hot.  The cascade and the order of a dump are
 * wanted, the lock is not: the insert-side check is switched off, and the
 * trigger _session_after does it under a lock that joins do not write anywhere.
 */
CREATE FUNCTION vqueue._disarm_foreign_key() RETURNS bool
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    check_trigger name;
BEGIN
    SELECT t.tgname INTO check_trigger
      FROM pg_trigger t
      JOIN pg_constraint c ON c.oid = t.tgconstraint
     WHERE t.tgrelid = 'vqueue.user_sessions'::regclass
       AND c.conname = 'user_sessions_queue_id_fkey'
       AND t.tgfoid = '"RI_FKey_check_ins"'::regproc
       AND t.tgenabled <> 'D';
    IF check_trigger IS NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TABLE vqueue.user_sessions DISABLE TRIGGER %I', check_trigger);
    RETURN true;
END
$$;
COMMENT ON FUNCTION vqueue._disarm_foreign_key() IS
    'internal: switches off the insert-side check of the sessions'' foreign key, as the worker does at its start, for pg_upgrade forgets the switch';
SELECT vqueue._disarm_foreign_key();

/*
 * What was told by NOTIFY, for listeners that were not there.  No foreign key
 * ties it to its queue, as checking one would have the worker wait for the
 * queue's row.  A dump leaves it out: what a listener knows is of one server's
 * log, and a cursor into that of another is refused, as it is from before this
 * one was begun.
 */
CREATE TABLE vqueue.events (
    seq         bigint PRIMARY KEY,
    queue_id    uuid NOT NULL,
    at          timestamptz NOT NULL,
    event       text NOT NULL,
    payload     jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
/* To compress a long list would take the worker longer than to make, write and send it. */
ALTER TABLE vqueue.events ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX events_queue_id_seq_key ON vqueue.events (queue_id, seq);
COMMENT ON TABLE vqueue.events IS 'the log of events, written by the worker in the transaction that tells them';
COMMENT ON COLUMN vqueue.events.payload IS 'what the event says beyond the other columns; events_since has it whole';
COMMENT ON COLUMN vqueue.events.seq IS 'rises in the order of commits, with gaps: microseconds since 1970, or one more than the last';

CREATE TABLE vqueue.event_log (
    begun       bigint NOT NULL,
    counted_seq bigint NOT NULL DEFAULT 0,
    counted_at  timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE vqueue.event_log IS
    'internal: below which seq this log has nothing and never had, and up to where it is counted in queue_stats';
INSERT INTO vqueue.event_log (begun) VALUES (floor(extract(epoch FROM clock_timestamp()) * 1000000));

/* What the log does not say any more, for each queue. */
CREATE TABLE vqueue.event_marks (
    queue_id    uuid PRIMARY KEY REFERENCES vqueue.queues ON DELETE CASCADE,
    state       text NOT NULL,
    trimmed     bigint NOT NULL DEFAULT 0,
    counted_seq bigint NOT NULL DEFAULT 0,
    counted_ticket bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE vqueue.event_marks IS
    'internal: of each queue the state told last, up to which seq events have been deleted, and up to where it is counted in queue_stats';

CREATE TABLE vqueue.queue_stats (
    queue_id    uuid NOT NULL REFERENCES vqueue.queues ON DELETE CASCADE,
    minute      timestamptz NOT NULL,
    joined      bigint NOT NULL,
    released    bigint NOT NULL,
    completed   bigint NOT NULL,
    "left"      bigint NOT NULL,
    abandoned   bigint NOT NULL,
    no_shows    bigint NOT NULL,
    expired     bigint NOT NULL,
    removed     bigint NOT NULL,
    wait_p50    interval,
    wait_p90    interval,
    wait_p99    interval,
    stay_p50    interval,
    stay_p90    interval,
    stay_p99    interval,
    peak_waiting bigint NOT NULL,
    peak_serving bigint NOT NULL,
    PRIMARY KEY (queue_id, minute)
) WITH (fillfactor = 90);
CREATE INDEX queue_stats_minute_key ON vqueue.queue_stats (minute);
COMMENT ON TABLE vqueue.queue_stats IS 'what happened in each queue and minute, written by the worker when the minute is over';
COMMENT ON COLUMN vqueue.queue_stats.minute IS 'its beginning';
COMMENT ON COLUMN vqueue.queue_stats.released IS 'sessions let in or, in a queue with a claim_timeout, called';
COMMENT ON COLUMN vqueue.queue_stats.wait_p50 IS 'of those released in the minute, how long they had waited: the median';
COMMENT ON COLUMN vqueue.queue_stats.stay_p50 IS 'of those who ended in the minute and had been in, for how long: the median';
COMMENT ON COLUMN vqueue.queue_stats.peak_waiting IS 'the most who waited at a time, as far as this server has seen it';
COMMENT ON COLUMN vqueue.queue_stats.peak_serving IS 'the most who held a slot at a time, as far as this server has seen it';

/*
 * Session ids carry their ticket, sealed by a key, so that a poll need not
 * search an index.  The oldest key counts, so that one that is restored, or
 * replicated, comes before the one that CREATE EXTENSION made.  An id sealed by
 * another key still is found by the index.
 */
CREATE TABLE vqueue.secrets (
    name        text NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(made_at)),
    value       bytea NOT NULL,
    PRIMARY KEY (name, made_at)
);
COMMENT ON TABLE vqueue.secrets IS 'internal: keys that nobody but the extension may read; the oldest of a name counts';
INSERT INTO vqueue.secrets (name, value)
SELECT 'ids', substr(sha256(string_agg(uuid_send(gen_random_uuid()), '')), 1, 16)
  FROM generate_series(1, 4);
INSERT INTO vqueue.secrets (name, value)
SELECT 'clients', sha256(string_agg(uuid_send(gen_random_uuid()), ''))
  FROM generate_series(1, 4);

/*
 * Joins of clients whose number is limited, for as long as they count.  No foreign key, as
 * checking one would make the queue's row hot; a queue that is deleted takes them along.
 */
CREATE TABLE vqueue.client_joins (
    queue_id    uuid NOT NULL,
    client_hash bytea NOT NULL,
    joined_at   timestamptz NOT NULL,
    ticket      bigint NOT NULL,
    PRIMARY KEY (queue_id, ticket)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX client_joins_key ON vqueue.client_joins (queue_id, client_hash, joined_at);
CREATE INDEX client_joins_age_key ON vqueue.client_joins (queue_id, joined_at);
COMMENT ON TABLE vqueue.client_joins IS
    'internal: joins of each client within the window of its queue, deleted by the worker afterwards';
COMMENT ON COLUMN vqueue.client_joins.client_hash IS
    'HMAC-SHA256 of the queue''s id and the client_key, with the secret clients: nobody without that can tell whose it is';
SELECT pg_catalog.pg_extension_config_dump('vqueue.client_joins', '');

SELECT pg_catalog.pg_extension_config_dump('vqueue.tenants',
           $$WHERE id <> '00000000-0000-7000-8000-000000000001'$$);
SELECT pg_catalog.pg_extension_config_dump('vqueue.queues', '');
SELECT pg_catalog.pg_extension_config_dump('vqueue.ticket_ceilings', '');
SELECT pg_catalog.pg_extension_config_dump('vqueue.user_sessions', '');
SELECT pg_catalog.pg_extension_config_dump('vqueue.secrets', '');
SELECT pg_catalog.pg_extension_config_dump('vqueue.event_marks', '');
SELECT pg_catalog.pg_extension_config_dump('vqueue.queue_stats', '');

/* What every session function answers with. */
CREATE TYPE vqueue.place AS (
    id              uuid,
    queue           text,
    user_id         uuid,
    status          text,
    priority        text,
    ticket          bigint,
    position        bigint,
    estimated_wait  interval,
    estimated_wait_p90 interval,
    next_poll_after interval,
    joined_at       timestamptz,
    served_at       timestamptz,
    left_at         timestamptz
);
COMMENT ON TYPE vqueue.place IS
    'where a session stands: position counts from 1 while waiting, is 0 for the holder of a slot and null once finished; '
    'estimated_wait is as likely too short as too long, estimated_wait_p90 is what nine in ten wait at most';

/* -------------------------------------------------------------- triggers */

CREATE FUNCTION vqueue._session_before() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_session_before';
COMMENT ON FUNCTION vqueue._session_before() IS
    'internal: gives a row inserted by hand its ticket, and a changed status its time';
CREATE FUNCTION vqueue._session_after() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_session_after';
COMMENT ON FUNCTION vqueue._session_after() IS
    'internal: checks a changed session, and notes it for memory to follow at commit';
CREATE FUNCTION vqueue._queue_before() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_queue_before';
COMMENT ON FUNCTION vqueue._queue_before() IS
    'internal: counts versions of a queue; before a delete, waits for joins in flight';
CREATE FUNCTION vqueue._queue_after() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_queue_after';
COMMENT ON FUNCTION vqueue._queue_after() IS
    'internal: notes a changed queue, for memory to follow at commit';
CREATE FUNCTION vqueue._ceiling_after() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_ceiling_after';
COMMENT ON FUNCTION vqueue._ceiling_after() IS
    'internal: notes a raised ticket ceiling, for memory to follow at commit';
CREATE FUNCTION vqueue._table_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_table_changed';
COMMENT ON FUNCTION vqueue._table_changed() IS
    'internal: notes a change that memory can only follow by reading the tables again';

CREATE FUNCTION vqueue._merge_ceiling() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.ceiling >= 0 THEN
            NEW.ceiling := greatest(OLD.ceiling, NEW.ceiling);
        END IF;
        RETURN NEW;
    END IF;
    UPDATE vqueue.ticket_ceilings SET ceiling = greatest(ceiling, NEW.ceiling)
     WHERE queue_id = NEW.queue_id;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION vqueue._merge_ceiling() IS
    'internal: a restored or replicated ceiling raises the one that its queue has here, and never lowers it';

CREATE FUNCTION vqueue._merge_secret() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN NOT EXISTS (SELECT FROM vqueue.secrets AS s WHERE s.name = NEW.name AND s.made_at = NEW.made_at)
                THEN NEW END;
END
$$;
COMMENT ON FUNCTION vqueue._merge_secret() IS
    'internal: a restored secret that is there already is left alone';

CREATE FUNCTION vqueue._merge_mark() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE vqueue.event_marks
       SET counted_seq = greatest(counted_seq, NEW.counted_seq), counted_ticket = greatest(counted_ticket, NEW.counted_ticket)
     WHERE queue_id = NEW.queue_id;
    RETURN CASE WHEN NOT FOUND THEN NEW END;
END
$$;
COMMENT ON FUNCTION vqueue._merge_mark() IS
    'internal: a restored mark says what restored statistics have counted; the log is that of this server';

CREATE TRIGGER session_before BEFORE INSERT OR UPDATE OR DELETE ON vqueue.user_sessions
    FOR EACH ROW EXECUTE FUNCTION vqueue._session_before();
CREATE TRIGGER session_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.user_sessions
    FOR EACH ROW EXECUTE FUNCTION vqueue._session_after();
CREATE TRIGGER session_truncate AFTER TRUNCATE ON vqueue.user_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
CREATE TRIGGER queue_before BEFORE INSERT OR UPDATE OR DELETE ON vqueue.queues
    FOR EACH ROW EXECUTE FUNCTION vqueue._queue_before();
CREATE TRIGGER queue_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.queues
    FOR EACH ROW EXECUTE FUNCTION vqueue._queue_after();
CREATE TRIGGER queue_truncate AFTER TRUNCATE ON vqueue.queues
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
CREATE TRIGGER ceiling_before BEFORE INSERT OR UPDATE ON vqueue.ticket_ceilings
    FOR EACH ROW EXECUTE FUNCTION vqueue._merge_ceiling();
CREATE TRIGGER ceiling_after AFTER INSERT OR UPDATE ON vqueue.ticket_ceilings
    FOR EACH ROW EXECUTE FUNCTION vqueue._ceiling_after();
CREATE TRIGGER mark_before BEFORE INSERT ON vqueue.event_marks
    FOR EACH ROW EXECUTE FUNCTION vqueue._merge_mark();
CREATE TRIGGER secret_before BEFORE INSERT ON vqueue.secrets
    FOR EACH ROW EXECUTE FUNCTION vqueue._merge_secret();
CREATE TRIGGER secret_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.secrets
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
CREATE TRIGGER tenant_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();

/* ALWAYS: rows that arrive by logical replication count as well. */
ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_before;
ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_after;
ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_truncate;
ALTER TABLE vqueue.queues ENABLE ALWAYS TRIGGER queue_before;
ALTER TABLE vqueue.queues ENABLE ALWAYS TRIGGER queue_after;
ALTER TABLE vqueue.queues ENABLE ALWAYS TRIGGER queue_truncate;
ALTER TABLE vqueue.ticket_ceilings ENABLE ALWAYS TRIGGER ceiling_before;
ALTER TABLE vqueue.ticket_ceilings ENABLE ALWAYS TRIGGER ceiling_after;
ALTER TABLE vqueue.event_marks ENABLE ALWAYS TRIGGER mark_before;
ALTER TABLE vqueue.secrets ENABLE ALWAYS TRIGGER secret_before;
ALTER TABLE vqueue.secrets ENABLE ALWAYS TRIGGER secret_after;
ALTER TABLE vqueue.tenants ENABLE ALWAYS TRIGGER tenant_after;

/* -------------------------------------------------------------- sessions */

CREATE FUNCTION vqueue.join(queue text, user_id uuid = gen_random_uuid(), user_name text = NULL,
                            user_email text = NULL, priority text = 'normal', client_key text = NULL) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_join';
COMMENT ON FUNCTION vqueue.join(text, uuid, text, text, text, text) IS
    'joins a queue, by its name or id, and returns the place; the same user gets the same live session back. '
    'client_key says from where, such as an address: no more than client_limit of the queue join with the same one in its client_window. '
    'The session is serving at once where nobody waits and rate and cap allow, otherwise waiting. '
    'Errors: 42704 unknown queue; 55000 the queue is draining or closed; 53400 max_waiting reached; '
    '53000 the tenant has max_waiting_sessions; 54000 client_limit reached; 22023 bad priority, empty or over-long text; 22004 a null; 53200 vqueue.memory_limit reached';

CREATE FUNCTION vqueue.join_many(queue text, user_ids uuid[], priority text = 'normal') RETURNS SETOF vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'vqueue_join_many';
COMMENT ON FUNCTION vqueue.join_many(text, uuid[], text) IS
    'joins many users in one statement and returns their places in the order given; '
    'tickets rise in that order. Either all join or none. Errors: as join';

CREATE FUNCTION vqueue.poll(session uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_poll';
COMMENT ON FUNCTION vqueue.poll(uuid) IS
    'where the session stands now; also its sign of life. Writes no table, so it works in a read-only transaction. '
    'Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.status(session uuid) RETURNS vqueue.place
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_status';
COMMENT ON FUNCTION vqueue.status(uuid) IS
    'where the session stands now; changes nothing. Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.heartbeat(session uuid) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_heartbeat';
COMMENT ON FUNCTION vqueue.heartbeat(uuid) IS
    'sign of life; returns the position (0: holds a slot, null: finished). Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.position(session uuid) RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_position';
COMMENT ON FUNCTION vqueue.position(uuid) IS
    'position of a session (0: holds a slot, null: finished). Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.positions(sessions uuid[]) RETURNS bigint[]
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_positions';
COMMENT ON FUNCTION vqueue.positions(uuid[]) IS
    'positions of many sessions, of any queues, in the order given (0: holds a slot, null: finished, unknown or itself null). '
    'Errors: 22004 null';

CREATE FUNCTION vqueue.position(queue text, ticket bigint) RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_position_of_ticket';
COMMENT ON FUNCTION vqueue.position(text, bigint) IS
    'position of a ticket in a queue (0: holds a slot, null: finished or never issued), from memory alone. '
    'Errors: 42704 unknown queue; 22004 null';

CREATE FUNCTION vqueue.leave(session uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_leave';
COMMENT ON FUNCTION vqueue.leave(uuid) IS
    'the user walks away: any live session becomes left. On a finished one: a notice, no change. '
    'Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.complete(session uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_complete';
COMMENT ON FUNCTION vqueue.complete(uuid) IS
    'the user is done inside: serving becomes completed and the slot goes on. On a finished one: a notice, no change. '
    'Errors: 55000 still waiting; 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.claim(session uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_claim';
COMMENT ON FUNCTION vqueue.claim(uuid) IS
    'the user comes in: in a queue with a claim_timeout, ready becomes serving. Claiming again is no error and counts once. '
    'Errors: 55000 still waiting, or already ended; 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.extend(session uuid) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_extend';
COMMENT ON FUNCTION vqueue.extend(uuid) IS
    'renews the lease of a serving session: its serving_timeout begins anew. '
    'Errors: 55000 not serving; 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.user_id(external text) RETURNS uuid
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_user_id';
COMMENT ON FUNCTION vqueue.user_id(text) IS
    'the user_id of a user who is known elsewhere by a text, such as an address, a cookie or a number: always the same for the '
    'same text in a tenant, another one in another tenant. It is the version 5 uuid (RFC 9562) of the text in the namespace '
    'that is the tenant''s id. Nothing is normalised: case and spaces count. It is no secret: whoever knows text and tenant can '
    'compute it. Errors: 22023 empty; 22004 null; 42704 unknown tenant';

/* -------------------------------------------------------------- operators */

CREATE FUNCTION vqueue._tenant(level text = 'any') RETURNS uuid
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_current_tenant';
COMMENT ON FUNCTION vqueue._tenant(text) IS
    'internal: id of the tenant that vqueue.tenant names, in which the caller must have a level. '
    'Errors: 42704 no such tenant, or no level in it; 42501 another level only';

CREATE FUNCTION vqueue._queue(queue text, level text = 'any') RETURNS uuid
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_resolve_queue';
COMMENT ON FUNCTION vqueue._queue(text, text) IS
    'internal: id of the queue of the current tenant with this name, or id as text; the caller must have a level in the tenant';

CREATE FUNCTION vqueue._lock_queue(queue_id uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'vqueue_lock_queue';
COMMENT ON FUNCTION vqueue._lock_queue(uuid) IS
    'internal: keeps joins out until the end of the transaction, after those in flight have ended';

/*
 * Rows are deleted by functions alone: who has the right to delete from a table may
 * also lock it, and all tenants out.
 */
CREATE FUNCTION vqueue._delete_queue(queue_id uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'vqueue_delete_queue';
COMMENT ON FUNCTION vqueue._delete_queue(uuid) IS
    'internal: deletes a queue''s row as the owner, if the caller is an operator of its tenant';

CREATE FUNCTION vqueue._delete_ended(queue_id uuid, behind timestamptz, before timestamptz, most int, OUT deleted bigint, OUT last timestamptz)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'vqueue_delete_ended';
COMMENT ON FUNCTION vqueue._delete_ended(uuid, timestamptz, timestamptz, int) IS
    'internal: deletes the first of a queue''s sessions that ended from one moment on and before another, as the owner, if the caller is '
    'an operator of its tenant; returns how many, and the latest end among them';

CREATE FUNCTION vqueue._position(queue_id uuid, ticket bigint) RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_position_of_ticket_by_id';
COMMENT ON FUNCTION vqueue._position(uuid, bigint) IS
    'internal: position of a ticket, for the view sessions';

CREATE FUNCTION vqueue._audit(action text, queue_id uuid, object text, after jsonb) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_audit';
COMMENT ON FUNCTION vqueue._audit(text, uuid, text, jsonb) IS
    'internal: logs what a SQL function did for the current tenant: purge, schedule, unschedule or import_sessions';

CREATE FUNCTION vqueue._refuse(message text, detail text, hint text,
                               code text = 'invalid_parameter_value') RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = code, MESSAGE = message, DETAIL = detail, HINT = hint;
END
$$;
COMMENT ON FUNCTION vqueue._refuse(text, text, text, text) IS 'internal: raises an error, of SQLSTATE 22023 unless another is given';

CREATE FUNCTION vqueue._check_texts(name text, description text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name = '' THEN
        PERFORM vqueue._refuse('queue name must not be empty',
            'Applications and channels know a queue by its name.',
            'Give the queue a name of 1 to 200 bytes.');
    END IF;
    IF octet_length(name) > 200 THEN
        PERFORM vqueue._refuse('queue name is too long',
            format('The name has %s bytes, the limit is 200.', octet_length(name)),
            'Choose a shorter name and put the rest into the description.');
    END IF;
    IF name ~ (CASE WHEN getdatabaseencoding() ~ '^(WIN|KOI|SQL)' THEN '[\x01-\x1f\x7f]' ELSE '[[:cntrl:]]' END) THEN
        PERFORM vqueue._refuse('queue name must not contain control characters',
            'Tabs, line ends and the like do not show in logs and channels.',
            'Use printable characters.');
    END IF;
    IF name ~* '^\{?[0-9a-f]{4}-?([0-9a-f]{4}-?){6}[0-9a-f]{4}\}?$' THEN
        PERFORM vqueue._refuse(format('queue name "%s" looks like an id', name),
            'Functions take a queue by its name or its id, so a name must not be a uuid.',
            'Choose another name.');
    END IF;
    IF octet_length(description) > 10000 THEN
        PERFORM vqueue._refuse('queue description is too long',
            format('The description has %s bytes, the limit is 10000.', octet_length(description)),
            'Shorten the description.');
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_texts(text, text) IS 'internal: complains of a bad name or description; a null is not looked at';

CREATE FUNCTION vqueue._check_number(setting text, value int, lowest int, highest int, detail text, hint text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value NOT BETWEEN lowest AND highest THEN
        PERFORM vqueue._refuse(format('%s %s is out of range', setting, value), detail, hint);
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_number(text, int, int, int, text, text) IS 'internal: complains of a number out of range; a null is not looked at';

CREATE FUNCTION vqueue._check_timeout(setting text, value interval) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value NOT BETWEEN '0' AND '1 day' THEN
        PERFORM vqueue._refuse(format('%s %s is out of range', setting, value),
            'The timeout must be an interval of at most one day, or 0.',
            'Use 0 to have none.');
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_timeout(text, interval) IS 'internal: complains of a timeout out of range; a null is not looked at';

CREATE FUNCTION vqueue._check_age(setting text, value interval, hint text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value NOT BETWEEN '0' AND '100 years' THEN
        PERFORM vqueue._refuse(format('%s %s is out of range', setting, value),
            'The age must be an interval of 0 to 100 years.', hint);
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_age(text, interval, text) IS 'internal: complains of an age out of range; a null is not looked at';

CREATE FUNCTION vqueue._check_schedule(earlier_name text, earlier timestamptz, later_name text, later timestamptz) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF earlier >= later THEN
        PERFORM vqueue._refuse(format('%s must be before %s', earlier_name, later_name),
            format('They are %s and %s.', earlier, later),
            'A queue lets people join, then opens, then closes; leave out what shall not happen by itself.');
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_schedule(text, timestamptz, text, timestamptz) IS
    'internal: complains of two moments in the wrong order; a null is not looked at';

CREATE FUNCTION vqueue._check_queue(q vqueue.queues) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM vqueue._check_texts(q.name, q.description);
    PERFORM vqueue._check_number('release_rate_per_minute', q.release_rate_per_minute, 1, 10000000,
        'The rate must be between 1 and 10000000 releases a minute.', 'To let nobody in, call vqueue.pause().');
    PERFORM vqueue._check_number('max_concurrent_users', q.max_concurrent_users, 1, 100000000,
        'The cap must be between 1 and 100000000 sessions.', 'To let nobody in, call vqueue.pause().');
    PERFORM vqueue._check_number('burst', q.burst, 0, 1000000,
        'The burst must be between 1 and 1000000 releases, or 0.',
        'Use 0 to have it follow the rate: a tenth of a second''s worth, at least 1.');
    PERFORM vqueue._check_number('max_waiting', q.max_waiting, 0, 1000000000,
        'The limit must be between 1 and 1000000000 sessions, or 0.', 'Use 0 for no limit.');
    IF q.method NOT IN ('fifo', 'random', 'passthrough', 'reject') THEN
        PERFORM vqueue._refuse(format('queueing method "%s" is not known', q.method),
            'The method says in which order people come in, or that all or none do.',
            'Use fifo, random, passthrough or reject.');
    END IF;
    IF cardinality(q.lane_weights) <> 4 OR array_ndims(q.lane_weights) <> 1
       OR array_position(q.lane_weights, NULL) IS NOT NULL
       OR NOT (1 <= ALL (q.lane_weights) AND 100 >= ALL (q.lane_weights)) THEN
        PERFORM vqueue._refuse(format('lane weights %s are out of range', q.lane_weights),
            'There is one weight, of 1 to 100, for each of vip, high, normal and low.',
            'For example {8,4,2,1}; use {} for strict priorities.');
    END IF;
    PERFORM vqueue._check_timeout('waiting_timeout', q.waiting_timeout);
    PERFORM vqueue._check_timeout('serving_timeout', q.serving_timeout);
    PERFORM vqueue._check_timeout('claim_timeout', q.claim_timeout);
    PERFORM vqueue._check_age('session_retention', q.session_retention, 'Use 0 to keep sessions for good.');
    IF q.pass_lifetime NOT BETWEEN '1 s' AND '1 day' THEN
        PERFORM vqueue._refuse(format('pass_lifetime %s is out of range', q.pass_lifetime),
            'It must be an interval of 1 second to 1 day.', 'A pass is renewed by calling vqueue.pass() again.');
    END IF;
    PERFORM vqueue._check_number('client_limit', q.client_limit, 0, 1000000,
        'The limit must be between 1 and 1000000 joins, or 0.', 'Use 0 for no limit.');
    IF q.client_window NOT BETWEEN '1 s' AND '30 days' THEN
        PERFORM vqueue._refuse(format('client_window %s is out of range', q.client_window),
            'It must be an interval of 1 second to 30 days.', 'Set client_limit to 0 for no limit.');
    END IF;
    PERFORM vqueue._check_schedule('prequeue_at', q.prequeue_at, 'opens_at', q.opens_at);
    PERFORM vqueue._check_schedule('prequeue_at', q.prequeue_at, 'closes_at', q.closes_at);
    PERFORM vqueue._check_schedule('opens_at', q.opens_at, 'closes_at', q.closes_at);
    IF q.state NOT IN ('open', 'paused', 'draining', 'closed') THEN
        PERFORM vqueue._refuse(format('queue state "%s" is not known', q.state),
            'A queue begins in one of the states that open, pause, drain and close set.',
            'Use open, paused, draining or closed.');
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._check_queue(vqueue.queues) IS
    'internal: complains of a bad setting of a queue; a null is not looked at';

/* What stands for nothing in an argument where null means unchanged. */
CREATE FUNCTION vqueue._moment(at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN isfinite(at) THEN at END $$;
COMMENT ON FUNCTION vqueue._moment(timestamptz) IS 'internal: null for infinity, by which alter_queue takes a moment away';

CREATE FUNCTION vqueue._weights(weights int[]) RETURNS int[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN cardinality(weights) > 0 THEN weights END $$;
COMMENT ON FUNCTION vqueue._weights(int[]) IS 'internal: null for an empty array, by which alter_queue takes weights away';

CREATE FUNCTION vqueue.create_queue(name text, release_rate_per_minute int = 10, max_concurrent_users int = 100,
                                    description text = NULL, burst int = 0, max_waiting int = 0, state text = NULL,
                                    method text = 'fifo', lane_weights int[] = NULL, waiting_timeout interval = '0',
                                    serving_timeout interval = '0', claim_timeout interval = '0',
                                    prequeue_at timestamptz = NULL, opens_at timestamptz = NULL,
                                    closes_at timestamptz = NULL, session_retention interval = '0',
                                    pass_lifetime interval = '15 min', client_limit int = 0,
                                    client_window interval = '10 min') RETURNS uuid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    q vqueue.queues;
    new_id uuid;
BEGIN
    IF name IS NULL OR release_rate_per_minute IS NULL OR max_concurrent_users IS NULL
       OR burst IS NULL OR max_waiting IS NULL OR method IS NULL OR waiting_timeout IS NULL
       OR serving_timeout IS NULL OR claim_timeout IS NULL OR session_retention IS NULL OR pass_lifetime IS NULL
       OR client_limit IS NULL OR client_window IS NULL THEN
        PERFORM vqueue._refuse('queue settings must not be null',
            'Only description, state, lane_weights and the moments of a new queue may be null.',
            'Leave an argument out to get its default.', 'null_value_not_allowed');
    END IF;
    q.name := name;
    q.description := description;
    q.release_rate_per_minute := release_rate_per_minute;
    q.max_concurrent_users := max_concurrent_users;
    q.burst := burst;
    q.max_waiting := max_waiting;
    q.method := method;
    q.lane_weights := vqueue._weights(lane_weights);
    q.waiting_timeout := waiting_timeout;
    q.serving_timeout := serving_timeout;
    q.claim_timeout := claim_timeout;
    q.prequeue_at := vqueue._moment(prequeue_at);
    q.opens_at := vqueue._moment(opens_at);
    q.closes_at := vqueue._moment(closes_at);
    q.session_retention := session_retention;
    q.pass_lifetime := pass_lifetime;
    q.client_limit := client_limit;
    q.client_window := client_window;
    q.state := coalesce(state, CASE WHEN q.prequeue_at IS NOT NULL OR q.opens_at IS NOT NULL THEN 'closed' ELSE 'open' END);
    PERFORM vqueue._check_queue(q);
    PERFORM vqueue._admit_queue(vqueue._tenant('operator'));
    INSERT INTO vqueue.queues (tenant_id, name, description, release_rate_per_minute, max_concurrent_users,
                               burst, max_waiting, method, lane_weights, waiting_timeout, serving_timeout,
                               claim_timeout, prequeue_at, opens_at, closes_at, state, session_retention, pass_lifetime,
                               client_limit, client_window)
    VALUES (vqueue._tenant('operator'), q.name, q.description, q.release_rate_per_minute, q.max_concurrent_users,
            q.burst, q.max_waiting, q.method, q.lane_weights, q.waiting_timeout, q.serving_timeout,
            q.claim_timeout, q.prequeue_at, q.opens_at, q.closes_at, q.state, q.session_retention, q.pass_lifetime,
            q.client_limit, q.client_window)
    ON CONFLICT ON CONSTRAINT queues_tenant_id_name_key DO NOTHING
    RETURNING id INTO new_id;
    IF new_id IS NULL THEN
        PERFORM vqueue._refuse(format('queue "%s" already exists', name),
            'A queue''s name is unique in its tenant.',
            'Choose another name, or change the existing queue with vqueue.alter_queue().', 'duplicate_object');
    END IF;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION vqueue.create_queue(text, int, int, text, int, int, text, text, int[], interval, interval, interval,
                                        timestamptz, timestamptz, timestamptz, interval, interval, int, interval) IS
    'creates a queue in the current tenant and returns its id. Rate in releases a minute (1 to 10000000), cap in '
    'sessions (1 to 100000000), burst in releases (0: a tenth of a second''s worth), max_waiting in sessions (0: no limit), '
    'method fifo, random, passthrough or reject, lane_weights of vip, high, normal and low (1 to 100 each; null: strict), '
    'timeouts of at most a day (0: none), session_retention of at most 100 years (0: kept), '
    'pass_lifetime from a second to a day, client_limit in joins (0: any number) of one client in client_window, from a second to 30 days. '
    'State open unless given, or closed where it is to open by the clock. '
    'Errors: 42710 name taken; 22023 out of range; 22004 a null; 53000 the tenant has max_queues; 53200 vqueue.memory_limit reached';

CREATE FUNCTION vqueue.alter_queue(queue text, release_rate_per_minute int = NULL, max_concurrent_users int = NULL,
                                   description text = NULL, burst int = NULL, max_waiting int = NULL,
                                   name text = NULL, method text = NULL, lane_weights int[] = NULL,
                                   waiting_timeout interval = NULL, serving_timeout interval = NULL,
                                   claim_timeout interval = NULL, prequeue_at timestamptz = NULL,
                                   opens_at timestamptz = NULL, closes_at timestamptz = NULL,
                                   session_retention interval = NULL, pass_lifetime interval = NULL,
                                   client_limit int = NULL, client_window interval = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    q vqueue.queues;
BEGIN
    SELECT * INTO q FROM vqueue.queues AS t WHERE t.id = wanted FOR NO KEY UPDATE;
    q.name := coalesce(name, q.name);
    q.description := coalesce(description, q.description);
    q.release_rate_per_minute := coalesce(release_rate_per_minute, q.release_rate_per_minute);
    q.max_concurrent_users := coalesce(max_concurrent_users, q.max_concurrent_users);
    q.burst := coalesce(burst, q.burst);
    q.max_waiting := coalesce(max_waiting, q.max_waiting);
    q.method := coalesce(method, q.method);
    q.lane_weights := vqueue._weights(coalesce(lane_weights, q.lane_weights));
    q.waiting_timeout := coalesce(waiting_timeout, q.waiting_timeout);
    q.serving_timeout := coalesce(serving_timeout, q.serving_timeout);
    q.claim_timeout := coalesce(claim_timeout, q.claim_timeout);
    q.prequeue_at := vqueue._moment(coalesce(prequeue_at, q.prequeue_at));
    q.opens_at := vqueue._moment(coalesce(opens_at, q.opens_at));
    q.closes_at := vqueue._moment(coalesce(closes_at, q.closes_at));
    q.session_retention := coalesce(session_retention, q.session_retention);
    q.pass_lifetime := coalesce(pass_lifetime, q.pass_lifetime);
    q.client_limit := coalesce(client_limit, q.client_limit);
    q.client_window := coalesce(client_window, q.client_window);
    PERFORM vqueue._check_queue(q);
    IF EXISTS (SELECT FROM vqueue.queues t WHERE t.tenant_id = q.tenant_id AND t.name = q.name AND t.id <> wanted) THEN
        PERFORM vqueue._refuse(format('queue "%s" already exists', name),
            'A queue''s name is unique in its tenant.', 'Choose another name.', 'duplicate_object');
    END IF;
    UPDATE vqueue.queues t
       SET name = q.name,
           description = q.description,
           release_rate_per_minute = q.release_rate_per_minute,
           max_concurrent_users = q.max_concurrent_users,
           burst = q.burst,
           max_waiting = q.max_waiting,
           method = q.method,
           lane_weights = q.lane_weights,
           waiting_timeout = q.waiting_timeout,
           serving_timeout = q.serving_timeout,
           claim_timeout = q.claim_timeout,
           prequeue_at = q.prequeue_at,
           opens_at = q.opens_at,
           closes_at = q.closes_at,
           session_retention = q.session_retention,
           pass_lifetime = q.pass_lifetime,
           client_limit = q.client_limit,
           client_window = q.client_window
     WHERE t.id = wanted;
END
$$;
COMMENT ON FUNCTION vqueue.alter_queue(text, int, int, text, int, int, text, text, int[], interval, interval, interval,
                                       timestamptz, timestamptz, timestamptz, interval, interval, int, interval) IS
    'changes settings of a queue while it runs, from the next release on; null leaves one as it is, infinity takes a moment '
    'away, and {} the weights. Units as in create_queue. '
    'A cap below the present number inside sends nobody away: it lets nobody in until enough have gone. '
    'Errors: 42704 unknown queue; 42710 name taken; 22023 out of range';

CREATE FUNCTION vqueue.drop_queue(queue text, force bool = false) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    live bigint;
BEGIN
    PERFORM vqueue._lock_queue(wanted);
    IF force IS NOT TRUE THEN
        SELECT count(*) INTO live FROM vqueue.user_sessions s
         WHERE s.queue_id = wanted AND s.left_at IS NULL;
        IF live > 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'object_in_use',
                MESSAGE = format('queue "%s" is in use', queue),
                DETAIL = format('It has %s live sessions.', live),
                HINT = 'Close it and wait until they have gone, or call vqueue.drop_queue(queue, force => true).';
        END IF;
    END IF;
    PERFORM vqueue._unschedule_queue(wanted);
    PERFORM vqueue._delete_queue(wanted);
END
$$;
COMMENT ON FUNCTION vqueue.drop_queue(text, bool) IS
    'drops a queue with all its sessions, finished ones too, and its jobs; refuses while any is live, unless forced. '
    'Waits for joins in flight. Errors: 55006 live sessions; 42704 unknown queue';

CREATE FUNCTION vqueue._set_state(queue text, new_state text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
BEGIN
    UPDATE vqueue.queues q SET state = new_state
     WHERE q.id = wanted AND q.state <> new_state;
END
$$;
COMMENT ON FUNCTION vqueue._set_state(text, text) IS 'internal: the one step behind open, pause, drain and close';

CREATE FUNCTION vqueue.open(queue text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._set_state(queue, 'open') $$;
COMMENT ON FUNCTION vqueue.open(text) IS 'opens a queue: joins and releases. Errors: 42704 unknown queue';
CREATE FUNCTION vqueue.pause(queue text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._set_state(queue, 'paused') $$;
COMMENT ON FUNCTION vqueue.pause(text) IS
    'pauses a queue: joins go on, nobody is released but by vqueue.release(). Errors: 42704 unknown queue';
CREATE FUNCTION vqueue.drain(queue text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._set_state(queue, 'draining') $$;
COMMENT ON FUNCTION vqueue.drain(text) IS
    'drains a queue: no new joins, those who wait are still released. Errors: 42704 unknown queue';
CREATE FUNCTION vqueue.close(queue text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._set_state(queue, 'closed') $$;
COMMENT ON FUNCTION vqueue.close(text) IS
    'closes a queue: neither joins nor releases; places are kept. Errors: 42704 unknown queue';

CREATE FUNCTION vqueue.resume(queue text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
BEGIN
    IF EXISTS (SELECT FROM vqueue.queues q WHERE q.id = wanted AND q.state IN ('draining', 'closed')) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('queue "%s" is not paused', queue),
            DETAIL = 'Only a paused queue is resumed.',
            HINT = 'Call vqueue.open() to open a draining or closed queue.';
    END IF;
    PERFORM vqueue._set_state(queue, 'open');
END
$$;
COMMENT ON FUNCTION vqueue.resume(text) IS
    'opens a paused queue again; harmless on an open one. Errors: 55000 draining or closed; 42704 unknown queue';

CREATE FUNCTION vqueue.release(queue text, n int) RETURNS int
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_release';
COMMENT ON FUNCTION vqueue.release(text, int) IS
    'lets up to n waiting sessions in by hand, within the cap, and returns how many. They go past the rate at once, and the '
    'rate makes up for them afterwards. Works on a paused queue. '
    'Errors: 55000 the queue is closed; 22023 n is not between 1 and 1000000; 42704 unknown queue; 22004 a null';

CREATE FUNCTION vqueue.remove(session uuid, reason text = NULL) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_remove';
COMMENT ON FUNCTION vqueue.remove(uuid, text) IS
    'an operator ends a live session, with a reason. On a finished one: a notice, no change. '
    'Errors: 42704 unknown session; 22004 null; 22023 over-long reason';

CREATE FUNCTION vqueue.readmit(session uuid, reason text = NULL) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_readmit';
COMMENT ON FUNCTION vqueue.readmit(uuid, text) IS
    'an operator gives a session that is no_show, expired or abandoned its place in the line back, with a reason: before all who '
    'joined after it. Errors: 55000 live, ended otherwise, or joined anew; 42704 unknown session; 22004 null; '
    '22023 over-long reason';

CREATE FUNCTION vqueue.set_priority(session uuid, priority text) RETURNS vqueue.place
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_set_priority';
COMMENT ON FUNCTION vqueue.set_priority(uuid, text) IS
    'moves a waiting session to another lane, where it stands by its time of arrival. '
    'Errors: 55000 not waiting; 22023 bad priority; 42704 unknown session; 22004 null';

/* ------------------------------------------------------------------ draws */

/*
 * A draw is prepared before the opening, held by the trigger queue_after at it,
 * and can be recomputed by anybody afterwards.  The entrants' tickets are kept as
 * bytes of their differences (see vq_pack_tickets): no session's row is written.
 */
CREATE TABLE vqueue.draws (
    queue_id        uuid PRIMARY KEY REFERENCES vqueue.queues ON DELETE CASCADE,
    seed            bytea NOT NULL
                    CONSTRAINT draws_seed_check CHECK (octet_length(seed) = 32),
    commitment      text NOT NULL,
    beacon          text
                    CONSTRAINT draws_beacon_check CHECK (octet_length(beacon) BETWEEN 1 AND 1000 AND beacon ~ '^[ -~]+$'),
    prepared_at     timestamptz NOT NULL DEFAULT now(),
    drawn_at        timestamptz,
    entrants        bigint
                    CONSTRAINT draws_entrants_check CHECK (entrants >= 0),
    entrants_hash   text,
    key_hash        text,
    first_ticket    bigint,
    last_ticket     bigint,
    tickets         bytea
);
COMMENT ON TABLE vqueue.draws IS
    'internal: the draw of a queue, with its seed, which nobody may read before it is held; see vqueue.draw_results';
COMMENT ON COLUMN vqueue.draws.seed IS '32 random bytes: who knows them before the draw can foresee it';
COMMENT ON COLUMN vqueue.draws.commitment IS 'SHA-256 of the seed, as lower-case hexadecimal digits';
COMMENT ON COLUMN vqueue.draws.beacon IS 'a value that is not known when the draw is prepared, and is mixed in; null: none';
COMMENT ON COLUMN vqueue.draws.drawn_at IS 'when the draw was held; null before';
COMMENT ON COLUMN vqueue.draws.entrants IS 'how many were drawn';
COMMENT ON COLUMN vqueue.draws.entrants_hash IS
    'SHA-256 of the SHA-256 of the entrants'' ids (of 16 bytes each), in the order of their tickets';
COMMENT ON COLUMN vqueue.draws.key_hash IS 'SHA-256 of the key from which the places follow';
COMMENT ON COLUMN vqueue.draws.tickets IS
    'the entrants'' tickets: each one''s difference from the one before, seven bits a byte, the lowest first, the eighth set but in the last';

SELECT pg_catalog.pg_extension_config_dump('vqueue.draws', '');

CREATE FUNCTION vqueue._draw_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_draw_changed';
COMMENT ON FUNCTION vqueue._draw_changed() IS
    'internal: has memory built anew when a draw arrives by a restore or replication, or is changed by hand';
CREATE TRIGGER draw_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.draws
    FOR EACH ROW EXECUTE FUNCTION vqueue._draw_changed();
CREATE TRIGGER draw_truncate AFTER TRUNCATE ON vqueue.draws
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
ALTER TABLE vqueue.draws ENABLE ALWAYS TRIGGER draw_after;
ALTER TABLE vqueue.draws ENABLE ALWAYS TRIGGER draw_truncate;

CREATE FUNCTION vqueue._draw_before() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.seed IS NULL THEN
        SELECT sha256(string_agg(uuid_send(gen_random_uuid()), '')) INTO NEW.seed FROM generate_series(1, 4);
        NEW.commitment := encode(sha256(NEW.seed), 'hex');
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION vqueue._draw_before() IS 'internal: makes the seed of a new draw, which an operator may not read';
CREATE TRIGGER draw_before BEFORE INSERT ON vqueue.draws
    FOR EACH ROW EXECUTE FUNCTION vqueue._draw_before();
ALTER TABLE vqueue.draws ENABLE ALWAYS TRIGGER draw_before;

CREATE FUNCTION vqueue._draw_tickets(queue_id uuid) RETURNS bigint[]
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_draw_tickets';
COMMENT ON FUNCTION vqueue._draw_tickets(uuid) IS
    'internal: the tickets of a draw''s entrants, rising; null before the draw, or if they are damaged';
CREATE FUNCTION vqueue._draw_places(key bytea, entrants bigint) RETURNS bigint[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_draw_places';
COMMENT ON FUNCTION vqueue._draw_places(bytea, bigint) IS 'internal: the places, from 1, of entrants 1, 2 and so on';
CREATE FUNCTION vqueue._draw_place(key bytea, entrants bigint, number bigint) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_draw_place';
COMMENT ON FUNCTION vqueue._draw_place(bytea, bigint, bigint) IS 'internal: the place, from 1, of one entrant, from 1';
CREATE FUNCTION vqueue._order_key(queue_id uuid, ticket bigint, place_key bigint) RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_order_key';
COMMENT ON FUNCTION vqueue._order_key(uuid, bigint, bigint) IS
    'internal: by what a session stands in its lane: below 0 who was drawn, then 0 by arrival, then by place_key';

CREATE FUNCTION vqueue._draw_key(seed bytea, entrants bigint, entrants_hash text, beacon text) RETURNS bytea
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha256(convert_to(concat_ws(E'\n', 'vqueue draw 1', encode(seed, 'hex'), entrants, entrants_hash, coalesce(beacon, '')), 'UTF8'))
$$;
COMMENT ON FUNCTION vqueue._draw_key(bytea, bigint, text, text) IS 'internal: the key from which the places follow';

CREATE FUNCTION vqueue.prepare_draw(queue text) RETURNS text
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    state text;
    d vqueue.draws;
BEGIN
    SELECT q.state INTO state FROM vqueue.queues q WHERE q.id = wanted FOR NO KEY UPDATE;
    SELECT t.commitment, t.drawn_at INTO d.commitment, d.drawn_at FROM vqueue.draws AS t WHERE t.queue_id = wanted;
    IF d.drawn_at IS NOT NULL THEN
        PERFORM vqueue._refuse(format('queue "%s" has had its draw', queue),
            format('It was held at %s.', d.drawn_at),
            'Make a new queue for another draw.', 'object_not_in_prerequisite_state');
    END IF;
    IF state IN ('open', 'draining') THEN
        PERFORM vqueue._refuse(format('queue "%s" is already letting people in', queue),
            'A draw is held when a queue opens, among those who wait then.',
            'Pause or close the queue first, or create it with the state paused.', 'object_not_in_prerequisite_state');
    END IF;
    IF d.commitment IS NULL THEN
        /* The seed is made by the trigger, so that who prepares a draw never has it. */
        INSERT INTO vqueue.draws AS t (queue_id) VALUES (wanted) RETURNING t.commitment INTO d.commitment;
    END IF;
    RETURN d.commitment;
END
$$;
COMMENT ON FUNCTION vqueue.prepare_draw(text) IS
    'has those who wait when a closed or paused queue first opens be let in in a random order, which anyone can recompute '
    'afterwards; returns the commitment, SHA-256 of a secret seed, to be published. Calling it again returns the same. '
    'Errors: 55000 the queue is open or draining, or has had its draw; 42704 unknown queue; 22004 a null';

CREATE FUNCTION vqueue.set_draw_beacon(queue text, beacon text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    d vqueue.draws;
BEGIN
    IF beacon IS NULL THEN
        PERFORM vqueue._refuse('beacon must not be null', 'There is nothing that a null could stand for here.',
            'Give a public value that nobody could know when the draw was prepared.', 'null_value_not_allowed');
    END IF;
    IF octet_length(beacon) NOT BETWEEN 1 AND 1000 OR beacon !~ '^[ -~]+$' THEN
        PERFORM vqueue._refuse('beacon is not fit for a draw',
            'A beacon has from 1 to 1000 printable ASCII characters, so that everybody reads the same bytes.',
            'Use its digits as text.');
    END IF;
    PERFORM FROM vqueue.queues q WHERE q.id = wanted FOR NO KEY UPDATE;
    SELECT t.commitment, t.drawn_at INTO d.commitment, d.drawn_at FROM vqueue.draws AS t WHERE t.queue_id = wanted;
    IF d.commitment IS NULL OR d.drawn_at IS NOT NULL THEN
        PERFORM vqueue._refuse(format('queue "%s" has no draw before it', queue),
            CASE WHEN d.commitment IS NULL THEN 'None was prepared.' ELSE format('It was held at %s.', d.drawn_at) END,
            CASE WHEN d.commitment IS NULL THEN 'Call vqueue.prepare_draw() first.'
                 ELSE 'A beacon is set between prepare_draw and the opening.' END, 'object_not_in_prerequisite_state');
    END IF;
    UPDATE vqueue.draws AS t SET beacon = beacon WHERE t.queue_id = wanted;
END
$$;
COMMENT ON FUNCTION vqueue.set_draw_beacon(text, text) IS
    'mixes a public value into a draw that was prepared and not held yet, such that its result is not known even to who has the '
    'seed; again replaces it. From 1 to 1000 printable ASCII characters. '
    'Errors: 55000 no draw was prepared, or it was held; 22023 unfit; 22004 a null; 42704 unknown queue';

CREATE VIEW vqueue.draw_results WITH (security_barrier) AS
    SELECT q.name AS queue, d.queue_id, d.commitment, d.beacon, d.prepared_at, d.drawn_at, d.entrants, d.entrants_hash,
           d.first_ticket, d.last_ticket, d.key_hash,
           CASE WHEN d.drawn_at IS NOT NULL THEN encode(d.seed, 'hex') END AS seed
      FROM vqueue.draws d
      JOIN vqueue.queues q ON q.id = d.queue_id
     WHERE q.tenant_id = vqueue._tenant('operator');
COMMENT ON VIEW vqueue.draw_results IS
    'the draws of the current tenant, prepared and held, to be published: the seed is there once the draw is held';

CREATE FUNCTION vqueue._draw(queue text) RETURNS vqueue.draw_results
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    d vqueue.draw_results;
BEGIN
    SELECT * INTO d FROM vqueue.draw_results AS t WHERE t.queue_id = wanted;
    IF d.drawn_at IS NULL THEN
        PERFORM vqueue._refuse(format('queue "%s" has had no draw', queue),
            CASE WHEN d.commitment IS NULL THEN 'None was prepared.' ELSE 'It is held when the queue opens.' END,
            CASE WHEN d.commitment IS NULL THEN 'Call vqueue.prepare_draw() before the queue opens.'
                 ELSE 'Open the queue first.' END, 'object_not_in_prerequisite_state');
    END IF;
    RETURN d;
END
$$;
COMMENT ON FUNCTION vqueue._draw(text) IS 'internal: the draw that a queue has had, or an error';

CREATE FUNCTION vqueue.draw_entrants(queue text, OUT number bigint, OUT ticket bigint, OUT id_hash text, OUT place bigint)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    d vqueue.draw_results := vqueue._draw(queue);
BEGIN
    RETURN QUERY
    SELECT t.number, t.ticket, encode(sha256(uuid_send(s.id)), 'hex'), t.place
      FROM ROWS FROM (unnest(vqueue._draw_tickets(d.queue_id)),
                      unnest(vqueue._draw_places(vqueue._draw_key(decode(d.seed, 'hex'), d.entrants, d.entrants_hash, d.beacon), d.entrants)))
           WITH ORDINALITY AS t (ticket, place, number)
      LEFT JOIN vqueue.user_sessions s ON s.queue_id = d.queue_id AND s.ticket = t.ticket
     ORDER BY t.number;
END
$$;
COMMENT ON FUNCTION vqueue.draw_entrants(text) IS
    'the list of a draw''s entrants in the order of their tickets, to be published: SHA-256 of the session''s id, null if its row '
    'was deleted, and the place drawn. Errors: 55000 no draw was held; 42704 unknown queue; 22004 a null';

CREATE FUNCTION vqueue.verify_draw(queue text, session uuid = NULL, OUT commitment_ok bool, OUT entrants_ok bool,
                                   OUT hash_ok bool, OUT key_ok bool, OUT number bigint, OUT place bigint, OUT verdict text)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    d vqueue.draw_results := vqueue._draw(queue);
    tickets bigint[] := vqueue._draw_tickets(d.queue_id);
    key bytea := vqueue._draw_key(decode(d.seed, 'hex'), d.entrants, d.entrants_hash, d.beacon);
    rows_left bigint;
    hash text;
BEGIN
    commitment_ok := encode(sha256(decode(d.seed, 'hex')), 'hex') = d.commitment;
    entrants_ok := coalesce(cardinality(tickets) = d.entrants
                            AND tickets[1] IS NOT DISTINCT FROM d.first_ticket
                            AND tickets[d.entrants::int] IS NOT DISTINCT FROM d.last_ticket, false);
    SELECT count(*), encode(sha256(coalesce(string_agg(sha256(uuid_send(s.id)), '' ORDER BY s.ticket), '')), 'hex')
      INTO rows_left, hash
      FROM unnest(tickets) AS t (ticket)
      JOIN vqueue.user_sessions s ON s.queue_id = d.queue_id AND s.ticket = t.ticket;
    hash_ok := CASE WHEN NOT entrants_ok THEN false WHEN rows_left = d.entrants THEN hash = d.entrants_hash END;
    key_ok := coalesce(encode(sha256(key), 'hex') = d.key_hash, false);
    IF session IS NOT NULL THEN
        SELECT array_position(tickets, s.ticket) INTO number
          FROM vqueue.user_sessions s WHERE s.id = session AND s.queue_id = d.queue_id;
        IF NOT FOUND THEN
            PERFORM vqueue._refuse(format('session "%s" does not exist', session),
                format('Queue "%s" has no such session.', queue),
                'Give a session of this queue whose row has not been deleted.', 'undefined_object');
        END IF;
        place := vqueue._draw_place(key, d.entrants, number);
    END IF;
    verdict := CASE
        WHEN NOT commitment_ok THEN 'tampered with: the seed is not the one that was committed to'
        WHEN NOT entrants_ok THEN 'tampered with: the list of entrants is not as long as was recorded'
        WHEN NOT hash_ok THEN 'tampered with: the entrants are not those who were drawn'
        WHEN NOT key_ok THEN 'tampered with: seed, beacon and entrants do not give the key that was used'
        WHEN hash_ok IS NULL THEN format('right as far as can be told: the rows of %s entrants were deleted, so check a list '
                                         'of vqueue.draw_entrants() that was kept', d.entrants - rows_left)
        ELSE 'right' END;
END
$$;
COMMENT ON FUNCTION vqueue.verify_draw(text, uuid) IS
    'recomputes a draw from its revealed seed: whether the seed is the one committed to, whether list and hash of the entrants and '
    'the key are those recorded, and, for a session, its number in the list and the place it drew (null if it came late). '
    'hash_ok is null where rows of entrants have been deleted. Hold commitment, beacon, entrants and entrants_hash against what was '
    'published. Errors: 55000 no draw was held; 42704 unknown queue or session; 22004 a null';

/* ---------------------------------------------------------------- history */

CREATE FUNCTION vqueue._untold(queue_id uuid, ticket bigint, left_at timestamptz) RETURNS bool
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_untold';
COMMENT ON FUNCTION vqueue._untold(uuid, bigint, timestamptz) IS
    'internal: whether the worker has yet to announce, or to count, something of the session with this ticket that ended then; with -infinity only the first';

CREATE FUNCTION vqueue._count_now() RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_count_now';
COMMENT ON FUNCTION vqueue._count_now() IS
    'internal: has the worker write statistics though the minute is not over, for tests; percentiles of the minute are those of its first part';

CREATE VIEW vqueue.stats WITH (security_barrier) AS
    SELECT q.name AS queue, s.*
      FROM vqueue.queue_stats s
      JOIN vqueue.queues q ON q.id = s.queue_id
     WHERE q.tenant_id = vqueue._tenant('monitor');
COMMENT ON VIEW vqueue.stats IS 'queue_stats of the current tenant with the queue''s name';

CREATE FUNCTION vqueue.purge(queue text = NULL, older_than interval = NULL, max_rows int = NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    batch constant int := 10000;
    wanted uuid := CASE WHEN queue IS NOT NULL THEN vqueue._queue(queue, 'operator') END;
    purged bigint := 0;
    one record;
    behind timestamptz;
    last timestamptz;
    done int;
BEGIN
    PERFORM vqueue._check_age('older_than', older_than, 'Give an age such as ''30 days''.');
    IF max_rows < 1 THEN
        PERFORM vqueue._refuse(format('max_rows %s is out of range', max_rows),
            'It bounds how many sessions are deleted, so it must be at least 1.', 'Leave it out to delete all that are old enough.');
    END IF;
    IF wanted IS NOT NULL AND older_than IS NULL
       AND EXISTS (SELECT FROM vqueue.queues q WHERE q.id = wanted AND q.session_retention = '0') THEN
        PERFORM vqueue._refuse(format('queue "%s" keeps its sessions', queue),
            'It has no session_retention, by which their age would be known.',
            'Give older_than, or set session_retention with vqueue.alter_queue().');
    END IF;
    FOR one IN SELECT q.id, now() - coalesce(older_than, q.session_retention) AS before
                 FROM vqueue.queues q
                WHERE q.tenant_id = vqueue._tenant('operator') AND (wanted IS NULL OR q.id = wanted)
                  AND (older_than IS NOT NULL OR q.session_retention > '0')
                ORDER BY q.name
    LOOP
        /* On from where it was: the index still has the entries of what has just been deleted. */
        behind := '-infinity';
        LOOP
            EXIT WHEN purged >= max_rows;
            SELECT d.deleted, d.last INTO done, last
              FROM vqueue._delete_ended(one.id, behind, one.before, least(batch, coalesce(max_rows - purged, batch))::int) d;
            purged := purged + done;
            EXIT WHEN done < batch;
            behind := last;
        END LOOP;
    END LOOP;
    PERFORM vqueue._audit('purge', wanted, NULL,
                          jsonb_strip_nulls(jsonb_build_object('older_than', older_than, 'max_rows', max_rows, 'purged', purged)));
    RETURN purged;
END
$$;
COMMENT ON FUNCTION vqueue.purge(text, interval, int) IS
    'deletes sessions that ended longer ago than older_than, by default the queue''s session_retention, the oldest first and '
    'at most max_rows, of one queue or of all queues of the current tenant; returns how many. Live sessions and those that '
    'somebody has locked, or whose end the worker has yet to announce, or to count in queue_stats, are left alone, and of all queues those that keep their sessions, unless older_than is given. '
    'Errors: 22023 out of range, or neither age known; 42704 unknown queue';

/*
 * The log is what NOTIFY told, but for "moved".  The worker alone writes it, one
 * transaction after the other, so a reader that sees a seq sees all below it: no
 * lower one can commit later.
 */
CREATE FUNCTION vqueue.event_cursor(queue text = NULL) RETURNS bigint
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF queue IS NOT NULL THEN
        PERFORM vqueue._queue(queue, 'app');
    ELSE
        PERFORM vqueue._tenant('app');
    END IF;
    /* Of all queues, as it is the same for each: all that commits later has a higher seq. */
    RETURN greatest((SELECT max(e.seq) FROM vqueue.events e), (SELECT max(m.trimmed) FROM vqueue.event_marks m),
                    (SELECT max(l.begun) FROM vqueue.event_log l), 1);
END
$$;
COMMENT ON FUNCTION vqueue.event_cursor(text) IS
    'where the log of events ends now: what events_since, given this, returns later is what came after this call. '
    'Errors: 42704 unknown queue';

/* In UTC, as events tell their time. */
CREATE FUNCTION vqueue.events_since(queue text, cursor bigint = 0, max_events int = 1000,
                                    OUT seq bigint, OUT at timestamptz, OUT event text, OUT payload jsonb)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 1000 SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
#variable_conflict use_column
DECLARE
    wanted uuid := CASE WHEN queue IS NOT NULL THEN vqueue._queue(queue, 'app') END;
    tenant uuid := vqueue._tenant('app');
    gone bigint;
BEGIN
    IF cursor IS NULL OR max_events IS NULL THEN
        PERFORM vqueue._refuse('cursor and max_events must not be null', 'They say where to begin and how much to return.',
            'Use cursor 0 for the beginning of the log.', 'null_value_not_allowed');
    END IF;
    IF cursor < 0 THEN
        PERFORM vqueue._refuse(format('cursor %s is out of range', cursor), 'A cursor is the seq of the last event that was read.',
            'Use 0 for the beginning of the log, or vqueue.event_cursor() for its end.');
    END IF;
    IF max_events NOT BETWEEN 1 AND 100000 THEN
        PERFORM vqueue._refuse(format('max_events %s is out of range', max_events),
            'From 1 to 100000 events can be returned.', 'Call the function again for more.');
    END IF;
    IF current_setting('vqueue.event_retention') = '0' THEN
        PERFORM vqueue._refuse('events are not logged', 'vqueue.event_retention is 0.',
            'Set it to how long events shall be kept.', 'object_not_in_prerequisite_state');
    END IF;
    SELECT max(m.trimmed) INTO gone
      FROM vqueue.event_marks m JOIN vqueue.queues q ON q.id = m.queue_id
     WHERE q.tenant_id = tenant AND (wanted IS NULL OR q.id = wanted);
    gone := greatest(gone, (SELECT max(l.begun) FROM vqueue.event_log l));
    IF cursor > 0 AND cursor < gone THEN
        PERFORM vqueue._refuse(format('events after cursor %s are not kept any more', cursor),
            format('This log has those after %s; vqueue.event_retention is %s.', gone, current_setting('vqueue.event_retention')),
            format('Call vqueue.event_cursor(), then read vqueue.sessions, and go on from that cursor; '
                   'or go on from %s, where what is left of the log begins.', gone),
            'object_not_in_prerequisite_state');
    END IF;
    IF wanted IS NOT NULL THEN
        RETURN QUERY SELECT e.seq, e.at, e.event, jsonb_build_object('v', 1, 'event', e.event, 'at', e.at,
                                                                       'queue_id', e.queue_id, 'seq', e.seq) || e.payload
                       FROM vqueue.events e
                      WHERE e.queue_id = wanted AND e.seq > cursor
                      ORDER BY e.seq LIMIT max_events;
    ELSE
        RETURN QUERY SELECT e.seq, e.at, e.event, jsonb_build_object('v', 1, 'event', e.event, 'at', e.at,
                                                                       'queue_id', e.queue_id, 'seq', e.seq) || e.payload
                       FROM vqueue.events e
                      WHERE e.queue_id = ANY (ARRAY(SELECT q.id FROM vqueue.queues q WHERE q.tenant_id = tenant)) AND e.seq > cursor
                      ORDER BY e.seq LIMIT max_events;
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue.events_since(text, bigint, int) IS
    'what was told by NOTIFY after the event with seq cursor, of one queue, or of all of the current tenant where queue is null: '
    'releases, ends and changes of state, in the order of their commits, each once, at most max_events. The seq of the last one '
    'is the next cursor; 0 is the beginning of what is kept. Works on a standby. '
    'Errors: 55000 cursor older than what vqueue.event_retention keeps, or of another log, or no log; 42704 unknown queue; 22023 out of range; 22004 a null';

CREATE FUNCTION vqueue.explain_position(session uuid, OUT what text, OUT rule text, OUT n bigint, OUT detail text)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 12 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    p vqueue.place := vqueue.status(session);
    me vqueue.user_sessions;
    drawn bigint;
    weighted bool;
    my_key bigint;
    until timestamptz;
BEGIN
    PERFORM vqueue._tenant('operator');
    SELECT * INTO me FROM vqueue.user_sessions s WHERE s.id = session;
    SELECT q.lane_weights IS NOT NULL INTO weighted FROM vqueue.queues q WHERE q.id = me.queue_id;
    SELECT d.entrants INTO drawn FROM vqueue.draw_results d WHERE d.queue_id = me.queue_id AND d.drawn_at IS NOT NULL;
    my_key := vqueue._order_key(me.queue_id, me.ticket, me.place_key);
    until := coalesce(me.ready_at, me.served_at, me.left_at, clock_timestamp());

    RETURN QUERY VALUES
        ('arrival', NULL, me.ticket, format('Joined at %s with this ticket.', me.joined_at)),
        ('lane', NULL, NULL, format('Its priority is %s.', me.priority));
    IF drawn IS NOT NULL THEN
        RETURN QUERY SELECT 'draw', NULL, CASE WHEN my_key < 0 THEN my_key + (1::bigint << 62) + 1 END,
            CASE WHEN my_key < 0 THEN format('Drew this place of %s.', drawn)
                 ELSE format('Came after %s were drawn, and stands behind them.', drawn) END;
    END IF;
    RETURN QUERY SELECT 'position', NULL, p.position,
        CASE WHEN p.position > 0 THEN 'Waits at this position.' WHEN p.position = 0 THEN 'Is in.' ELSE format('Has ended: %s.', p.status) END;

    RETURN QUERY
    WITH others AS (
        SELECT s.ticket, s.status, s.joined_at, s.left_at, coalesce(s.ready_at, s.served_at) AS entered_at,
               /* By weights, whose turns come before only positions tell. */
               CASE WHEN l.lane < l.mine AND NOT weighted THEN 'priority'
                    WHEN l.lane = l.mine AND (l.key, s.ticket) < (my_key, me.ticket)
                    THEN CASE WHEN l.key < 0 THEN 'draw' WHEN l.key > 0 AND l.key < my_key THEN 'random' ELSE 'arrival' END
                    END AS ahead_by
          FROM vqueue.user_sessions s,
               LATERAL (SELECT array_position('{vip,high,normal,low}', s.priority) AS lane,
                               array_position('{vip,high,normal,low}', me.priority) AS mine,
                               vqueue._order_key(s.queue_id, s.ticket, s.place_key) AS key) AS l
         WHERE s.queue_id = me.queue_id AND s.id <> me.id AND (s.left_at IS NULL OR s.left_at >= me.joined_at)),
    counted AS (
        SELECT 1 AS part, 'waits ahead' AS what, o.ahead_by AS rule
          FROM others o WHERE me.status = 'waiting' AND o.status = 'waiting' AND o.ahead_by IS NOT NULL
        UNION ALL
        SELECT 1, 'waits ahead', 'turns'
          FROM generate_series(2, p.position - (SELECT count(*) FROM others o
                                                 WHERE o.status = 'waiting' AND o.ahead_by IS NOT NULL))
         WHERE weighted AND me.status = 'waiting'
        UNION ALL
        SELECT 2, 'entered before', coalesce(o.ahead_by, CASE WHEN weighted THEN 'turns' ELSE 'other' END)
          FROM others o WHERE o.entered_at >= me.joined_at AND (o.entered_at < until OR o.entered_at = until AND o.ahead_by IS NOT NULL)
        UNION ALL
        SELECT 3, 'gave up ahead', o.ahead_by
          FROM others o WHERE o.ahead_by IS NOT NULL AND o.entered_at IS NULL AND o.left_at BETWEEN me.joined_at AND until
        UNION ALL
        SELECT 4, 'came later', o.ahead_by
          FROM others o WHERE o.ahead_by IS NOT NULL AND o.ticket > me.ticket AND o.joined_at <= until)
    SELECT c.what, c.rule, count(*),
           format(CASE c.what WHEN 'waits ahead' THEN 'Wait and stand ahead: they %s.'
                              WHEN 'entered before' THEN 'Came in since it joined: they %s.'
                              WHEN 'gave up ahead' THEN 'Stood ahead, and ended without coming in: they %s.'
                              ELSE 'Joined after it, and stand or stood ahead: they %s.' END,
                  CASE c.rule WHEN 'priority' THEN 'have a higher priority' WHEN 'draw' THEN 'drew a better place'
                              WHEN 'random' THEN 'have a better random place' WHEN 'arrival' THEN 'came earlier'
                              WHEN 'turns' THEN CASE c.what WHEN 'waits ahead' THEN 'are of lanes whose turn comes before'
                                                            ELSE 'are of a lane whose turn it was' END
                              ELSE 'were let in by hand or past locked rows' END)
      FROM counted c
     GROUP BY c.part, c.what, c.rule
     ORDER BY c.part, array_position('{priority,draw,arrival,random,turns,other}', c.rule);
END
$$;
COMMENT ON FUNCTION vqueue.explain_position(uuid) IS
    'why a session stands where it stands, counted in the tables: its arrival (n is the ticket), lane, draw (n is the place drawn) and '
    'position; then how many wait ahead, have come in since it joined, gave up ahead of it, and came later but stand or stood ahead, '
    'by rule: priority, draw, arrival, random, turns (by lane_weights) or other. Lanes and weights are those of now. '
    'Errors: 42704 unknown session; 22004 null';

/* ----------------------------------------------------------------- passes */

/*
 * Insert only: when a key ceases to verify is said by the keys after it, so two
 * rotations at once get in each other's way no more than two after another.
 */
CREATE TABLE vqueue.pass_keys (
    id              uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    tenant_id       uuid NOT NULL REFERENCES vqueue.tenants ON DELETE CASCADE,
    algorithm       text NOT NULL
                    CONSTRAINT pass_keys_algorithm_check CHECK (algorithm IN ('HS256', 'EdDSA')),
    signs_from      timestamptz NOT NULL DEFAULT clock_timestamp(),
    earlier_until   timestamptz NOT NULL
                    CONSTRAINT pass_keys_earlier_until_check CHECK (earlier_until >= signs_from),
    secret          bytea NOT NULL
                    CONSTRAINT pass_keys_secret_check
                    CHECK (octet_length(secret) = 32 OR algorithm = 'HS256' AND octet_length(secret) BETWEEN 32 AND 64)
);
COMMENT ON TABLE vqueue.pass_keys IS
    'internal: keys that passes are signed with, which nobody but the extension may read; a tenant''s newest that has begun signs';
COMMENT ON COLUMN vqueue.pass_keys.id IS 'the kid of the passes that it signs';
COMMENT ON COLUMN vqueue.pass_keys.signs_from IS 'from when on it signs, until the next one does';
COMMENT ON COLUMN vqueue.pass_keys.earlier_until IS 'until when the tenant''s keys before it verify';
COMMENT ON COLUMN vqueue.pass_keys.secret IS 'the shared secret of HS256, or the private key of Ed25519';
CREATE UNIQUE INDEX pass_keys_tenant_key ON vqueue.pass_keys (tenant_id, signs_from, id);
SELECT pg_catalog.pg_extension_config_dump('vqueue.pass_keys', '');

CREATE FUNCTION vqueue._merge_pass_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN NOT EXISTS (SELECT FROM vqueue.pass_keys AS k WHERE k.id = NEW.id) THEN NEW END;
END
$$;
COMMENT ON FUNCTION vqueue._merge_pass_key() IS
    'internal: a restored key that is there already is left alone';
CREATE TRIGGER pass_key_before BEFORE INSERT ON vqueue.pass_keys
    FOR EACH ROW EXECUTE FUNCTION vqueue._merge_pass_key();
ALTER TABLE vqueue.pass_keys ENABLE ALWAYS TRIGGER pass_key_before;

CREATE FUNCTION vqueue.pass(session uuid, lifetime interval = NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_pass';
COMMENT ON FUNCTION vqueue.pass(uuid, interval) IS
    'a signed token (JWT) for a session that holds a slot, serving or ready, by which a gateway knows it. Good for the queue''s '
    'pass_lifetime, or lifetime if that is shorter (from a second), and never beyond the session''s lease. Writes nothing. '
    'Errors: 55000 waiting, ended, its lease has run out, or the tenant has no key; 42704 unknown session; '
    '22023 lifetime out of range; 22004 null';

CREATE FUNCTION vqueue.verify_pass(token text, queue text = NULL, OUT valid bool, OUT reason text, OUT session uuid,
                                   OUT user_id uuid, OUT queue_name text, OUT ticket bigint,
                                   OUT issued_at timestamptz, OUT expires_at timestamptz)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_verify_pass';
COMMENT ON FUNCTION vqueue.verify_pass(text, text) IS
    'whether a pass is good now, for this queue if one is given. One row: valid, or the first reason that applies why not, of '
    'malformed, algorithm, unknown key, signature, wrong tenant, not yet, expired, wrong queue, revoked (the session holds no '
    'slot any more). What follows is null unless the token is genuine. Errors: 42704 unknown queue; 22004 null token';

CREATE FUNCTION vqueue.jwks(tenant text = NULL) RETURNS json
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_jwks';
COMMENT ON FUNCTION vqueue.jwks(text) IS
    'the public keys (JWK set, RFC 7517) by which passes of a tenant, by default the current one, are verified; those of EdDSA '
    'only, as HS256 has none. Errors: 42704 unknown tenant';

CREATE FUNCTION vqueue.rotate_key(algorithm text = NULL, overlap interval = '1 day', delay interval = '0') RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_rotate_key';
COMMENT ON FUNCTION vqueue.rotate_key(text, interval, interval) IS
    'makes a key (EdDSA or HS256; null: as the present one, else EdDSA) for the passes of the current tenant and returns its id. '
    'It signs after the delay; passes of the keys before it are good for the overlap after that, each of at most 100 days. '
    'Errors: 22023 out of range, or unknown algorithm; 22004 a null; 42704 unknown tenant';

/* --------------------------------------------------------------- watchers */

CREATE FUNCTION vqueue._counters(OUT queue_id uuid, OUT waiting bigint, OUT serving bigint, OUT head bigint,
                                 OUT last_ticket bigint, OUT released_last_minute int, OUT released bigint,
                                 OUT estimated_wait interval, OUT estimated_wait_p90 interval, OUT estimate_error real,
                                 OUT failures int, OUT last_error text)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'vqueue_counters';
COMMENT ON FUNCTION vqueue._counters() IS 'internal: figures of every queue from memory, on a standby from the tables';

CREATE VIEW vqueue.overview WITH (security_barrier) AS
    SELECT q.name AS queue, q.id, q.state, c.waiting, c.serving, q.max_concurrent_users, q.release_rate_per_minute,
           c.released_last_minute, c.released, c.head, c.last_ticket, c.estimated_wait,
           c.estimated_wait_p90, c.estimate_error, c.failures, c.last_error
      FROM vqueue.queues q
      LEFT JOIN vqueue._counters() c ON c.queue_id = q.id
     WHERE q.tenant_id = vqueue._tenant('monitor')
     ORDER BY q.name;
COMMENT ON VIEW vqueue.overview IS
    'one line a queue of the current tenant: head is the ticket next in line, released counts since the server''s start, '
    'estimated_wait is a newcomer''s of normal priority, by even chances, and estimated_wait_p90 what nine in ten wait at most; '
    'estimate_error is the median of |estimated - actual| / actual of recent waits of 5 s or more, null while unknown; failures and last_error tell of a queue whose release step fails';

CREATE VIEW vqueue.sessions WITH (security_barrier) AS
    SELECT q.name AS queue, s.*, vqueue._position(s.queue_id, s.ticket) AS position
      FROM vqueue.user_sessions s
      JOIN vqueue.queues q ON q.id = s.queue_id
     WHERE q.tenant_id = vqueue._tenant('operator');
COMMENT ON VIEW vqueue.sessions IS 'user_sessions of the current tenant with the queue''s name and the live position';

CREATE FUNCTION vqueue.channel(queue text = NULL) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN queue IS NULL THEN 'vqueue'
                ELSE (SELECT CASE WHEN t.name = 'default' AND octet_length(q.name) <= 56
                                  THEN 'vqueue_' || q.name ELSE 'vqueue_' || q.id END
                        FROM vqueue.queues q JOIN vqueue.tenants t ON t.id = q.tenant_id
                       WHERE q.id = vqueue._queue(queue)) END
$$;
COMMENT ON FUNCTION vqueue.channel(text) IS
    'the channel to LISTEN on for a queue''s events; without an argument the one for all queues. It is vqueue_<name> in the '
    'tenant default while the name has at most 56 bytes, otherwise vqueue_<queue id>. Errors: 42704 unknown queue';

/*
 * The board: what anybody needs to compute a position from a ticket.  Points are
 * exact; between two of them the answer is on the line that joins them.
 */
CREATE FUNCTION vqueue.board(queue text) RETURNS json
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_board';
COMMENT ON FUNCTION vqueue.board(text) IS
    'a picture of a queue as a few kilobytes of JSON, for everybody who waits: from it vqueue.position_from_board(), or a '
    'client, computes the position of any ticket. Times in it are in seconds, null where they cannot be told. '
    'Errors: 42704 unknown queue; 22004 null';

CREATE FUNCTION vqueue.board_number(session uuid) RETURNS bigint
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_board_number';
COMMENT ON FUNCTION vqueue.board_number(uuid) IS
    'the number by which a session is found on a board whose order is "key", where a draw was held or places are random; otherwise '
    'its ticket. It stays the same from the opening on. Errors: 42704 unknown session; 22004 null';

CREATE FUNCTION vqueue.position_from_board(board jsonb, ticket bigint, priority text = 'normal') RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    lane jsonb := board -> 'lanes' -> priority;
    points jsonb := lane -> 'points';
    low int := 0;
    high int := coalesce(jsonb_array_length(points), 0) - 1;
    middle int;
    t bigint;
    p bigint;
BEGIN
    IF board IS NULL OR ticket IS NULL OR priority IS NULL THEN
        RETURN NULL;
    END IF;
    IF board ->> 'v' IS DISTINCT FROM '1' OR (board ->> 'order' IN ('ticket', 'key')) IS NOT TRUE THEN
        PERFORM vqueue._refuse('board is not one that is understood',
            'Its version must be 1, and its order "ticket" or "key".',
            'Pass what vqueue.board() returns, or update the extension.');
    END IF;
    IF priority NOT IN ('low', 'normal', 'high', 'vip') THEN
        PERFORM vqueue._refuse(format('priority "%s" is not known', priority),
            'The lanes of a queue are low, normal, high and vip.', 'Use low, normal, high or vip.');
    END IF;
    -- Behind all who wait: whoever has a later ticket than the board knows comes in its order.
    IF high < 0 OR ticket > (points -> high ->> 0)::bigint THEN
        RETURN (lane ->> 'next')::bigint
               + CASE WHEN ticket < 1::bigint << 52 THEN greatest(ticket - (board ->> 'last_ticket')::bigint - 1, 0) ELSE 0 END;
    END IF;
    -- Before all who wait: it has been let in, or has left.
    IF ticket < (points -> 0 ->> 0)::bigint THEN
        RETURN 0;
    END IF;
    -- The last point that is not behind the ticket.
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (points -> middle ->> 0)::bigint <= ticket THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    t := (points -> low ->> 0)::bigint;
    p := (points -> low ->> 1)::bigint;
    IF t = ticket THEN
        RETURN p;
    END IF;
    RETURN p + div((ticket - t)::numeric * ((points -> low + 1 ->> 1)::bigint - p),
                   (points -> low + 1 ->> 0)::bigint - t);
END
$$;
COMMENT ON FUNCTION vqueue.position_from_board(jsonb, bigint, text) IS
    'position of a ticket of a lane by a board of vqueue.board(), or of a vqueue.board_number() where its order is "key": right at its points, between two of them off by less than the '
    'difference of their positions; 0 for one before all who wait. It does not ask the database, so who has left is not told '
    'from who waits. Null for nulls. Errors: 22023 not a board, or unknown priority';

CREATE FUNCTION vqueue.check(OUT queue text, OUT what text, OUT in_memory text, OUT in_table text) RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1 AS 'MODULE_PATHNAME', 'vqueue_check';
COMMENT ON FUNCTION vqueue.check() IS
    'compares memory with the tables, for all tenants, and returns each difference that lasts: no row means all is right. '
    'Locks nobody out. On a standby there is no memory, hence no row';

CREATE FUNCTION vqueue.rebuild() RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_rebuild';
COMMENT ON FUNCTION vqueue.rebuild() IS
    'builds memory anew from the tables and returns the number of live sessions. Who joins or polls meanwhile waits. '
    'Errors: 53200 vqueue.memory_limit reached; 55000 called in a transaction that changed sessions';

CREATE FUNCTION vqueue.memory(OUT used bigint, OUT memory_limit bigint, OUT queues int, OUT databases int)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_memory';
COMMENT ON FUNCTION vqueue.memory() IS
    'shared memory of the lines: bytes used and allowed on this server, queues of all databases, databases';

CREATE FUNCTION vqueue._worker(OUT launcher_pid int, OUT pid int, OUT last_round timestamptz, OUT rounds bigint,
                               OUT refused bool, OUT line text, OUT round_age float8, OUT round_seconds float8)
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_worker_state';
COMMENT ON FUNCTION vqueue._worker() IS 'internal: launcher and worker of this database, for health';

/* -------------------------------------------------- health of the server */

/*
 * What watches belongs to the predefined role pg_monitor as well, so that a
 * watcher need not be a superuser.  It is told of no user: of the keys it may see
 * when they were made.
 */

CREATE FUNCTION vqueue._figures(OUT queue_id uuid, OUT released bigint, OUT waited bigint[], OUT waited_seconds float8,
                                OUT ended bigint[], OUT release_lag float8)
    RETURNS SETOF record
    LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'vqueue_figures';
COMMENT ON FUNCTION vqueue._figures() IS
    'internal: what was counted of every queue since the server''s start: releases; of them those that had waited up to each '
    'of _wait_bounds(), and all; the sum of their waits; ends as completed, expired, left, abandoned, no_show and removed; and '
    'for how many seconds somebody could have been let in and nobody was. No row on a standby';

CREATE FUNCTION vqueue._wait_bounds() RETURNS float8[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_wait_bounds';
COMMENT ON FUNCTION vqueue._wait_bounds() IS 'internal: upper bounds in seconds of the counts of waits';

CREATE FUNCTION vqueue._sample(OUT looked int, OUT differing int, OUT late int, OUT example text)
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_sample';
COMMENT ON FUNCTION vqueue._sample() IS
    'internal: holds some hundred sessions, chosen at random, against their rows, and tells whether one differs (1), and how many there are '
    'whose time was up more than 10 seconds ago. Looks at none on a standby, and where this transaction has changed sessions';

CREATE FUNCTION vqueue._library_version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_library_version';
COMMENT ON FUNCTION vqueue._library_version() IS 'internal: version of the loaded library';

CREATE FUNCTION vqueue.is_healthy() RETURNS bool
    LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_is_healthy';
COMMENT ON FUNCTION vqueue.is_healthy() IS
    'whether launcher and worker run and the worker has made a round within 30 seconds; true on a standby. Reads no table: '
    'for a probe. A single sick queue does not make it false; see health()';

CREATE FUNCTION vqueue._replay_delay() RETURNS float8
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT pg_is_in_recovery()
                THEN (SELECT extract(epoch FROM max(r.replay_lag)) FROM pg_stat_replication r)
                WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                WHEN pg_last_wal_receive_lsn() IS NOT NULL
                THEN extract(epoch FROM greatest(clock_timestamp() - pg_last_xact_replay_timestamp(), '0')) END::float8
$$;
COMMENT ON FUNCTION vqueue._replay_delay() IS
    'internal: by how many seconds this standby is behind, or the slowest standby of this primary; null if that is not known';

/* What a check has found: nothing needs to be said where all is well, and what is not known has no status. */
CREATE FUNCTION vqueue._finding(text, bool, text, text, text, text,
                                OUT "check" text, OUT status text, OUT value text, OUT detail text, OUT hint text)
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT $1, CASE WHEN $2 THEN 'ok' WHEN $2 IS NULL THEN 'unknown' ELSE $3 END, $4,
           CASE WHEN $2 THEN NULL ELSE $5 END, CASE WHEN $2 THEN NULL ELSE $6 END
$$;
COMMENT ON FUNCTION vqueue._finding(text, bool, text, text, text, text) IS
    'internal: a row of health or preflight: check, whether it is good (null: not known), status if it is not, value, detail, hint';

CREATE FUNCTION vqueue._server_health(OUT "check" text, OUT status text, OUT value text, OUT detail text, OUT hint text)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE ROWS 9 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    standby constant bool := pg_is_in_recovery();
    seen record;
BEGIN
    IF NOT standby THEN
        SELECT w.round_age INTO seen FROM vqueue._worker() w WHERE w.pid IS NOT NULL;
        RETURN QUERY SELECT f.* FROM vqueue._finding('rounds', coalesce(seen.round_age < 20, false),
            CASE WHEN seen.round_age < 30 THEN 'warn' ELSE 'fail' END,
            coalesce(round(seen.round_age::numeric, 1) || ' s ago', 'none'),
            'The worker should make a round every 10 seconds at the least.',
            'See what it waits for in pg_stat_activity (vqueue worker); end it by pg_terminate_backend(), and it is started again.') f;

        SELECT f.queue_id, f.release_lag AS lag INTO seen FROM vqueue._figures() f ORDER BY f.release_lag DESC LIMIT 1;
        RETURN QUERY SELECT f.* FROM vqueue._finding('releases', coalesce(seen.lag, 0) < 5,
            CASE WHEN seen.lag < 30 THEN 'warn' ELSE 'fail' END,
            round(coalesce(seen.lag, 0)::numeric, 1) || ' s behind',
            format('In queue %s somebody could have been let in for so long, and nobody was.', seen.queue_id),
            'See the checks "worker", "rounds" and "queues", and look for locked rows of vqueue.user_sessions in pg_locks.') f;

        SELECT s.* INTO seen FROM vqueue._sample() s;
        RETURN QUERY SELECT f.* FROM vqueue._finding('sample', seen.differing = 0, 'fail',
            format('%s looked at, %s differ', seen.looked, seen.differing),
            format('Memory and table differ, as with %s.', seen.example),
            'See SELECT * FROM vqueue.check(), and call vqueue.rebuild().') f;
        RETURN QUERY SELECT f.* FROM vqueue._finding('timeouts', seen.late = 0, 'warn',
            format('%s looked at, %s late', seen.looked, seen.late),
            format('Sessions have not been ended though their time is up, as %s.', seen.example),
            'A transaction may have them locked: look for the oldest one in pg_stat_activity; see also the check "queues".') f;
    END IF;

    SELECT o.who, o.began, extract(epoch FROM clock_timestamp() - o.began) AS age INTO seen
      FROM (SELECT format('Process %s', a.pid) AS who, a.xact_start AS began
              FROM pg_stat_activity a
             WHERE a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker'
               AND coalesce(a.datname = current_database(), true) AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
            UNION ALL
            SELECT format('Prepared transaction "%s"', p.gid), p.prepared
              FROM pg_prepared_xacts p WHERE p.database = current_database()) o
     WHERE o.began IS NOT NULL
     ORDER BY o.began LIMIT 1;
    RETURN QUERY SELECT f.* FROM vqueue._finding('snapshot',
        coalesce(seen.age, 0) < extract(epoch FROM current_setting('vqueue.old_snapshot')::interval), 'warn',
        round(coalesce(seen.age, 0)) || ' s',
        format('%s has a transaction that began at %s: no row that died since then can be removed.', seen.who, seen.began),
        'End it, or set idle_in_transaction_session_timeout; vqueue.old_snapshot says from which age on this warns.') f;

    IF NOT standby THEN
        SELECT t.n_dead_tup AS dead, t.n_live_tup AS live INTO seen
          FROM pg_stat_all_tables t WHERE t.relid = 'vqueue.user_sessions'::regclass;
        RETURN QUERY SELECT f.* FROM vqueue._finding('dead_rows', coalesce(seen.dead <= greatest(seen.live, 50000), true), 'warn',
            coalesce(seen.dead, 0)::text,
            'The table user_sessions has more dead rows than live ones: it takes more space than it needs.',
            'See the check "snapshot", and whether autovacuum is on and keeps up; VACUUM vqueue.user_sessions does it now.') f;

        RETURN QUERY SELECT f.* FROM vqueue._finding('notifications', pg_notification_queue_usage() < 0.01,
            CASE WHEN pg_notification_queue_usage() < 0.5 THEN 'warn' ELSE 'fail' END,
            round((100 * pg_notification_queue_usage())::numeric, 2) || '% full',
            'A listener does not read: the queue of notifications grows, and when it is full nobody is let in any more.',
            'Look for a session that has done LISTEN and is in a long transaction, and end it.') f;

        SELECT k.name, min(k.made_at) AS made_at INTO seen FROM vqueue.secrets k GROUP BY k.name ORDER BY 2 LIMIT 1;
        RETURN QUERY SELECT f.* FROM vqueue._finding('keys', coalesce(seen.made_at > now() - interval '2 years', false), 'warn',
            coalesce(date_trunc('day', now() - seen.made_at)::text, 'none'),
            coalesce(format('The key "%s" is from %s.', seen.name, seen.made_at::date),
                     'There is no key: ids of sessions do not carry their tickets, and are looked up by an index.'),
            'Replace it in vqueue.secrets, in one transaction: sessions with an id of the old one are found more slowly, but are found.') f;
    END IF;

    IF standby THEN
        RETURN QUERY SELECT f.* FROM vqueue._finding('replication',
            NOT pg_is_wal_replay_paused() AND coalesce(vqueue._replay_delay() < 30, true), 'warn',
            coalesce(round(vqueue._replay_delay()::numeric, 1) || ' s behind', 'not streaming'),
            CASE WHEN pg_is_wal_replay_paused() THEN 'Replay is paused: what is shown here gets older.'
                 ELSE 'This standby is far behind.' END,
            CASE WHEN pg_is_wal_replay_paused() THEN 'Call pg_wal_replay_resume().'
                 ELSE 'See pg_stat_wal_receiver here and pg_stat_replication on the primary.' END) f;
    ELSE
        SELECT (SELECT count(*) FROM pg_stat_replication) AS standbys, vqueue._replay_delay() AS delay,
               (SELECT string_agg(s.slot_name, ', ') FROM pg_replication_slots s WHERE NOT s.active) AS idle INTO seen;
        RETURN QUERY SELECT f.* FROM vqueue._finding('replication', seen.idle IS NULL AND coalesce(seen.delay < 30, true), 'warn',
            format('%s connected, %s s behind', seen.standbys, coalesce(round(seen.delay::numeric, 1), 0)),
            CASE WHEN seen.idle IS NOT NULL
                 THEN format('Nobody reads the replication slots %s: they keep WAL until the disk is full.', seen.idle)
                 ELSE 'A standby is far behind.' END,
            CASE WHEN seen.idle IS NOT NULL THEN 'Start who should read them, or drop them by pg_drop_replication_slot().'
                 ELSE 'See pg_stat_replication.' END) f;
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._server_health() IS 'internal: the checks of health that look further than at processes, memory and failures';

CREATE FUNCTION vqueue.health(OUT "check" text, OUT status text, OUT value text, OUT detail text, OUT hint text)
    RETURNS SETOF record
    LANGUAGE sql VOLATILE ROWS 15 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'role', 'ok', CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END,
           CASE WHEN pg_is_in_recovery() THEN 'Positions are read from the tables; nobody is let in here.' END, NULL
    UNION ALL
    SELECT 'launcher', CASE WHEN w.launcher_pid IS NULL THEN 'fail' ELSE 'ok' END, w.launcher_pid::text,
           CASE WHEN w.launcher_pid IS NULL THEN 'The vqueue launcher does not run.' END,
           CASE WHEN w.launcher_pid IS NULL THEN 'Raise max_worker_processes and restart the server.' END
      FROM vqueue._worker() w WHERE NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'worker', CASE WHEN w.pid IS NULL OR b.pid IS NOT NULL THEN 'fail' ELSE 'ok' END, w.pid::text,
           CASE WHEN w.refused THEN 'The server had no free worker slot for this database.'
                WHEN w.pid IS NULL THEN 'No vqueue worker runs in this database, so nobody is let in.'
                WHEN b.pid IS NOT NULL
                THEN format('Process %s has locked the table %s, so nobody is let in.', b.pid, b.relation::regclass) END,
           CASE WHEN w.refused THEN 'Raise max_worker_processes and restart the server.'
                WHEN w.pid IS NULL THEN 'The launcher starts one within seconds; see the server log if it does not.'
                WHEN b.pid IS NOT NULL
                THEN format('Have it end its transaction, or end it by pg_terminate_backend(%s).', b.pid) END
      FROM vqueue._worker() w
      LEFT JOIN (SELECT l.pid, l.relation
                   FROM pg_locks l
                   JOIN pg_stat_activity a ON a.pid = l.pid
                  WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
                    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                    AND (l.relation IN ('vqueue.user_sessions'::regclass, 'vqueue.ticket_ceilings'::regclass,
                                        'vqueue.events'::regclass, 'vqueue.event_marks'::regclass,
                                        'vqueue.event_log'::regclass, 'vqueue.queue_stats'::regclass)
                         AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
                         OR l.relation IN ('vqueue.user_sessions'::regclass, 'vqueue.ticket_ceilings'::regclass,
                                           'vqueue.events'::regclass, 'vqueue.event_marks'::regclass, 'vqueue.event_log'::regclass,
                                           'vqueue.queue_stats'::regclass, 'vqueue.queues'::regclass, 'vqueue.tenants'::regclass)
                         AND l.mode = 'AccessExclusiveLock')
                    AND a.xact_start < clock_timestamp() - interval '1 s'
                  ORDER BY a.xact_start LIMIT 1) b ON true
     WHERE NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'line', CASE w.line WHEN 'ready' THEN 'ok' ELSE 'warn' END, w.line,
           CASE w.line WHEN 'ready' THEN NULL ELSE 'Memory is not built yet from the tables.' END,
           CASE w.line WHEN 'ready' THEN NULL ELSE 'It is built on first use; call vqueue.rebuild() to have it now.' END
      FROM vqueue._worker() w WHERE NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'memory', CASE WHEN m.used > 0.9 * m.memory_limit THEN 'fail' WHEN m.used > 0.7 * m.memory_limit THEN 'warn' ELSE 'ok' END,
           format('%s of %s', pg_size_pretty(m.used), pg_size_pretty(m.memory_limit)),
           CASE WHEN m.used > 0.7 * m.memory_limit THEN 'Joins fail when the limit is reached.' END,
           CASE WHEN m.used > 0.7 * m.memory_limit THEN 'Raise vqueue.memory_limit and reload the configuration.' END
      FROM vqueue.memory() m
    UNION ALL
    SELECT 'queues', CASE WHEN count(*) FILTER (WHERE c.failures > 0) > 0 THEN 'fail' ELSE 'ok' END,
           format('%s backed off', count(*) FILTER (WHERE c.failures > 0)),
           max(c.last_error) FILTER (WHERE c.failures > 0),
           CASE WHEN count(*) FILTER (WHERE c.failures > 0) > 0
                THEN 'See last_error in vqueue.overview; the worker tries again by itself.' END
      FROM vqueue._counters() c
    UNION ALL
    SELECT h.* FROM vqueue._server_health() h
$$;
COMMENT ON FUNCTION vqueue.health() IS
    'one row a check: status is ok, warn or fail; hint says how to mend what is not ok';

/* -------------------------------------------------------------- preflight */

CREATE FUNCTION vqueue._setting(name text) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN current_setting(name, true);
EXCEPTION WHEN insufficient_privilege THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION vqueue._setting(text) IS 'internal: value of a setting of the server, null if the caller may not see it';

CREATE FUNCTION vqueue._hba_lines() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT count(*) FROM pg_hba_file_rules r
             WHERE r.error IS NOT NULL
                OR r.type <> 'local' AND r.auth_method IN ('trust', 'password')
                   AND r.address IS DISTINCT FROM '127.0.0.1' AND r.address IS DISTINCT FROM '::1'
                   AND r.address IS DISTINCT FROM 'localhost' AND r.address IS DISTINCT FROM 'samehost');
EXCEPTION WHEN insufficient_privilege THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION vqueue._hba_lines() IS
    'internal: how many lines of pg_hba.conf are wrong, or let others in over the network without a password or with one in the clear; null if the caller may not see it';

CREATE FUNCTION vqueue.preflight(OUT "check" text, OUT status text, OUT value text, OUT detail text, OUT hint text)
    RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE ROWS 20 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    libraries constant text := vqueue._setting('shared_preload_libraries');
    loaded constant bool := 'vqueue' = ANY (string_to_array(translate(libraries, ' "', ''), ','));
    slots constant int := current_setting('max_worker_processes')::int;
    listens constant text := current_setting('listen_addresses');
    reached constant bool := EXISTS (SELECT FROM unnest(string_to_array(replace(listens, ' ', ''), ',')) a
                                      WHERE a NOT IN ('localhost', '127.0.0.1', '::1'));
    seen record;
BEGIN
    RETURN QUERY SELECT f.* FROM vqueue._finding('preload', loaded, 'fail', libraries,
        CASE WHEN loaded IS NULL THEN 'Only a superuser or a member of pg_monitor may see it.'
             ELSE 'The server has not loaded the library, so no function that moves or counts people works.' END,
        'Add vqueue to shared_preload_libraries in postgresql.conf and restart the server.') f;

    /* C functions are called only where the library is there: elsewhere to name one is an error. */
    IF loaded THEN
        SELECT vqueue._library_version() AS library, e.extversion AS tables INTO seen
          FROM pg_extension e WHERE e.extname = 'vqueue';
        RETURN QUERY SELECT f.* FROM vqueue._finding('version', seen.library = seen.tables, 'fail',
            format('library %s, tables and functions %s', seen.library, seen.tables),
            'Library and database are of different versions.',
            'Run ALTER EXTENSION vqueue UPDATE; or, if the library is the older one, install the new one and restart the server.') f;

        SELECT m.databases + 2 + (current_setting('max_logical_replication_workers')::int > 0)::int AS needed,
               coalesce(w.refused, false) AS refused INTO seen
          FROM vqueue.memory() m, vqueue._worker() w;
        RETURN QUERY SELECT f.* FROM vqueue._finding('worker_slots', slots >= seen.needed AND NOT seen.refused, 'fail',
            format('%s, needed %s', slots, seen.needed),
            'The launcher, a worker for each database with vqueue, one that looks for new databases, and that of logical replication need slots; parallel queries take theirs from the same.',
            'Raise max_worker_processes and restart the server.') f;

        SELECT count(*) FILTER (WHERE h.status <> 'ok') AS bad, bool_or(h.status = 'fail') AS failed,
               string_agg(h."check", ', ') FILTER (WHERE h.status <> 'ok') AS names INTO seen FROM vqueue.health() h;
        RETURN QUERY SELECT f.* FROM vqueue._finding('health', seen.bad = 0, CASE WHEN seen.failed THEN 'fail' ELSE 'warn' END,
            format('%s not ok', seen.bad), format('Not ok: %s.', seen.names), 'See vqueue.health().') f;

        RETURN QUERY SELECT f.* FROM vqueue._finding('shared_memory', NULL, NULL,
            format('limit %s, by %s', current_setting('vqueue.memory_limit'), current_setting('dynamic_shared_memory_type')),
            'SQL does not see how much of it the system has left.',
            'Look with df -h /dev/shm: it must have room for vqueue.memory_limit; a container starts with 64 MB (--shm-size).') f;
    ELSE
        RETURN QUERY SELECT f.* FROM unnest('{version,worker_slots,health,shared_memory}'::text[]) AS n,
            vqueue._finding(n, NULL, NULL, NULL, 'It takes the loaded library, and the right to see that it is.', 'See the check "preload".') f;
    END IF;

    SELECT current_setting('autovacuum') = 'on' AND current_setting('track_counts') = 'on' AS "on",
           (SELECT string_agg(c.relname, ', ') FROM pg_class c
             WHERE c.relnamespace = 'vqueue'::regnamespace
               AND EXISTS (SELECT FROM unnest(c.reloptions) o WHERE o ~* '^autovacuum_enabled=(f|false|off|no|0)$')) AS without INTO seen;
    RETURN QUERY SELECT f.* FROM vqueue._finding('autovacuum', seen."on" AND seen.without IS NULL, 'fail',
        CASE WHEN NOT seen."on" THEN 'off' ELSE coalesce('off for ' || seen.without, 'on') END,
        'Each session leaves dead rows behind, which nobody removes.',
        'Set autovacuum and track_counts to on, and ALTER TABLE ... RESET (autovacuum_enabled).') f;

    SELECT string_agg(name || ' = off', ', ') AS off INTO seen
      FROM unnest('{fsync,full_page_writes,synchronous_commit}'::text[]) name WHERE current_setting(name) = 'off';
    RETURN QUERY SELECT f.* FROM vqueue._finding('durability', seen.off IS NULL, 'fail', coalesce(seen.off, 'on'),
        'After a crash what was acknowledged may be missing, or the tables damaged.', 'Set these to on.') f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('checksums', current_setting('data_checksums') = 'on', 'warn',
        current_setting('data_checksums'), 'Damage done by the disk goes unnoticed.',
        'Stop the server and run pg_checksums --enable, or use initdb --data-checksums.') f;

    SELECT current_setting('archive_mode') AS mode, a.last_failed_wal AS failed,
           current_setting('archive_mode') <> 'off' AND current_setting('wal_level') <> 'minimal'
           AND coalesce(nullif(vqueue._setting('archive_library'), ''), nullif(vqueue._setting('archive_command'), ''), '(disabled)') <> '(disabled)' AS "on",
           coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) AS failing
      INTO seen FROM pg_stat_archiver a;
    RETURN QUERY SELECT f.* FROM vqueue._finding('wal_archiving', seen."on" AND NOT seen.failing, CASE WHEN seen.failing THEN 'fail' ELSE 'warn' END,
        CASE WHEN seen.failing THEN format('failing since %s', seen.failed) ELSE format('archive_mode = %s', seen.mode) END,
        CASE WHEN seen.failing THEN 'WAL piles up until the disk is full.'
             ELSE 'The server can be recovered to its last backup only, not to a moment.' END,
        CASE WHEN seen.failing THEN 'See the server log for what archive_command says.'
             ELSE 'Set archive_mode to on and archive_command or archive_library, or have a tool stream WAL, such as pg_receivewal.' END) f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('backups', NULL, NULL, NULL,
        'SQL does not see whether there are backups, nor whether they can be restored.',
        'Look at what your backup tool reports, and restore one now and then: SELECT * FROM vqueue.check() tells whether all is right there.') f;

    SELECT current_setting('synchronous_standby_names') AS names,
           (SELECT count(*) FROM pg_stat_replication r WHERE r.sync_state IN ('sync', 'quorum')) AS n INTO seen;
    RETURN QUERY SELECT f.* FROM vqueue._finding('synchronous_replication',
        CASE WHEN NOT pg_is_in_recovery() THEN seen.names <> '' AND seen.n > 0 END, CASE WHEN seen.names = '' THEN 'warn' ELSE 'fail' END,
        format('%s connected', seen.n),
        CASE WHEN pg_is_in_recovery() THEN 'This is a standby; only the primary knows.'
             WHEN seen.names = '' THEN 'If this server is lost, so is what was acknowledged last, and those tickets may be issued again.'
             ELSE 'No synchronous standby is connected: whoever commits waits for it.' END,
        CASE WHEN pg_is_in_recovery() THEN 'Call vqueue.preflight() there.'
             WHEN seen.names = '' THEN 'Set up a standby and name it in synchronous_standby_names.'
             ELSE 'See why the standby does not connect, or take it out of synchronous_standby_names.' END) f;

    SELECT count(*) AS n INTO seen FROM pg_stat_ssl s JOIN pg_stat_activity a ON a.pid = s.pid
     WHERE NOT s.ssl AND NOT (a.client_addr <<= '127.0.0.0/8' OR a.client_addr = '::1');
    RETURN QUERY SELECT f.* FROM vqueue._finding('tls', (current_setting('ssl') = 'on' OR NOT reached) AND seen.n = 0, 'fail',
        format('ssl = %s, %s connections without', current_setting('ssl'), seen.n),
        'Names, ids and passwords go over the network in the clear.',
        'Set ssl to on with ssl_cert_file and ssl_key_file, and use hostssl in pg_hba.conf.') f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('listen_addresses', listens !~ '(^|[ ,])(\*|0\.0\.0\.0|::)([ ,]|$)', 'warn', coalesce(nullif(listens, ''), 'Unix sockets only'),
        'The server listens on all addresses of the machine, also those that nobody needs.',
        'Set listen_addresses to the addresses that applications connect to, and restart the server.') f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('authentication', vqueue._hba_lines() = 0, 'fail',
        CASE WHEN vqueue._hba_lines() IS NOT NULL THEN format('%s lines', vqueue._hba_lines()) END,
        CASE WHEN vqueue._hba_lines() IS NULL THEN 'Only a superuser may see pg_hba.conf.'
             ELSE 'Lines of pg_hba.conf are wrong, or let in over the network whoever comes, or send passwords in the clear.' END,
        'See pg_hba_file_rules for the methods trust and password and for errors; use scram-sha-256.') f;

    SELECT string_agg(DISTINCT p.proname, ', ') AS names INTO seen
      FROM (SELECT p.proname, p.pronamespace, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl FROM pg_proc p
            UNION ALL
            SELECT c.relname, c.relnamespace, c.relacl FROM pg_class c) p, aclexplode(p.acl) a
     WHERE p.pronamespace = 'vqueue'::regnamespace AND a.grantee = 0;
    RETURN QUERY SELECT f.* FROM vqueue._finding('privileges', seen.names IS NULL, 'warn', coalesce(seen.names, 'none for PUBLIC'),
        'Every role of the database has rights in schema vqueue.',
        'REVOKE them from PUBLIC, and GRANT them to the roles that need them.') f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('idle_transactions', current_setting('idle_in_transaction_session_timeout') <> '0', 'warn',
        current_setting('idle_in_transaction_session_timeout'),
        'An application that forgets to commit keeps rows locked, and old rows from being removed, for ever.',
        'Set idle_in_transaction_session_timeout, for example to 1min, also by ALTER ROLE for the application alone.') f;

    /* A pooler passes on a client's application_name by SET; without one it comes as the connection is made. */
    SELECT a.source = 'session' AS lent, coalesce(t.source = 'session', false) AS tenant_set,
           EXISTS (SELECT FROM pg_listening_channels()) AS listens INTO seen
      FROM pg_settings a LEFT JOIN pg_settings t ON t.name = 'vqueue.tenant' WHERE a.name = 'application_name';
    RETURN QUERY SELECT f.* FROM vqueue._finding('pooler',
        CASE WHEN seen.lent AND (seen.tenant_set OR seen.listens) THEN false END, 'warn',
        CASE WHEN seen.lent THEN 'this call seems to come through one' ELSE 'this call does not seem to come through one' END,
        CASE WHEN seen.lent AND seen.listens THEN 'Somebody has used LISTEN through it: the events reach whoever has the connection, or nobody.'
             WHEN seen.lent AND seen.tenant_set THEN 'The connection that it lent for this call has a vqueue.tenant by SET; unless connect_query did that, the next to get it has the same.'
             ELSE 'SQL does not see through what others connect, nor in which mode.' END,
        CASE WHEN seen.lent AND seen.listens THEN 'LISTEN on a direct connection, or use events_since; then RECONNECT on the console of PgBouncer.'
             WHEN seen.lent AND seen.tenant_set THEN 'Use SET LOCAL in each transaction, or ALTER ROLE ... SET vqueue.tenant; then RECONNECT on the console of PgBouncer.'
             ELSE 'Look at pool_mode (PgBouncer): with transaction all works but LISTEN, which needs a direct connection, and SET vqueue.tenant, for which there are SET LOCAL and ALTER ROLE ... SET.' END) f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('disk', NULL, NULL, format('database %s', pg_size_pretty(pg_database_size(current_database()))),
        'SQL does not see how much room there is.',
        'Look with df -h at the data directory, pg_wal and the tablespaces, and watch it: a full disk stops everything.') f;

    RETURN QUERY SELECT f.* FROM vqueue._finding('clock', NULL, NULL, clock_timestamp()::text,
        'SQL does not see whether it is right, and kept so.',
        'Look with timedatectl or chronyc tracking, on all servers; times of sessions and opening times go by it.') f;
END
$$;
COMMENT ON FUNCTION vqueue.preflight() IS
    'the checklist of a deployment, one row a check: status is ok, warn, fail, or unknown for what SQL does not see; hint says '
    'how to mend it, or how to look. Works also where the library is not loaded';

/* ---------------------------------------------------------------- metrics */

CREATE VIEW vqueue._watched WITH (security_barrier) AS
    SELECT q.id, jsonb_build_object('tenant', t.name, 'queue', q.name) AS labels,
           q.max_concurrent_users AS cap, q.release_rate_per_minute AS rate
      FROM vqueue.queues q
      JOIN vqueue.tenants t ON t.id = q.tenant_id
     WHERE CASE WHEN pg_has_role('pg_monitor', 'USAGE') THEN true ELSE q.tenant_id = vqueue._tenant('monitor') END;
COMMENT ON VIEW vqueue._watched IS
    'internal: queues with what metrics calls them: those of the current tenant, or for members of pg_monitor of all tenants';

CREATE VIEW vqueue.metrics WITH (security_barrier) AS
    SELECT m.name, m.type, m.help, q.labels, m.value
      FROM vqueue._watched q
      JOIN vqueue._counters() c ON c.queue_id = q.id
      CROSS JOIN LATERAL (VALUES
          ('vqueue_waiting', 'gauge', 'Sessions that wait.', c.waiting::float8),
          ('vqueue_serving', 'gauge', 'Sessions that hold a slot.', c.serving),
          ('vqueue_max_concurrent_users', 'gauge', 'The cap: how many may hold a slot.', q.cap),
          ('vqueue_release_rate_per_second', 'gauge', 'The rate: releases a second, at the most.', q.rate / 60.0::float8),
          ('vqueue_tickets_issued_total', 'counter', 'Tickets issued since the queue was made, those of joins rolled back included.',
           CASE WHEN c.released IS NOT NULL THEN c.last_ticket END),
          ('vqueue_estimated_wait_seconds', 'gauge', 'What a newcomer is told to expect.', extract(epoch FROM c.estimated_wait)::float8),
          ('vqueue_estimate_error_ratio', 'gauge', 'Median of how far estimates of waits of 5 s or more were off lately, as a share of the wait.', c.estimate_error),
          ('vqueue_release_failures', 'gauge', 'How often in a row the release step has failed.', CASE WHEN c.released IS NOT NULL THEN c.failures END)
      ) AS m (name, type, help, value)
     WHERE m.value IS NOT NULL
    UNION ALL
    SELECT m.name, m.type, m.help, q.labels || m.more, m.value
      FROM vqueue._watched q
      JOIN vqueue._figures() f ON f.queue_id = q.id
      CROSS JOIN LATERAL (
          VALUES
          ('vqueue_released_total', 'counter', 'Sessions let in.', '{}'::jsonb, f.released::float8),
          ('vqueue_release_lag_seconds', 'gauge', 'For how long somebody could have been let in, and nobody was.', '{}', f.release_lag),
          ('vqueue_wait_seconds_sum', 'histogram', 'How long those let in have waited.', '{}', f.waited_seconds),
          ('vqueue_wait_seconds_count', 'histogram', 'How long those let in have waited.', '{}', f.waited[array_upper(f.waited, 1)])
          UNION ALL
          SELECT 'vqueue_wait_seconds_bucket', 'histogram', 'How long those let in have waited.',
                 jsonb_build_object('le', coalesce((vqueue._wait_bounds())[n]::text, '+Inf')), f.waited[n]
            FROM generate_subscripts(f.waited, 1) n
          UNION ALL
          SELECT 'vqueue_ended_total', 'counter', 'Sessions that have ended, by their status.', jsonb_build_object('status', e.status), e.n
            FROM ROWS FROM (unnest('{completed,expired,left,abandoned,no_show,removed}'::text[]), unnest(f.ended)) AS e (status, n)
      ) AS m (name, type, help, more, value)
    UNION ALL
    SELECT m.name, m.type, m.help, '{}', m.value
      FROM vqueue._worker() w
      CROSS JOIN LATERAL (VALUES
          ('vqueue_worker_up', 'gauge', 'Whether the worker of this database runs.', (w.pid IS NOT NULL AND w.launcher_pid IS NOT NULL)::int::float8),
          ('vqueue_worker_round_age_seconds', 'gauge', 'Time since the worker''s last round, which comes every 10 seconds at the least.', w.round_age),
          ('vqueue_worker_round_seconds_sum', 'summary', 'How long the worker''s rounds have taken.', w.round_seconds),
          ('vqueue_worker_round_seconds_count', 'summary', 'How long the worker''s rounds have taken.', w.rounds)
      ) AS m (name, type, help, value)
     WHERE NOT pg_is_in_recovery() AND m.value IS NOT NULL
    UNION ALL
    SELECT m.name, 'gauge', m.help, '{}', m.value
      FROM vqueue.memory() s
      CROSS JOIN LATERAL (VALUES
          ('vqueue_memory_bytes', 'Shared memory of the lines of all databases.', s.used::float8),
          ('vqueue_memory_limit_bytes', 'The setting vqueue.memory_limit.', s.memory_limit)
      ) AS m (name, help, value)
    UNION ALL
    SELECT 'vqueue_sample_sessions', 'gauge', 'Sessions held against their rows, at random, for this answer: all, 1 if one differs, and those overdue.',
           jsonb_build_object('result', m.result), m.value
      FROM vqueue._sample() s
      CROSS JOIN LATERAL (VALUES ('looked_at', s.looked::float8), ('differing', s.differing), ('late', s.late)) AS m (result, value)
     WHERE NOT pg_is_in_recovery()
    UNION ALL
    SELECT 'vqueue_replication_lag_seconds', 'gauge', 'By how much this standby is behind, or the slowest one of this primary.', '{}', d
      FROM vqueue._replay_delay() d WHERE d IS NOT NULL
    UNION ALL
    SELECT 'vqueue_in_recovery', 'gauge', 'Whether this is a standby.', '{}', pg_is_in_recovery()::int
    UNION ALL
    SELECT 'vqueue_notification_queue_ratio', 'gauge', 'How full the queue of notifications is, from 0 to 1.', '{}', pg_notification_queue_usage()
     WHERE NOT pg_is_in_recovery();
COMMENT ON VIEW vqueue.metrics IS
    'figures by the conventions of Prometheus, one a line: of the queues of the current tenant, or for members of pg_monitor of '
    'all tenants, and of the server. Counters and histograms begin at 0 with the server';

/* ---------------------------------------------------- taking rooms over */

/*
 * import_sessions looks at a copy of the other system's tables, in temporary
 * tables vqueue_import_*: each row of them gets an action (import, skip or
 * refuse), for the last two a reason, and a list of what is changed on the way.
 * The report counts these; only what is to be imported is written.
 */
CREATE FUNCTION vqueue._import_column(source regclass, name text, wanted regtype) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    found pg_type;
BEGIN
    SELECT t.* INTO found FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
     WHERE a.attrelid = source AND a.attname = name AND a.attnum > 0 AND NOT a.attisdropped;
    WHILE found.typtype = 'd' LOOP
        SELECT t.* INTO found FROM pg_type t WHERE t.oid = found.typbasetype;
    END LOOP;
    RETURN CASE
        WHEN found.oid IS NULL THEN NULL
        WHEN wanted = 'text'::regtype OR found.oid = wanted THEN format('%I::%s', name, wanted)
        WHEN wanted = 'uuid'::regtype AND found.typcategory = 'S'
        THEN format($c$CASE WHEN btrim(%1$I::text) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN btrim(%1$I::text)::uuid END$c$, name)
        WHEN wanted = 'numeric'::regtype AND found.oid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype,
                                                           'float4'::regtype, 'float8'::regtype)
          OR wanted = 'timestamptz'::regtype AND found.oid IN ('timestamp'::regtype, 'date'::regtype)
        THEN format('%I::%s', name, wanted)
    END;
END
$$;
COMMENT ON FUNCTION vqueue._import_column(regclass, text, regtype) IS
    'internal: an expression that reads a column as a type; null if there is no such column, or it cannot be read so';

CREATE FUNCTION vqueue._import_detail(what text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE what
        WHEN 'already here' THEN 'A row with this id is here; it stays as it is.'
        WHEN 'no id' THEN 'Without an id, or with one that is no uuid, a row cannot be told from others.'
        WHEN 'id twice' THEN 'The first row with the id is the one that counts.'
        WHEN 'no name' THEN 'Give it a name of 1 to 200 bytes.'
        WHEN 'name too long' THEN 'Give it a name of 1 to 200 bytes.'
        WHEN 'control characters in the name' THEN 'Give it a name without them.'
        WHEN 'name like an id' THEN 'A queue may not be called like a uuid; give it another name.'
        WHEN 'tenant of this name is here' THEN 'Its queues go to that one, whose id and domain stay.'
        WHEN 'name twice' THEN 'Another one comes first, by created_at and id; give this one another name.'
        WHEN 'name taken' THEN 'Its tenant has another queue of this name here; give this one another name.'
        WHEN 'unknown tenant' THEN 'There is no such tenant, or it could not be taken over.'
        WHEN 'no tenant' THEN 'It goes to the current tenant.'
        WHEN 'domain too long' THEN 'It is left out, as it has more than 253 bytes.'
        WHEN 'description too long' THEN 'It is cut, as it has more than 10000 bytes.'
        WHEN 'rate out of range' THEN 'It becomes the nearest of 1 to 10000000 a minute; below 1 the queue is paused.'
        WHEN 'cap out of range' THEN 'It becomes the nearest of 1 to 100000000; below 1 the queue is paused.'
        WHEN 'unknown queue' THEN 'There is no such queue, or it could not be taken over.'
        WHEN 'second live session' THEN 'The user has one further ahead in the same queue.'
        WHEN 'live session here' THEN 'The user has joined this queue here.'
        WHEN 'no user' THEN 'The id of the session becomes that of the user.'
        WHEN 'expired while waiting' THEN 'It becomes abandoned, as expired is who was inside.'
        WHEN 'unknown priority' THEN 'It becomes normal.'
        WHEN 'user_name too long' THEN 'It is cut, as it has more than 1000 bytes.'
        WHEN 'user_email too long' THEN 'It is left out, as it has more than 1000 bytes.'
        WHEN 'times that do not fit' THEN
            'Those that are missing, infinite, in the future or against the status become the nearest that fit.'
        WHEN 'no position' THEN 'They stand behind those who have one, by joined_at.'
        WHEN 'position twice' THEN 'They stand in the order of joined_at.'
        WHEN 'more inside than the cap' THEN 'They keep their slots, and nobody is let in until enough have gone.'
        WHEN 'joined meanwhile' THEN 'The user has joined this queue here while the import ran.'
        ELSE CASE WHEN what LIKE 'unknown status %' THEN
            'Known are waiting, ready, serving, completed, left, abandoned, no_show, expired and removed.' END
    END
$$;
COMMENT ON FUNCTION vqueue._import_detail(text) IS 'internal: what is done about something in the report of an import, and what can be';

CREATE FUNCTION vqueue._import_report("table" text, action text, what text, count bigint, example text, detail text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO pg_temp.vqueue_import_report ("table", action, what, count, example, detail)
    VALUES ("table", action, what, count, example, detail);
END
$$;
COMMENT ON FUNCTION vqueue._import_report(text, text, text, bigint, text, text) IS 'internal: one more row for the report of an import';

CREATE FUNCTION vqueue._import_copy(schema text, "table" text, columns text[], types regtype[], required int) RETURNS bool
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    source regclass := (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = schema AND c.relname = "table" AND c.relkind IN ('r', 'p', 'v', 'm', 'f'));
    expressions text[] := ARRAY[]::text[];
    expression text;
    rows bigint;
    complete bool := true;
BEGIN
    EXECUTE format($c$CREATE TEMP TABLE vqueue_import_%s (n bigint GENERATED ALWAYS AS IDENTITY, %s, action text, what text,
                      changes text[] NOT NULL DEFAULT '{}') ON COMMIT DROP$c$, "table",
                   (SELECT string_agg(format('%I %s', c, t), ', ') FROM unnest(columns, types) AS u (c, t)));
    IF source IS NULL THEN
        PERFORM vqueue._import_report("table", 'note', 'no such table', 0, NULL, format('Schema "%s" has none.', schema));
        RETURN false;
    END IF;
    EXECUTE format('SELECT count(*) FROM %s', source) INTO rows;
    FOR i IN 1 .. cardinality(columns) LOOP
        expression := vqueue._import_column(source, columns[i], types[i]);
        expressions := expressions || coalesce(expression, format('NULL::%s', types[i]));
        IF expression IS NULL THEN
            PERFORM vqueue._import_report("table", CASE WHEN i <= required THEN 'refuse' ELSE 'note' END,
                format('no column %s', columns[i]), rows, NULL,
                format('There is none of a type that can be read as %s%s', types[i],
                       CASE WHEN i <= required THEN ', so nothing of the table can be taken over.' ELSE '; the default is taken.' END));
            complete := complete AND i > required;
        END IF;
    END LOOP;
    IF complete THEN
        EXECUTE format('INSERT INTO pg_temp.vqueue_import_%s (%s) SELECT %s FROM %s', "table",
                       (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) AS c), array_to_string(expressions, ', '), source);
        EXECUTE format($c$
            UPDATE pg_temp.vqueue_import_%1$s t SET action = 'refuse', what = CASE WHEN t.id IS NULL THEN 'no id' ELSE 'id twice' END
              FROM (SELECT n, row_number() OVER (PARTITION BY id ORDER BY n) AS nth FROM pg_temp.vqueue_import_%1$s) AS c
             WHERE c.n = t.n AND (t.id IS NULL OR c.nth > 1)$c$, "table");
    END IF;
    RETURN complete;
END
$$;
COMMENT ON FUNCTION vqueue._import_copy(text, text, text[], regtype[], int) IS
    'internal: copies a table that is to be imported; false if it is not there, or lacks one of its first columns, those required';

CREATE FUNCTION vqueue._import_name(name text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN coalesce(name, '') = '' THEN 'no name'
        WHEN octet_length(name) > 200 THEN 'name too long'
        WHEN name ~ CASE WHEN getdatabaseencoding() ~ '^(WIN|KOI|SQL)' THEN '[\x01-\x1f\x7f]' ELSE '[[:cntrl:]]' END
        THEN 'control characters in the name'
    END
$$;
COMMENT ON FUNCTION vqueue._import_name(text) IS 'internal: what is wrong with the name of a tenant or queue; null if nothing is';

CREATE FUNCTION vqueue._import_time(at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT CASE WHEN isfinite(at) THEN least(at, now()) END $$;
COMMENT ON FUNCTION vqueue._import_time(timestamptz) IS 'internal: a moment that has been; null if it is infinite, now if it is to come';

/* Where a name is here already, but not from the same source, it is taken to mean the same tenant. */
CREATE FUNCTION vqueue._import_tenants() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ALTER TABLE pg_temp.vqueue_import_tenants ADD COLUMN target uuid;
    UPDATE pg_temp.vqueue_import_tenants t SET action = 'skip', what = 'already here', target = t.id
      FROM vqueue.tenants h WHERE t.action IS NULL AND h.id = t.id;
    UPDATE pg_temp.vqueue_import_tenants t SET action = 'refuse', what = vqueue._import_name(t.name)
     WHERE t.action IS NULL AND vqueue._import_name(t.name) IS NOT NULL;
    UPDATE pg_temp.vqueue_import_tenants t
       SET action = CASE WHEN c.nth > 1 OR c.is_from_source THEN 'refuse' WHEN c.here IS NOT NULL THEN 'skip' ELSE 'import' END,
           what = CASE WHEN c.nth > 1 OR c.is_from_source THEN 'name twice' WHEN c.here IS NOT NULL THEN 'tenant of this name is here' END,
           target = CASE WHEN c.nth = 1 AND NOT c.is_from_source THEN coalesce(c.here, t.id) END,
           changes = array_remove(ARRAY[CASE WHEN octet_length(t.domain) > 253 THEN 'domain too long' END,
                                        CASE WHEN (t.created_at > now() OR t.updated_at > now() OR NOT isfinite(t.created_at)
                                                   OR NOT isfinite(t.updated_at)) THEN 'times that do not fit' END], NULL)
      FROM (SELECT s.n, h.id AS here, EXISTS (SELECT FROM pg_temp.vqueue_import_tenants o WHERE o.id = h.id) AS is_from_source,
                   row_number() OVER (PARTITION BY s.name ORDER BY s.created_at, s.id) AS nth
              FROM pg_temp.vqueue_import_tenants s LEFT JOIN vqueue.tenants h ON h.name = s.name
             WHERE s.action IS NULL) AS c
     WHERE c.n = t.n;
END
$$;
COMMENT ON FUNCTION vqueue._import_tenants() IS 'internal: decides about each tenant of an import, and which tenant here it becomes';

CREATE FUNCTION vqueue._import_queues(has_tenants bool) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    ALTER TABLE pg_temp.vqueue_import_queues ADD COLUMN target uuid;
    UPDATE pg_temp.vqueue_import_queues q SET action = 'skip', what = 'already here'
      FROM vqueue.queues h WHERE q.action IS NULL AND h.id = q.id;
    UPDATE pg_temp.vqueue_import_queues q SET action = 'refuse', what = vqueue._import_name(q.name)
     WHERE q.action IS NULL AND vqueue._import_name(q.name) IS NOT NULL;
    UPDATE pg_temp.vqueue_import_queues q SET action = 'refuse', what = 'name like an id'
     WHERE q.action IS NULL AND q.name ~* '^\{?[0-9a-f]{4}-?([0-9a-f]{4}-?){6}[0-9a-f]{4}\}?$';
    UPDATE pg_temp.vqueue_import_queues q
       SET target = coalesce((SELECT t.target FROM pg_temp.vqueue_import_tenants t
                               WHERE t.id = q.tenant_id AND t.target IS NOT NULL),
                             (SELECT t.id FROM vqueue.tenants t WHERE t.id = q.tenant_id),
                             CASE WHEN q.tenant_id IS NULL OR NOT has_tenants THEN vqueue._tenant() END),
           changes = array_remove(ARRAY[
               CASE WHEN q.tenant_id IS NULL
                      OR NOT has_tenants AND NOT EXISTS (SELECT FROM vqueue.tenants t WHERE t.id = q.tenant_id) THEN 'no tenant' END,
               CASE WHEN octet_length(q.description) > 10000 THEN 'description too long' END,
               CASE WHEN q.release_rate_per_minute NOT BETWEEN 1 AND 10000000 THEN 'rate out of range' END,
               CASE WHEN q.max_concurrent_users NOT BETWEEN 1 AND 100000000 THEN 'cap out of range' END,
               CASE WHEN (q.created_at > now() OR q.updated_at > now() OR NOT isfinite(q.created_at)
                          OR NOT isfinite(q.updated_at)) THEN 'times that do not fit' END], NULL)
     WHERE q.action IS NULL;
    UPDATE pg_temp.vqueue_import_queues q
       SET action = CASE WHEN c.trouble IS NULL THEN 'import' ELSE 'refuse' END, what = c.trouble
      FROM (SELECT s.n, CASE WHEN s.target IS NULL THEN 'unknown tenant'
                             WHEN EXISTS (SELECT FROM vqueue.queues h WHERE h.tenant_id = s.target AND h.name = s.name) THEN 'name taken'
                             WHEN row_number() OVER (PARTITION BY s.target, s.name ORDER BY s.created_at, s.id) > 1
                             THEN 'name twice' END AS trouble
              FROM pg_temp.vqueue_import_queues s WHERE s.action IS NULL) AS c
     WHERE c.n = q.n;
END
$$;
COMMENT ON FUNCTION vqueue._import_queues(bool) IS 'internal: decides about each queue of an import; without a table of tenants those of unknown ones go to the current one';

/*
 * The other system's word for how a session stands counts, and its times follow:
 * what is against the status is dropped, what the status needs is filled in.
 * Of a user's live sessions one that an earlier import took over comes first.
 */
CREATE FUNCTION vqueue._import_user_sessions() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    ALTER TABLE pg_temp.vqueue_import_user_sessions
        ADD COLUMN state text, ADD COLUMN lane text, ADD COLUMN who uuid, ADD COLUMN joined timestamptz,
        ADD COLUMN ready timestamptz, ADD COLUMN served timestamptz, ADD COLUMN ended timestamptz;
    UPDATE pg_temp.vqueue_import_user_sessions s SET action = 'skip', what = 'already here'
      FROM vqueue.user_sessions h WHERE s.action IS NULL AND h.id = s.id;
    UPDATE pg_temp.vqueue_import_user_sessions s SET action = 'refuse', what = 'unknown queue'
     WHERE s.action IS NULL
       AND NOT EXISTS (SELECT FROM pg_temp.vqueue_import_queues q WHERE q.id = s.queue_id AND q.action = 'import')
       AND NOT EXISTS (SELECT FROM vqueue.queues q WHERE q.id = s.queue_id);
    UPDATE pg_temp.vqueue_import_user_sessions s
       SET who = coalesce(s.user_id, s.id),
           state = CASE WHEN c.state = 'expired' AND c.served_at IS NULL THEN 'abandoned' ELSE c.state END,
           lane = CASE WHEN c.lane IN ('low', 'high', 'vip') THEN c.lane ELSE 'normal' END,
           joined = coalesce(c.joined_at, c.served_at, c.left_at, now()),
           ready = CASE WHEN c.state = 'ready' THEN coalesce(c.served_at, c.joined_at, now()) END,
           served = CASE WHEN c.state IN ('waiting', 'ready') THEN NULL
                         WHEN c.state = 'serving' THEN coalesce(c.served_at, c.joined_at, now())
                         WHEN c.state = 'completed' THEN coalesce(c.served_at, c.left_at, c.joined_at, now())
                         ELSE c.served_at END,
           ended = CASE WHEN c.state NOT IN ('waiting', 'ready', 'serving')
                        THEN coalesce(c.left_at, c.served_at, c.joined_at, now()) END,
           action = CASE WHEN c.is_known OR s.action IS NOT NULL THEN s.action ELSE 'refuse' END,
           what = CASE WHEN c.is_known OR s.action IS NOT NULL THEN s.what ELSE format('unknown status "%s"', left(s.status, 40)) END
      FROM (SELECT n, w.state, w.state IN ('waiting', 'ready', 'serving', 'completed', 'left', 'abandoned', 'no_show', 'expired',
                                           'removed') AS is_known,
                   lower(btrim(priority)) AS lane, CASE WHEN isfinite(joined_at) THEN least(joined_at, now()) END AS joined_at,
                   CASE WHEN isfinite(served_at) THEN least(served_at, now()) END AS served_at,
                   CASE WHEN isfinite(left_at) THEN least(left_at, now()) END AS left_at
              FROM pg_temp.vqueue_import_user_sessions,
                   coalesce(lower(btrim(status)), CASE WHEN left_at IS NOT NULL THEN 'left' WHEN served_at IS NOT NULL
                                                       THEN 'serving' ELSE 'waiting' END) AS w (state)) AS c
     WHERE c.n = s.n AND s.action IS DISTINCT FROM 'refuse';
    UPDATE pg_temp.vqueue_import_user_sessions s SET action = 'refuse', what = 'live session here'
     WHERE s.action IS NULL AND s.ended IS NULL
       AND EXISTS (SELECT FROM vqueue.user_sessions h WHERE h.queue_id = s.queue_id AND h.user_id = s.who AND h.left_at IS NULL);
    UPDATE pg_temp.vqueue_import_user_sessions s
       SET action = CASE WHEN c.nth > 1 THEN 'refuse' ELSE 'import' END, what = CASE WHEN c.nth > 1 THEN 'second live session' END,
           changes = array_remove(ARRAY[
               CASE WHEN s.user_id IS NULL THEN 'no user' END,
               CASE WHEN lower(btrim(s.status)) = 'expired' AND s.state = 'abandoned' THEN 'expired while waiting' END,
               CASE WHEN lower(btrim(s.priority)) <> s.lane THEN 'unknown priority' END,
               CASE WHEN octet_length(s.user_name) > 1000 THEN 'user_name too long' END,
               CASE WHEN octet_length(s.user_email) > 1000 THEN 'user_email too long' END,
               CASE WHEN (s.joined, s.served, s.ended) IS DISTINCT FROM (s.joined_at, s.served_at, s.left_at)
                    THEN 'times that do not fit' END], NULL)
      FROM (SELECT n, CASE WHEN ended IS NULL
                           THEN row_number() OVER (PARTITION BY ended IS NULL, queue_id, who ORDER BY action, state = 'waiting',
                                                   position, joined_at, id) ELSE 1 END AS nth
              FROM pg_temp.vqueue_import_user_sessions WHERE action IS DISTINCT FROM 'refuse') AS c
     WHERE c.n = s.n AND s.action IS NULL;
END
$$;
COMMENT ON FUNCTION vqueue._import_user_sessions() IS 'internal: decides about each session of an import, and what its row becomes';

/* What changes nobody's row, but what whoever imports should know. */
CREATE FUNCTION vqueue._import_notes() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO pg_temp.vqueue_import_report ("table", action, what, count, example)
    SELECT 'user_sessions', 'note', w.what, count(*), min(w.id::text)
      FROM (SELECT id, CASE WHEN position IS NULL THEN 'no position'
                            WHEN count(*) OVER (PARTITION BY queue_id, position) > 1 THEN 'position twice' END AS what
              FROM pg_temp.vqueue_import_user_sessions WHERE action = 'import' AND state = 'waiting') AS w
     WHERE w.what IS NOT NULL GROUP BY w.what ORDER BY w.what;
    INSERT INTO pg_temp.vqueue_import_report ("table", action, what, count, example)
    SELECT 'user_sessions', 'note', 'more inside than the cap', sum(i.inside - i.cap), min(i.queue_id::text)
      FROM (SELECT a.queue_id, count(*) AS inside,
                   coalesce((SELECT h.max_concurrent_users FROM vqueue.queues h WHERE h.id = a.queue_id),
                            (SELECT vqueue._import_clamp(q.max_concurrent_users, 100, 100000000)
                               FROM pg_temp.vqueue_import_queues q WHERE q.id = a.queue_id AND q.action = 'import')) AS cap
              FROM (SELECT queue_id FROM pg_temp.vqueue_import_user_sessions
                     WHERE action = 'import' AND state IN ('ready', 'serving')
                    UNION ALL
                    SELECT h.queue_id FROM vqueue.user_sessions h WHERE h.left_at IS NULL AND h.status <> 'waiting'
                       AND h.queue_id IN (SELECT queue_id FROM pg_temp.vqueue_import_user_sessions WHERE action = 'import')) AS a
             GROUP BY a.queue_id) AS i
     WHERE i.inside > i.cap HAVING count(*) > 0;
END
$$;
COMMENT ON FUNCTION vqueue._import_notes() IS 'internal: reports what is remarkable about the line, and about those inside, of an import';

CREATE FUNCTION vqueue._import_clamp(value numeric, missing int, highest int) RETURNS int
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT least(greatest(coalesce(value, missing), 1), highest)::int $$;
COMMENT ON FUNCTION vqueue._import_clamp(numeric, int, int) IS 'internal: the nearest number from 1 to the highest';

CREATE FUNCTION vqueue._import_write() RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missed bigint;
    example text;
BEGIN
    INSERT INTO vqueue.tenants (id, name, domain, created_at, updated_at)
    SELECT id, name, CASE WHEN octet_length(domain) <= 253 THEN domain END,
           coalesce(vqueue._import_time(created_at), now()), coalesce(vqueue._import_time(updated_at), now())
      FROM pg_temp.vqueue_import_tenants WHERE action = 'import';
    INSERT INTO vqueue.queues (id, tenant_id, name, description, max_concurrent_users, release_rate_per_minute, state,
                               created_at, updated_at)
    SELECT id, target, name, CASE WHEN octet_length(description) > 10000 THEN left(description, 2500) ELSE description END,
           vqueue._import_clamp(max_concurrent_users, 100, 100000000), vqueue._import_clamp(release_rate_per_minute, 10, 10000000),
           CASE WHEN NOT is_active THEN 'closed' WHEN max_concurrent_users < 1 OR release_rate_per_minute < 1 THEN 'paused' ELSE 'open' END,
           coalesce(vqueue._import_time(created_at), now()), coalesce(vqueue._import_time(updated_at), now())
      FROM pg_temp.vqueue_import_queues WHERE action = 'import';
    /* Tickets are issued in the order in which the rows come: those who have gone, those inside, and the line. */
    WITH written AS (
        INSERT INTO vqueue.user_sessions AS s (id, queue_id, user_id, joined_at, ready_at, served_at, left_at, status, priority,
                                               user_name, user_email)
        SELECT id, queue_id, who, joined, ready, served, ended, state, lane,
               CASE WHEN octet_length(user_name) > 1000 THEN left(user_name, 250) ELSE user_name END,
               CASE WHEN octet_length(user_email) <= 1000 THEN user_email END
          FROM pg_temp.vqueue_import_user_sessions WHERE action = 'import'
         ORDER BY queue_id, ended IS NULL, state = 'waiting', CASE WHEN state = 'waiting' THEN position END, joined_at, id
        ON CONFLICT DO NOTHING RETURNING s.id)
    SELECT count(*), min(i.id::text) INTO missed, example
      FROM pg_temp.vqueue_import_user_sessions i
     WHERE i.action = 'import' AND i.id NOT IN (SELECT w.id FROM written w);
    IF missed > 0 THEN
        UPDATE pg_temp.vqueue_import_report r SET count = r.count - missed WHERE r."table" = 'user_sessions' AND r.action = 'import';
        PERFORM vqueue._import_report('user_sessions', 'refuse', 'joined meanwhile', missed, example, NULL);
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._import_write() IS 'internal: writes what an import has decided to take over';

CREATE FUNCTION vqueue.import_sessions(schema text, dry_run bool = true, OUT "table" text, OUT action text, OUT what text,
                                       OUT count bigint, OUT example text, OUT detail text) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE ROWS 30 SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    name text;
    has_tenants bool;
BEGIN
    IF schema IS NULL OR dry_run IS NULL THEN
        PERFORM vqueue._refuse(format('%s must not be null', CASE WHEN schema IS NULL THEN 'schema' ELSE 'dry_run' END),
            'There is nothing that a null could stand for here.', 'Name the schema that has the tables to take over.',
            'null_value_not_allowed');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = import_sessions.schema) THEN
        PERFORM vqueue._refuse(format('schema "%s" does not exist', schema), 'There is none of this name in this database.',
            'Load the tables of the other system into a schema of this database, and name that.', 'invalid_schema_name');
    END IF;
    IF schema = 'vqueue' THEN
        PERFORM vqueue._refuse('schema "vqueue" cannot be imported', 'Its tables are those that an import goes to.',
            'Name the schema that has the tables to take over.');
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname = import_sessions.schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                      AND c.relname IN ('tenants', 'queues', 'user_sessions')) THEN
        PERFORM vqueue._refuse(format('schema "%s" has nothing to import', schema),
            'It has none of the tables tenants, queues and user_sessions.',
            'Name the schema that has them, or make views of these names over the tables that you have.', 'undefined_table');
    END IF;

    /* Memory may have to be built, which a transaction that has written cannot. */
    PERFORM FROM vqueue._counters();
    IF NOT dry_run THEN
        /* One import at a time, and names of tenants stay as they are. */
        LOCK TABLE vqueue.tenants IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    CREATE TEMP TABLE vqueue_import_report (n bigint GENERATED ALWAYS AS IDENTITY, "table" text, action text, what text,
                                            count bigint, example text, detail text) ON COMMIT DROP;
    has_tenants := vqueue._import_copy(schema, 'tenants', '{id,name,domain,created_at,updated_at}',
        '{uuid,text,text,timestamptz,timestamptz}', 2);
    PERFORM vqueue._import_tenants();
    PERFORM vqueue._import_copy(schema, 'queues',
        '{id,name,tenant_id,description,max_concurrent_users,release_rate_per_minute,is_active,created_at,updated_at}',
        '{uuid,text,uuid,text,numeric,numeric,bool,timestamptz,timestamptz}', 2);
    PERFORM vqueue._import_queues(has_tenants);
    PERFORM vqueue._import_copy(schema, 'user_sessions',
        '{id,queue_id,user_id,user_name,user_email,priority,position,status,joined_at,served_at,left_at}',
        '{uuid,uuid,uuid,text,text,text,numeric,text,timestamptz,timestamptz,timestamptz}', 2);
    ANALYZE pg_temp.vqueue_import_user_sessions;
    PERFORM vqueue._import_user_sessions();

    FOREACH name IN ARRAY ARRAY['tenants', 'queues', 'user_sessions'] LOOP
        EXECUTE format($c$
            INSERT INTO pg_temp.vqueue_import_report ("table", action, what, count, example)
            SELECT %1$L, action, coalesce(what, 'taken over'), count(*), (array_agg(id ORDER BY n))[1]::text
              FROM pg_temp.vqueue_import_%1$s GROUP BY action, what
             ORDER BY array_position('{import,skip,refuse}', action), what$c$, name);
        EXECUTE format($c$
            INSERT INTO pg_temp.vqueue_import_report ("table", action, what, count, example)
            SELECT %1$L, 'change', c, count(*), (array_agg(id ORDER BY n))[1]::text
              FROM pg_temp.vqueue_import_%1$s, unnest(changes) AS c WHERE action = 'import' GROUP BY c ORDER BY c$c$, name);
    END LOOP;
    PERFORM vqueue._import_notes();
    IF NOT dry_run THEN
        PERFORM vqueue._import_write();
        PERFORM vqueue._audit('import_sessions', NULL, schema,
                              (SELECT jsonb_object_agg(r."table", r.count) FROM pg_temp.vqueue_import_report r WHERE r.action = 'import'));
    END IF;
    RETURN QUERY SELECT r."table", r.action, r.what, r.count, r.example, coalesce(r.detail, vqueue._import_detail(r.what))
                   FROM pg_temp.vqueue_import_report r
                  ORDER BY array_position('{tenants,queues,user_sessions}', r."table"),
                           array_position('{import,change,note,skip,refuse}', r.action), r.n;
    DROP TABLE pg_temp.vqueue_import_report, pg_temp.vqueue_import_tenants, pg_temp.vqueue_import_queues,
               pg_temp.vqueue_import_user_sessions;
END
$$;
COMMENT ON FUNCTION vqueue.import_sessions(text, bool) IS
    'takes tenants, queues and sessions over from the tables tenants, queues and user_sessions of a schema, as another waiting room '
    'may have them: (id uuid, name, domain), (id uuid, tenant_id, name, description, max_concurrent_users, release_rate_per_minute, '
    'is_active) and (id uuid, queue_id, user_id, user_name, user_email, priority, position, status, joined_at, served_at, left_at). '
    'Keeps ids, and the order of the line by position, joined_at and id. Reports, by table, what it takes over (import) and with which '
    'changes (change), what is remarkable (note), what is here already (skip) and what it cannot take over (refuse), each with a '
    'count and the id of an example. Writes nothing unless dry_run is false. Again imports only what is not here yet. '
    'Errors: 3F000 no such schema; 42P01 none of the tables in it; 22023 schema vqueue itself; 22004 a null';

/* --------------------------------------------------------------- pg_cron */

/*
 * Jobs live in pg_cron's own table, so that all that is known of jobs works for
 * them.  Their names say what they are: vqueue_KIND_ID_HASH, with the id of the
 * queue or tenant, which outlives its name; the hash tells schedules apart.
 * All statements that name pg_cron's objects are dynamic, as it need not be there.
 */
CREATE FUNCTION vqueue._has_cron() RETURNS bool
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') $$;
COMMENT ON FUNCTION vqueue._has_cron() IS 'internal: whether jobs can be scheduled in this database';

CREATE FUNCTION vqueue._refuse_cron(job text, schedule text, command text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    /* Not seen by those who may not read all settings, as if pg_cron were not loaded. */
    home text := (SELECT s.setting FROM pg_settings s WHERE s.name = 'cron.database_name');
    steps text := format('add pg_cron to shared_preload_libraries, set cron.database_name = %L, restart the server, and run '
                         'CREATE EXTENSION pg_cron in this database.', current_database());
BEGIN
    IF NOT EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_cron') THEN
        PERFORM vqueue._refuse('pg_cron is not installed', 'It is what runs scheduled jobs, and this server does not have it.',
            format('Install it (Debian: postgresql-%s-cron), ', current_setting('server_version_num')::int / 10000) || steps,
            'object_not_in_prerequisite_state');
    ELSIF home <> current_database() THEN
        PERFORM vqueue._refuse(format('pg_cron runs in database "%s"', home),
            'Its jobs are kept there, and cannot be reached from another database.',
            format('Schedule the job there: SELECT cron.schedule_in_database(%L, %L, %L, %L). Or have pg_cron here: set '
                   'cron.database_name = %L, restart the server, and run CREATE EXTENSION pg_cron.',
                   job, schedule, command, current_database(), current_database()), 'object_not_in_prerequisite_state');
    END IF;
    PERFORM vqueue._refuse('pg_cron is not set up in this database', 'It is what runs scheduled jobs.',
        CASE WHEN home IS NULL THEN 'As a superuser, ' || steps ELSE 'As a superuser, run CREATE EXTENSION pg_cron.' END,
        'object_not_in_prerequisite_state');
END
$$;
COMMENT ON FUNCTION vqueue._refuse_cron(text, text, text) IS 'internal: complains that a job cannot be scheduled here, and says how it could';

CREATE FUNCTION vqueue._schedule(kind text, id uuid, schedule text, command text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    name text := format('vqueue_%s_%s_%s', kind, id, left(encode(sha256(convert_to(schedule || command, 'UTF8')), 'hex'), 8));
    job bigint;
BEGIN
    IF NOT vqueue._has_cron() THEN
        PERFORM vqueue._refuse_cron(name, schedule, command);
    END IF;
    EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job USING name, schedule, command;
    PERFORM vqueue._audit('schedule', (SELECT q.id FROM vqueue.queues q WHERE q.id = id), job::text,
                          jsonb_build_object('kind', kind, 'schedule', schedule, 'command', command));
    RETURN job;
END
$$;
COMMENT ON FUNCTION vqueue._schedule(text, uuid, text, text) IS
    'internal: has pg_cron run a command; the same kind, id, schedule and command again are the same job';

CREATE FUNCTION vqueue._scheduled_state(queue_id uuid, state text) RETURNS bool
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    UPDATE vqueue.queues q SET state = state WHERE q.id = queue_id AND q.state <> state;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION vqueue._scheduled_state(uuid, text) IS
    'internal: what a job of schedule_state does; returns whether the queue was there and in another state';

CREATE FUNCTION vqueue._scheduled_purge(tenant_id uuid, queue_id uuid, older_than interval, max_rows int) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    tenant text := (SELECT t.name FROM vqueue.tenants t WHERE t.id = tenant_id);
BEGIN
    IF tenant IS NULL
       OR queue_id IS NOT NULL AND NOT EXISTS (SELECT FROM vqueue.queues q WHERE q.id = queue_id AND q.tenant_id = tenant_id) THEN
        RETURN 0;
    END IF;
    PERFORM set_config('vqueue.tenant', tenant, true);
    RETURN vqueue.purge(queue_id::text, older_than, max_rows);
END
$$;
COMMENT ON FUNCTION vqueue._scheduled_purge(uuid, uuid, interval, int) IS
    'internal: what a job of schedule_purge does; returns how many sessions it deleted, 0 where tenant or queue has gone';

CREATE FUNCTION vqueue.schedule_state(queue text, schedule text, state text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid;
BEGIN
    IF queue IS NULL OR schedule IS NULL OR state IS NULL THEN
        PERFORM vqueue._refuse(format('%s must not be null', CASE WHEN queue IS NULL THEN 'queue' WHEN schedule IS NULL THEN 'schedule'
                                                                  ELSE 'state' END),
            'There is nothing that a null could stand for here.', 'Give queue, schedule and state.', 'null_value_not_allowed');
    END IF;
    IF state NOT IN ('open', 'paused', 'draining', 'closed') THEN
        PERFORM vqueue._refuse(format('queue state "%s" is not known', state), 'A job puts a queue into one of its states.',
            'Use open, paused, draining or closed.');
    END IF;
    wanted := vqueue._queue(queue, 'operator');
    RETURN vqueue._schedule(state, wanted, schedule, format('SELECT vqueue._scheduled_state(%L, %L)', wanted, state));
END
$$;
COMMENT ON FUNCTION vqueue.schedule_state(text, text, text) IS
    'has pg_cron put a queue into a state (open, paused, draining, closed) again and again, by a schedule such as ''0 9 * * 1-5'', '
    'in the time zone of pg_cron. Returns the id of the job, the same for the same arguments. The job keeps to the queue when that '
    'is renamed, and goes with it when it is dropped. It runs with the rights of the caller. '
    'Errors: 55000 no pg_cron in this database; 42704 unknown queue; 22023 unknown state; 22004 a null; those of pg_cron for a bad schedule';

CREATE FUNCTION vqueue.schedule_purge(schedule text, older_than interval, queue text = NULL, max_rows int = NULL) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres
AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid := vqueue._tenant('operator');
    wanted uuid := CASE WHEN queue IS NOT NULL THEN vqueue._queue(queue, 'operator') END;
BEGIN
    IF schedule IS NULL OR older_than IS NULL THEN
        PERFORM vqueue._refuse(format('%s must not be null', CASE WHEN schedule IS NULL THEN 'schedule' ELSE 'older_than' END),
            'There is nothing that a null could stand for here.',
            'Give a schedule and an age; a queue with session_retention is purged without a schedule.', 'null_value_not_allowed');
    END IF;
    PERFORM vqueue._check_age('older_than', older_than, 'Give an age such as ''30 days''.');
    IF max_rows < 1 THEN
        PERFORM vqueue._refuse(format('max_rows %s is out of range', max_rows),
            'It bounds how many sessions are deleted, so it must be at least 1.', 'Leave it out to delete all that are old enough.');
    END IF;
    RETURN vqueue._schedule('purge', coalesce(wanted, tenant), schedule,
                            format('SELECT vqueue._scheduled_purge(%L, %L, %L, %L)', tenant, wanted, older_than, max_rows));
END
$$;
COMMENT ON FUNCTION vqueue.schedule_purge(text, interval, text, int) IS
    'has pg_cron call vqueue.purge() again and again, for one queue or for all of the current tenant, and at most max_rows sessions '
    'each time. Returns the id of the job, the same for the same arguments. The job goes with its queue. It runs with the rights of '
    'the caller. Errors: 55000 no pg_cron in this database; 42704 unknown queue; 22023 out of range; 22004 a null; those of pg_cron '
    'for a bad schedule';

CREATE FUNCTION vqueue._schedules(OUT job bigint, OUT queue text, OUT kind text, OUT schedule text, OUT active bool, OUT command text,
                                  OUT last_run timestamptz, OUT last_status text, OUT last_message text, OUT id uuid)
    RETURNS SETOF record
    LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT vqueue._has_cron() OR NOT has_schema_privilege('cron', 'USAGE') OR NOT has_table_privilege('cron.job', 'SELECT') THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format($q$
        WITH jobs AS (
            SELECT j.jobid, split_part(j.jobname::text, '_', 2) AS kind, j.schedule, j.active, j.command,
                   split_part(j.jobname::text, '_', 3)::uuid AS id
              FROM cron.job j
             WHERE j.database = current_database()
               AND j.jobname::text ~ '^vqueue_(open|paused|draining|closed|purge)_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9a-f]{8}$')
        SELECT j.jobid, q.name, j.kind, j.schedule, j.active, j.command, r.start_time, r.status, r.return_message, j.id
          FROM jobs j
          LEFT JOIN vqueue.queues q ON q.id = j.id
          LEFT JOIN vqueue.tenants t ON t.id = j.id
          LEFT JOIN (%s) AS r ON r.jobid = j.jobid
         WHERE coalesce(q.tenant_id, t.id, vqueue._tenant()) = vqueue._tenant()
         ORDER BY j.jobid$q$,
        CASE WHEN has_table_privilege('cron.job_run_details', 'SELECT')
             THEN 'SELECT DISTINCT ON (d.jobid) d.jobid, d.start_time, d.status, d.return_message FROM cron.job_run_details d
                    WHERE d.jobid IN (SELECT jobid FROM jobs) ORDER BY d.jobid, d.runid DESC'
             ELSE 'SELECT NULL::bigint, NULL::timestamptz, NULL, NULL WHERE false' END);
END
$$;
COMMENT ON FUNCTION vqueue._schedules() IS
    'internal: jobs that schedule_state and schedule_purge made, as far as pg_cron shows them to the caller; none without pg_cron';

CREATE VIEW vqueue.schedules WITH (security_barrier) AS
    SELECT s.queue, s.kind, s.schedule, s.job, s.active, s.last_run, s.last_status, s.last_message, s.command
      FROM vqueue._schedules() s;
COMMENT ON VIEW vqueue.schedules IS
    'jobs of schedule_state (kind is the state) and schedule_purge (kind purge) in the current tenant, that pg_cron shows to the '
    'caller, and how they ran last; queue is null for a purge of all queues, and where the queue has gone';

CREATE FUNCTION vqueue.unschedule(job bigint) RETURNS bool
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    done bool;
BEGIN
    IF job IS NULL THEN
        PERFORM vqueue._refuse('job must not be null', 'There is nothing that a null could stand for here.',
            'See vqueue.schedules for the jobs there are.', 'null_value_not_allowed');
    END IF;
    IF NOT EXISTS (SELECT FROM vqueue._schedules() s WHERE s.job = job) THEN
        RETURN false;
    END IF;
    EXECUTE 'SELECT cron.unschedule($1)' INTO done USING job;
    PERFORM vqueue._audit('unschedule', NULL, job::text, NULL);
    RETURN done;
END
$$;
COMMENT ON FUNCTION vqueue.unschedule(bigint) IS
    'takes a job of vqueue.schedules away; false if it is none of those, among them other jobs of pg_cron. Errors: 22004 null';

/* A job that may not be removed, or is not seen, as it is another role's, does nothing once its queue has gone. */
CREATE FUNCTION vqueue._unschedule_queue(queue_id uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    job bigint;
BEGIN
    FOR job IN SELECT s.job FROM vqueue._schedules() s WHERE s.id = queue_id LOOP
        BEGIN
            EXECUTE 'SELECT cron.unschedule($1)' USING job;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE USING MESSAGE = format('job %s of the queue stays, and does nothing from now on', job),
                DETAIL = 'It belongs to another role.', HINT = format('Have that role call vqueue.unschedule(%s).', job);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION vqueue._unschedule_queue(uuid) IS 'internal: takes the jobs of a queue away that is being dropped, as far as the caller may';

/* ------------------------------------------------------ tenants' quotas */

CREATE FUNCTION vqueue._admit_queue(tenant_id uuid) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_admit_queue';
COMMENT ON FUNCTION vqueue._admit_queue(uuid) IS
    'internal: complains if a tenant has as many queues as it may have; where it has a quota, other makers of its queues wait until '
    'the end of the transaction';

CREATE FUNCTION vqueue.alter_tenant(tenant text, max_queues int = NULL, max_waiting_sessions int = NULL, name text = NULL,
                                    domain text = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    t vqueue.tenants;
BEGIN
    PERFORM vqueue._must_own('vqueue.alter_tenant()');
    IF tenant IS NULL THEN
        PERFORM vqueue._refuse('tenant must not be null', 'There is nothing that a null could stand for here.',
            'Give the name of a tenant.', 'null_value_not_allowed');
    END IF;
    PERFORM vqueue._check_number('max_queues', max_queues, -1, 1000000,
        'The quota must be between 0 and 1000000 queues, or -1.', 'Use -1 for any number.');
    PERFORM vqueue._check_number('max_waiting_sessions', max_waiting_sessions, -1, 1000000000,
        'The quota must be between 0 and 1000000000 sessions, or -1.', 'Use -1 for any number.');
    IF name IS NOT NULL AND vqueue._import_name(name) IS NOT NULL THEN
        PERFORM vqueue._refuse('name is not fit for a tenant', 'It is empty, has more than 200 bytes, or control characters.',
            'Give a name of 1 to 200 bytes.');
    END IF;
    IF octet_length(domain) > 253 THEN
        PERFORM vqueue._refuse('domain is too long', format('It has %s bytes, the limit is 253.', octet_length(domain)), 'Shorten it.');
    END IF;
    SELECT * INTO t FROM vqueue.tenants AS x WHERE x.name = tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM vqueue._refuse(format('tenant "%s" does not exist', tenant), 'There is no such row in vqueue.tenants.',
            'Names are case-sensitive.', 'undefined_object');
    END IF;
    IF EXISTS (SELECT FROM vqueue.tenants x WHERE x.name = name AND x.id <> t.id) THEN
        PERFORM vqueue._refuse(format('tenant "%s" already exists', name), 'A tenant''s name is unique.',
            'Choose another name.', 'duplicate_object');
    END IF;
    UPDATE vqueue.tenants x
       SET max_queues = nullif(coalesce(max_queues, t.max_queues), -1),
           max_waiting_sessions = nullif(coalesce(max_waiting_sessions, t.max_waiting_sessions), -1),
           name = coalesce(name, t.name),
           domain = coalesce(domain, t.domain),
           updated_at = now()
     WHERE x.id = t.id;
END
$$;
COMMENT ON FUNCTION vqueue.alter_tenant(text, int, int, text, text) IS
    'changes quotas, name or domain of a tenant, for the owner; null leaves one as it is. max_queues in queues '
    '(0 to 1000000), max_waiting_sessions in sessions of all its queues together (0 to 1000000000), -1 for any number. A quota below what there is '
    'takes nothing away: nothing is added until there is less. Errors: 42704 unknown tenant; 42710 name taken; 22023 out of range; 22004 a null';

CREATE VIEW vqueue.usage WITH (security_barrier) AS
    SELECT t.name AS tenant, t.id, count(q.id) AS queues, t.max_queues, coalesce(sum(c.waiting), 0)::bigint AS waiting,
           t.max_waiting_sessions
      FROM vqueue.tenants t
      LEFT JOIN vqueue.queues q ON q.tenant_id = t.id
      LEFT JOIN vqueue._counters() c ON c.queue_id = q.id
     WHERE CASE WHEN pg_has_role('pg_monitor', 'USAGE') THEN true ELSE t.id = vqueue._tenant('monitor') END
     GROUP BY t.id
     ORDER BY t.name;
COMMENT ON VIEW vqueue.usage IS
    'queues and waiting sessions of the current tenant, or for members of pg_monitor of all tenants, and its quotas (null: any number)';

/* ---------------------------------------------------------- personal data */

CREATE FUNCTION vqueue.forget_user(user_id uuid) RETURNS int
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_forget_user';
COMMENT ON FUNCTION vqueue.forget_user(uuid) IS
    'erases what is known of a user in all queues of the current tenant: name, e-mail address and hashed client keys, of live and of '
    'ended sessions; returns of how many rows. Places in line stay, as does the user_id. Errors: 22004 null';

/* ------------------------------------------------------------------ audit */

/*
 * Who did what, and when.  Changes of settings are logged by triggers, whoever
 * makes them and how; what an operator does to sessions by the function that does
 * it.  Entries are written as the owner, so nobody needs a right on the table, and
 * nobody but the owner can change them.  Ids are uuids, so that entries of two
 * servers, or of a dump, can come together.
 */
CREATE TABLE vqueue.audit_log (
    id          uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id   uuid,
    queue_id    uuid,
    queue       text,
    actor       text NOT NULL,
    role        text NOT NULL,
    application text DEFAULT current_setting('application_name'),
    client      inet DEFAULT inet_client_addr(),
    action      text NOT NULL,
    object      text,
    before      jsonb,
    after       jsonb,
    reason      text
);
CREATE INDEX audit_log_at_key ON vqueue.audit_log (at);
CREATE INDEX audit_log_tenant_key ON vqueue.audit_log (tenant_id, at);
COMMENT ON TABLE vqueue.audit_log IS
    'what operators did, one row an action, written in its transaction; nobody but the owner can change or delete it';
COMMENT ON COLUMN vqueue.audit_log.tenant_id IS 'whose queues it was about; null if it was about all';
COMMENT ON COLUMN vqueue.audit_log.queue IS 'name of the queue, then';
COMMENT ON COLUMN vqueue.audit_log.actor IS 'who had logged in, or vqueue worker where the clock moved a queue';
COMMENT ON COLUMN vqueue.audit_log.role IS 'the role that it had set, otherwise the same';
COMMENT ON COLUMN vqueue.audit_log.object IS 'what it was done to: a session, a key, a user, a tenant';
COMMENT ON COLUMN vqueue.audit_log.before IS 'how it was, as far as it was changed';
COMMENT ON COLUMN vqueue.audit_log.after IS 'how it is, as far as it was changed';
COMMENT ON COLUMN vqueue.audit_log.reason IS 'the reason that the operator gave';
SELECT pg_catalog.pg_extension_config_dump('vqueue.audit_log', '');

CREATE FUNCTION vqueue._audit_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
        /* Not by _refuse, which who is refused may not call. */
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'the audit log is written by vqueue alone',
            DETAIL = 'Only the owner of the table may change what is in it.',
            HINT = 'Actions are logged by themselves; old entries go by vqueue.audit_retention.';
    END IF;
    IF TG_OP = 'INSERT' THEN
        RETURN CASE WHEN NOT EXISTS (SELECT FROM vqueue.audit_log a WHERE a.id = NEW.id) THEN NEW END;
    END IF;
    RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
END
$$;
COMMENT ON FUNCTION vqueue._audit_guard() IS
    'internal: lets nobody but the owner change the audit log, whatever was granted; a restored entry that is there already is left alone';
CREATE TRIGGER audit_before BEFORE INSERT OR UPDATE OR DELETE ON vqueue.audit_log
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_guard();
CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON vqueue.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._audit_guard();
ALTER TABLE vqueue.audit_log ENABLE ALWAYS TRIGGER audit_before;
ALTER TABLE vqueue.audit_log ENABLE ALWAYS TRIGGER audit_truncate;

CREATE FUNCTION vqueue._audit_name(relation text, op text, old jsonb, new jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN op = 'TRUNCATE' THEN 'truncate'
        WHEN relation = 'queues' AND op = 'UPDATE' AND old -> 'state' <> new -> 'state'
        THEN CASE new ->> 'state' WHEN 'paused' THEN 'pause' WHEN 'draining' THEN 'drain' WHEN 'closed' THEN 'close' ELSE 'open' END
        WHEN relation = 'draws' AND op = 'INSERT' THEN 'prepare_draw'
        WHEN relation = 'draws' AND op = 'UPDATE' AND old -> 'drawn_at' <> new -> 'drawn_at' THEN 'hold_draw'
        WHEN relation = 'draws' AND op = 'UPDATE' AND old -> 'beacon' <> new -> 'beacon' THEN 'set_draw_beacon'
        WHEN relation = 'pass_keys' AND op = 'INSERT' THEN 'rotate_key'
        WHEN relation = 'access' THEN CASE op WHEN 'DELETE' THEN 'revoke_access' ELSE 'grant_access' END
        ELSE CASE op WHEN 'INSERT' THEN 'create' WHEN 'UPDATE' THEN 'alter' ELSE 'drop' END || '_'
             || CASE relation WHEN 'pass_keys' THEN 'key' ELSE rtrim(relation, 's') END
    END
$$;
COMMENT ON FUNCTION vqueue._audit_name(text, text, jsonb, jsonb) IS 'internal: what a change of a row is called in the audit log';

/* What nobody may read, what is too much, and what says nothing. */
CREATE FUNCTION vqueue._audit_visible(this jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT this - '{secret,value,seed,tickets,version,updated_at,is_active}'::text[] $$;
COMMENT ON FUNCTION vqueue._audit_visible(jsonb) IS 'internal: a row without what is not to be in the audit log';

CREATE FUNCTION vqueue._audit_change(relation text, op text, old jsonb, new jsonb, actor text, role text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    this jsonb := coalesce(new, old);
    was jsonb := vqueue._audit_visible(old);
    now_is jsonb := vqueue._audit_visible(new);
    q vqueue.queues;
    whose uuid[];
BEGIN
    IF op = 'UPDATE' THEN
        SELECT jsonb_object_agg(c.key, c.value), jsonb_object_agg(c.key, now_is -> c.key) INTO was, now_is
          FROM jsonb_each(was) AS c WHERE now_is -> c.key <> c.value;
        IF was IS NULL AND relation NOT IN ('pass_keys', 'secrets') THEN
            RETURN;
        END IF;
    END IF;
    SELECT * INTO q FROM vqueue.queues t
     WHERE t.id = (this ->> CASE relation WHEN 'queues' THEN 'id' ELSE 'queue_id' END)::uuid;
    IF relation = 'draws' AND q.id IS NULL THEN
        RETURN;    /* it goes with its queue */
    END IF;
    IF relation = 'queues' THEN
        q.id := (this ->> 'id')::uuid;
        q.name := this ->> 'name';
    END IF;
    whose := CASE WHEN relation = 'tenants' THEN ARRAY[(this ->> 'id')::uuid]
                  WHEN this ? 'tenant_id' THEN ARRAY[(old ->> 'tenant_id')::uuid, (new ->> 'tenant_id')::uuid]
                  ELSE ARRAY[q.tenant_id] END;
    INSERT INTO vqueue.audit_log (tenant_id, queue_id, queue, actor, role, action, object, before, after)
    SELECT DISTINCT t.id, q.id, q.name, actor, role, vqueue._audit_name(relation, op, old, new),
           CASE WHEN op = 'TRUNCATE' THEN relation WHEN relation IN ('tenants', 'secrets') THEN this ->> 'name'
                WHEN relation = 'access' THEN this ->> 'role'
                WHEN relation NOT IN ('queues', 'draws') THEN this ->> 'id' END, was, now_is
      FROM unnest(whose) AS t (id)
     WHERE t.id IS NOT NULL OR coalesce(whose[1], whose[2]) IS NULL;
END
$$;
COMMENT ON FUNCTION vqueue._audit_change(text, text, jsonb, jsonb, text, text) IS
    'internal: logs a change of a row, of which the old and the new one are given, as done by an actor in a role';

CREATE FUNCTION vqueue._audit_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_audit_change';
COMMENT ON FUNCTION vqueue._audit_changed() IS 'internal: has a change of a row, or a TRUNCATE, logged, unless it comes by replication';

CREATE TRIGGER queue_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.queues
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER queue_audit_truncate AFTER TRUNCATE ON vqueue.queues
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER session_audit_truncate AFTER TRUNCATE ON vqueue.user_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER tenant_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.tenants
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER draw_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.draws
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER pass_key_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.pass_keys
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
CREATE TRIGGER secret_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.secrets
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
ALTER TABLE vqueue.queues ENABLE ALWAYS TRIGGER queue_audit;
ALTER TABLE vqueue.queues ENABLE ALWAYS TRIGGER queue_audit_truncate;
ALTER TABLE vqueue.user_sessions ENABLE ALWAYS TRIGGER session_audit_truncate;
ALTER TABLE vqueue.tenants ENABLE ALWAYS TRIGGER tenant_audit;
ALTER TABLE vqueue.draws ENABLE ALWAYS TRIGGER draw_audit;
ALTER TABLE vqueue.pass_keys ENABLE ALWAYS TRIGGER pass_key_audit;
ALTER TABLE vqueue.secrets ENABLE ALWAYS TRIGGER secret_audit;

CREATE VIEW vqueue.audit WITH (security_barrier) AS
    SELECT a.* FROM vqueue.audit_log a WHERE a.tenant_id = vqueue._tenant('admin');
COMMENT ON VIEW vqueue.audit IS 'audit_log of the current tenant';

/* ------------------------------------------------------ tenants and access */

/*
 * Who has a level in which tenant.  The role is kept as such, so that it may be
 * renamed, and dumped by its name; one that was dropped is left out of a dump, as
 * its number may be another's elsewhere.
 */
CREATE TABLE vqueue.access (
    role        regrole NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES vqueue.tenants ON DELETE CASCADE,
    level       text NOT NULL
                CONSTRAINT access_level_check CHECK (level IN ('app', 'monitor', 'operator', 'admin')),
    granted_at  timestamptz NOT NULL DEFAULT now(),
    granted_by  text,
    PRIMARY KEY (tenant_id, role)
);
COMMENT ON TABLE vqueue.access IS
    'which roles have access to which tenants, as vqueue.grant_access() wrote it; members of a role have what it has';
COMMENT ON COLUMN vqueue.access.level IS
    'app (join, poll, claim, leave, complete), monitor (read figures), operator (both, and queues, release, remove), admin (all that, grant access and rotate keys)';
COMMENT ON COLUMN vqueue.access.granted_by IS 'the role that gave it, by the name that it had then';
SELECT pg_catalog.pg_extension_config_dump('vqueue.access', 'WHERE role IN (SELECT r.oid FROM pg_catalog.pg_roles AS r)');

CREATE FUNCTION vqueue._merge_access() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN NOT EXISTS (SELECT FROM vqueue.access AS a WHERE a.tenant_id = NEW.tenant_id AND a.role = NEW.role) THEN NEW END;
END
$$;
COMMENT ON FUNCTION vqueue._merge_access() IS 'internal: a restored row that is there already is left alone';
CREATE TRIGGER access_before BEFORE INSERT ON vqueue.access
    FOR EACH ROW EXECUTE FUNCTION vqueue._merge_access();
CREATE TRIGGER access_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.access
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
CREATE TRIGGER access_truncate AFTER TRUNCATE ON vqueue.access
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
ALTER TABLE vqueue.access ENABLE ALWAYS TRIGGER access_before;
ALTER TABLE vqueue.access ENABLE ALWAYS TRIGGER access_after;
ALTER TABLE vqueue.access ENABLE ALWAYS TRIGGER access_truncate;
CREATE TRIGGER access_audit AFTER INSERT OR UPDATE OR DELETE ON vqueue.access
    FOR EACH ROW EXECUTE FUNCTION vqueue._audit_changed();
ALTER TABLE vqueue.access ENABLE ALWAYS TRIGGER access_audit;

CREATE FUNCTION vqueue._may(tenant_id uuid, level text) RETURNS bool
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_may';
COMMENT ON FUNCTION vqueue._may(uuid, text) IS
    'internal: whether the caller has a level (app, monitor, operator, admin, any of them, or owner) in a tenant; for policies';
CREATE FUNCTION vqueue._may_queue(queue_id uuid, level text) RETURNS bool
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_may_queue';
COMMENT ON FUNCTION vqueue._may_queue(uuid, text) IS 'internal: the same for the tenant of a queue; false of an unknown one';

CREATE FUNCTION vqueue._must_own(function text) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_must_own';
COMMENT ON FUNCTION vqueue._must_own(text) IS 'internal: refuses a caller who has not the rights of the extension''s owner. Errors: 42501';

/* Owner and superusers are not bound by these, and so neither is a dump, nor what C writes, which is done as the owner. */
ALTER TABLE vqueue.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.access ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.ticket_ceilings ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.user_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.event_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.event_marks ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.queue_stats ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.draws ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.pass_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.client_joins ENABLE ROW LEVEL SECURITY;
ALTER TABLE vqueue.audit_log ENABLE ROW LEVEL SECURITY;

/* Where there is no policy, nobody else sees a row.  A dump has these too: see ddl.c for how they are restored. */
CREATE POLICY vqueue_read ON vqueue.tenants FOR SELECT USING (vqueue._may(id, 'any'));
CREATE POLICY vqueue_read ON vqueue.access FOR SELECT USING (vqueue._may(tenant_id, 'admin'));
CREATE POLICY vqueue_read ON vqueue.queues FOR SELECT USING (vqueue._may(tenant_id, 'any'));
CREATE POLICY vqueue_write ON vqueue.queues USING (vqueue._may(tenant_id, 'operator'));
CREATE POLICY vqueue_write ON vqueue.user_sessions USING (vqueue._may_queue(queue_id, 'operator'));
CREATE POLICY vqueue_read ON vqueue.events FOR SELECT USING (vqueue._may_queue(queue_id, 'app'));
CREATE POLICY vqueue_read ON vqueue.event_marks FOR SELECT USING (vqueue._may_queue(queue_id, 'app'));
CREATE POLICY vqueue_read ON vqueue.event_log FOR SELECT USING (true);
CREATE POLICY vqueue_read ON vqueue.queue_stats FOR SELECT USING (vqueue._may_queue(queue_id, 'monitor'));
CREATE POLICY vqueue_read ON vqueue.secrets FOR SELECT TO pg_monitor USING (true);
CREATE POLICY vqueue_read ON vqueue.audit_log FOR SELECT USING (vqueue._may(tenant_id, 'admin'));
CREATE POLICY vqueue_write ON vqueue.draws USING (vqueue._may_queue(queue_id, 'operator'));

/*
 * The one list of what each level may do.  Functions of no level are the owner's
 * alone; those of "server" are pg_monitor's, besides what that reads of queues.
 */
CREATE FUNCTION vqueue._rights(OUT level text, OUT kind text, OUT name text, OUT privilege text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE ROWS 150 SET search_path = pg_catalog, pg_temp
AS $$
    SELECT r.level, 'function', f, 'EXECUTE'
      FROM (VALUES
          ('any', '_tenant _queue _refuse _may _may_queue channel user_id jwks is_healthy board position position_from_board'),
          ('app', 'join join_many poll status heartbeat positions leave complete claim extend pass verify_pass board_number '
                  'events_since event_cursor'),
          ('monitor', 'memory _counters _figures _wait_bounds _worker _sample _replay_delay'),
          ('operator', 'create_queue alter_queue drop_queue open pause resume drain close release remove readmit set_priority purge forget_user '
                       'prepare_draw set_draw_beacon draw_entrants verify_draw explain_position schedule_state schedule_purge unschedule '
                       '_uuidv7 _check_queue _check_texts _check_number _check_timeout _check_age _check_schedule _moment _weights '
                       '_audit _admit_queue _set_state _lock_queue _delete_queue _delete_ended _position _untold _order_key _draw _draw_key _draw_place _draw_places _draw_tickets '
                       '_has_cron _refuse_cron _schedule _schedules _scheduled_state _scheduled_purge _unschedule_queue'),
          ('admin', 'grant_access revoke_access rotate_key'),
          ('server', 'health preflight _server_health _finding _setting _hba_lines _library_version'),
          ('owner', 'create_tenant alter_tenant drop_tenant renew_access check rebuild import_sessions _count_now _extension_created '
                    '_disarm_foreign_key _must_own _rights _levels_of _grant_rights _grant_access _revoke_access _revoke_rights '
                    '_import_column _import_detail _import_report _import_copy _import_name _import_time _import_tenants _import_queues '
                    '_import_user_sessions _import_notes _import_clamp _import_write '
                    '_session_before _session_after _queue_before _queue_after _ceiling_after _table_changed '
                    '_merge_ceiling _merge_secret _merge_mark _merge_pass_key _merge_access _audit_guard _audit_name _audit_visible _audit_change _audit_changed _draw_before _draw_changed')
      ) AS r (level, names), unnest(string_to_array(r.names, ' ')) AS f
    UNION ALL
    SELECT * FROM (VALUES
        ('any', 'schema', 'vqueue', 'USAGE'),
        ('any', 'table', 'tenants', 'SELECT'),
        ('any', 'table', 'queues', 'SELECT'),
        ('app', 'table', 'events', 'SELECT'),
        ('app', 'table', 'event_marks', 'SELECT'),
        ('app', 'table', 'event_log', 'SELECT'),
        ('monitor', 'table', 'queue_stats', 'SELECT'),
        ('monitor', 'table', 'overview', 'SELECT'),
        ('monitor', 'table', 'stats', 'SELECT'),
        ('monitor', 'table', 'metrics', 'SELECT'),
        ('monitor', 'table', 'usage', 'SELECT'),
        ('operator', 'table', 'sessions', 'SELECT'),
        ('operator', 'table', 'schedules', 'SELECT'),
        ('operator', 'table', 'draw_results', 'SELECT'),
        ('operator', 'table', 'user_sessions', 'SELECT'),
        ('operator', 'table', 'user_sessions', 'UPDATE (status, priority, user_name, user_email, reason)'),
        ('operator', 'table', 'queues',
         'INSERT (tenant_id, name, description, max_concurrent_users, release_rate_per_minute, burst, max_waiting, method, lane_weights, '
         'waiting_timeout, serving_timeout, claim_timeout, prequeue_at, opens_at, closes_at, state, session_retention, pass_lifetime, client_limit, client_window)'),
        ('operator', 'table', 'queues',
         'UPDATE (name, description, max_concurrent_users, release_rate_per_minute, burst, max_waiting, method, lane_weights, '
         'waiting_timeout, serving_timeout, claim_timeout, prequeue_at, opens_at, closes_at, state, session_retention, pass_lifetime, client_limit, client_window)'),
        ('operator', 'table', 'draws',
         'SELECT (queue_id, commitment, beacon, prepared_at, drawn_at, entrants, entrants_hash, key_hash, first_ticket, last_ticket)'),
        ('operator', 'table', 'draws', 'INSERT (queue_id)'),
        ('operator', 'table', 'draws', 'UPDATE (beacon)'),
        ('admin', 'table', 'access', 'SELECT'),
        ('admin', 'table', 'audit', 'SELECT')
    ) AS t
$$;
COMMENT ON FUNCTION vqueue._rights() IS
    'internal: what each level may do, beyond the levels that it has as well: functions by name, tables and views with privileges';

CREATE FUNCTION vqueue._levels_of(level text) RETURNS text[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE level WHEN 'app' THEN '{any,app}'::text[] WHEN 'monitor' THEN '{any,monitor}'
                      WHEN 'operator' THEN '{any,app,monitor,operator}' WHEN 'admin' THEN '{any,app,monitor,operator,admin}' END
$$;
COMMENT ON FUNCTION vqueue._levels_of(text) IS 'internal: the levels that who has this one has';

/* Rights that no statement names twice are given, or taken, in one statement a kind and privilege. */
CREATE FUNCTION vqueue._grant_rights(role regrole, levels text[], giving bool) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    grantee text := (SELECT quote_ident(a.rolname) FROM pg_roles a WHERE a.oid = role);
    one record;
BEGIN
    IF grantee IS NULL THEN
        RETURN;
    END IF;
    FOR one IN
        SELECT r.kind, r.privilege, string_agg(o.object, ', ') AS objects
          FROM vqueue._rights() r,
               LATERAL (SELECT p.oid::regprocedure::text FROM pg_proc p
                         WHERE r.kind = 'function' AND p.pronamespace = 'vqueue'::regnamespace AND p.proname = r.name
                        UNION ALL
                        SELECT CASE r.kind WHEN 'table' THEN 'vqueue.' ELSE '' END || quote_ident(r.name) WHERE r.kind <> 'function') AS o (object)
         WHERE r.level = ANY (levels)
         GROUP BY r.kind, r.privilege
    LOOP
        EXECUTE format(CASE WHEN giving THEN 'GRANT %s ON %s %s TO %s' ELSE 'REVOKE %s ON %s %s FROM %s' END,
                       one.privilege, one.kind, one.objects, grantee);
    END LOOP;
END
$$;
COMMENT ON FUNCTION vqueue._grant_rights(regrole, text[], bool) IS
    'internal: gives a role the rights of these levels on the extension''s objects, or takes them; nothing where the role was dropped';

CREATE FUNCTION vqueue._revoke_rights(role regrole, levels text[]) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT vqueue._grant_rights(role, ARRAY(SELECT unnest(levels) EXCEPT
                                            SELECT unnest(vqueue._levels_of(a.level)) FROM vqueue.access a WHERE a.role = $1), false)
$$;
COMMENT ON FUNCTION vqueue._revoke_rights(regrole, text[]) IS
    'internal: takes the rights of these levels from a role, but for those of levels that it has in some tenant';

CREATE FUNCTION vqueue._grant_access(role text, tenant uuid, level text, grantor oid) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    grantee regrole := (SELECT r.oid FROM pg_roles r WHERE r.rolname = role);
    before text;
BEGIN
    IF vqueue._levels_of(level) IS NULL THEN
        PERFORM vqueue._refuse(format('level "%s" is not known', level), 'A level says what a role may do in a tenant.',
            'Use app, monitor, operator or admin.');
    END IF;
    IF grantee IS NULL THEN
        PERFORM vqueue._refuse(format('role "%s" does not exist', role), 'Access is given to roles of this server, never to PUBLIC.',
            'Create the role first, and give its name as it is, without quotes.', 'undefined_object');
    END IF;
    /* One after the other: of two that grant on one object at once, one would fail. */
    LOCK TABLE vqueue.access IN SHARE ROW EXCLUSIVE MODE;
    SELECT a.level INTO before FROM vqueue.access a WHERE a.tenant_id = tenant AND a.role = grantee;
    IF FOUND THEN
        UPDATE vqueue.access a SET level = level, granted_at = now(), granted_by = (SELECT r.rolname FROM pg_roles r WHERE r.oid = grantor)
         WHERE a.tenant_id = tenant AND a.role = grantee AND a.level <> level;
        PERFORM vqueue._revoke_rights(grantee, vqueue._levels_of(before));
    ELSE
        INSERT INTO vqueue.access (role, tenant_id, level, granted_by)
        VALUES (grantee, tenant, level, (SELECT r.rolname FROM pg_roles r WHERE r.oid = grantor));
    END IF;
    PERFORM vqueue._grant_rights(grantee, vqueue._levels_of(level), true);
END
$$;
COMMENT ON FUNCTION vqueue._grant_access(text, uuid, text, oid) IS 'internal: what grant_access does as the owner';

CREATE FUNCTION vqueue._revoke_access(role text, tenant uuid) RETURNS bool
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    grantee regrole := (SELECT r.oid FROM pg_roles r WHERE r.rolname = role);
    before text;
BEGIN
    LOCK TABLE vqueue.access IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM vqueue.access a WHERE a.tenant_id = tenant AND a.role = grantee RETURNING a.level INTO before;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM vqueue._revoke_rights(grantee, vqueue._levels_of(before));
    RETURN true;
END
$$;
COMMENT ON FUNCTION vqueue._revoke_access(text, uuid) IS 'internal: what revoke_access does as the owner';

CREATE FUNCTION vqueue.grant_access(role text, tenant text, level text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_grant_access';
COMMENT ON FUNCTION vqueue.grant_access(text, text, text) IS
    'gives a role of the server, by its name as it is, a level in a tenant, in place of the one that it has there: app (join, poll, claim, '
    'leave, complete), monitor (read figures), operator (both, and queues, release, remove) or admin (all, grant access, rotate keys); '
    'with the rights on functions and tables that this takes. For admins of the tenant and the owner. '
    'Errors: 42704 unknown role or tenant; 42501 not an admin there; 22023 unknown level; 22004 a null';

CREATE FUNCTION vqueue.revoke_access(role text, tenant text) RETURNS bool
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_revoke_access';
COMMENT ON FUNCTION vqueue.revoke_access(text, text) IS
    'takes a role''s access to a tenant away, with those rights that it has no use for in another one; false if it had none. '
    'For admins of the tenant and the owner. Errors: 42704 unknown tenant; 42501 not an admin there; 22004 a null';

CREATE FUNCTION vqueue.renew_access() RETURNS int
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
    renewed int := 0;
BEGIN
    PERFORM vqueue._must_own('vqueue.renew_access()');
    LOCK TABLE vqueue.access IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM vqueue.access a WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = a.role);
    FOR one IN SELECT a.role, array_agg(DISTINCT l) AS levels FROM vqueue.access a, unnest(vqueue._levels_of(a.level)) l GROUP BY a.role
    LOOP
        PERFORM vqueue._grant_rights(one.role, one.levels, true);
        renewed := renewed + 1;
    END LOOP;
    RETURN renewed;
END
$$;
COMMENT ON FUNCTION vqueue.renew_access() IS
    'gives all roles that have access the rights that their levels take, as after an update of the extension, which brings new functions; '
    'forgets roles that were dropped; returns how many there are. Again does no harm. For the owner. Errors: 42501 others';

CREATE FUNCTION vqueue.create_tenant(name text, domain text = NULL) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    new_id uuid;
BEGIN
    PERFORM vqueue._must_own('vqueue.create_tenant()');
    IF name IS NULL THEN
        PERFORM vqueue._refuse('name must not be null', 'A tenant is known by its name, which vqueue.tenant has.',
            'Give it a name of 1 to 200 bytes.', 'null_value_not_allowed');
    END IF;
    IF octet_length(name) NOT BETWEEN 1 AND 200
       OR name ~ (CASE WHEN getdatabaseencoding() ~ '^(WIN|KOI|SQL)' THEN '[\x01-\x1f\x7f]' ELSE '[[:cntrl:]]' END) THEN
        PERFORM vqueue._refuse('name of a tenant is not fit',
            format('It has %s bytes; a name has 1 to 200, and no control characters.', octet_length(name)), 'Choose another name.');
    END IF;
    IF octet_length(domain) > 253 THEN
        PERFORM vqueue._refuse('domain is too long', format('It has %s bytes, the limit is 253.', octet_length(domain)), 'Shorten it.');
    END IF;
    INSERT INTO vqueue.tenants AS t (name, domain) VALUES (name, domain)
        ON CONFLICT ON CONSTRAINT tenants_name_key DO NOTHING RETURNING t.id INTO new_id;
    IF new_id IS NULL THEN
        PERFORM vqueue._refuse(format('tenant "%s" already exists', name), 'Names of tenants are unique.', 'Choose another name.',
                               'duplicate_object');
    END IF;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION vqueue.create_tenant(text, text) IS
    'makes a tenant and returns its id; nobody but the owner has access to it until vqueue.grant_access() gives it. For the owner. '
    'Errors: 42710 name taken; 22023 unfit name or over-long domain; 22004 null; 42501 others';

CREATE FUNCTION vqueue.drop_tenant(name text, force bool = false) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    tenant uuid;
    queues bigint;
    one record;
BEGIN
    PERFORM vqueue._must_own('vqueue.drop_tenant()');
    IF name IS NULL THEN
        PERFORM vqueue._refuse('name must not be null', 'There is nothing that a null could stand for here.',
            'Give the name of the tenant.', 'null_value_not_allowed');
    END IF;
    SELECT t.id INTO tenant FROM vqueue.tenants t WHERE t.name = name FOR UPDATE;
    IF tenant IS NULL THEN
        PERFORM vqueue._refuse(format('tenant "%s" does not exist', name), 'There is no such row in vqueue.tenants.',
            'See vqueue.tenants for those there are.', 'undefined_object');
    END IF;
    IF tenant = '00000000-0000-7000-8000-000000000001' THEN
        PERFORM vqueue._refuse(format('tenant "%s" cannot be dropped', name), 'It is the one that queues belong to by default.',
            'Rename it, or take away the access that roles have to it.', 'object_not_in_prerequisite_state');
    END IF;
    /* As revoke_access, so that neither waits for the other with a lock that the other wants. */
    LOCK TABLE vqueue.access IN SHARE ROW EXCLUSIVE MODE;
    SELECT count(*) INTO queues FROM vqueue.queues q WHERE q.tenant_id = tenant;
    IF queues > 0 AND force IS NOT TRUE THEN
        PERFORM vqueue._refuse(format('tenant "%s" is in use', name), format('It has %s queues.', queues),
            'Drop them first, or call vqueue.drop_tenant(name, force => true), which drops them with all their sessions.', 'object_in_use');
    END IF;
    FOR one IN SELECT q.id FROM vqueue.queues q WHERE q.tenant_id = tenant ORDER BY q.id LOOP
        PERFORM vqueue._lock_queue(one.id);
    END LOOP;
    DELETE FROM vqueue.queues q WHERE q.tenant_id = tenant;
    FOR one IN DELETE FROM vqueue.access a WHERE a.tenant_id = tenant RETURNING a.role, a.level LOOP
        PERFORM vqueue._revoke_rights(one.role, vqueue._levels_of(one.level));
    END LOOP;
    DELETE FROM vqueue.tenants t WHERE t.id = tenant;
END
$$;
COMMENT ON FUNCTION vqueue.drop_tenant(text, bool) IS
    'drops a tenant with the access to it; refuses while it has queues, unless forced, when they go with all their sessions. '
    'Waits for joins in flight. For the owner. Errors: 55006 it has queues; 55000 it is the default one; 42704 unknown tenant; 22004 null; 42501 others';

/* Memory begins empty; the launcher starts a worker here once this transaction has committed. */
CREATE FUNCTION vqueue._extension_created() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'vqueue_extension_created';
COMMENT ON FUNCTION vqueue._extension_created() IS
    'internal: begins with empty lines, and has the launcher start a worker';
SELECT vqueue._extension_created();

/* ------------------------------------------------------------- privileges */

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vqueue FROM PUBLIC;
REVOKE ALL ON TYPE vqueue.place FROM PUBLIC;

/* The value of a key stays the extension's own. */
GRANT USAGE ON SCHEMA vqueue TO pg_monitor;
GRANT SELECT ON vqueue.metrics, vqueue._watched, vqueue.overview, vqueue.usage TO pg_monitor;
GRANT SELECT (name, made_at) ON vqueue.secrets TO pg_monitor;
GRANT EXECUTE ON FUNCTION vqueue.health, vqueue.is_healthy, vqueue.preflight, vqueue.memory, vqueue._worker, vqueue._counters,
    vqueue._figures, vqueue._wait_bounds, vqueue._sample, vqueue._library_version, vqueue._replay_delay, vqueue._finding,
    vqueue._server_health, vqueue._setting, vqueue._hba_lines, vqueue._tenant, vqueue._may, vqueue._may_queue TO pg_monitor;
