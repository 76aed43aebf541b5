-- What the channel of a message is (a SHA-256 of its name and key), wherever it stands. NULL: not known, as of what an
-- earlier relay carried.
ALTER TABLE message_pair ADD COLUMN channel BLOB;
ALTER TABLE mesh_outbox ADD COLUMN channel BLOB;

-- 1: it concerns a message of its channel, and goes there or nowhere.
ALTER TABLE mesh_outbox ADD COLUMN bound INTEGER NOT NULL DEFAULT 0;
UPDATE mesh_outbox SET bound = 1 WHERE state <= 1 AND (
    correction > 0 OR message IN (SELECT message FROM mesh_outbox WHERE state <= 1 AND reference IS NOT NULL));
