#!/usr/bin/env python3
#
# model.py [RESULTS-rounds.csv]
#		The figures of model.md: what larger machines and crowds would come to.
#
# Takes what a run of the benchmark measured (the medians of its rounds), or
# else what is written below, and prints what follows from it: by arithmetic
# where that will do, by simulation where waiting matters (commits that share
# a flush, a crowd that polls by next_poll_after).  Same input, same output.

import heapq
import random
import statistics
import sys

# Medians of a quick run on two cores, clients on the same machine, which others used as well (load average 5).
MEASURED = {
    'floor': 70345.0,           # SELECT 1 a second
    'poll_many': 44520.0,       # polls a second
    'position_many': 59925.0,   # position(queue, ticket) a second
    'positions': 740900.0,      # positions a second, 100 at a time
    'join_16': 10623.0,         # joins a second, 16 clients
    'join_64': 10778.0,         # and 64
    'join_many': 68044.0,       # sessions a second, 1,000 a call, one client
    'release_10000': 56417.0,   # releases a second, one process
    'life': 3627.0,             # whole lives a second
    'life_wal': 1151.0,         # bytes of WAL of a whole life
    'memory': 5.683,            # bytes of shared memory a waiting session
    'commit_50': 0.24,          # ms, a one-row UPDATE with its commit, one client
    'client_us': 8.81,          # of a processor, that a request takes its client
    'count_one': 0.06789,       # s, a count of 1,000,000 rows by one process
    'row_bytes': 288,           # a session's row with its three index entries, on disk
}

# What is not measured here but known of such machines; each is a guess to replace.
CORES = 64
LINE_TRANSFER = 60e-9           # a contended cache line from one core to another, s
POLL_TOUCHES = 4                # of the queue's lock: twice taken, twice given back
JOIN_HOLDS = 4                  # times that a join holds the queue's lock alone
HOLD = 250e-9                   # for so long, the transfer included, s
WAL_DISK = 1.0e9                # bytes a second that a good disk takes in one stream
WAL_RECORDS = 1.5e6             # records a second that all processes together can insert
JOIN_RECORDS = 6                # heap, three indexes, commit, and a share of the rest
FLUSH = 0.1e-3                  # s, of a good disk
REPLAY = 150e6                  # bytes of WAL a second that one standby replays
EVENT_BYTES = 2 * 118           # a release in the events of two channels
LISTENER = 100e6                # bytes of events a second that one backend hands on
BOARD_BYTES = 1500
BOARD_EVERY = 10.0              # s


def read_rounds(path):
    samples = {}
    with open(path) as rounds:
        next(rounds)
        for line in rounds:
            label, _, figure = line.rstrip('\n').split(',')
            samples.setdefault(label, []).append(float(figure))
    for label in MEASURED:
        if label in samples:
            MEASURED[label] = statistics.median(samples[label])


def group_commit(cores, clients, cpu, flush, transactions=40000):
    """Transactions a second of clients that compute, then wait for a flush, which those who wait share."""
    draw = random.Random(1)
    waits = []                  # for a core
    joining = []                # the flush after the present one
    events = []                 # (time, number, what, client)
    number = 0
    free = cores
    flushing = None
    done = 0
    clock = 0.0

    def at(when, what, who):
        nonlocal number
        number += 1
        heapq.heappush(events, (when, number, what, who))

    def compute(who):
        nonlocal free
        if free > 0:
            free -= 1
            at(clock + cpu * draw.uniform(0.7, 1.3), 'computed', who)
        else:
            waits.append(who)

    for client in range(clients):
        compute(client)
    while done < transactions:
        clock, _, what, who = heapq.heappop(events)
        if what == 'computed':
            free += 1
            if waits:
                compute(waits.pop(0))
            joining.append(who)
        else:
            done += len(flushing)
            for client in flushing:
                compute(client)
            flushing = None
        if flushing is None and joining:
            flushing, joining = joining, []
            at(clock + flush, 'flushed', None)
    return done / clock


def poll_delay(wait):
    """As next_poll_after: a tenth of the wait, from 1 s to 1 min."""
    return min(max(wait / 10, 1.0), 60.0)


def crowd(people, arrival, rate, near=None, step=5.0):
    """
    The most polls a second of people who join within arrival seconds and are let in at a rate a second.
    With near, only those poll who will be let in within so many seconds; the others read boards.
    Returns that, the most who wait, and the most who read boards.
    """
    most = waiting_most = readers_most = 0.0
    waiting = 0.0
    clock = 0.0
    while clock < arrival + people / rate:
        waiting += people / arrival * step if clock < arrival else 0.0
        waiting = max(waiting - rate * step, 0.0)
        polls = 0.0
        # by the wait, in steps that grow
        low = 0.0
        while low * rate < waiting:
            high = min(low + max(0.5, low / 20), waiting / rate)
            if near is None or low < near:
                polls += (high - low) * rate / poll_delay((low + high) / 2)
            low = high if high > low else waiting / rate + 1
        most = max(most, polls)
        waiting_most = max(waiting_most, waiting)
        readers_most = max(readers_most, waiting - (rate * near if near else waiting))
        clock += step if clock < arrival + 60 else max(step, people / rate / 500)
    return most, waiting_most, readers_most


