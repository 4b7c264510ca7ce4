-- A hundred at a time, of a queue with slots enough.
SELECT vqueue.release('bench', 100)
