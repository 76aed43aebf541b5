-- Each room that was mapped and joined, as it was last: what becomes of what waits for it when it is replaced, or its alias
-- stands for another.
CREATE TABLE mapped_room (
    room       TEXT NOT NULL PRIMARY KEY,
    alias      TEXT,                        -- of the configuration, that stood for it last
    encrypted  INTEGER NOT NULL,
    public     INTEGER NOT NULL,
    replaced   INTEGER NOT NULL DEFAULT 0,  -- 1: it is replaced or closed
    successor  TEXT,                        -- by which room, by its own word
    waits      TEXT,                        -- for what all that is for it waits; NULL: for nothing
    heir       TEXT                         -- which room is to take its place
) STRICT, WITHOUT ROWID;
-- What is not known is taken for the strictest.
INSERT INTO mapped_room (room, encrypted, public) SELECT DISTINCT room, 1, 0 FROM known_room;
UPDATE mapped_room SET alias = (
    SELECT name FROM known_room WHERE known_room.room = mapped_room.room AND name LIKE '#%'
);

-- `mesh_outbox.backlog` can be negative since this version: the row is set aside until it is known whether another room takes
-- its room's place. What it was is -1 minus that.
