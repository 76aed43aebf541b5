-- The pictures of nodes that were uploaded for per-message profiles: each once, and for encrypted rooms once more, encrypted.
CREATE TABLE avatar (
    account    TEXT NOT NULL,
    node       INTEGER NOT NULL,
    encrypted  INTEGER NOT NULL,            -- for encrypted rooms
    place      TEXT NOT NULL,               -- its address (mxc:), or an EncryptedFile as JSON
    at         INTEGER NOT NULL,            -- when it was uploaded
    PRIMARY KEY (account, node, encrypted)
) STRICT, WITHOUT ROWID;

CREATE INDEX avatar_at ON avatar (at);
