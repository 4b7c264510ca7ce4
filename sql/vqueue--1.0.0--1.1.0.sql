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
    known constant text[] := '{passes,board,draw,events_log,user_data}';
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
    DELETE FROM vqueue.tenant_features f WHERE NOT EXISTS (SELECT FROM vqueue.tenants t WHERE t.id = f.tenant_id);
END
$$;
COMMENT ON FUNCTION vqueue.set_feature(text, bool, text) IS
    'switches a capability of a tenant, by default the current one, off or on: passes, board, draw, events_log, or user_data (names '
    'and addresses of users). What is off is refused at its door with 0A000, from each session''s next statement on; what was made '
    'before stays. Errors: 22023 unknown feature; 42704 unknown tenant; 22004 a null';

CREATE VIEW vqueue.features AS
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

/* ------------------------------------------------------------- privileges */

CREATE FUNCTION vqueue._extension_updated() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'vqueue_extension_updated';
COMMENT ON FUNCTION vqueue._extension_updated() IS
    'internal: has every session and the worker look anew for the tables there are, once the transaction has committed';
SELECT vqueue._extension_updated();

/* Of what is new only: whoever has granted something of 1.0.0 to PUBLIC meant it. */
REVOKE ALL ON FUNCTION vqueue._features_changed, vqueue.feature, vqueue._need_feature, vqueue.set_feature,
    vqueue._extension_updated FROM PUBLIC;
