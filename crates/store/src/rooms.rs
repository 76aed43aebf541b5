//! What is remembered of rooms: those ever mapped and their successors (`mapped_rooms`), the names known for the joined ones
//! (`known_rooms`), stretches of their timelines still to be fetched (`gaps`), events without keys (`undecryptable`), and who
//! was told of the radio's outage (`outage`).

pub mod gaps;
pub mod known_rooms;
pub mod mapped_rooms;
pub mod outage;
pub mod undecryptable;
