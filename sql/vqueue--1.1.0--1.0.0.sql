/*
 * vqueue 1.0.0 again, from 1.1.0.  What only 1.1.0 knows is lost, and said.
 */

-- complain if this script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION vqueue UPDATE TO '1.0.0'" to load this file. \quit

/* ----------------------------------------------------------------- rights */

DO $$
DECLARE
    gone text;
    source text;
BEGIN
    IF to_regprocedure('vqueue._rights()') IS NULL THEN
        RETURN;
    END IF;
    source := pg_catalog.pg_get_functiondef('vqueue._rights()'::regprocedure);
    FOREACH gone IN ARRAY ARRAY[
        $c$feature _need_feature $c$,
        $c$canary canary_keep canary_revert _canary_now _canary_apply _canary_end _canary_decide _next_ticket $c$,
        $c$set_feature _features_changed _extension_updated _on_trial _canary_changed _canary_count _canary_verdict _canary_look _watch_canaries $c$,
        $c$
        ('any', 'table', 'features', 'SELECT'),
        ('operator', 'table', 'canaries', 'SELECT'),
        ('operator', 'table', 'queue_canaries', 'SELECT'),
        ('operator', 'table', 'queue_canaries', 'INSERT (queue_id, ends_at, settings, before, share, from_ticket, abandonment_bound, error_bound, min_ended, look_every)'),
        ('operator', 'table', 'queue_canaries', 'UPDATE (state, reason, decided_at, failures)'),$c$]
    LOOP
        source := replace(source, gone, '');
    END LOOP;
    EXECUTE source;
END
$$;

/* --------------------------------------------------------------- canaries */

DO $$
DECLARE
    c record;
BEGIN
    FOR c IN SELECT t.id, q.name FROM vqueue.queue_canaries t JOIN vqueue.queues q ON q.id = t.queue_id
              WHERE t.state = 'watching' ORDER BY q.name FOR UPDATE OF t, q
    LOOP
        PERFORM vqueue._canary_end(c.id, 'reverted', 'the extension goes back to version 1.0.0');
        RAISE WARNING USING MESSAGE = format('the settings on trial in queue "%s" were taken back', c.name),
            DETAIL = 'Version 1.0.0 does not watch.', HINT = 'Set them by vqueue.alter_queue() if they shall stay.';
    END LOOP;
    DELETE FROM vqueue.queue_canaries t WHERE t.state = 'watching';
END
$$;

DROP VIEW vqueue.canaries;
DROP FUNCTION vqueue._watch_canaries();
DROP FUNCTION vqueue._canary_look(vqueue.queue_canaries);
DROP FUNCTION vqueue._canary_verdict(vqueue.queue_canaries);
DROP FUNCTION vqueue._canary_count(vqueue.queue_canaries);
DROP FUNCTION vqueue.canary_revert(text, text);
DROP FUNCTION vqueue.canary_keep(text, text);
DROP FUNCTION vqueue._canary_decide(text, text, text);
DROP FUNCTION vqueue.canary(text, jsonb, float8, float8, interval, int, interval, float8);
DROP FUNCTION vqueue._canary_end(uuid, text, text);
DROP FUNCTION vqueue._canary_apply(uuid, jsonb);
DROP FUNCTION vqueue._canary_now(vqueue.queues, jsonb);
ALTER EXTENSION vqueue DROP TABLE vqueue.queue_canaries;
DROP TABLE vqueue.queue_canaries;
DROP FUNCTION vqueue._canary_changed();
DROP FUNCTION vqueue._next_ticket(uuid);
DROP FUNCTION vqueue._on_trial(uuid, float8, bigint, bigint);

/* --------------------------------------------------------------- features */

DO $$
DECLARE
    lost text := (SELECT string_agg(format('%s of tenant "%s"', f.feature, t.name), ', ' ORDER BY t.name, f.feature)
                    FROM vqueue.tenant_features f JOIN vqueue.tenants t ON t.id = f.tenant_id WHERE NOT f.enabled);
    door record;
    source text;
BEGIN
    IF lost IS NOT NULL THEN
        RAISE WARNING USING MESSAGE = 'features that were switched off are on again',
            DETAIL = format('These are %s.', lost), HINT = 'Version 1.0.0 switches nothing off; REVOKE the functions from the roles that use them.';
    END IF;
    FOR door IN SELECT d.* FROM (VALUES
        ('vqueue.prepare_draw(text)', 'draw'),
        ('vqueue.set_draw_beacon(text, text)', 'draw'),
        ('vqueue.events_since(text, bigint, int)', 'events_log'),
        ('vqueue.event_cursor(text)', 'events_log')) AS d (signature, feature)
    LOOP
        source := pg_catalog.pg_get_functiondef(door.signature::regprocedure);
        EXECUTE replace(source, format(E'    PERFORM vqueue._need_feature(%L);\n', door.feature), '');
    END LOOP;
END
$$;

DROP VIEW vqueue.features;
DROP FUNCTION vqueue.set_feature(text, bool, text);
DROP FUNCTION vqueue._need_feature(text);
DROP FUNCTION vqueue.feature(text);
ALTER EXTENSION vqueue DROP TABLE vqueue.tenant_features;
DROP TABLE vqueue.tenant_features;
DROP FUNCTION vqueue._features_changed();
DROP FUNCTION vqueue._extension_updated();
