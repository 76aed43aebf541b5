-- What became of each message, a row a step, in their order; written in the transaction that does the step (story.rs).
CREATE TABLE story (
    id       INTEGER PRIMARY KEY,
    kind     INTEGER NOT NULL,              -- StepKind in model/story.rs
    at       INTEGER NOT NULL,
    mesh     INTEGER,                       -- of this row of mesh_outbox
    event    TEXT,                          -- of this event, which has no row there
    room     TEXT,                          -- the room of `event`
    sender   INTEGER,                       -- of this packet, which that node sent
    packet   INTEGER,                       -- without `sender`: the id under which our packet was tried
    post     INTEGER,                       -- row of room_outbox, if the step concerns one room
    number   INTEGER,
    detail   TEXT,
    snr      REAL,                          -- how the packet was received
    rssi     INTEGER,
    hops     INTEGER,
    relay    INTEGER,                       -- last byte of the number of the node that relayed it to us
    mqtt     INTEGER
) STRICT;
CREATE INDEX story_mesh ON story (mesh) WHERE mesh IS NOT NULL;
CREATE INDEX story_packet ON story (packet) WHERE sender IS NOT NULL;
CREATE INDEX story_event ON story (event) WHERE event IS NOT NULL;
