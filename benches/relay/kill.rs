//! `kill -9` during a burst: no accepted message is lost or duplicated, and the order is kept.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::burst::arrived;
use crate::extent::Extent;
use crate::figures::{Figures, progress, rounded};
use crate::stage::{Stage, sees, start, takes};
use crate::support::radio::{BASE, transmitted};
use crate::support::relay::Home;

/// Names of the figures that [`measure`] can print.
pub(crate) const FIGURES: [&str; 2] = ["kill_to_matrix", "kill_to_mesh"];

/// Length of a text of three parts, in bytes.
const LONG: usize = 480;

/// Id of the burst's first packet; the others follow it.
const FIRST_PACKET: usize = 0x7000_0000;

/// Measures what is lost or doubled when the relay is killed, in each direction.
pub(crate) async fn measure(figures: &mut Figures, extent: &Extent) {
    let mut stage = Stage::set_up().await;
    if figures.want_any_of(&FIGURES[..1]) {
        to_matrix(figures, &mut stage, extent.burst).await;
    }
    if figures.want_any_of(&FIGURES[1..]) {
        to_mesh(figures, &stage, extent.kill_to_mesh).await;
    }
}

/// A packet may be lost between the radio and the relay's database, which nobody can detect; so the radio receives the
/// whole burst again afterwards, and finally each text must have arrived once.
async fn to_matrix(figures: &mut Figures, stage: &mut Stage, count: usize) {
    progress(&format!(
        "kill -9 in a burst of {count} messages from the mesh"
    ));
    let queue = json!({"fault": "queue", "capacity": count});
    stage.radio.fault(queue).await;
    let texts: Vec<_> = (0..count)
        .map(|number| format!("killed, message {number}"))
        .collect();
    let place = &stage.places[0];
    let heard = |number: usize| {
        let mut line = place.heard(&texts[number]);
        line["id"] = json!(FIRST_PACKET + number);
        line
    };
    let mut relay = start(&stage.home).await;
    for number in 0..count {
        stage.radio.write(&heard(number)).await;
    }
    sees(&stage.alice, &place.relay, &texts[count / 2]).await;
    relay.kill().await;
    let accepted = accepted(&stage.home);
    let accepted: Vec<_> = (0..count)
        .filter(|number| accepted.contains(&(FIRST_PACKET + number)))
        .map(|number| texts[number].clone())
        .collect();

    let began = Instant::now();
    let _relay = start(&stage.home).await;
    if let Some(last) = accepted.last() {
        sees(&stage.alice, &place.relay, last).await;
    }
    let recovered = began.elapsed().as_secs_f64();
    let again = arrived(
        figures,
        "kill_to_matrix",
        &stage.alice,
        &place.relay,
        &accepted,
    )
    .await;

    for number in 0..count {
        stage.radio.write(&heard(number)).await;
    }
    let last = "killed, the last word";
    stage.radio.write(&place.heard(last)).await;
    sees(&stage.alice, &place.relay, last).await;
    let (missing, doubled) = everywhere(stage, &texts).await;
    if missing + doubled > 0 {
        figures.broken(format!(
            "kill_to_matrix: {missing} missing and {doubled} doubled at the end"
        ));
    }
    let missed = again["missing"].as_f64().unwrap_or_default();
    let twice = again["doubled"].as_f64().unwrap_or_default();
    let more = json!({
        "messages": count, "accepted_before": accepted.len(), "recovered_s": rounded(recovered),
        "accepted": again, "told_again": {"missing": missing, "doubled": doubled},
    });
    figures.tell(
        "kill_to_matrix",
        missed + twice,
        "messages lost or doubled",
        &more,
    );
}

/// Counts the missing and the duplicate texts of the room.
async fn everywhere(stage: &Stage, texts: &[String]) -> (usize, usize) {
    let history = stage.alice.history(&stage.places[0].relay).await;
    let is_one = |body: &str| texts.iter().find(|text| body.ends_with(text.as_str()));
    let there: Vec<_> = history
        .iter()
        .filter_map(|seen| is_one(seen.body()))
        .collect();
    let different: HashSet<_> = there.iter().collect();
    (texts.len() - different.len(), there.len() - different.len())
}

