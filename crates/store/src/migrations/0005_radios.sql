-- A packet is known by its sender and its id, whichever radio told it: one that was listening tells again what another
-- told before.
CREATE INDEX seen_packet_id ON seen_packet (packet, sender);

-- `mesh_outbox.tried` counts since this version: how often the radio was asked to take the packet under this id.
