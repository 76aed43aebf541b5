-- Times are milliseconds since 1970 UTC, nodes and packet ids unsigned 32 bit numbers.
-- `radio` is the own node's number of the radio concerned, 0 as long as no radio has told it.
-- A destination is (target_kind, target): (0, channel slot) or (1, node).

-- Packets that were decided on. Packet id 0 is never kept here.
CREATE TABLE seen_packet (
    radio   INTEGER NOT NULL,
    packet  INTEGER NOT NULL,
    sender  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (radio, packet, sender)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_packet_at ON seen_packet (at);

-- Matrix events that were decided on.
CREATE TABLE seen_event (
    event   TEXT NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_event_at ON seen_event (at);

-- What waits for a room. A row is deleted as soon as the server has it. AUTOINCREMENT: memory holds ids,
-- and a late report must never meet another row under an old id.
CREATE TABLE room_outbox (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    room           TEXT NOT NULL,               -- an alias as long as no server has resolved it
    send_as        TEXT,                        -- Matrix user to send as; NULL = the bot
    txn            TEXT NOT NULL UNIQUE,
    content        TEXT NOT NULL,               -- our own JSON, see room_content.rs
    target_sender  INTEGER,                     -- the target of the content is the event of this packet
    target_packet  INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 0,
    tried_at       INTEGER,
    error          TEXT,                        -- of the last try
    accepted_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX room_outbox_fifo ON room_outbox (room, id);

-- Rooms that take nothing until something changes; the empty name stands for the whole account.
CREATE TABLE parked (
    room    TEXT NOT NULL PRIMARY KEY,
    error   TEXT NOT NULL,
    since   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What goes to the mesh, one row a packet; finished rows stay until retention takes them.
-- The parts of a message have consecutive ids; `message` is the id of part 0.
CREATE TABLE mesh_outbox (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    message        INTEGER NOT NULL,
    part           INTEGER NOT NULL,
    parts          INTEGER NOT NULL,
    radio          INTEGER NOT NULL,
    target_kind    INTEGER NOT NULL,
    target         INTEGER NOT NULL,
    lane           INTEGER NOT NULL,
    tapback        INTEGER NOT NULL,            -- 1: text is an emoji on the packet `reference`
    text           TEXT NOT NULL,
    reference      INTEGER,                     -- the packet that is answered or reacted to
    packet         INTEGER NOT NULL,            -- the id of the next or the last try
    tried          INTEGER NOT NULL DEFAULT 0,  -- 1: the radio may know this id
    state          INTEGER NOT NULL DEFAULT 0,  -- MeshState in mesh_state.rs
    withdraw       INTEGER NOT NULL DEFAULT 0,  -- 1: taken back while the radio had it; no further try
    attempts       INTEGER NOT NULL DEFAULT 0,
    not_before     INTEGER NOT NULL,
    expires        INTEGER NOT NULL,
    error          TEXT,
    room           TEXT,                        -- the Matrix message behind it; NULL for our own answers
    event          TEXT,
    thread         TEXT,
    sender         TEXT,
    sent_at        INTEGER,
    source_text    TEXT,                        -- without prefix; a tapback's emoji
    alert          INTEGER NOT NULL,
    accepted_at    INTEGER NOT NULL,            -- by the relay
    taken_at       INTEGER,                     -- by the radio
    active_at      INTEGER NOT NULL             -- accepted, submitted or taken last
) STRICT;
-- The queries name these conditions literally: a partial index is used only then.
CREATE INDEX mesh_outbox_waiting ON mesh_outbox (target_kind, target, lane, id) WHERE state = 0;
CREATE INDEX mesh_outbox_room ON mesh_outbox (room) WHERE state <= 1;
CREATE INDEX mesh_outbox_unanswered ON mesh_outbox (taken_at) WHERE state = 2;
CREATE INDEX mesh_outbox_event ON mesh_outbox (event) WHERE event IS NOT NULL;
CREATE INDEX mesh_outbox_sender ON mesh_outbox (sender, sent_at) WHERE sender IS NOT NULL;
CREATE INDEX mesh_outbox_active ON mesh_outbox (target_kind, target, active_at);
CREATE INDEX mesh_outbox_tapback ON mesh_outbox (reference) WHERE tapback = 1;
CREATE INDEX mesh_outbox_accepted ON mesh_outbox (accepted_at);

-- Every packet id that was ever chosen for a packet of ours.
CREATE TABLE own_packet (
    radio   INTEGER NOT NULL,
    packet  INTEGER NOT NULL,
    outbox  INTEGER REFERENCES mesh_outbox (id) ON DELETE SET NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (radio, packet)
) STRICT, WITHOUT ROWID;
CREATE INDEX own_packet_outbox ON own_packet (outbox) WHERE outbox IS NOT NULL;
CREATE INDEX own_packet_at ON own_packet (at);

-- Which packet and which event stand for the same message.
CREATE TABLE message_pair (
    id           INTEGER PRIMARY KEY,
    origin       INTEGER NOT NULL,              -- 0 mesh, 1 Matrix
    radio        INTEGER NOT NULL,
    sender       INTEGER NOT NULL,
    packet       INTEGER NOT NULL,
    target_kind  INTEGER NOT NULL,
    target       INTEGER NOT NULL,
    room         TEXT NOT NULL,
    event        TEXT,                          -- NULL while it waits in room_outbox
    thread       TEXT,
    author       TEXT,
    text         TEXT NOT NULL,
    alert        INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    room_outbox  INTEGER,                       -- set while it waits there
    mesh_outbox  INTEGER REFERENCES mesh_outbox (id) ON DELETE SET NULL
) STRICT;
CREATE INDEX message_pair_event ON message_pair (event) WHERE event IS NOT NULL;
CREATE INDEX message_pair_packet ON message_pair (packet);
CREATE INDEX message_pair_room_outbox ON message_pair (room_outbox) WHERE room_outbox IS NOT NULL;
CREATE INDEX message_pair_mesh_outbox ON message_pair (mesh_outbox) WHERE mesh_outbox IS NOT NULL;
CREATE INDEX message_pair_alias ON message_pair (room) WHERE substr(room, 1, 1) = '#';
CREATE INDEX message_pair_at ON message_pair (at);

-- What each radio told of the nodes of its mesh.
CREATE TABLE node (
    radio       INTEGER NOT NULL,
    num         INTEGER NOT NULL,
    long_name   TEXT,
    short_name  TEXT,
    licensed    INTEGER NOT NULL,
    ignored     INTEGER NOT NULL,
    last_heard  INTEGER,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (radio, num)
) STRICT, WITHOUT ROWID;

-- What was said, so that it is not said again before `until`.
CREATE TABLE told (
    what    TEXT NOT NULL PRIMARY KEY,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Direct messages to our node; never published.
CREATE TABLE direct_message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    radio        INTEGER NOT NULL,
    sender       INTEGER NOT NULL,
    packet       INTEGER NOT NULL,
    sender_name  TEXT NOT NULL,
    port_name    TEXT NOT NULL,
    text         TEXT NOT NULL,
    reply_to     INTEGER,
    tapback      INTEGER NOT NULL,
    heard_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX direct_message_heard_at ON direct_message (heard_at);

-- Single values: the sync position and such, see meta.rs.
CREATE TABLE meta (
    name    TEXT NOT NULL PRIMARY KEY,
    value   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
