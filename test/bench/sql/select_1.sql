-- The floor of what is asked of a session.
SELECT 1;
