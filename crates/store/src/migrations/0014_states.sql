-- The states of `mesh_outbox` have names: what waits is one of these views, and nothing but the migrations writes the numbers
-- (MeshState in model/fate.rs). They name the conditions of the partial indexes, so that those are used.
CREATE VIEW mesh_waiting AS SELECT * FROM mesh_outbox WHERE state <= 1 AND state = 0;
-- The radio was asked to take it, and has not answered.
CREATE VIEW mesh_submitted AS SELECT * FROM mesh_outbox WHERE state <= 1 AND state = 1;
-- Either of them.
CREATE VIEW mesh_open AS SELECT * FROM mesh_outbox WHERE state <= 1;
-- Neither: the radio took it, or it never goes.
CREATE VIEW mesh_closed AS SELECT * FROM mesh_outbox WHERE state > 1;
-- The radio took it, and nothing more was heard of it yet.
CREATE VIEW mesh_accepted AS SELECT * FROM mesh_outbox WHERE state = 2;
-- It never goes: refused, expired or withdrawn.
CREATE VIEW mesh_failed AS SELECT * FROM mesh_outbox WHERE state >= 7;
-- It goes on the air, or went.
CREATE VIEW mesh_counted AS SELECT * FROM mesh_outbox WHERE state < 7;

-- Whoever changes a state notes it (mesh_state.rs), and whoever accepts a message (feedback.rs).
DROP TRIGGER mesh_outbox_state;
DROP TRIGGER mesh_outbox_accepted;
