SELECT count(*) FROM vqueue.join_many('bench', ARRAY(SELECT gen_random_uuid() FROM generate_series(1, 1000)));
