-- Whose message was handed to the radio when, in each queue: the highest number is the last. Emptied when nothing waits there.
CREATE TABLE mesh_turn (
    target_kind  INTEGER NOT NULL,
    target       INTEGER NOT NULL,
    lane         INTEGER NOT NULL,
    sender       TEXT NOT NULL,             -- empty: ourselves
    turn         INTEGER NOT NULL,
    PRIMARY KEY (target_kind, target, lane, sender)
) STRICT, WITHOUT ROWID;
