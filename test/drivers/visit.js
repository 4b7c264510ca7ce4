#!/usr/bin/env node
//
// A visit with node-postgres (npm: pg; Debian: node-pg): visit.js ADDRESS SESSION QUEUE...
//
// SESSION is what the visitor's cookie has from an earlier visit.  The server is found
// as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
//
'use strict';
const pg = require('pg');

// Else a bigint comes as a string; a ticket or a seq may be too large for a Number.
pg.types.setTypeParser(pg.types.builtins.INT8, BigInt);

const seconds = (interval) =>
  (((interval.days || 0) * 24 + (interval.hours || 0)) * 60 + (interval.minutes || 0)) * 60 +
  (interval.seconds || 0) + (interval.milliseconds || 0) / 1000;

// Tells when a queue has something new, and comes back when its connection is lost.
class Listener {
  static async open(db, queue) {
    const listener = new Listener();
    Object.assign(listener, { db, queue, client: null, news: true, wake: () => {} });
    const { rows } = await db.query('SELECT quote_ident(vqueue.channel($1)) AS channel', [queue]);
    listener.channel = rows[0].channel;
    await listener.connect();
    listener.cursor = (await db.query('SELECT vqueue.event_cursor($1) AS seq', [queue])).rows[0].seq;
    return listener;
  }

  async connect() {
    const client = new pg.Client({ port: process.env.DIRECT_PORT || process.env.PGPORT });
    const told = () => { this.news = true; this.wake(); };
    const lost = () => { if (this.client === client) this.client = null; told(); };

    client.on('error', lost).on('end', lost).on('notification', told);
    await client.connect();
    await client.query(`LISTEN ${this.channel}`);
    this.client = client;
    this.news = true;
  }

  // Until there is news, but not for longer than this.
  async rest(milliseconds) {
    if (this.news) return;
    let timer;
    await new Promise((resolve) => { this.wake = resolve; timer = setTimeout(resolve, milliseconds); });
    clearTimeout(timer);
  }

  // What was told since the last call: waits for it, but not for longer than this.
  async events(patience) {
    const end = Date.now() + patience * 1000;
    for (;;) {
      this.news = false;
      // Whoever listens again first reads what it has missed.
      const { rows } = await this.db.query('SELECT seq, payload FROM vqueue.events_since($1, $2)', [this.queue, this.cursor]);
      if (rows.length > 0) this.cursor = rows[rows.length - 1].seq;
      if (rows.length > 0 || Date.now() >= end) return rows.map((row) => row.payload);
      if (this.client === null) {
        await this.connect().catch(() => new Promise((resolve) => setTimeout(resolve, 200)));
      } else {
        await this.rest(end - Date.now());
      }
    }
  }

  async close() {
    if (this.client !== null) await this.client.end();
  }
}

const poll = async (db, session) =>
  (await db.query('SELECT status, position, next_poll_after FROM vqueue.poll($1)', [session])).rows[0];

const join = async (db, queue, address) =>
  (await db.query(`SELECT id, status, position, user_id
                     FROM vqueue.join($1, vqueue.user_id($2), user_name => $3)`, [queue, address, null])).rows[0];

async function main(address, cookie, ...queues) {
  const db = new pg.Client();
  await db.connect();
  await poll(db, cookie).catch((error) => {
    if (error.code !== '42704') throw error;
    console.log('unknown session');
  });

  let queue, place;
  for (queue of queues) {
    place = await join(db, queue, address).catch((error) => {
      if (error.code === '53400') console.log('full');
      else if (error.code === '55000') console.log('closed');
      else throw error;
    });
    if (place) break;
  }
  if (place) {
    console.log('joined', place.status, String(place.position), place.user_id);
    await visit(db, queue, place);
  }
  await db.end();
}

async function visit(db, queue, { id }) {
  const listener = await Listener.open(db, queue);
  let place = await poll(db, id);
  while (place.status === 'waiting') {
    for (const event of await listener.events(seconds(place.next_poll_after))) {
      if (event.event === 'released' && event.sessions.some((session) => session.id === id)) console.log('called');
    }
    place = await poll(db, id);
  }
  console.log('polled', place.status, String(place.position), place.next_poll_after);

  const claimed = (await db.query('SELECT status, served_at FROM vqueue.claim($1)', [id])).rows[0];
  console.log('claimed', claimed.status, claimed.served_at.getTime());
  const { token } = (await db.query('SELECT vqueue.pass($1, $2) AS token', [id, '5 minutes'])).rows[0];
  const pass = (await db.query('SELECT valid, expires_at - issued_at AS good_for FROM vqueue.verify_pass($1, $2)', [token, queue])).rows[0];
  console.log('pass', pass.valid ? 'good' : 'bad', seconds(pass.good_for));
  const { board } = (await db.query('SELECT vqueue.board($1) AS board', [queue])).rows[0];
  console.log('board', board.v, board.waiting);
  const done = (await db.query('SELECT status, position FROM vqueue.complete($1)', [id])).rows[0];
  console.log('done', done.status, done.position);
  const type = (value) => (value === null ? 'null' : typeof value === 'object' ? value.constructor.name : typeof value);
  console.log('types', ...[id, listener.cursor, pass.good_for, claimed.served_at, board, done.position].map(type));
  await listener.close();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
