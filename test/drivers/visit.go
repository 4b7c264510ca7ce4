// A visit with lib/pq (Debian: golang-github-lib-pq-dev): visit ADDRESS SESSION QUEUE...
//
// SESSION is what the visitor's cookie has from an earlier visit.  The server is found
// as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/lib/pq"
)

// lib/pq gives an interval as text, so a length of time is asked for in seconds.
type place struct {
	id, status, user string
	position         sql.NullInt64
	pollAfter        sql.NullFloat64
	servedAt         sql.NullTime
}

func ask(db *sql.DB, function string, arguments ...interface{}) (p place, err error) {
	err = db.QueryRow("SELECT id, status, user_id, position, extract(epoch FROM next_poll_after), served_at FROM "+function,
		arguments...).Scan(&p.id, &p.status, &p.user, &p.position, &p.pollAfter, &p.servedAt)
	return
}

// The SQLSTATE of an error of the server.
func state(err error) string {
	var e *pq.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return ""
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func orNull(valid bool, value interface{}) interface{} {
	if !valid {
		return "null"
	}
	return value
}

type event struct {
	Event    string
	Sessions []struct{ Id string }
}

// What was told after the cursor: waits for it, but not for longer than this.
func events(db *sql.DB, listener *pq.Listener, queue string, cursor *int64, patience time.Duration) (found []event, err error) {
	timeout := time.After(patience)
	for {
		rows, err := db.Query("SELECT seq, payload FROM vqueue.events_since($1, $2)", queue, *cursor)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var payload []byte
			var e event
			must(rows.Scan(cursor, &payload))
			must(json.Unmarshal(payload, &e))
			found = append(found, e)
		}
		if err = rows.Err(); err != nil || len(found) > 0 {
			return found, err
		}
		select {
		case <-listener.Notify: // nil when it listens again: then what was missed is read
		case <-timeout:
			return nil, nil
		}
	}
}

func main() {
	address, cookie, queues := os.Args[1], os.Args[2], os.Args[3:]

	// binary_parameters: an older PgBouncer in transaction mode has no prepared statements.
	db, err := sql.Open("postgres", "binary_parameters=yes")
	must(err)
	if _, err = ask(db, "vqueue.poll($1)", cookie); state(err) == "42704" {
		fmt.Println("unknown session")
	} else {
		must(err)
	}

	var p place
	var queue string
	for _, queue = range queues {
		p, err = ask(db, "vqueue.join($1, vqueue.user_id($2), user_name => $3)", queue, address, nil)
		if state(err) == "53400" {
			fmt.Println("full")
		} else if state(err) == "55000" {
			fmt.Println("closed")
		} else {
			must(err)
			break
		}
	}
	if err != nil {
		return
	}
	session := p.id
	fmt.Println("joined", p.status, p.position.Int64, p.user)

	// It connects again by itself.
	direct := ""
	if port := os.Getenv("DIRECT_PORT"); port != "" {
		direct = "port=" + port
	}
	var channel string
	var cursor int64
	listener := pq.NewListener(direct, 200*time.Millisecond, 10*time.Second, nil)
	must(db.QueryRow("SELECT vqueue.channel($1)", queue).Scan(&channel))
	must(listener.Listen(channel))
	must(db.QueryRow("SELECT vqueue.event_cursor($1)", queue).Scan(&cursor))

	p, err = ask(db, "vqueue.poll($1)", session)
	must(err)
	for p.status == "waiting" {
		found, err := events(db, listener, queue, &cursor, time.Duration(p.pollAfter.Float64*float64(time.Second)))
		must(err)
		for _, e := range found {
			for _, s := range e.Sessions {
				if e.Event == "released" && s.Id == session {
					fmt.Println("called")
				}
			}
		}
		p, err = ask(db, "vqueue.poll($1)", session)
		must(err)
	}
	fmt.Println("polled", p.status, p.position.Int64, orNull(p.pollAfter.Valid, p.pollAfter.Float64))

	claimed, err := ask(db, "vqueue.claim($1)", session)
	must(err)
	fmt.Println("claimed", claimed.status, claimed.servedAt.Time.UnixMilli())
	var token string
	var valid bool
	var goodFor float64
	must(db.QueryRow("SELECT vqueue.pass($1, $2)", session, (5 * time.Minute).String()).Scan(&token))
	must(db.QueryRow("SELECT valid, extract(epoch FROM expires_at - issued_at) FROM vqueue.verify_pass($1, $2)", token, queue).
		Scan(&valid, &goodFor))
	fmt.Println("pass", map[bool]string{true: "good", false: "bad"}[valid], goodFor)

	var text []byte
	var board map[string]interface{}
	must(db.QueryRow("SELECT vqueue.board($1)", queue).Scan(&text))
	must(json.Unmarshal(text, &board))
	fmt.Println("board", board["v"], board["waiting"])
	p, err = ask(db, "vqueue.complete($1)", session)
	must(err)
	fmt.Println("done", p.status, orNull(p.position.Valid, p.position.Int64))
	fmt.Printf("types %T %T %T %T %T %T\n", session, cursor, goodFor, claimed.servedAt.Time, board, p.position)
}
