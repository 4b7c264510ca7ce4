SELECT vqueue.heartbeat(:session);
