-- What waits since an outage goes to the mesh spaced and behind what is new. `backlog` is 1 as long as it is gathered, 2
-- once another backlog is gathered behind it, and 0 again as soon as the message's turn has come.
ALTER TABLE mesh_outbox ADD COLUMN backlog INTEGER NOT NULL DEFAULT 0;

-- Rows go in the order of their messages and parts: a message that gets one part more keeps its place.
DROP INDEX mesh_outbox_waiting;
CREATE INDEX mesh_outbox_next ON mesh_outbox (target_kind, target, lane, backlog, message, part) WHERE state = 0;
CREATE INDEX mesh_outbox_message ON mesh_outbox (message, part) WHERE state <= 1;
CREATE INDEX mesh_outbox_expires ON mesh_outbox (expires) WHERE state = 0;

-- The backlog of a room. It is gathered until nothing more has come for a while.
CREATE TABLE backlog_room (
    room       TEXT NOT NULL PRIMARY KEY,
    opened_at  INTEGER NOT NULL,                -- its first message came late
    added_at   INTEGER NOT NULL,                -- its last one
    handed_at  INTEGER                          -- one of its messages was handed to the radio last
) STRICT, WITHOUT ROWID;

-- What expired in a room and was not told yet.
CREATE TABLE expired_room (
    room      TEXT NOT NULL PRIMARY KEY,
    messages  INTEGER NOT NULL,
    oldest    INTEGER NOT NULL,                 -- written then
    newest    INTEGER NOT NULL,
    event     TEXT NOT NULL,                    -- the newest of them
    thread    TEXT,
    since     INTEGER NOT NULL,                 -- noted first
    last      INTEGER NOT NULL                  -- noted last
) STRICT, WITHOUT ROWID;
