-- plpgsql_check finds nothing in any function.
\set ECHO none
\set QUIET 1
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS vqueue;
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check') AS there \gset
\if :there
\else
SELECT plan(1);
SELECT skip('plpgsql_check is not installed (Debian: postgresql-NN-plpgsql-check)', 1);
SELECT * FROM finish();
\q
\endif
CREATE EXTENSION plpgsql_check;
BEGIN;
SELECT no_plan();

/*
 * An import works on temporary tables that it makes as it goes: what it makes of
 * them is made here, as far as a function that is checked alone wants to see it.
 */
CREATE TEMP TABLE vqueue_import_report (n bigint GENERATED ALWAYS AS IDENTITY, "table" text, action text, what text, count bigint, example text, detail text);
CREATE TEMP TABLE vqueue_import_tenants (n bigint, id uuid, name text, domain text, created_at timestamptz, updated_at timestamptz, action text, what text,
    changes text[], target uuid);
CREATE TEMP TABLE vqueue_import_queues (n bigint, id uuid, name text, tenant_id uuid, description text, max_concurrent_users numeric, release_rate_per_minute numeric,
    is_active bool, created_at timestamptz, updated_at timestamptz, action text, what text, changes text[], target uuid);
CREATE TEMP TABLE vqueue_import_user_sessions (n bigint, id uuid, queue_id uuid, user_id uuid, user_name text, user_email text, priority text, position numeric, status text,
    joined_at timestamptz, served_at timestamptz, left_at timestamptz, action text, what text, changes text[], state text, lane text, who uuid, joined timestamptz,
    ready timestamptz, served timestamptz, ended timestamptz);

-- and what pg_cron has, if it is not there
CREATE SCHEMA IF NOT EXISTS cron;
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
CREATE FUNCTION cron.unschedule(bigint) RETURNS bool LANGUAGE sql AS 'SELECT true';

/*
 * What it says of what is right.  Columns of results are called as they are
 * documented.  Results of dynamic queries it does not know.  Of texts that go into
 * statements it follows no loops and arrays: there they are quoted as they are made, and
 * later versions put the text of the whole array for an element.
 */
CREATE TEMP TABLE accepted (function text, message text);
INSERT INTO accepted VALUES
    ('_server_health', 'name of parameter "check" is reserved keyword'), ('preflight', 'name of parameter "check" is reserved keyword'),
    ('_import_report', 'name of parameter "table" is reserved keyword'), ('_import_copy', 'name of parameter "table" is reserved keyword'),
    ('import_sessions', 'name of parameter "table" is reserved keyword'), ('_audit_change', 'name of parameter "table" is reserved keyword'),
    ('import_sessions', 'syntax error at or near "{"'),
    ('_grant_rights', 'text type variable is not sanitized'), ('_import_copy', 'text type variable is not sanitized'),
    /* status() looks into memory, but all that is counted is to be of one snapshot */
    ('explain_position', 'routine is marked as STABLE, but expression is VOLATILE'),
    /* what is not immutable there is how it complains */
    ('position_from_board', 'routine is marked as IMMUTABLE, but expression is STABLE');
INSERT INTO accepted SELECT '_schedules', format('OUT variable "%s" is maybe unmodified', a)
  FROM pg_proc p, unnest(p.proargnames) a WHERE p.pronamespace = 'vqueue'::regnamespace AND p.proname = '_schedules';

-- a trigger function is checked with each relation that it is used on
CREATE TEMP VIEW functions AS
    SELECT p.oid, coalesce(t.tgrelid, 0) AS relation
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'
      LEFT JOIN pg_trigger t ON t.tgfoid = p.oid
     WHERE p.pronamespace = 'vqueue'::regnamespace;
SELECT cmp_ok(count(*), '>', 40::bigint, 'there are functions to check') FROM functions;
SELECT is((SELECT string_agg(concat_ws(' ', c.level, 'line', c.lineno, c.statement, c.sqlstate, c.message, c.detail, c.hint), E'\n')
             FROM plpgsql_check_function_tb(f.oid, f.relation, fatal_errors => false, other_warnings => true, performance_warnings => false,
                                            extra_warnings => true, security_warnings => true) c
            WHERE (p.proname, c.message) NOT IN (SELECT function, message FROM accepted)),
          NULL, f.oid::regprocedure || coalesce(' on ' || nullif(f.relation, 0)::regclass, ''))
  FROM functions f JOIN pg_proc p ON p.oid = f.oid ORDER BY f.oid, f.relation;

SELECT * FROM finish();
ROLLBACK;
