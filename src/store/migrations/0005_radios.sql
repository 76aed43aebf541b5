-- A packet is known by its sender and its id, whichever radio told it: one that was listening tells again what another
-- told before.
CREATE INDEX seen_packet_id ON seen_packet (packet, sender);
