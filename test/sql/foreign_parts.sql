-- Triggers, checks, columns and indexes that users add to the sessions: a join minds them all.
\pset format unaligned
\pset tuples_only on
\pset null null
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS vqueue;
RESET client_min_messages;
\set VERBOSITY terse

CREATE FUNCTION pg_temp.u(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid $$;
-- a join, twice, and what is there then
CREATE FUNCTION pg_temp.visit(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    first vqueue.place := vqueue.join('parts', pg_temp.u(n), user_name => 'Ann', user_email => 'ann@example.org');
    again vqueue.place := vqueue.join('parts', pg_temp.u(n), priority => 'vip');
    row vqueue.user_sessions;
BEGIN
    SELECT * INTO STRICT row FROM vqueue.user_sessions WHERE id = first.id;
    RETURN format('%s %s at %s, the same again: %s, row: %s %s %s %s', first.status, first.priority, first.position,
                  again.id = first.id AND again.priority = 'normal',
                  row.status, row.priority, row.user_name, row.user_email);
END
$$;

SELECT 'made' FROM vqueue.create_queue('parts', max_concurrent_users => 1);

-- nothing foreign: served at once, waiting, and in one's own transaction
SELECT pg_temp.visit(1);
SELECT pg_temp.visit(2);
BEGIN;
SELECT pg_temp.visit(3);
SAVEPOINT one;
SELECT pg_temp.visit(4);
ROLLBACK TO one;
SELECT pg_temp.visit(5);
COMMIT;
SELECT count(*) FROM vqueue.user_sessions;

-- a trigger
CREATE TABLE public.seen (ticket bigint, moment text);
CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.seen VALUES (NEW.ticket, TG_WHEN || ' ' || TG_LEVEL);
    RETURN NEW;
END
$$;
CREATE TRIGGER users_own AFTER INSERT ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION public.see();
SELECT pg_temp.visit(6);
SELECT count(*) FROM public.seen;
DROP TRIGGER users_own ON vqueue.user_sessions;
CREATE TRIGGER users_own BEFORE INSERT ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION public.see();
SELECT pg_temp.visit(7);
SELECT moment, count(*) FROM public.seen GROUP BY moment ORDER BY moment;
ALTER TABLE vqueue.user_sessions DISABLE TRIGGER users_own;
SELECT pg_temp.visit(8);
SELECT count(*) FROM public.seen;
DROP TRIGGER users_own ON vqueue.user_sessions;
SELECT pg_temp.visit(9);
SELECT count(*) FROM public.seen;

-- a check
ALTER TABLE vqueue.user_sessions ADD CONSTRAINT no_ann CHECK (user_name <> 'Ann') NOT VALID;
SELECT pg_temp.visit(10);
ALTER TABLE vqueue.user_sessions DROP CONSTRAINT no_ann;
SELECT pg_temp.visit(10);

-- an index
SELECT max(ticket) AS last FROM vqueue.user_sessions \gset
CREATE UNIQUE INDEX names_are_unique ON vqueue.user_sessions (user_name) WHERE ticket > :last;
SELECT pg_temp.visit(11);
SELECT pg_temp.visit(12);
DROP INDEX vqueue.names_are_unique;
SELECT pg_temp.visit(12);

-- a column's own rules
ALTER TABLE vqueue.user_sessions ALTER COLUMN user_name SET NOT NULL;
SELECT vqueue.join('parts', pg_temp.u(16));
ALTER TABLE vqueue.user_sessions ALTER COLUMN user_name DROP NOT NULL;
SELECT pg_temp.visit(16);

-- a foreign key
CREATE TABLE public.users (id uuid PRIMARY KEY);
INSERT INTO public.users SELECT user_id FROM vqueue.user_sessions;
ALTER TABLE vqueue.user_sessions ADD CONSTRAINT known_users FOREIGN KEY (user_id) REFERENCES public.users;
SELECT vqueue.join('parts', pg_temp.u(18));
INSERT INTO public.users VALUES (pg_temp.u(18));
SELECT pg_temp.visit(18);
ALTER TABLE vqueue.user_sessions DROP CONSTRAINT known_users;
DROP TABLE public.users;

-- a column
ALTER TABLE vqueue.user_sessions ADD COLUMN seats int DEFAULT 2;
SELECT pg_temp.visit(13);
SELECT count(*) FROM vqueue.user_sessions WHERE user_id = pg_temp.u(13) AND seats = 2;
ALTER TABLE vqueue.user_sessions DROP COLUMN seats;
SELECT pg_temp.visit(14);

-- replication's role fires ours alone
CREATE TRIGGER users_own AFTER INSERT ON vqueue.user_sessions FOR EACH ROW EXECUTE FUNCTION public.see();
SET session_replication_role = replica;
SELECT pg_temp.visit(15);
RESET session_replication_role;
SELECT count(*) FROM public.seen;
DROP TRIGGER users_own ON vqueue.user_sessions;

SELECT status, count(*), count(DISTINCT ticket), count(DISTINCT user_id) FROM vqueue.user_sessions GROUP BY status ORDER BY status;
SELECT * FROM vqueue.check();
SET enable_seqscan = off;
SELECT count(*) FROM vqueue.user_sessions s WHERE EXISTS (SELECT FROM vqueue.user_sessions t WHERE t.id = s.id)
   AND EXISTS (SELECT FROM vqueue.user_sessions t WHERE t.queue_id = s.queue_id AND t.ticket = s.ticket)
   AND EXISTS (SELECT FROM vqueue.user_sessions t WHERE t.queue_id = s.queue_id AND t.user_id = s.user_id AND t.left_at IS NULL);
RESET enable_seqscan;
DROP FUNCTION public.see();
DROP TABLE public.seen;
SELECT vqueue.drop_queue('parts', true);
