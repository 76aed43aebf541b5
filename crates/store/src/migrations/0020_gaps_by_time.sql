-- When a stretch without a `from_place` (empty then) begins, by the homeserver's clock.
ALTER TABLE gap ADD COLUMN since INTEGER;
