--
-- Two waiting rooms without vqueue, for whole lives: :room is "naive" or
-- "skip_locked".  The index over the status serves the position, the count of
-- who is inside and the choice of who is next alike.
--
CREATE TABLE bench.:"room" (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    queue_id    uuid NOT NULL DEFAULT '00000000-0000-7000-8000-000000000001',
    user_id     uuid NOT NULL,
    ticket      bigint NOT NULL,
    joined_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    served_at   timestamptz,
    left_at     timestamptz,
    status      text NOT NULL DEFAULT 'waiting',
    priority    text NOT NULL DEFAULT 'normal',
    user_name   text,
    user_email  text
);
CREATE INDEX ON bench.:"room" (queue_id, status, ticket);
CREATE UNIQUE INDEX ON bench.:"room" (queue_id, user_id) WHERE left_at IS NULL;
