-- The floor of what answers with a place.
SELECT * FROM bench.constant_place()
