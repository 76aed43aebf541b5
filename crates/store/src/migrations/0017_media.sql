-- Of which kind the pictures and the like are that a note stands for (`image`), so that a further one of the kind is told in it.
-- NULL: it is no note, or one of an earlier relay, which goes as it is.
ALTER TABLE mesh_outbox ADD COLUMN media_word TEXT;
