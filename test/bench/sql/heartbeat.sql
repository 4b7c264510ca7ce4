SELECT vqueue.heartbeat($1)