def short(n):
    for unit, size in (('G', 1e9), ('M', 1e6), ('k', 1e3)):
        if abs(n) >= size:
            return '%.3g%s' % (n / size, unit)
    return '%.3g' % n


def line(what, figure, unit='', why=''):
    print(('  %-58s %9s %-4s %s' % (what, short(figure), unit, why)).rstrip())


def main():
    if len(sys.argv) > 1:
        read_rounds(sys.argv[1])
    m = MEASURED
    client = m['client_us'] * 1e-6
    poll_cpu = 2 / m['poll_many'] - client
    join_cpu = 2 / m['join_16']
    life_cpu = 2 / m['life'] - 5 * client

    print('What went in:')
    for label, figure in m.items():
        print('  %-14s %g' % (label, figure))

    print('\nProcessor time on two cores, and what of it is the server\'s:')
    line('a poll, of a core', poll_cpu * 1e6, 'us')
    line('a join, of a core, clients included', join_cpu * 1e6, 'us')
    line('a release, of the worker', 1e6 / m['release_10000'], 'us')

    print('\nCommits, simulated: joins a second, %.2f ms a flush here, %.2f ms there' % (m['commit_50'], FLUSH * 1e3))
    for clients in (16, 64):
        line('2 cores, %d clients (measured %s)' % (clients, short(m['join_%d' % clients])),
             group_commit(2, clients, join_cpu, m['commit_50'] * 1e-3), '/s')
    for clients in (64, 256, 1024):
        line('%d cores, %d clients, nothing else in the way' % (CORES, clients),
             group_commit(CORES, clients, join_cpu - client, FLUSH, 200000), '/s')

    print('\nThe walls of one server with %d cores:' % CORES)
    walls = [
        (m['release_10000'], 'lives', 'the worker: one process a database lets in'),
        (CORES / life_cpu, 'lives', 'processor time of whole lives with three polls'),
        (1 / (JOIN_HOLDS * HOLD), 'joins', 'the lock of one queue, held alone four times a join'),
        (WAL_RECORDS / JOIN_RECORDS, 'joins', 'insertion of WAL records'),
        (WAL_DISK / m['life_wal'], 'lives', 'bytes of WAL to one disk'),
        (REPLAY / m['life_wal'], 'lives', 'replay of WAL by one standby'),
        (group_commit(CORES, 1024, join_cpu - client, FLUSH, 200000), 'joins', 'processor time and commits, 1,024 clients'),
        (LISTENER / EVENT_BYTES, 'lives', 'events handed to one listener'),
    ]
    for figure, what, why in sorted(walls):
        line('%s a second' % what, figure, '/s', why)
    print('  and of polls:')
    line('polls a second, processor time', CORES / poll_cpu, '/s')
    line('polls a second of one queue, transfers of its lock\'s line', 1 / (POLL_TOUCHES * LINE_TRANSFER), '/s')
    line('positions a second, 100 a call, processor time', CORES / (2 / m['positions'] - client / 100), '/s')

    people = 100e6
    print('\n%s people in one sale:' % short(people))
    line('shared memory of the line', m['memory'] * people, 'B')
    line('rows and indexes', m['row_bytes'] * people, 'B')
    line('WAL of all lives', m['life_wal'] * people, 'B')
    line('a position on a standby, which counts rows, in mid-line', m['count_one'] / 1e6 * people / 2, 's')
    for minutes in (10, 60):
        line('joins a second if they come within %d min' % minutes, people / (minutes * 60), '/s')
    for rate in (1000, 10000, 30000):
        polls, waiting, _ = crowd(people, 600, rate)
        near, _, readers = crowd(people, 600, rate, near=60)
        print('  let in at %s a second (%.1f h):' % (short(rate), people / rate / 3600))
        line('  most who wait', waiting)
        line('  all poll as next_poll_after says: polls', polls, '/s', '%.1f servers of %d cores' % (polls * poll_cpu / CORES, CORES))
        line('  the last minute polls, others read boards: polls', near, '/s', '%.2f servers' % (near * poll_cpu / CORES))
        line('  readings of boards, every %d s' % BOARD_EVERY, readers / BOARD_EVERY, '/s', 'by a CDN, %s B/s' % short(readers / BOARD_EVERY * BOARD_BYTES))


main()
