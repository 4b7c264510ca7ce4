/*
 * vqueue 1.1.0, over 1.0.0: what can be switched off for a tenant, and canaries.
 *
 * It is run with people in the rooms.  So it locks nothing that joins need: the
 * new tables have no foreign keys, which would have locked those they refer to,
 * here and on the way back; what they refer to may be gone, and then they mean
 * nothing.  A column that is added to a table of 1.0.0 would lock it.
 */

-- complain if this script is sourced in psql, rather than via CREATE or ALTER EXTENSION
\echo Use "ALTER EXTENSION vqueue UPDATE TO '1.1.0'" to load this file. \quit

DO $$
BEGIN
    IF string_to_array(substring(vqueue._library_version() FROM '^[0-9.]*[0-9]'), '.')::int[] < '{1,1,0}' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('the library of vqueue that the server has loaded, %s, is too old for version 1.1.0', vqueue._library_version()),
            DETAIL = 'The library comes first: it serves the tables and functions of earlier versions too.',
            HINT = 'Install the library and restart the server, then run ALTER EXTENSION vqueue UPDATE again.';
    END IF;
END
$$;

/* --------------------------------------------------------------- features */

CREATE TABLE vqueue.tenant_features (
    tenant_id   uuid NOT NULL,
    feature     text NOT NULL
                CONSTRAINT tenant_features_feature_check
                CHECK (feature IN ('passes', 'board', 'draw', 'events_log', 'user_data')),
    enabled     bool NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, feature)
);
COMMENT ON TABLE vqueue.tenant_features IS
    'capabilities that were switched off for a tenant, or on again; what has no row is on';
SELECT pg_catalog.pg_extension_config_dump('vqueue.tenant_features', '');

CREATE FUNCTION vqueue._features_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_features_changed';
COMMENT ON FUNCTION vqueue._features_changed() IS
    'internal: has every session ask anew what is switched off, once the change has committed';
CREATE TRIGGER feature_after AFTER INSERT OR UPDATE OR DELETE ON vqueue.tenant_features
    FOR EACH ROW EXECUTE FUNCTION vqueue._features_changed();
CREATE TRIGGER feature_truncate AFTER TRUNCATE ON vqueue.tenant_features
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._features_changed();
ALTER TABLE vqueue.tenant_features ENABLE ALWAYS TRIGGER feature_after;
ALTER TABLE vqueue.tenant_features ENABLE ALWAYS TRIGGER feature_truncate;

CREATE FUNCTION vqueue.feature(name text) RETURNS bool
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_feature';
COMMENT ON FUNCTION vqueue.feature(text) IS
    'whether the current tenant has a capability (passes, board, draw, events_log, user_data), which it has unless it was switched '
    'off. Errors: 22023 unknown feature; 22004 null; 42704 unknown tenant';

CREATE FUNCTION vqueue._need_feature(name text) RETURNS void
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'vqueue_need_feature';
COMMENT ON FUNCTION vqueue._need_feature(text) IS
    'internal: raises 0A000 if the current tenant does not have a capability';

