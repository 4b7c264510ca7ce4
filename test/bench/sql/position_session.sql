SELECT vqueue.position($1::uuid)
