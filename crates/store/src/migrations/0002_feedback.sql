-- What senders are shown of their messages, and how far a room is read.

-- The sign that each message is to have and the one that it has. Signs are the keys of reactions; NULL is none.
CREATE TABLE feedback (
    event     TEXT NOT NULL PRIMARY KEY,        -- the message
    room      TEXT NOT NULL,
    given     TEXT,                             -- a sign that does not follow from rows of mesh_outbox
    wanted    TEXT,
    shown     TEXT,
    reaction  TEXT,                             -- the event that shows `shown`
    txn       TEXT,                             -- of the request under way; stored before it is made
    placing   TEXT,                             -- the key that it places; NULL: it takes `reaction` away
    attempts  INTEGER NOT NULL DEFAULT 0,       -- failed ones in a row
    due       INTEGER,                          -- NULL: nothing is to be done
    closed    INTEGER NOT NULL DEFAULT 0,       -- 1: the message was taken away; nothing is wanted any more
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX feedback_due ON feedback (due) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX feedback_txn ON feedback (txn) WHERE txn IS NOT NULL;
CREATE INDEX feedback_at ON feedback (at);

-- Rooms in which the bot may not react, or not take its reactions back.
CREATE TABLE feedback_forbidden (
    room    TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Messages of which a part has changed its state since the ledger looked last. Filled here, so that no change is missed
-- whoever makes it; lane 2 are reactions, which never have a sign.
CREATE TABLE feedback_changed (
    event   TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TRIGGER mesh_outbox_state AFTER UPDATE OF state ON mesh_outbox
WHEN NEW.event IS NOT NULL AND NEW.lane <> 2 AND NEW.state <> OLD.state AND NEW.state <> 1
BEGIN
    INSERT OR IGNORE INTO feedback_changed (event) VALUES (NEW.event);
END;
-- What goes to the mesh after all, or anew (a corrected message), is shown as it fares.
CREATE TRIGGER mesh_outbox_accepted AFTER INSERT ON mesh_outbox
WHEN EXISTS (SELECT 1 FROM feedback WHERE event = NEW.event AND given IS NOT NULL) AND NEW.lane <> 2
BEGIN
    UPDATE feedback SET given = NULL WHERE event = NEW.event;
    INSERT OR IGNORE INTO feedback_changed (event) VALUES (NEW.event);
END;

-- Messages that wait to be counted as read, in the order in which they came. AUTOINCREMENT: a number is never used again.
CREATE TABLE unread (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    event   TEXT NOT NULL UNIQUE,
    room    TEXT NOT NULL,
    thread  TEXT NOT NULL,                      -- its root; empty: none
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX unread_at ON unread (at);

-- How far each room, and each thread of it, is read.
CREATE TABLE receipt (
    room    TEXT NOT NULL,
    thread  TEXT NOT NULL,
    event   TEXT NOT NULL,
    number  INTEGER NOT NULL,                   -- that of `unread`
    due     INTEGER,                            -- NULL: the server knows
    at      INTEGER NOT NULL,
    PRIMARY KEY (room, thread)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_due ON receipt (due) WHERE due IS NOT NULL;
CREATE INDEX receipt_at ON receipt (at);
