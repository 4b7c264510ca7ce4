#!/usr/bin/env python3
"""Recompute a draw of vqueue: verify_draw.py LIST SEED BEACON [ID ...]

LIST has a line for each entrant, as draw_entrants() has them: number,ticket,id_hash,place
BEACON is '' if there was none.  Compare what is printed with what was published.
"""
import csv, functools, hashlib, math, sys, uuid

def sha(data):
    return hashlib.sha256(data).digest()

def drawn_place(key, n, number):
    rows = math.isqrt(n - 1) + 1
    columns = -(-n // rows)
    x = number - 1
    while True:
        row, column = divmod(x, columns)
        for i in range(0, 32, 2):
            row = (row + step(key, i, column)) % rows
            column = (column + step(key, i + 1, row)) % columns
        x = row * columns + column
        if x < n:
            return x + 1

@functools.lru_cache(maxsize=None)
def step(key, i, value):
    return int.from_bytes(sha(key + bytes([i]) + value.to_bytes(4, "big"))[:8], "big")

name, seed, beacon = sys.argv[1:4]
entrants = list(csv.reader(open(name)))
hashes = [e[2] for e in entrants]
list_hash = sha(b"".join(map(bytes.fromhex, hashes))).hex()
key = sha(f"vqueue draw 1\n{seed}\n{len(entrants)}\n{list_hash}\n{beacon}".encode())
print("commitment", sha(bytes.fromhex(seed)).hex(), "entrants", len(entrants))
print("entrants_hash", list_hash, "key_hash", sha(key).hex())
print("places wrong:", sum(drawn_place(key, len(entrants), int(e[0])) != int(e[3]) for e in entrants))
for id in sys.argv[4:]:
    number = hashes.index(sha(uuid.UUID(id).bytes).hex()) + 1
    print(id, "number", number, "place", drawn_place(key, len(entrants), number))
