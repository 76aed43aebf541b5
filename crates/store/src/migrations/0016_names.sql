-- More numbers have names, as the states have (0014): nothing but the migrations, and one constant each, writes them.

-- Waits, and takes its turn.
CREATE VIEW mesh_in_turn AS SELECT * FROM mesh_outbox WHERE state <= 1 AND state = 0 AND backlog = 0;
-- Waits in its room's backlog.
CREATE VIEW mesh_backlog AS SELECT * FROM mesh_outbox WHERE state <= 1 AND state = 0 AND backlog > 0;

-- Its key may still come in time.
CREATE VIEW key_awaited AS SELECT * FROM undecryptable WHERE given_up = 0;
-- Too many of its room, or of its sender, waited; the room does not know yet.
CREATE VIEW key_pushed_out AS SELECT * FROM undecryptable WHERE given_up = 2;

-- A worker asks before each packet whether the radio has answered for the last of its queue.
CREATE INDEX mesh_outbox_submitted ON mesh_outbox (target_kind, target, lane) WHERE state = 1;
