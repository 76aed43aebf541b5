//! The outboxes: what is still to be sent, and what becomes of it.
//!
//! Rooms: `outbox_room` holds one FIFO queue per room, its contents as the JSON of `room_content`; `parked` suspends a queue.
//!
//! Mesh: `outbox_mesh` accepts a message and chooses the next packet; `drafts` splits it when it is submitted, under ids that
//! `own_packets` reserves; `turns` is fair to senders, `backlog` orders what waits since an outage. `mesh_waiting` changes
//! waiting rows, `mesh_report` records the radio's reports, `mesh_state` alone changes a row's state, `mesh_facts` answers
//! queries.

pub mod backlog;
pub mod drafts;
pub(crate) mod mesh_facts;
pub mod mesh_report;
pub(crate) mod mesh_state;
pub(crate) mod mesh_waiting;
pub mod outbox_mesh;
pub mod outbox_room;
pub(crate) mod own_packets;
pub(crate) mod parked;
pub(crate) mod room_content;
pub(crate) mod turns;
