-- How many of what expired in a room are edits of messages that were sent.
ALTER TABLE expired_room ADD COLUMN edits INTEGER NOT NULL DEFAULT 0;
