SELECT vqueue.positions($1::uuid[])
