-- The names that the author of a message goes by, one a line: another relay repeats the message under one of them.
ALTER TABLE mesh_outbox ADD COLUMN author TEXT;
