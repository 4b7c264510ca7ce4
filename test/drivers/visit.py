#!/usr/bin/python3
#
# A visit with psycopg 3 (Debian: python3-psycopg): visit.py ADDRESS SESSION QUEUE...
#
# SESSION is what the visitor's cookie has from an earlier visit.  The server is found
# as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
#
import datetime
import os
import select
import sys
import time

import psycopg

EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)


def connect(**options):
    # prepare_threshold: an older PgBouncer in transaction mode has no prepared statements.
    return psycopg.connect("", autocommit=True, prepare_threshold=None, **options)


class Listener:
    """Tells when a queue has something new, and comes back when its connection is lost."""

    def __init__(self, db, queue):
        self.db, self.queue, self.conn = db, queue, None
        self.channel = db.execute("SELECT quote_ident(vqueue.channel(%s))", [queue]).fetchone()[0]
        self.connect()
        self.cursor = db.execute("SELECT vqueue.event_cursor(%s)", [queue]).fetchone()[0]

    def connect(self):
        self.conn = connect(port=os.environ.get("DIRECT_PORT"))
        self.conn.execute("LISTEN " + self.channel)

    def events(self, patience):
        """What was told since the last call: waits for it, but not for longer than this."""
        end = time.monotonic() + patience
        while True:
            # Whoever listens again first reads what it has missed.
            rows = self.db.execute("SELECT seq, payload FROM vqueue.events_since(%s, %s)",
                                   [self.queue, self.cursor]).fetchall()
            left = end - time.monotonic()
            if rows or left <= 0:
                break
            try:
                if self.conn is None:
                    self.connect()
                elif select.select([self.conn], [], [], left)[0]:
                    self.conn.execute("SELECT 1")    # takes the notification, or finds it lost
            except psycopg.OperationalError:
                self.conn = None
                time.sleep(min(0.2, left))
        if rows:
            self.cursor = rows[-1][0]
        return [payload for _, payload in rows]


def poll(db, session):
    return db.execute("SELECT status, position, next_poll_after FROM vqueue.poll(%s)", [session]).fetchone()


def join(db, queue, address):
    return db.execute("SELECT id, status, position, user_id"
                      "  FROM vqueue.join(%s, vqueue.user_id(%s), user_name => %s)", [queue, address, None]).fetchone()


def main(address, cookie, *queues):
    db = connect()
    try:
        poll(db, cookie)
    except psycopg.errors.UndefinedObject:                   # 42704
        print("unknown session")

    for queue in queues:
        try:
            session, status, position, user = join(db, queue, address)
            break
        except psycopg.errors.ConfigurationLimitExceeded:    # 53400
            print("full")
        except psycopg.errors.ObjectNotInPrerequisiteState:  # 55000
            print("closed")
    else:
        return
    print("joined", status, position, user)

    listener = Listener(db, queue)
    status, position, after = poll(db, session)
    while status == "waiting":
        for event in listener.events(after.total_seconds()):
            if event["event"] == "released" and any(s["id"] == str(session) for s in event["sessions"]):
                print("called")
        status, position, after = poll(db, session)
    print("polled", status, position, "null" if after is None else after)

    status, served_at = db.execute("SELECT status, served_at FROM vqueue.claim(%s)", [session]).fetchone()
    print("claimed", status, (served_at - EPOCH) // datetime.timedelta(milliseconds=1))
    token, = db.execute("SELECT vqueue.pass(%s, %s)", [session, datetime.timedelta(minutes=5)]).fetchone()
    valid, good_for = db.execute("SELECT valid, expires_at - issued_at FROM vqueue.verify_pass(%s, %s)",
                                 [token, queue]).fetchone()
    print("pass", "good" if valid else "bad", round(good_for.total_seconds()))
    board, = db.execute("SELECT vqueue.board(%s)", [queue]).fetchone()
    print("board", board["v"], board["waiting"])
    status, position = db.execute("SELECT status, position FROM vqueue.complete(%s)", [session]).fetchone()
    print("done", status, "null" if position is None else position)
    print("types", *(type(value).__name__ for value in (session, listener.cursor, good_for, served_at, board, position)))


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main(*sys.argv[1:])
