SELECT * FROM vqueue.join('bench');
