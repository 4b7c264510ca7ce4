SELECT * FROM vqueue.poll(:session);
