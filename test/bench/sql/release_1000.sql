-- A thousand at a time, of a queue with slots enough.
SELECT vqueue.release('bench', 1000)
