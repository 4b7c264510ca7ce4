\set t random(1, :tickets)
SELECT vqueue.position('bench', :t);
