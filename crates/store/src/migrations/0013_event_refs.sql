-- What an event for a room is about stands in its content alone: an event, or the packet that it will stand for.
UPDATE room_outbox SET content = json_replace(content,
        '$.content.text.reply_to', json_object('sender', target_sender, 'packet', target_packet),
        '$.content.reaction.target', json_object('sender', target_sender, 'packet', target_packet),
        '$.content.redaction.target', json_object('sender', target_sender, 'packet', target_packet))
    WHERE target_sender IS NOT NULL AND target_packet IS NOT NULL AND json_valid(content);
ALTER TABLE room_outbox DROP COLUMN target_sender;
ALTER TABLE room_outbox DROP COLUMN target_packet;