CREATE FUNCTION vqueue.set_feature(feature text, enabled bool, tenant text = NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    known constant text[] := ARRAY['passes', 'board', 'draw', 'events_log', 'user_data'];
    wanted uuid := CASE WHEN tenant IS NULL THEN vqueue._tenant() ELSE (SELECT t.id FROM vqueue.tenants t WHERE t.name = tenant) END;
BEGIN
    IF feature IS NULL OR enabled IS NULL THEN
        PERFORM vqueue._refuse(format('%s must not be null', CASE WHEN feature IS NULL THEN 'feature' ELSE 'enabled' END),
            'There is nothing that a null could stand for here.', 'Give a feature, and true or false.', 'null_value_not_allowed');
    END IF;
    IF feature <> ALL (known) THEN
        PERFORM vqueue._refuse(format('feature "%s" is not known', feature),
            'Some capabilities can be switched off for a tenant, and others not.',
            format('Use one of %s.', array_to_string(known, ', ')));
    END IF;
    IF wanted IS NULL THEN
        PERFORM vqueue._refuse(format('tenant "%s" does not exist', tenant), 'There is no such row in vqueue.tenants.',
            'Leave it out to mean the tenant that vqueue.tenant names.', 'undefined_object');
    END IF;
    INSERT INTO vqueue.tenant_features AS f (tenant_id, feature, enabled) VALUES (wanted, feature, enabled)
    ON CONFLICT ON CONSTRAINT tenant_features_pkey
    DO UPDATE SET enabled = EXCLUDED.enabled, changed_at = EXCLUDED.changed_at WHERE f.enabled <> EXCLUDED.enabled;
    IF FOUND THEN
        PERFORM vqueue._audit('set_feature', NULL, feature, jsonb_build_object('tenant', coalesce(tenant, current_setting('vqueue.tenant')), 'enabled', enabled));
    END IF;
    DELETE FROM vqueue.tenant_features f WHERE NOT EXISTS (SELECT FROM vqueue.tenants t WHERE t.id = f.tenant_id);
END
$$;
COMMENT ON FUNCTION vqueue.set_feature(text, bool, text) IS
    'switches a capability of a tenant, by default the current one, off or on: passes, board, draw, events_log, or user_data (names '
    'and addresses of users). What is off is refused at its door with 0A000, from each session''s next statement on; what was made '
    'before stays. Errors: 22023 unknown feature; 42704 unknown tenant; 22004 a null';

CREATE VIEW vqueue.features WITH (security_barrier) AS
    SELECT k.feature, coalesce(f.enabled, true) AS enabled, f.changed_at, k.refuses
      FROM (VALUES
          ('passes', 'pass, verify_pass, jwks and rotate_key'),
          ('board', 'board and board_number'),
          ('draw', 'prepare_draw and set_draw_beacon'),
          ('events_log', 'events_since and event_cursor'),
          ('user_data', 'join with a user_name or user_email')) AS k (feature, refuses)
      LEFT JOIN vqueue.tenant_features f ON f.feature = k.feature AND f.tenant_id = vqueue._tenant();
COMMENT ON VIEW vqueue.features IS
    'the capabilities that can be switched off, whether the current tenant has them, and what is refused where it does not';

/*
 * Doors in C look by themselves.  Those that are PL/pgSQL of 1.0.0 get a first
 * line, which the way back takes out again: so neither script repeats them.
 */
DO $$
DECLARE
    door record;
    source text;
BEGIN
    FOR door IN SELECT d.* FROM (VALUES
        ('vqueue.prepare_draw(text)', 'draw'),
        ('vqueue.set_draw_beacon(text, text)', 'draw'),
        ('vqueue.events_since(text, bigint, int)', 'events_log'),
        ('vqueue.event_cursor(text)', 'events_log')) AS d (signature, feature)
    LOOP
        source := pg_catalog.pg_get_functiondef(door.signature::regprocedure);
        IF strpos(source, E'\nBEGIN\n') = 0 THEN
            RAISE EXCEPTION 'function % has no beginning', door.signature;
        END IF;
        EXECUTE overlay(source PLACING format(E'\nBEGIN\n    PERFORM vqueue._need_feature(%L);\n', door.feature)
                        FROM strpos(source, E'\nBEGIN\n') FOR length(E'\nBEGIN\n'));
    END LOOP;
END
$$;

/* --------------------------------------------------------------- canaries */

/*
 * A canary puts a queue under new settings, and the worker watches how it fares:
 * it counts those whose visits end, some at a time, and takes the settings back
 * when a bound is passed.  Only such settings as still are what the canary made
 * them: what an operator has changed since is his.
 *
 * Timeouts may be tried on a share of the newcomers: those whose tickets, from
 * from_ticket on, fall into it by lot, as _on_trial() tells from the row alone.  Then
 * the row is what holds the settings, and the queue has its own until they are kept.
 */
CREATE TABLE vqueue.queue_canaries (
    id              uuid PRIMARY KEY DEFAULT vqueue._uuidv7(),
    queue_id        uuid NOT NULL,
    started_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends_at         timestamptz NOT NULL
                    CONSTRAINT queue_canaries_ends_at_check CHECK (ends_at > started_at),
    settings        jsonb NOT NULL,
    before          jsonb NOT NULL,
    share           float8 NOT NULL DEFAULT 1
                    CONSTRAINT queue_canaries_share_check CHECK (share > 0 AND share <= 1),
    from_ticket     bigint,
    abandonment_bound float8
                    CONSTRAINT queue_canaries_abandonment_bound_check CHECK (abandonment_bound BETWEEN 0 AND 1),
    error_bound     float8
                    CONSTRAINT queue_canaries_error_bound_check CHECK (error_bound BETWEEN 0 AND 1000),
    min_ended       int NOT NULL
                    CONSTRAINT queue_canaries_min_ended_check CHECK (min_ended BETWEEN 1 AND 1000000),
    look_every      interval NOT NULL
                    CONSTRAINT queue_canaries_look_every_check CHECK (look_every BETWEEN '1 s' AND '1 hour'),
    ended           bigint NOT NULL DEFAULT 0,
    gave_up         bigint NOT NULL DEFAULT 0,
    others_ended    bigint NOT NULL DEFAULT 0,
    others_gave_up  bigint NOT NULL DEFAULT 0,
    counted_until   timestamptz NOT NULL DEFAULT clock_timestamp(),
    look_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    estimate_error  float8,
    failures        int NOT NULL DEFAULT 0,
    state           text NOT NULL DEFAULT 'watching'
                    CONSTRAINT queue_canaries_state_check CHECK (state IN ('watching', 'kept', 'reverted')),
    decided_at      timestamptz,
    reason          text,
    CONSTRAINT queue_canaries_decided_check CHECK ((state = 'watching') = (decided_at IS NULL)),
    CONSTRAINT queue_canaries_share_settings_check CHECK (share = 1
        OR from_ticket IS NOT NULL AND from_ticket > 0 AND jsonb_typeof(settings) = 'object'
           AND settings - '{waiting_timeout,serving_timeout,claim_timeout}'::text[] = '{}'
           AND coalesce((settings ->> 'waiting_timeout')::interval BETWEEN '0' AND '1 day', true)
           AND coalesce((settings ->> 'serving_timeout')::interval BETWEEN '0' AND '1 day', true)
           AND coalesce((settings ->> 'claim_timeout')::interval BETWEEN '0' AND '1 day', true))
) WITH (fillfactor = 50);
COMMENT ON TABLE vqueue.queue_canaries IS 'settings that queues were put under on trial, and what became of it';
COMMENT ON COLUMN vqueue.queue_canaries.settings IS 'the settings on trial, as they are in queues';
COMMENT ON COLUMN vqueue.queue_canaries.before IS 'what they were before';
COMMENT ON COLUMN vqueue.queue_canaries.share IS 'the share of newcomers who are under them; 1: the whole queue is';
COMMENT ON COLUMN vqueue.queue_canaries.from_ticket IS 'where it is a share: the first ticket that may be in it';
COMMENT ON COLUMN vqueue.queue_canaries.ended IS 'visits under them that have ended';
COMMENT ON COLUMN vqueue.queue_canaries.gave_up IS
    'of those who ended, who left without having come in, fell silent, did not come when called or outstayed their lease';
COMMENT ON COLUMN vqueue.queue_canaries.others_ended IS 'where it is a share: visits of newcomers outside it that have ended';
COMMENT ON COLUMN vqueue.queue_canaries.others_gave_up IS 'and of these, who gave up';
COMMENT ON COLUMN vqueue.queue_canaries.counted_until IS 'internal: who ended up to then is counted';
COMMENT ON COLUMN vqueue.queue_canaries.failures IS 'internal: how often in a row it could not be watched';
CREATE UNIQUE INDEX queue_canaries_watching_key ON vqueue.queue_canaries (queue_id) WHERE state = 'watching';
SELECT pg_catalog.pg_extension_config_dump('vqueue.queue_canaries', '');

CREATE FUNCTION vqueue._on_trial(canary uuid, share float8, from_ticket bigint, ticket bigint) RETURNS bool
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'vqueue_on_trial';
COMMENT ON FUNCTION vqueue._on_trial(uuid, float8, bigint, bigint) IS
    'internal: whether a ticket falls into a canary''s share of newcomers, by what its row says';
CREATE FUNCTION vqueue._next_ticket(queue_id uuid) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'vqueue_next_ticket';
COMMENT ON FUNCTION vqueue._next_ticket(uuid) IS
    'internal: the ticket that the next newcomer of a queue gets; null if the caller may not operate it';

CREATE FUNCTION vqueue._canary_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'vqueue_canary_changed';
COMMENT ON FUNCTION vqueue._canary_changed() IS
    'internal: writes the row of a queue of which a share is, or was, under settings on trial, whereupon memory learns of them';
CREATE TRIGGER canary_after AFTER INSERT OR DELETE ON vqueue.queue_canaries
    FOR EACH ROW EXECUTE FUNCTION vqueue._canary_changed();
CREATE TRIGGER canary_update AFTER UPDATE ON vqueue.queue_canaries
    FOR EACH ROW WHEN ((OLD.id, OLD.queue_id, OLD.state, OLD.settings, OLD.share, OLD.from_ticket)
            IS DISTINCT FROM (NEW.id, NEW.queue_id, NEW.state, NEW.settings, NEW.share, NEW.from_ticket))
    EXECUTE FUNCTION vqueue._canary_changed();
CREATE TRIGGER canary_truncate AFTER TRUNCATE ON vqueue.queue_canaries
    FOR EACH STATEMENT EXECUTE FUNCTION vqueue._table_changed();
ALTER TABLE vqueue.queue_canaries ENABLE ALWAYS TRIGGER canary_after;
ALTER TABLE vqueue.queue_canaries ENABLE ALWAYS TRIGGER canary_update;
ALTER TABLE vqueue.queue_canaries ENABLE ALWAYS TRIGGER canary_truncate;

CREATE FUNCTION vqueue._canary_now(q vqueue.queues, settings jsonb) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres
AS $$
    SELECT coalesce(jsonb_object_agg(s.key, to_jsonb(q) -> s.key), '{}') FROM jsonb_object_keys(settings) AS s (key)
$$;
COMMENT ON FUNCTION vqueue._canary_now(vqueue.queues, jsonb) IS 'internal: what the settings named by the keys are in a queue';

CREATE FUNCTION vqueue._canary_apply(queue_id uuid, settings jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    setting text;
BEGIN
    FOR setting IN SELECT s.key FROM jsonb_object_keys(settings) AS s (key) ORDER BY s.key LOOP
        EXECUTE format('UPDATE vqueue.queues q SET %I = r.%I FROM jsonb_populate_record(NULL::vqueue.queues, $1) AS r WHERE q.id = $2', setting, setting)
          USING settings, queue_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION vqueue._canary_apply(uuid, jsonb) IS 'internal: puts settings into a queue''s row';

CREATE FUNCTION vqueue._canary_end(canary uuid, state text, reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    c vqueue.queue_canaries;
    q vqueue.queues;
    now_set jsonb;
    was jsonb;
    becomes jsonb;
    change jsonb;
    others text;
BEGIN
    SELECT * INTO c FROM vqueue.queue_canaries AS t WHERE t.id = canary;
    SELECT * INTO q FROM vqueue.queues AS t WHERE t.id = c.queue_id;
    /* Of a share the queue itself gets what is kept, and has nothing to take back. */
    IF state = 'reverted' AND c.share = 1 THEN
        was := c.settings;
        becomes := c.before;
    ELSIF state = 'kept' AND c.share < 1 THEN
        was := c.before;
        becomes := c.settings;
    END IF;
    IF was IS NOT NULL THEN
        now_set := vqueue._canary_now(q, c.settings);
        SELECT coalesce(jsonb_object_agg(s.key, becomes -> s.key) FILTER (WHERE now_set -> s.key = s.value), '{}'),
               string_agg(s.key, ', ' ORDER BY s.key) FILTER (WHERE now_set -> s.key IS DISTINCT FROM s.value)
          INTO change, others FROM jsonb_each(was) AS s;
        PERFORM vqueue._canary_apply(c.queue_id, change);
        reason := reason || CASE WHEN others IS NULL THEN '' ELSE format('; what was changed meanwhile stays: %s', others) END;
    END IF;
    UPDATE vqueue.queue_canaries AS t SET state = state, reason = reason, decided_at = clock_timestamp(), failures = 0 WHERE t.id = canary;
    RAISE LOG USING MESSAGE = format('vqueue: the settings on trial in queue "%s" were %s: %s', q.name, state, reason),
        DETAIL = format('They are %s%s, and were %s before.', c.settings,
                        CASE WHEN c.share < 1 THEN format(', for a share of %s of the newcomers', c.share) ELSE '' END, c.before);
END
$$;
COMMENT ON FUNCTION vqueue._canary_end(uuid, text, text) IS 'internal: ends a canary, and takes its settings back if it is reverted';

CREATE FUNCTION vqueue.canary(queue text, settings jsonb, abandonment_bound float8 = NULL, error_bound float8 = NULL,
                              watch_for interval = '1 hour', min_ended int = 50, look_every interval = '10 s', share float8 = 1) RETURNS uuid
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    can_be_tried constant text[] := ARRAY(SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = 'vqueue.queues'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
          AND a.attname <> ALL ('{id,tenant_id,name,description,prequeue_at,opens_at,closes_at,state,version,created_at,updated_at}'::text[])
        ORDER BY a.attnum);
    of_a_session constant text[] := ARRAY['waiting_timeout', 'serving_timeout', 'claim_timeout'];
    unknown text;
    q vqueue.queues;
    before jsonb;
    new_id uuid;
BEGIN
    IF settings IS NULL OR watch_for IS NULL OR min_ended IS NULL OR look_every IS NULL OR share IS NULL THEN
        PERFORM vqueue._refuse('settings, watch_for, min_ended, look_every and share must not be null',
            'There is nothing that a null could stand for here.', 'Leave an argument out to get its default.', 'null_value_not_allowed');
    END IF;
    IF jsonb_typeof(settings) <> 'object' OR settings = '{}' THEN
        PERFORM vqueue._refuse('settings on trial must be a JSON object that is not empty', 'Each key is a setting of the queue, each value what it shall be.',
            'For example {"release_rate_per_minute": 1200, "claim_timeout": "30 s"}.');
    END IF;
    SELECT string_agg(s.key, ', ' ORDER BY s.key) INTO unknown FROM jsonb_object_keys(settings) AS s (key) WHERE s.key <> ALL (can_be_tried);
    IF unknown IS NOT NULL THEN
        PERFORM vqueue._refuse(format('settings %s cannot be tried', unknown), 'A canary changes settings that can be taken back without a trace.',
            format('These can: %s.', array_to_string(can_be_tried, ', ')));
    END IF;
    SELECT string_agg(s.key, ', ' ORDER BY s.key) INTO unknown FROM jsonb_each(settings) AS s
     WHERE jsonb_typeof(s.value) = 'null' AND (SELECT a.attnotnull FROM pg_attribute a WHERE a.attrelid = 'vqueue.queues'::regclass AND a.attname = s.key);
    IF unknown IS NOT NULL THEN
        PERFORM vqueue._refuse(format('settings %s must not be null', unknown), 'A queue has a value for each of them.',
            'Leave out what shall stay as it is.', 'null_value_not_allowed');
    END IF;
    IF NOT (share > 0 AND share <= 1) THEN
        PERFORM vqueue._refuse(format('share %s is out of range', share), 'It is the share of newcomers that is to be under the settings, above 0, and up to 1 for the whole queue.',
            'For example 0.1 for one in ten.');
    END IF;
    SELECT string_agg(s.key, ', ' ORDER BY s.key) INTO unknown FROM jsonb_object_keys(settings) AS s (key) WHERE share < 1 AND s.key <> ALL (of_a_session);
    IF unknown IS NOT NULL THEN
        PERFORM vqueue._refuse(format('settings %s cannot be tried on a share of newcomers', unknown),
            'The whole queue shares them: those in the share and the others come in from one line, at one rate, under one cap.',
            format('These can: %s. Leave share out to try others on the queue.', array_to_string(of_a_session, ', ')));
    END IF;
    IF share < 1 AND error_bound IS NOT NULL THEN
        PERFORM vqueue._refuse('error_bound cannot be watched of a share of newcomers', 'Estimates, and how far off they are, are of the queue as a whole.',
            'Give abandonment_bound alone, or leave share out.');
    END IF;
    IF abandonment_bound IS NULL AND error_bound IS NULL THEN
        PERFORM vqueue._refuse('a canary without a bound would watch nothing', 'It is taken back when a bound is passed.',
            'Give abandonment_bound, a share of those who end, or error_bound, of the estimates.');
    END IF;
    IF NOT coalesce(abandonment_bound BETWEEN 0 AND 1, true) OR NOT coalesce(error_bound BETWEEN 0 AND 1000, true) THEN
        PERFORM vqueue._refuse(format('%s is out of range', CASE WHEN coalesce(abandonment_bound BETWEEN 0 AND 1, true)
                                      THEN format('error_bound %s', error_bound) ELSE format('abandonment_bound %s', abandonment_bound) END),
            'Abandonment is a share of those who end, from 0 to 1; the error of the estimates is from 0 to 1000, 1 being as much as the wait itself.',
            'For example 0.2 for one in five.');
    END IF;
    PERFORM vqueue._check_number('min_ended', min_ended, 1, 1000000, 'So many visits must have ended before a bound counts: from 1 to 1000000.',
        'The fewer there are, the more is chance.');
    IF watch_for NOT BETWEEN '1 s' AND '100 days' OR look_every NOT BETWEEN '1 s' AND '1 hour' THEN
        PERFORM vqueue._refuse(format('%s is out of range', CASE WHEN look_every BETWEEN '1 s' AND '1 hour' THEN format('watch_for %s', watch_for)
                                      ELSE format('look_every %s', look_every) END),
            'A canary is watched for a second to 100 days, and looked at every second to every hour.', 'For example ''1 hour'' and ''10 s''.');
    END IF;
    SELECT * INTO q FROM vqueue.queues AS t WHERE t.id = wanted FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM vqueue.queue_canaries c WHERE c.queue_id = wanted AND c.state = 'watching') THEN
        PERFORM vqueue._refuse(format('queue "%s" has settings on trial already', q.name), 'Two at once could not be told apart.',
            'Call vqueue.canary_keep() or vqueue.canary_revert() first.', 'object_in_use');
    END IF;
    before := vqueue._canary_now(q, settings);
    q := jsonb_populate_record(q, settings);
    PERFORM vqueue._check_queue(q);
    IF share = 1 THEN
        PERFORM vqueue._canary_apply(wanted, settings);
        /* As they came to be: a unit or a notation may be another one. */
        SELECT * INTO q FROM vqueue.queues AS t WHERE t.id = wanted;
    END IF;
    INSERT INTO vqueue.queue_canaries (queue_id, ends_at, settings, before, share, from_ticket, abandonment_bound, error_bound, min_ended, look_every)
    VALUES (wanted, clock_timestamp() + watch_for, vqueue._canary_now(q, settings), before, share, CASE WHEN share < 1 THEN vqueue._next_ticket(wanted) END,
            abandonment_bound, error_bound, min_ended, look_every)
    RETURNING id INTO new_id;
    /* Of the whole queue its row tells; that of a share must be newer than what was before. */
    IF share < 1 THEN
        UPDATE vqueue.queues AS t SET waiting_timeout = t.waiting_timeout WHERE t.id = wanted;
        PERFORM vqueue._audit('canary', wanted, new_id::text, jsonb_build_object('share', share, 'settings', vqueue._canary_now(q, settings)));
    END IF;
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION vqueue.canary(text, jsonb, float8, float8, interval, int, interval, float8) IS
    'puts a queue under new settings, given as a JSON object, on trial: the worker takes them back by itself when, of at least min_ended '
    'visits that have ended since, a share of more than abandonment_bound (0 to 1) gave up, or overview''s estimate_error is above '
    'error_bound, or the queue''s release step fails three times in a row. It looks every look_every (1 s to 1 hour). After watch_for '
    '(1 s to 100 days) the settings are kept, or taken back if too few have ended to tell. With a share (above 0, below 1) only so many of '
    'those who join from now on are under them, chosen by lot for all of their visit, and only their visits count; then the settings '
    'are timeouts, and there is no error_bound. Returns the id of the canary; see vqueue.canaries. Errors: 22023 no bound, out of range, '
    'or a setting that cannot be tried; 22P02, 22007 a value of the wrong type; 55006 there is one already; 42704 unknown queue; 22004 a null';

CREATE FUNCTION vqueue._canary_decide(queue text, state text, reason text) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    wanted uuid := vqueue._queue(queue, 'operator');
    canary uuid;
    share float8;
BEGIN
    IF octet_length(reason) > 1000 THEN
        PERFORM vqueue._refuse('reason is too long', format('It has %s bytes, the limit is 1000.', octet_length(reason)), 'Shorten it.');
    END IF;
    PERFORM FROM vqueue.queues q WHERE q.id = wanted FOR NO KEY UPDATE;
    SELECT c.id, c.share INTO canary, share FROM vqueue.queue_canaries c WHERE c.queue_id = wanted AND c.state = 'watching' FOR UPDATE;
    IF canary IS NULL THEN
        PERFORM vqueue._refuse(format('queue "%s" has no settings on trial', queue), 'There is nothing to decide.',
            'See vqueue.canaries for what became of earlier ones.', 'object_not_in_prerequisite_state');
    END IF;
    PERFORM vqueue._canary_end(canary, state, coalesce(reason, 'by hand'));
    IF share < 1 THEN
        PERFORM vqueue._audit(CASE state WHEN 'kept' THEN 'canary_keep' ELSE 'canary_revert' END, wanted, canary::text, jsonb_build_object('share', share));
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._canary_decide(text, text, text) IS 'internal: the one step behind canary_keep and canary_revert';

CREATE FUNCTION vqueue.canary_keep(queue text, reason text = NULL) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._canary_decide(queue, 'kept', reason) $$;
COMMENT ON FUNCTION vqueue.canary_keep(text, text) IS
    'keeps the settings that are on trial in a queue for good, and for all; those of a share that were changed in the queue meanwhile stay. Errors: 55000 there are none; 22023 over-long reason; 42704 unknown queue';
CREATE FUNCTION vqueue.canary_revert(queue text, reason text = NULL) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT vqueue._canary_decide(queue, 'reverted', reason) $$;
COMMENT ON FUNCTION vqueue.canary_revert(text, text) IS
    'takes the settings that are on trial in a queue back at once; those that were changed meanwhile stay. '
    'Errors: 55000 there are none; 22023 over-long reason; 42704 unknown queue';

/*
 * A step of the worker, which waits for nobody.  Ends are counted two seconds
 * late, for their commits to be there.
 */
CREATE FUNCTION vqueue._canary_count(c vqueue.queue_canaries, OUT ended bigint, OUT gave_up bigint, OUT others_ended bigint, OUT others_gave_up bigint,
                                     OUT until timestamptz, OUT more bool)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch constant int := 10000;
    upto timestamptz := clock_timestamp() - interval '2 s';
BEGIN
    until := (SELECT s.left_at FROM vqueue.user_sessions s
               WHERE s.queue_id = c.queue_id AND s.left_at > c.counted_until AND s.left_at <= upto
               ORDER BY s.left_at OFFSET batch - 1 LIMIT 1);
    more := until IS NOT NULL;
    until := greatest(c.counted_until, coalesce(until, upto));
    SELECT count(*) FILTER (WHERE v.tried), count(*) FILTER (WHERE v.tried AND v.gave_up),
           count(*) FILTER (WHERE NOT v.tried), count(*) FILTER (WHERE NOT v.tried AND v.gave_up)
      INTO ended, gave_up, others_ended, others_gave_up
      FROM (SELECT c.share = 1 OR vqueue._on_trial(c.id, c.share, c.from_ticket, s.ticket),
                   s.status IN ('abandoned', 'no_show', 'expired') OR s.status = 'left' AND s.served_at IS NULL
              FROM vqueue.user_sessions s
             WHERE s.queue_id = c.queue_id AND s.left_at > c.counted_until AND s.left_at <= until
               AND (c.share = 1 OR s.ticket >= c.from_ticket)) AS v (tried, gave_up);
END
$$;
COMMENT ON FUNCTION vqueue._canary_count(vqueue.queue_canaries) IS
    'internal: counts some more of those whose visits ended since a canary began, and tells whether there are yet more';

CREATE FUNCTION vqueue._canary_verdict(c vqueue.queue_canaries, OUT state text, OUT reason text)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    f record;
    others text := CASE WHEN c.share < 1 THEN format('; of the other newcomers %s of %s', c.others_gave_up, c.others_ended) ELSE '' END;
BEGIN
    SELECT o.failures, o.last_error INTO f FROM vqueue._counters() o WHERE o.queue_id = c.queue_id;
    state := 'reverted';
    reason := CASE
        WHEN f.failures >= 3 THEN format('the release step has failed %s times in a row: %s', f.failures, f.last_error)
        WHEN c.ended >= c.min_ended AND c.gave_up > c.abandonment_bound * c.ended
        THEN format('%s of %s gave up, more than a share of %s', c.gave_up, c.ended, c.abandonment_bound) || others
        WHEN c.ended >= c.min_ended AND c.estimate_error > c.error_bound
        THEN format('the error of the estimates is %s, above %s', round(c.estimate_error::numeric, 3), c.error_bound)
        WHEN c.ends_at <= clock_timestamp() AND c.ended < c.min_ended
        THEN format('only %s of the %s that it takes to tell had ended when its time was over', c.ended, c.min_ended) END;
    IF reason IS NULL THEN
        state := CASE WHEN c.ends_at <= clock_timestamp() THEN 'kept' ELSE 'watching' END;
        reason := CASE WHEN state = 'kept' THEN format('%s of %s gave up, within its bounds', c.gave_up, c.ended) || others END;
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._canary_verdict(vqueue.queue_canaries) IS 'internal: what is to become of a canary, and why';

CREATE FUNCTION vqueue._canary_look(c vqueue.queue_canaries) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counted record;
    verdict record;
BEGIN
    /* An operator who has the queue's row locked is about to decide, or to change something. */
    PERFORM FROM vqueue.queues q WHERE q.id = c.queue_id FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM vqueue.queues q WHERE q.id = c.queue_id) THEN
            UPDATE vqueue.queue_canaries t SET look_at = clock_timestamp() + interval '1 s' WHERE t.id = c.id;
        ELSE
            DELETE FROM vqueue.queue_canaries t WHERE t.queue_id = c.queue_id;
        END IF;
        RETURN;
    END IF;
    SELECT * INTO counted FROM vqueue._canary_count(c);
    c.ended := c.ended + counted.ended;
    c.gave_up := c.gave_up + counted.gave_up;
    c.others_ended := c.others_ended + counted.others_ended;
    c.others_gave_up := c.others_gave_up + counted.others_gave_up;
    c.counted_until := counted.until;
    c.estimate_error := (SELECT o.estimate_error FROM vqueue._counters() o WHERE o.queue_id = c.queue_id);
    UPDATE vqueue.queue_canaries t
       SET ended = c.ended, gave_up = c.gave_up, others_ended = c.others_ended, others_gave_up = c.others_gave_up, counted_until = c.counted_until, estimate_error = c.estimate_error, failures = 0,
           look_at = CASE WHEN counted.more THEN clock_timestamp() ELSE least(clock_timestamp() + c.look_every, greatest(c.ends_at, clock_timestamp())) END
     WHERE t.id = c.id;
    IF counted.more THEN
        RETURN;
    END IF;
    SELECT * INTO verdict FROM vqueue._canary_verdict(c);
    IF verdict.state <> 'watching' THEN
        PERFORM vqueue._canary_end(c.id, verdict.state, verdict.reason);
    END IF;
END
$$;
COMMENT ON FUNCTION vqueue._canary_look(vqueue.queue_canaries) IS 'internal: looks at one canary, and decides on it if it is time';

CREATE FUNCTION vqueue._watch_canaries() RETURNS bigint
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rest constant interval := interval '10 s';
    c vqueue.queue_canaries;
    message text;
    next_look interval;
BEGIN
    SELECT * INTO c FROM vqueue.queue_canaries AS t
     WHERE t.state = 'watching' AND t.look_at <= clock_timestamp() ORDER BY t.look_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        BEGIN
            PERFORM vqueue._canary_look(c);
        EXCEPTION WHEN OTHERS THEN
            /* One that is sick, say by a trigger on queues, must not hold up the others. */
            message := SQLERRM;
            UPDATE vqueue.queue_canaries AS t
               SET failures = c.failures + 1, look_at = clock_timestamp() + least(interval '1 s' * power(2, least(c.failures, 12)), interval '1 hour')
             WHERE t.id = c.id;
            IF c.failures + 1 & c.failures = 0 THEN
                RAISE LOG USING MESSAGE = format('vqueue: the settings on trial in queue %s could not be looked after: %s', c.queue_id, message),
                    DETAIL = format('It has failed %s times in a row and is tried again later.', c.failures + 1);
            END IF;
        END;
        RETURN 0;
    END IF;
    SELECT greatest(least(min(t.look_at), clock_timestamp() + rest) - clock_timestamp(), interval '0.2 s') INTO next_look
      FROM vqueue.queue_canaries AS t WHERE t.state = 'watching';
    RETURN extract(epoch FROM next_look) * 1000000;
END
$$;
COMMENT ON FUNCTION vqueue._watch_canaries() IS
    'internal: a step of the worker: looks at one canary that is due; returns in how many microseconds there is more to do';

CREATE VIEW vqueue.canaries WITH (security_barrier) AS
    SELECT q.name AS queue, c.*
      FROM vqueue.queue_canaries c
      JOIN vqueue.queues q ON q.id = c.queue_id
     WHERE q.tenant_id = vqueue._tenant();
COMMENT ON VIEW vqueue.canaries IS 'settings on trial in the queues of the current tenant, and what became of earlier ones';

/* ------------------------------------------------------------- privileges */

CREATE FUNCTION vqueue._extension_updated() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'vqueue_extension_updated';
COMMENT ON FUNCTION vqueue._extension_updated() IS
    'internal: has every session and the worker look anew for the tables there are, once the transaction has committed';
SELECT vqueue._extension_updated();

/* Of what is new only: whoever has granted something of 1.0.0 to PUBLIC meant it. */
REVOKE ALL ON FUNCTION vqueue._features_changed, vqueue.feature, vqueue._need_feature, vqueue.set_feature,
    vqueue._extension_updated, vqueue._canary_now, vqueue._canary_apply, vqueue._canary_end, vqueue.canary, vqueue._canary_decide,
    vqueue.canary_keep, vqueue.canary_revert, vqueue._on_trial, vqueue._next_ticket, vqueue._canary_changed, vqueue._canary_count, vqueue._canary_verdict, vqueue._canary_look,
    vqueue._watch_canaries FROM PUBLIC;

/*
 * Where roles have levels of access to tenants, what is new belongs to them as well: the
 * one list of what each may do is extended in its place, and given to who has it.
 */
DO $$
DECLARE
    change text[];
    source text;
BEGIN
    IF to_regprocedure('vqueue._rights()') IS NULL THEN
        RETURN;
    END IF;
    ALTER TABLE vqueue.tenant_features ENABLE ROW LEVEL SECURITY;
    ALTER TABLE vqueue.queue_canaries ENABLE ROW LEVEL SECURITY;
    CREATE POLICY vqueue_read ON vqueue.tenant_features FOR SELECT USING (vqueue._may(tenant_id, 'any'));
    CREATE POLICY vqueue_write ON vqueue.queue_canaries USING (vqueue._may_queue(queue_id, 'operator'));
    source := pg_catalog.pg_get_functiondef('vqueue._rights()'::regprocedure);
    FOREACH change SLICE 1 IN ARRAY ARRAY[
        ARRAY[$c$('any', '$c$, $c$feature _need_feature $c$],
        ARRAY[$c$('operator', '$c$, $c$canary canary_keep canary_revert _canary_now _canary_apply _canary_end _canary_decide _next_ticket $c$],
        ARRAY[$c$('owner', '$c$, $c$set_feature _features_changed _extension_updated _on_trial _canary_changed _canary_count _canary_verdict _canary_look _watch_canaries $c$],
        ARRAY[$c$('any', 'schema', 'vqueue', 'USAGE'),$c$, $c$
        ('any', 'table', 'features', 'SELECT'),
        ('operator', 'table', 'canaries', 'SELECT'),
        ('operator', 'table', 'queue_canaries', 'SELECT'),
        ('operator', 'table', 'queue_canaries', 'INSERT (queue_id, ends_at, settings, before, share, from_ticket, abandonment_bound, error_bound, min_ended, look_every)'),
        ('operator', 'table', 'queue_canaries', 'UPDATE (state, reason, decided_at, failures)'),$c$]]
    LOOP
        IF strpos(source, change[1]) = 0 THEN
            RAISE EXCEPTION 'the list of rights has no %', change[1];
        END IF;
        source := overlay(source PLACING change[1] || change[2] FROM strpos(source, change[1]) FOR length(change[1]));
    END LOOP;
    EXECUTE source;
    PERFORM vqueue.renew_access();
END
$$;
