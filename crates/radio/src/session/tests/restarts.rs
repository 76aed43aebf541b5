//! A radio that restarts on the same link.

use super::*;

#[test]
fn a_reboot_on_the_same_link_starts_afresh_with_another_nonce() {
    let mut bench = Bench::ready(SessionOptions::default());
    let outputs = bench.variant(from_radio::PayloadVariant::Rebooted(true));
    assert!(matches!(outputs[..], [Output::Restarted(_)]));
    assert!(!bench.session.is_ready());
    assert_eq!(bench.frame(&complete(NONCE)), []);
    let outputs = bench.wait(REBOOT_PAUSE);
    assert_eq!(outputs[0], Output::Wake);
    assert_eq!(
        sent(&outputs[1]),
        to_radio::PayloadVariant::WantConfigId(NONCE + 1)
    );
    let mut frames = handshake();
    frames.pop();
    frames.push(complete(NONCE + 1));
    for frame in frames {
        bench.frame(&frame);
    }
    assert!(bench.session.is_ready());
}

#[test]
fn restarts_without_a_handshake_between_are_one_and_the_last_counts() {
    let mut bench = Bench::ready(SessionOptions::default());
    let rebooted = from_radio::PayloadVariant::Rebooted(true);
    assert!(restarts(&bench.variant(rebooted.clone())));
    for _ in 0..200 {
        assert_eq!(bench.wait(REBOOT_PAUSE / 2), []);
        assert_eq!(bench.variant(rebooted.clone()), []);
    }
    assert_eq!(bench.wait(REBOOT_PAUSE / 2), []);
    assert!(asks(&bench.wait(REBOOT_PAUSE / 2)));
    assert_eq!(bench.variant(rebooted), [], "while it answers");
    assert!(asks(&bench.wait(REBOOT_PAUSE)));
    assert!(matches!(
        tells(&mut bench, 90)[..],
        [Output::Event(RadioEvent::Ready(_)), ..]
    ));
}
