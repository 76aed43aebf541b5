-- The message that this event changes, and who wrote the edit: what is said of an edit is said of its message.
ALTER TABLE seen_event ADD COLUMN edits TEXT;
ALTER TABLE seen_event ADD COLUMN author TEXT;

-- The `relay_id` of our post, by which it is known where a person has forwarded it.
ALTER TABLE message_pair ADD COLUMN relay_id TEXT;
CREATE INDEX message_pair_relay_id ON message_pair (relay_id) WHERE relay_id IS NOT NULL;
