SELECT vqueue.position(:session::uuid);
