//! What time does.

use super::*;

#[test]
fn a_clock_that_is_set_right_lets_nothing_expire_that_was_just_written() {
    let hours = Duration::from_hours(3);
    for wrong in [NOON - hours, NOON + hours] {
        let mut store = Store::in_memory().unwrap();
        let seconds = Duration::from_secs;
        let waits = store.transaction(|tx| {
            let mut ledger = open(tx, &config(), wrong)?;
            let mut outcome = Outcome::default();
            for event in [joined(), text_of_alice("hello", wrong)] {
                ledger.event(tx, &event, wrong + seconds(2), &mut outcome)?;
            }
            let mut waits = Vec::new();
            for up in [seconds(20), seconds(3590), seconds(3620)] {
                ledger.event(tx, &round(up), NOON + up, &mut outcome)?;
                waits.push(!outbox_mesh::queues(tx)?.is_empty());
            }
            Ok(waits)
        });
        assert_eq!(waits.unwrap(), [true, true, false]);
    }
}
