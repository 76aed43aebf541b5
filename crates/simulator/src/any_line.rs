//! No input line, valid or not, ends the simulated radio.

use std::io;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::lines::fault::tests::{documented, documented_keys};
use super::pipe::{self, PipeRadio};
use super::{Machine, Mesh, Report, Script};

/// A radio on pipes, with its driver and its clients.
struct Bench {
    radio: PipeRadio,
    running: JoinSet<io::Result<()>>,
}

impl Bench {
    fn start(script: Script) -> Self {
        let now = tokio::time::Instant::now().into_std();
        let machine = Machine::new(Mesh::new(1, 3), 1, now);
        let (radio, driver) = pipe::radio(machine, 1, script);
        let mut running = JoinSet::new();
        running.spawn(driver);
        Self { radio, running }
    }

    /// Runs the radio for that long with a client that requests the configuration and reads.
    async fn has_a_client(&mut self, span: Duration) {
        let mut pipe = self.radio.connect().await.unwrap();
        self.running.spawn(async move {
            let want = [0x94, 0xC3, 0, 2, 0x18, 42];
            // An error is ignored: the radio may be away, or close the connection.
            if pipe.write_all(&want).await.is_ok() {
                let mut taken = [0; 4096];
                while matches!(pipe.read(&mut taken).await, Ok(1..)) {}
            }
            Ok(())
        });
        tokio::time::sleep(span).await;
    }

    async fn ends_well(mut self, what: &str) {
        assert!(!self.radio.commands.is_closed(), "{what}: it has ended");
        self.radio.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap().unwrap();
        }
    }
}

/// Values for a key as JSON, valid or not.
fn values(key: &str) -> Vec<String> {
    const NUMBERS: &str = "0 1 3 -1 7 8 100 255 256 65536 4294967295 4294967296 18446744073709551615 \
                           18446744073709551616 0.5 1e308 -1e308 1e999";
    const TEXTS: &str = "\"\" \"x\" \"ff\" \"94c3\" \"^all\" \"!0\" \"!a1b2c3d4\" \"!ffffffff\"";
    const FLAGS: &str = "true false";
    const ANSWERS: &str =
        "\"usual\" \"implicit_only\" \"swapped\" \"twice\" \"late\" \"never\" \"error\"";
    const TIMES: &str = "\"0s\" \"1ms\" \"168h\" \"4294967295h\" \"99999999999ms\"";
    const CONDITIONS: &str = "\"connected\" \"configured\" \"closed\" \"transmitted\"";
    let likely = match key {
        "text" | "hex" | "name" | "short" => TEXTS,
        "from" | "to" => &format!("{TEXTS} {NUMBERS}"),
        "answer" => ANSWERS,
        "key" => "[] [1] [0,255]",
        "after" => &format!("{TIMES} {NUMBERS}"),
        "when" => CONDITIONS,
        "emoji" => &format!("{FLAGS} {NUMBERS}"),
        "on" | "mid_frame" | "reset" | "nak" | "lost" | "enabled" | "via_mqtt" | "ok_to_mqtt"
        | "stored" | "encrypted" | "hopless" | "overheard" => FLAGS,
        _ => NUMBERS,
    };
    likely.split_whitespace().map(str::to_owned).collect()
}

fn value(key: &str) -> impl Strategy<Value = String> + use<> {
    let wrong = vec![
        "null".to_owned(),
        "{}".to_owned(),
        format!("{:?}", "x".repeat(70_000)),
        format!("{:?}", "ff".repeat(30_000)),
        format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)),
        "{\"text\":".repeat(50_000),
    ];
    prop_oneof![
        12 => select(values(key)),
        1 => select(wrong),
        1 => any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ]
}

