//! A large database: pairs of packets and events, and what was seen, as years of messages leave them.

use rusqlite::Connection;

use crate::support::relay::Home;

/// The numbers of the pairs.
const PAIRS: &str = "
    CREATE TEMP TABLE made AS
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1) SELECT n FROM number";
/// Copies of the newest pair, each with a packet and an event of its own, a second apart and none of them old enough to be
/// forgotten; and the notes that these packets and events were decided on. They are of another node than the one that speaks
/// here, whose packet must not look like one of them.
const FILL: &str = "
    CREATE TEMP TABLE newest AS SELECT * FROM message_pair ORDER BY id DESC LIMIT 1;
    INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room, event, thread, author,
        text, alert, part, at)
    SELECT origin, radio, sender + 1, (packet + n) % 4294967296, target_kind, target, channel, room, '$made' || n, thread,
        author, text, alert, part, at - n * 1000
    FROM newest, made ORDER BY n DESC;
    INSERT OR IGNORE INTO seen_packet (radio, packet, sender, at)
    SELECT radio, (packet + n) % 4294967296, sender + 1, at - n * 1000 FROM newest, made;
    INSERT OR IGNORE INTO seen_event (event, at) SELECT '$made' || n, at - n * 1000 FROM newest, made;";

/// Adds so many to the database of a relay that does not run.
pub(crate) fn add(home: &Home, count: usize) {
    let path = home.path("database/relay.sqlite");
    let mut books = Connection::open(path).expect("the relay has a database");
    books
        .pragma_update(None, "synchronous", "OFF")
        .expect("the database can be told");
    let filling = books.transaction().expect("nobody else uses it");
    filling
        .execute(PAIRS, [count])
        .expect("numbers can be made");
    filling.execute_batch(FILL).expect("pairs can be added");
    filling.commit().expect("pairs can be added");
    let there: usize = books
        .query_row("SELECT COUNT(*) FROM message_pair", (), |row| row.get(0))
        .expect("pairs can be counted");
    assert!(there > count, "only {there} pairs are there");
}
