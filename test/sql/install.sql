-- What CREATE EXTENSION makes, and that it can go and come again.
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS vqueue CASCADE;
RESET client_min_messages;

CREATE EXTENSION vqueue;
SELECT extname, extversion, extrelocatable, nspname
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'vqueue';

-- a second time, or into another schema, it is refused
\set VERBOSITY terse
CREATE EXTENSION vqueue;
CREATE EXTENSION IF NOT EXISTS vqueue;
ALTER EXTENSION vqueue SET SCHEMA public;

-- tables and views
SELECT relkind, relname FROM pg_class
 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v', 'm', 'S', 'c', 'p')
 ORDER BY relkind, relname COLLATE "C";

-- functions for users: name, arguments, result, language, volatility, parallel safety, strict
SELECT format('%s(%s) -> %s | %s %s %s%s', proname, pg_get_function_arguments(p.oid),
              pg_get_function_result(p.oid), lanname, provolatile, proparallel,
              CASE WHEN proisstrict THEN ' strict' ELSE '' END)
  FROM pg_proc p JOIN pg_language l ON l.oid = prolang
 WHERE pronamespace = 'vqueue'::regnamespace AND NOT starts_with(proname, '_')
 ORDER BY proname COLLATE "C", pg_get_function_arguments(p.oid) COLLATE "C";

-- every table has triggers, and all fire for replicated rows too (no row)
SELECT count(DISTINCT tgrelid) FROM pg_trigger
 WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace) AND NOT tgisinternal;
SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger
 WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace) AND NOT tgisinternal
   AND tgenabled <> 'A'
 ORDER BY tgrelid::regclass::text COLLATE "C", tgname COLLATE "C";

-- all of it belongs to the extension (no row)
SELECT classid::regclass, objid FROM (
    SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'vqueue'::regnamespace
    UNION ALL
    SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
     WHERE t.typnamespace = 'vqueue'::regnamespace AND typelem = 0 AND coalesce(relkind = 'c', true)
) AS o (classid, objid)
 WHERE NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'e'
                      AND d.refclassid = 'pg_extension'::regclass
                      AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'vqueue'));

-- nothing is granted to PUBLIC (no row)
SELECT 'schema', nspname FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
 WHERE nspname = 'vqueue' AND grantee = 0
UNION ALL
SELECT 'function', p.oid::regprocedure::text FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
 WHERE pronamespace = 'vqueue'::regnamespace AND grantee = 0
UNION ALL
SELECT 'relation', c.oid::regclass::text FROM pg_class c, aclexplode(coalesce(relacl, acldefault('r', relowner)))
 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v', 'S') AND grantee = 0
UNION ALL
SELECT 'column', attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid, aclexplode(attacl)
 WHERE relnamespace = 'vqueue'::regnamespace AND grantee = 0
UNION ALL
SELECT 'type', t.oid::regtype::text FROM pg_type t JOIN pg_class c ON c.oid = typrelid AND relkind = 'c',
       aclexplode(coalesce(typacl, acldefault('T', typowner)))
 WHERE typnamespace = 'vqueue'::regnamespace AND grantee = 0;

-- everything says what it is for (no row)
SELECT oid::regprocedure FROM pg_proc
 WHERE pronamespace = 'vqueue'::regnamespace AND coalesce(obj_description(oid, 'pg_proc'), '') = '';
SELECT oid::regclass FROM pg_class
 WHERE relnamespace = 'vqueue'::regnamespace AND relkind IN ('r', 'v')
   AND coalesce(obj_description(oid, 'pg_class'), '') = '';
SELECT oid::regtype FROM pg_type
 WHERE oid = 'vqueue.place'::regtype AND coalesce(obj_description(oid, 'pg_type'), '') = '';
SELECT nspname FROM pg_namespace
 WHERE nspname = 'vqueue' AND coalesce(obj_description(oid, 'pg_namespace'), '') = '';

-- functions that are not C have their search_path pinned, and none is security definer without it (no row)
SELECT p.oid::regprocedure, proconfig FROM pg_proc p JOIN pg_language l ON l.oid = prolang
 WHERE pronamespace = 'vqueue'::regnamespace AND (lanname <> 'c' OR prosecdef)
   AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false);

-- what a dump takes along
SELECT rel::regclass, condition
  FROM pg_extension, unnest(extconfig, extcondition) AS c (rel, condition)
 WHERE extname = 'vqueue' ORDER BY rel::regclass::text COLLATE "C";

-- the tenant that is there from the start
SELECT id, name, domain IS NULL, created_at = updated_at FROM vqueue.tenants;

-- settings
SELECT name, setting, unit, context, vartype FROM pg_settings WHERE name LIKE 'vqueue.%' ORDER BY name COLLATE "C";
SET vqueue.no_such_setting = 1;

-- the processes come by themselves, and health finds nothing wrong
DO $$
BEGIN
    FOR i IN 1..18000 LOOP
        IF (SELECT bool_and(status = 'ok') FROM vqueue.health()) THEN RETURN; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END
$$;
SELECT "check", status, hint IS NULL FROM vqueue.health();
SELECT count(*) FROM pg_stat_activity a, vqueue._worker() w
 WHERE a.pid = w.pid AND a.datname = current_database() AND a.backend_type LIKE 'vqueue%';

-- dropping it leaves nothing, rolled back it leaves all
BEGIN;
SELECT 'made' FROM vqueue.create_queue('kept');
COMMIT;
BEGIN;
DROP EXTENSION vqueue;
SELECT count(*) FROM pg_namespace WHERE nspname = 'vqueue';
ROLLBACK;
SELECT status, position FROM vqueue.join('kept');
SELECT * FROM vqueue.check();
DROP EXTENSION vqueue;
SELECT count(*) FROM pg_namespace WHERE nspname = 'vqueue';
SELECT count(*) FROM pg_type WHERE typname = 'place';

-- within one transaction, and as the same backend that knew the old one
BEGIN;
CREATE EXTENSION vqueue;
SELECT 'made' FROM vqueue.create_queue('kept', state => 'paused');
SELECT status, ticket, position FROM vqueue.join('kept');
ROLLBACK;
SELECT count(*) FROM pg_namespace WHERE nspname = 'vqueue';
CREATE EXTENSION vqueue;
SELECT vqueue.join('kept');
SELECT 'made' FROM vqueue.create_queue('kept', state => 'paused');
SELECT status, ticket, position FROM vqueue.join('kept');
SELECT * FROM vqueue.check();
SELECT 'dropped' FROM vqueue.drop_queue('kept', force => true);
SELECT count(*) FROM vqueue.queues;
