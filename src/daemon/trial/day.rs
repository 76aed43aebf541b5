//! What a relay that works writes to its log in a day.

use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::*;

/// Collects the sentences of our lines at info and above.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Sentence(String);

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let is_ours =
            metadata.target().starts_with("relay") && !metadata.target().contains("simulator");
        if is_ours && *metadata.level() <= Level::INFO {
            let mut sentence = Sentence(String::new());
            event.record(&mut sentence);
            self.0.lock().unwrap().push(sentence.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_working_relay_logs_less_than_twenty_lines_a_day() {
    // With a single dispatcher, `tracing` caches a call site that another thread reaches first as disabled.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let lines = Lines::default();
    let log = tracing_subscriber::registry().with(lines.clone());
    let _heard = tracing::subscriber::set_default(log);
    let trial = Trial::started(71).await;
    let (mut far, mut near) = (0, 0);
    for hour in 0..24 {
        // Nodes and people chat: texts, reactions, edits, and what is taken back.
        for turn in 0..6 {
            let room = (hour + turn) % ROOMS;
            far += 1;
            trial.mesh.says(room, far, &format!("far {far}")).await;
            trial.wait(Duration::from_secs(20)).await;
            near += 1;
            let said = trial.homeserver.says(room, &format!("near {near}"));
            trial.wait(Duration::from_secs(20)).await;
            match turn {
                1 => trial.homeserver.reacts(room, &said, "👍"),
                2 => trial
                    .homeserver
                    .edits(room, &said, &format!("nearer {near}")),
                3 => trial.homeserver.redacts(room, &said),
                4 => drop(trial.homeserver.says(room, "!help")),
                _ => {}
            }
            // The band is busy now and then.
            let percent = if turn % 2 == 0 { 30.0 } else { 10.0 };
            let telemetry = format!(r#"{{"fault": "channel_use", "percent": {percent}}}"#);
            trial.mesh.fault(&telemetry).await;
            trial.wait(Duration::from_mins(8)).await;
        }
        match hour {
            // The radio restarts once a day, the homeserver as well, and is slow or strict at times.
            5 => {
                let away = r#"{"fault": "away", "seconds": 300}"#;
                trial.mesh.fault(away).await;
            }
            7 => {
                trial.homeserver.set_mood(Mood::Away);
                trial.mesh.says(0, 5_000, "late 5000").await;
                trial.wait(Duration::from_mins(2)).await;
                trial.homeserver.set_mood(Mood::Takes);
            }
            9 | 13 | 17 | 21 => {
                trial
                    .homeserver
                    .set_mood(Mood::Limits(Duration::from_secs(5)));
                let id = 6_000 + u32::try_from(hour).unwrap();
                trial.mesh.says(0, id, &format!("strict {id}")).await;
                trial.wait(Duration::from_mins(1)).await;
                trial.homeserver.set_mood(Mood::Takes);
            }
            _ => {}
        }
    }
    trial
        .until("all has crossed", |trial| trial.waiting() == (0, 0))
        .await;
    let lines = lines.0.lock().unwrap();
    let first: Vec<_> = lines
        .iter()
        .filter(|it| it.contains("since the start"))
        .collect();
    assert!(!first.is_empty(), "nothing was heard");
    assert!(lines.len() - first.len() < 20, "{lines:#?}");
}
