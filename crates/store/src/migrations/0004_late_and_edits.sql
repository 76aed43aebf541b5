-- Events whose key has not come, and changed messages.

-- In order of arrival. Bounded for each room, see late.rs.
CREATE TABLE undecryptable (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    event     TEXT NOT NULL UNIQUE,
    room      TEXT NOT NULL,
    session   TEXT NOT NULL,                -- whose key is missing; empty if the event does not say
    sender    TEXT NOT NULL,
    sent_at   INTEGER NOT NULL,             -- by the server's clock, but never after `kept_at`
    raw       TEXT NOT NULL,                -- as the server sent it
    kept_at   INTEGER NOT NULL,
    -- 1: the key did not come in time, and the room was told; 2: newer ones took its place, and the room is to be told
    given_up  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX undecryptable_room ON undecryptable (room, sender);
CREATE INDEX undecryptable_waiting ON undecryptable (sent_at) WHERE given_up = 0;
CREATE INDEX undecryptable_pushed_out ON undecryptable (given_up) WHERE given_up = 2;

-- Edits that came before the message that they change: the newest of each of its authors.
CREATE TABLE early_edit (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    target    TEXT NOT NULL,
    room      TEXT NOT NULL,
    sender    TEXT NOT NULL,
    event     TEXT NOT NULL,                -- the edit itself
    emote     INTEGER NOT NULL,
    body      TEXT NOT NULL,
    sent_at   INTEGER NOT NULL,             -- by the server's clock, but never after `kept_at`
    kept_at   INTEGER NOT NULL,
    UNIQUE (target, sender)
) STRICT;
CREATE INDEX early_edit_event ON early_edit (event);

-- The rooms that were mapped and joined when we ran last, by each of their names in the configuration.
CREATE TABLE known_room (
    name    TEXT NOT NULL PRIMARY KEY,
    room    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO known_room SELECT DISTINCT room, room FROM message_pair WHERE room LIKE '!%';

-- 0: the message itself; 1, 2: a correction of it, sent after it. A correction names the message's own event.
ALTER TABLE mesh_outbox ADD COLUMN correction INTEGER NOT NULL DEFAULT 0;
-- When its author wrote the newest edit of the message that has come; the same in all its rows. Edits can come out of order.
ALTER TABLE mesh_outbox ADD COLUMN edited_at INTEGER;

-- `mesh_outbox.withdraw` can be 2 since this version: the channel was gone while the radio had it; refused once it is back.
