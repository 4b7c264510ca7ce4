SELECT vqueue.position('bench', $1)
