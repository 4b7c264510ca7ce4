-- Seconds from the start of the server until :statement was answered.
:statement \gset
SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time());
