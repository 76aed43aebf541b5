-- What was said in a room and could not be fetched yet, though the account's position is past it: one stretch a room.
CREATE TABLE gap (
    account     TEXT NOT NULL,
    room        TEXT NOT NULL,
    from_place  TEXT NOT NULL,              -- in the homeserver's stream
    to_place    TEXT NOT NULL,
    PRIMARY KEY (account, room)
) STRICT, WITHOUT ROWID;
