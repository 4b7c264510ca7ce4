-- The same with a session as its argument, which it does not look at.
SELECT * FROM bench.constant_place($1)
