/*
 * A visit with JDBC (Debian: libpostgresql-jdbc-java): Visit ADDRESS SESSION QUEUE...
 *
 * SESSION is what the visitor's cookie has from an earlier visit.  The server is found
 * as libpq's environment says; DIRECT_PORT is its own port, where PGPORT is a pooler's.
 */
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.util.PGInterval;

public class Visit {
    static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    static Connection connect(String port) throws SQLException {
        // prepareThreshold: an older PgBouncer in transaction mode has no prepared statements.
        return DriverManager.getConnection(
            "jdbc:postgresql://" + env("PGHOST", "localhost") + ":" + port + "/" + env("PGDATABASE", "postgres")
            + "?prepareThreshold=0", env("PGUSER", System.getProperty("user.name")), System.getenv("PGPASSWORD"));
    }

    static PreparedStatement prepare(Connection db, String sql, Object... values) throws SQLException {
        PreparedStatement statement = db.prepareStatement(sql);
        for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
        return statement;
    }

    /** Vqueue's intervals have neither months nor years. */
    static Duration duration(ResultSet row, String column) throws SQLException {
        PGInterval i = (PGInterval) row.getObject(column);
        return i == null ? null : Duration.ofDays(i.getDays()).plusHours(i.getHours()).plusMinutes(i.getMinutes())
            .plusSeconds(i.getWholeSeconds()).plusNanos(i.getMicroSeconds() * 1000L);
    }

    static class Place {
        UUID id, user;
        String status;
        Long position;
        Duration nextPollAfter;
        OffsetDateTime servedAt;
    }

    static Place place(Connection db, String function, Object... arguments) throws SQLException {
        try (PreparedStatement s = prepare(db, "SELECT id, status, position, next_poll_after, served_at, user_id FROM " + function, arguments);
             ResultSet row = s.executeQuery()) {
            Place place = new Place();
            row.next();
            place.id = row.getObject("id", UUID.class);
            place.user = row.getObject("user_id", UUID.class);
            place.status = row.getString("status");
            place.position = row.getObject("position", Long.class);
            place.nextPollAfter = duration(row, "next_poll_after");
            place.servedAt = row.getObject("served_at", OffsetDateTime.class);
            return place;
        }
    }

    static String text(Connection db, String sql, Object... arguments) throws SQLException {
        try (PreparedStatement s = prepare(db, sql, arguments); ResultSet row = s.executeQuery()) {
            row.next();
            return row.getString(1);
        }
    }

    /** Tells when a queue has something new, and comes back when its connection is lost. */
    static class Listener {
        final Connection db;
        final String queue, channel;
        Connection connection;
        long cursor;

        Listener(Connection db, String queue) throws SQLException {
            this.db = db;
            this.queue = queue;
            channel = text(db, "SELECT quote_ident(vqueue.channel(?))", queue);
            listen();
            cursor = Long.parseLong(text(db, "SELECT vqueue.event_cursor(?)", queue));
        }

        void listen() throws SQLException {
            connection = connect(env("DIRECT_PORT", env("PGPORT", "5432")));
            try (Statement s = connection.createStatement()) {
                s.execute("LISTEN " + channel);
            }
        }

        /** Releases of a session that were told since the last call: waits for events, but not for longer than this. */
        List<String> releases(UUID session, Duration patience) throws SQLException, InterruptedException {
            long end = System.nanoTime() + patience.toNanos();
            for (;;) {
                // Whoever listens again first reads what it has missed.
                List<String> found = new ArrayList<>();
                boolean any = false;
                try (PreparedStatement s = prepare(db,
                        "SELECT seq, event, payload, payload -> 'sessions' @> jsonb_build_array(jsonb_build_object('id', ?)) AS mine"
                        + " FROM vqueue.events_since(?, ?)", session.toString(), queue, cursor);
                     ResultSet row = s.executeQuery()) {
                    while (row.next()) {
                        any = true;
                        cursor = row.getLong("seq");
                        if (row.getString("event").equals("released") && row.getBoolean("mine")) found.add(row.getString("payload"));
                    }
                }
                long left = (end - System.nanoTime()) / 1000000;
                if (any || left <= 0) return found;
                try {
                    if (connection == null) listen();
                    else connection.unwrap(PGConnection.class).getNotifications((int) left);
                } catch (SQLException e) {
                    connection = null;
                    Thread.sleep(Math.min(200, left));
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Connection db = connect(env("PGPORT", "5432"));
        try {
            place(db, "vqueue.poll(?)", UUID.fromString(args[1]));
        } catch (SQLException e) {
            if (!"42704".equals(e.getSQLState())) throw e;
            System.out.println("unknown session");
        }

        Place place = null;
        String queue = null;
        for (int i = 2; i < args.length && place == null; i++) {
            queue = args[i];
            try {
                place = place(db, "vqueue.join(?, vqueue.user_id(?), user_name => ?)", queue, args[0], null);
            } catch (SQLException e) {
                if ("53400".equals(e.getSQLState())) System.out.println("full");
                else if ("55000".equals(e.getSQLState())) System.out.println("closed");
                else throw e;
            }
        }
        if (place == null) return;
        UUID session = place.id;
        System.out.println("joined " + place.status + " " + place.position + " " + place.user);

        Listener listener = new Listener(db, queue);
        place = place(db, "vqueue.poll(?)", session);
        while (place.status.equals("waiting")) {
            for (String release : listener.releases(session, place.nextPollAfter)) System.out.println("called");
            place = place(db, "vqueue.poll(?)", session);
        }
        System.out.println("polled " + place.status + " " + place.position + " " + place.nextPollAfter);

        Place claimed = place(db, "vqueue.claim(?)", session);
        System.out.println("claimed " + claimed.status + " " + claimed.servedAt.toInstant().toEpochMilli());
        String token = text(db, "SELECT vqueue.pass(?, ?)", session, new PGInterval("5 minutes"));
        Duration goodFor;
        try (PreparedStatement s = prepare(db, "SELECT valid, expires_at - issued_at AS good_for FROM vqueue.verify_pass(?, ?)", token, queue);
             ResultSet row = s.executeQuery()) {
            row.next();
            goodFor = duration(row, "good_for");
            System.out.println("pass " + (row.getBoolean("valid") ? "good" : "bad") + " " + goodFor.toSeconds());
        }
        // JSON comes as text, for a parser of your choice; here the server takes it apart.
        try (PreparedStatement s = prepare(db, "SELECT b ->> 'v', b ->> 'waiting', b FROM vqueue.board(?) b", queue);
             ResultSet row = s.executeQuery()) {
            row.next();
            System.out.println("board " + row.getInt(1) + " " + row.getLong(2));
            Place done = place(db, "vqueue.complete(?)", session);
            System.out.println("done " + done.status + " " + done.position);
            System.out.println("types " + types(session, listener.cursor, goodFor, claimed.servedAt, row.getString(3), done.position));
        }
    }

    static String types(Object... values) {
        List<String> names = new ArrayList<>();
        for (Object value : values) names.add(value == null ? "null" : value.getClass().getSimpleName());
        return String.join(" ", names);
    }
}
