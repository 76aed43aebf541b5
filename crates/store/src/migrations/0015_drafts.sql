-- A text for the mesh is one row until the radio is asked to take it: then it becomes packets, a row each. What an earlier
-- relay has made packets of goes as it is.

-- 1: no packet is made yet; `text` is empty, and `parts` is how many there will be. The further columns stay in the row of
-- the first part.
ALTER TABLE mesh_outbox ADD COLUMN draft INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mesh_outbox ADD COLUMN prefix TEXT;                     -- goes before the text; NULL: the packet is as it is
ALTER TABLE mesh_outbox ADD COLUMN label TEXT;                      -- goes before the counter of further parts
ALTER TABLE mesh_outbox ADD COLUMN media INTEGER NOT NULL DEFAULT 0; -- so many pictures and the like the note stands for

-- The mark of a correction is no part of its text any more.
UPDATE mesh_outbox SET source_text = substr(source_text, 3)
    WHERE correction > 0 AND substr(source_text, 1, 2) = '* ';