/// A random line: a fault, a text, or anything else.
fn line() -> impl Strategy<Value = String> {
    let keys = documented_keys();
    let input = (Just(None), subsequence(keys.clone(), 0..=keys.len().min(6)));
    let fault = select(documented()).prop_flat_map(|(name, keys)| {
        let count = keys.len();
        (Just(Some(name)), subsequence(keys, 0..=count))
    });
    let object = prop_oneof![2 => fault.boxed(), 1 => input.boxed()];
    let timed = object.prop_flat_map(|(fault, mut keys)| {
        keys.extend(["after", "when"]);
        let values: Vec<_> = keys.iter().map(|key| value(key)).collect();
        (Just(fault), Just(keys), values, any::<bool>())
    });
    let object = timed.prop_map(|(fault, keys, values, timed)| {
        let fault = fault.map(|fault| format!("\"fault\": \"{fault}\""));
        let keys = keys.iter().zip(values);
        let keys = keys.filter(|(key, _)| timed || !["after", "when"].contains(key));
        let keys = keys.map(|(key, value)| format!("\"{key}\": {value}"));
        format!(
            "{{{}}}",
            fault.into_iter().chain(keys).collect::<Vec<_>>().join(", ")
        )
    });
    prop_oneof![6 => object, 1 => any::<String>(), 1 => any::<String>().prop_map(|it| format!("{{{it}"))]
}

#[tokio::test(start_paused = true)]
async fn no_number_of_a_fault_ends_the_radio() {
    let minute = Duration::from_mins(1);
    let mut understood = 0;
    for (fault, keys) in documented() {
        let mut bench = Bench::start(Script::default());
        bench.has_a_client(minute).await;
        for key in keys.clone() {
            for value in values(key) {
                // The other keys of the fault.
                let others = keys
                    .iter()
                    .filter(|other| **other != key && !["hex", "on"].contains(other));
                let others = others.map(|other| format!(", \"{other}\": {}", values(other)[1]));
                let others: String = others.collect();
                let line = format!("{{\"fault\": \"{fault}\", \"{key}\": {value}{others}}}");
                let Ok(command) = line.parse() else { continue };
                understood += 1;
                bench.radio.commands.send(command).await.unwrap();
                bench.has_a_client(minute).await;
                assert!(!bench.radio.commands.is_closed(), "{line}: it has ended");
            }
        }
        bench.ends_well(fault).await;
    }
    assert!(understood > 300, "{understood}");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_does_not_read_is_not_piled_up_without_end() {
    let mut bench = Bench::start(Script::default());
    let _client = bench.radio.connect().await.unwrap();
    while bench
        .radio
        .reports
        .recv()
        .await
        .is_some_and(|it| !matches!(it, Report::Client(_)))
    {}
    for _ in 0..50 {
        let noise = r#"{"fault": "garbage", "bytes": 1048576}"#.parse().unwrap();
        bench.radio.commands.send(noise).await.unwrap();
    }
    let mut refused = 0;
    while refused < 40 {
        if let Some(Report::Error(message)) = bench.radio.reports.recv().await {
            assert!(
                message.contains("1048576 bytes wait for it already"),
                "{message}"
            );
            refused += 1;
        }
    }
    bench.ends_well("noise").await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_a_line_says_the_radio_goes_on_and_a_wrong_one_is_told_in_few_words(
        lines in proptest::collection::vec(line(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let steps: Vec<&str> = lines
            .iter()
            .filter(|line| match line.parse::<Script>() {
                Ok(_) => true,
                Err(error) => {
                    assert!(error.len() < 2100, "{error}");
                    false
                }
            })
            .map(String::as_str)
            .collect();
        let script: Script = steps.join("\n").parse().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::start(script);
            for line in &lines {
                match line.parse() {
                    Ok(command) => bench.radio.commands.send(command).await.unwrap(),
                    Err(error) => assert!(error.len() < 2100, "{error}"),
                }
            }
            for _ in 0..4 {
                bench.has_a_client(Duration::from_mins(10)).await;
            }
            bench.ends_well("lines").await;
        });
    }
}
