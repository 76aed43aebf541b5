//! The bare loop: the same `PUT`s as the relay's, one after the other, and nothing else. Nobody who keeps the order of a
//! room's messages can be faster.

use std::sync::Arc;
use std::time::Instant;

use matrix_sdk::ruma::OwnedRoomId;
use serde_json::{Value, json};

use crate::account::{Account, Reader};
use crate::figures::Series;
use crate::support::synapse::Synapse;
use crate::support::user::Kind;

/// Number of `PUT`s whose median stands beside each figure.
const PUTS: usize = 40;

/// An account in a room with one reader.
#[derive(Debug)]
pub(crate) struct Loop {
    account: Account,
    room: OwnedRoomId,
    _reader: Reader,
}

impl Loop {
    /// Makes accounts and room.
    pub(crate) async fn new(kind: Kind) -> Self {
        let synapse = Synapse::shared().await;
        let (account, reader) = tokio::join!(
            Account::new(synapse, "loop"),
            Account::new(synapse, "reader")
        );
        let room = reader.create_room(kind, &[]).await;
        account.join(&room).await;
        let reader = Reader::of(&Arc::new(reader));
        reader.sees_join(&room, account.user()).await;
        Self {
            account,
            room,
            _reader: reader,
        }
    }

    /// Sends an event so many times; returns how long each `PUT` took, and how many there were in a second, counted from
    /// the first answer to the last.
    pub(crate) async fn run(&self, kind: &str, content: &Value, count: usize) -> (Series, f64) {
        let mut series = Series::default();
        let mut first = None;
        for _ in 0..count {
            let began = Instant::now();
            self.account.put(&self.room, kind, content).await;
            series.add(began.elapsed());
            first.get_or_insert_with(Instant::now);
        }
        let took = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
        let between = u32::try_from(count.saturating_sub(1)).expect("messages can be counted");
        (series, f64::from(between) / took)
    }
}

/// Measures how long the homeserver takes for the `PUT` of a message in a plain room.
pub(crate) async fn put_time() -> Series {
    let content = json!({"msgtype": "m.text", "body": "how long does this take?"});
    let (series, _) = Loop::new(Kind::Plain)
        .await
        .run("m.room.message", &content, PUTS)
        .await;
    series
}