/// Returns the ids of this node's packets in the relay's database.
fn accepted(home: &Home) -> HashSet<usize> {
    let books = books(home);
    let mut query = books
        .prepare("SELECT packet FROM seen_packet WHERE sender = ?1")
        .expect("the books have this table");
    let sender = u32::from_str_radix(&BASE.id[1..], 16).expect("a node has a number");
    let packets = query.query_map([sender], |row| row.get::<_, usize>(0));
    let packets = packets.expect("the books can be read");
    packets
        .map(|packet| packet.expect("a packet has a number"))
        .collect()
}

/// Opens the relay's database read-only.
pub(crate) fn books(home: &Home) -> Connection {
    let path = home.path("database/relay.sqlite");
    let books = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the relay has a database");
    books
        .busy_timeout(Duration::from_secs(5))
        .expect("a limit can be set");
    books
}

async fn to_mesh(figures: &mut Figures, stage: &Stage, count: usize) {
    progress(&format!(
        "kill -9 in a queue of {count} messages to the mesh"
    ));
    // However a long text is cut, each part ends with its word. One part is in flight when the relay is killed.
    let words: Vec<_> = (0..count)
        .map(|number| format!(" killed-on-its-way-{number}"))
        .collect();
    let parts_of = |number: usize| if number % 4 == count / 2 % 4 { 3 } else { 1 };
    let expected: usize = (0..count).map(parts_of).sum();
    let place = &stage.places[0];
    let from = stage.radio.output.count();
    let mut relay = start(&stage.home).await;
    for (number, word) in words.iter().enumerate() {
        let repeated = if parts_of(number) == 1 {
            1
        } else {
            LONG / word.len()
        };
        let text = format!("text{}", word.repeat(repeated));
        stage.alice.send(&place.relay, &text).await;
    }
    takes(&stage.radio, from, &words[count / 2]).await;
    relay.kill().await;
    let began = Instant::now();
    let _relay = start(&stage.home).await;
    takes(&stage.radio, from, &words[count / 2 + 1]).await;
    let recovered = began.elapsed().as_secs_f64();
    for word in &words {
        takes(&stage.radio, from, word).await;
    }

    let mut packets: Vec<(Value, String)> = Vec::new();
    for line in stage.radio.output.all().iter().skip(from) {
        let Some(packet) = transmitted(line) else {
            continue;
        };
        let text = packet["text"].as_str().unwrap_or_default().to_owned();
        if text.contains("killed-on-its-way") && packets.iter().all(|(id, _)| *id != packet["id"]) {
            packets.push((packet["id"].clone(), text));
        }
    }
    let different: HashSet<_> = packets.iter().map(|(_, text)| text).collect();
    let missing = expected.saturating_sub(different.len());
    let doubled = packets.len() - different.len();
    // The parts of one text are in the order of their counters (`Alice 2/3: `).
    let places = packets.iter().map(|(_, text)| {
        let number = words.iter().position(|it| text.ends_with(it.as_str()));
        let part = text.split([' ', ':']).find(|word| word.ends_with("/3"));
        (number, part)
    });
    let in_order = places.collect::<Vec<_>>().is_sorted();
    if missing + doubled > 0 || !in_order {
        figures.broken(format!(
            "kill_to_mesh: {missing} missing, {doubled} doubled, in order: {in_order}"
        ));
    }
    let more = json!({
        "messages": count, "packets": expected, "missing": missing, "doubled": doubled, "in_order": in_order,
        "recovered_s": rounded(recovered),
    });
    let wrong = u32::try_from(missing + doubled).unwrap_or(u32::MAX);
    figures.tell(
        "kill_to_mesh",
        f64::from(wrong),
        "messages lost or doubled",
        &more,
    );
}
