use std::io::Write;
use std::sync::mpsc;

use serde_json::Value;
use tracing::{debug, error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;
use relay_config::{Component, Level as Asked, LogFormat, Logging};

/// Value of hostile fields.
const HOSTILE: &str =
    "secret\n2026-01-31T12:00:00.000000Z ERROR relay: all is lost\r\u{1b}[2J\u{85}\u{2028}\u{202e}";

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// An output in text.
fn sink(writer: impl Write + Send + 'static) -> Sink {
    Sink::new(LogFormat::Text, false, "paper".to_owned(), Box::new(writer))
}

fn home() -> Home {
    Home::locate(Some("/srv/relay".as_ref()), |_| None).unwrap()
}

/// Returns the log of `work` in each format: text, text in colour, JSON.
fn logged(logging: &Logging, work: impl FnOnce()) -> [String; 3] {
    let papers = [Paper::default(), Paper::default(), Paper::default()];
    let forms = [
        (LogFormat::Text, false),
        (LogFormat::Text, true),
        (LogFormat::Json, false),
    ];
    let sinks = forms.iter().zip(&papers);
    let sinks = sinks.map(|((format, colour), paper)| {
        Sink::new(
            *format,
            *colour,
            "paper".to_owned(),
            Box::new(paper.clone()),
        )
    });
    let log = Log::start(super::super::open_libraries(logging), sinks.collect()).unwrap();
    let subscriber = tracing_subscriber::registry()
        .with(super::super::filter(logging))
        .with(LogLayer(Arc::clone(&log), home()));
    tracing::subscriber::with_default(subscriber, work);
    log.end();
    papers.map(|paper| paper.text())
}

#[test]
fn what_a_panic_said_is_logged_at_trace_only() {
    let of = |level| {
        let logging = Logging {
            level,
            ..Logging::default()
        };
        // With a single dispatcher, `tracing` caches a call site that another thread reaches first as disabled.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(super::super::log_panic));
        let [text, ..] = logged(&logging, || {
            std::panic::catch_unwind(|| panic!("the words of a stranger")).unwrap_err();
        });
        std::panic::set_hook(before);
        text
    };
    let usual = of(Asked::Debug);
    assert!(
        usual.contains("location=src/telemetry/layer/tests.rs"),
        "{usual}"
    );
    assert!(!usual.contains("stranger"), "{usual}");
    let all = of(Asked::Trace);
    assert!(all.contains("the words of a stranger"), "{all}");
}

#[test]
fn a_home_with_an_odd_name_breaks_no_line() {
    let paper = Paper::default();
    let sink = sink(paper.clone());
    let libraries = super::super::open_libraries(&Logging::default());
    let log = Log::start(libraries, vec![sink]).unwrap();
    let home = Home::locate(Some("/srv/odd\n\u{1b}[31m".as_ref()), |_| None).unwrap();
    let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&log), home));
    tracing::subscriber::with_default(subscriber, || {
        info!(target: "relay", hint = "run `relay status`", "odd");
    });
    log.end();
    let text = paper.text();
    assert!(text.contains(r"--home '/srv/odd\n\u{1b}[31m'"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn a_hint_names_the_home_that_its_command_is_for() {
    let logs = logged(&Logging::default(), || {
        warn!(target: "relay::daemon", hint = Some("run `relay auth login`"), "not logged in");
    });
    for log in &logs {
        assert!(
            log.contains("run `relay auth login --home /srv/relay`"),
            "{log}"
        );
    }
}

#[test]
fn an_event_is_one_line_in_every_format_whatever_strangers_put_into_it() {
    let cause = std::io::Error::other(HOSTILE);
    let long = "x".repeat(60_000);
    let logs = logged(&Logging::default(), || {
        info!(target: "relay::daemon", name = HOSTILE, shown = %HOSTILE, dumped = ?HOSTILE, "said: {HOSTILE}");
        error!(target: "relay::daemon", error = &cause as &dyn std::error::Error, %long, more = long, "{long}");
        warn!(target: "matrix_sdk_crypto::machine", flow_id = HOSTILE, shown = %HOSTILE, dumped = ?HOSTILE, "said: {HOSTILE}");
    });
    for log in &logs {
        assert_eq!(log.lines().count(), 3, "{log}");
        assert!(log.len() < 20_000, "{}", log.len());
        for line in log.lines() {
            assert!(!line.starts_with("2026-01-31"), "{line}");
            let plain = line.replace("\u{1b}[0m", "").replace("\u{1b}[2m", "");
            let plain = ["31", "32", "33"].iter().fold(plain, |line, hue| {
                line.replace(&format!("\u{1b}[{hue}m"), "")
            });
            let is_trick = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}');
            assert!(!plain.contains(is_trick), "{plain:?}");
        }
    }
    let first = logs[0].lines().next().unwrap();
    assert!(
        first.contains(r"INFO relay::daemon: said: secret\n2026"),
        "{first}"
    );
    assert!(first.contains(r#" name="secret\n2026"#), "{first}");
    for line in logs[2].lines() {
        let json: Value = serde_json::from_str(line).unwrap();
        assert!(
            !json["message"].as_str().unwrap().contains(char::is_control),
            "{line}"
        );
    }
}

#[test]
fn json_keeps_numbers_and_names_and_the_causes_of_an_error() {
    let cause = std::io::Error::other("no such file");
    let [text, _, json] = logged(&Logging::default(), || {
        warn!(target: "relay_store", rows = 3_u64, whole = true, ratio = 0.5, odd = f64::NAN, error = &cause as &dyn std::error::Error, r#"a "quoted" \ word"#);
    });
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["message"], r#"a "quoted" \ word"#);
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["target"], "relay::store");
    assert_eq!(
        (&told["rows"], &told["whole"], &told["ratio"]),
        (&3.into(), &true.into(), &0.5.into())
    );
    assert_eq!(
        (&told["odd"], &told["error"]),
        (&"NaN".into(), &"no such file".into())
    );
    assert!(
        told["timestamp"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z') && time.len() == 27)
    );
    assert!(
        text.contains(r#" WARN relay::store: a "quoted" \ word rows=3 whole=true ratio=0.5"#),
        "{text}"
    );
}

fn library_speaks() {
    let span = info_span!(target: "matrix_sdk", "receive", room_id = "!room:example.org", content = "secret");
    let _in = span.enter();
    warn!(target: "matrix_sdk_base::timeline", sender = ?"@mallory:example.org", event_id = "secret", count = 7, "Error deserializing event: invalid type: string \"secret\"");
    warn!(target: "matrix_sdk_base::timeline", "unknown variant `secret`");
    debug!(target: "matrix_sdk_base::timeline", event = ?["secret"], "an event");
}

#[test]
fn what_a_library_says_of_messages_is_told_at_trace_only() {
    let component = |level| Logging {
        debug: vec![(Component::MatrixSdk, level)],
        ..Logging::default()
    };
    let general = |level| Logging {
        level,
        ..Logging::default()
    };
    for (logging, lines) in [
        (general(Asked::Info), 2),
        (general(Asked::Debug), 2),
        (component(Asked::Info), 2),
        (component(Asked::Debug), 3),
    ] {
        for log in logged(&logging, library_speaks) {
            assert!(!log.contains("secret"), "{log}");
            assert!(log.contains("Error deserializing event…") && log.contains("unknown variant…"));
            assert!(log.contains("@mallory:example.org"), "{log}");
            assert_eq!(log.lines().count(), lines, "{log}");
        }
    }
    for logging in [general(Asked::Trace), component(Asked::Trace)] {
        for log in logged(&logging, library_speaks) {
            assert!(log.matches("secret").count() >= 3, "{log}");
        }
    }
    let [text, ..] = logged(&component(Asked::Debug), library_speaks);
    assert!(
        text.contains(" receive{room_id=!room:example.org}: matrix_sdk_base"),
        "{text}"
    );
}

#[test]
fn a_place_that_is_made_to_speak_all_the_time_is_heard_in_bounds_and_its_last_line_always() {
    let [text, ..] = logged(&Logging::default(), || {
        for number in 0..1_000 {
            warn!(target: "matrix_sdk_crypto::machine", number, "Received an invalid to-device event");
            info!(target: "relay::daemon", number, "a direct message to our node is kept");
        }
        error!(target: "relay::daemon", "the disk is full");
    });
    let count = |words: &str| text.matches(words).count();
    assert_eq!(count("invalid to-device event"), 4, "{text}");
    assert_eq!(count("a direct message"), 101);
    assert_eq!(count("the disk is full"), 1);
    assert!(text.contains("number=999 left_out=996"), "{text}");
    assert!(text.contains("number=999 left_out=899"), "{text}");
}

#[test]
fn who_asks_for_debug_is_told_everything() {
    let debug = Logging {
        level: Asked::Debug,
        ..Logging::default()
    };
    let [text, ..] = logged(&debug, || {
        for number in 0..1_000 {
            debug!(target: "relay::daemon", number, "accepted for a room");
        }
    });
    assert_eq!(text.lines().count(), 1_000);
    assert!(!text.contains("left_out"));
}

/// A reader that reports each line and waits for permission to take it, like a terminal after Ctrl-S; in the end it
/// takes all.
struct Stepped {
    comes: mpsc::Sender<()>,
    steps: mpsc::Receiver<()>,
    paper: Paper,
}

impl Write for Stepped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.comes.send(()).ok();
        self.steps.recv().ok();
        self.paper.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A log whose reader holds a line, and whose queue is full.
struct Full {
    log: Arc<Log>,
    comes: mpsc::Receiver<()>,
    step: mpsc::Sender<()>,
    paper: Paper,
}

impl Full {
    fn new() -> Self {
        let ((coming, comes), (step, steps)) = (mpsc::channel(), mpsc::channel());
        let paper = Paper::default();
        let sink = sink(Stepped {
            comes: coming,
            steps,
            paper: paper.clone(),
        });
        let log = Log::start(Targets::new(), vec![sink]).unwrap();
        let full = Self {
            log,
            comes,
            step,
            paper,
        };
        full.say(1);
        full.comes.recv().unwrap();
        full.say(QUEUE);
        full
    }

    fn say(&self, lines: usize) {
        self.hear(|| (0..lines).for_each(|_| debug!(target: "relay", "a line")));
    }

    fn hear(&self, work: impl FnOnce()) {
        let layer = LogLayer(Arc::clone(&self.log), home());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    }

    /// Lets the reader take everything; returns the number of lines, and the number reported as lost.
    fn read(self) -> (usize, usize) {
        drop(self.step);
        self.log.end();
        let text = self.paper.text();
        let lost = text.split("lost=").skip(1);
        let lost = lost.map(|it| it.split_whitespace().next().unwrap());
        let lost = lost.map(|it| it.parse::<usize>().unwrap()).sum();
        (text.matches("a line").count(), lost)
    }
}

#[test]
fn a_log_that_is_not_read_holds_nobody_up_and_says_later_what_is_missing() {
    let full = Full::new();
    full.say(2_000);
    assert_eq!(full.read(), (1 + QUEUE, 2_000));
}

#[test]
fn a_log_that_is_read_slowly_holds_nobody_up_either() {
    const STEPS: usize = 10;
    let full = Full::new();
    let mut held_up = Duration::ZERO;
    for _ in 0..STEPS {
        full.step.send(()).unwrap();
        full.comes.recv().unwrap();
        let began = Instant::now();
        full.say(100);
        held_up += began.elapsed();
    }
    assert!(held_up < Duration::from_secs(2), "{held_up:?}");
    let (told, lost) = full.read();
    assert_eq!(told + lost, 1 + QUEUE + 100 * STEPS);
}

#[test]
fn at_the_end_a_full_log_has_a_moment_to_be_read() {
    let full = Full::new();
    full.hear(|| (0..200).for_each(|number| info!(target: "relay", number, "often")));
    let Full {
        log, step, paper, ..
    } = full;
    let reader = thread::spawn(|| {
        thread::sleep(Duration::from_millis(50));
        drop(step);
    });
    log.end();
    reader.join().unwrap();
    assert_eq!(paper.text().matches("a line").count(), 1 + QUEUE);
    assert!(paper.text().contains("number=199 left_out=99"));
}

/// A reader that is gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn where_nobody_reads_any_more_the_others_still_do() {
    let paper = Paper::default();
    let sinks = vec![sink(Gone), sink(paper.clone())];
    let log = Log::start(Targets::new(), sinks).unwrap();
    let subscriber = tracing_subscriber::registry().with(LogLayer(Arc::clone(&log), home()));
    tracing::subscriber::with_default(subscriber, || info!(target: "relay", "still here"));
    log.end();
    assert!(paper.text().contains("still here"));
}
