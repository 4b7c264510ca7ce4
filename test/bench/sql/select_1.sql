-- The floor of what is asked of a session or a ticket.
SELECT 1
