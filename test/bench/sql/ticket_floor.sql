-- The floor of position.sql: the same draw, and nothing asked.
\set t random(1, :tickets)
SELECT 1;
