-- That the radio is away: at most one row.
CREATE TABLE outage (
    one     INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    since   INTEGER NOT NULL,           -- its link was lost then
    back    INTEGER                     -- it stands again since then, perhaps not for long; NULL: it does not
) STRICT;

-- Rooms that were told that the radio is away, and not yet that it is back.
CREATE TABLE outage_told (
    room    TEXT NOT NULL PRIMARY KEY,
    since   INTEGER NOT NULL,           -- of the outage that they were told of
    back    INTEGER                     -- its end; NULL: it goes on
) STRICT, WITHOUT ROWID;
