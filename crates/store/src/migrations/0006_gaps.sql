-- What was said in rooms and could not be fetched yet, though the account's position is past it. The stretches are numbered
-- in the order in which they began to be missing: a room can have a few.
CREATE TABLE gap (
    account     TEXT NOT NULL,
    number      INTEGER NOT NULL,
    room        TEXT NOT NULL,
    from_place  TEXT NOT NULL,              -- in the homeserver's stream
    to_place    TEXT NOT NULL,
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
