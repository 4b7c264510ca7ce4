SELECT * FROM vqueue.poll($1)
