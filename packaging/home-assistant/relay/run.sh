#!/usr/bin/env bash
# Hands the add-on's options to the relay, each as the variable of its key, and starts the relay as user 1000.
set -euo pipefail

options=/data/options.json
give() {
    local value
    value=$(jq --raw-output "$2 // empty" "$options")
    [ -z "$value" ] || export "$1=$value"
}
give RELAY_MATRIX_HOMESERVER .homeserver
give RELAY_MATRIX_BOT_USER_ID .bot_user_id
give RELAY_MATRIX_PASSWORD .password
give RELAY_MATRIX_ROOMS '[.rooms[] | {id: .room, meshtastic_channel: .channel}] | tojson'
give RELAY_MESHTASTIC_CONNECTION_TYPE .connection_type
give RELAY_MESHTASTIC_HOST .host
give RELAY_MESHTASTIC_SERIAL_PORT .serial_port
give RELAY_MESHTASTIC_BLE_ADDRESS .ble_address
give RELAY_MESHTASTIC_BLE_PIN .ble_pin
give RELAY_MESHTASTIC_MESHNET_NAME .meshnet_name
give RELAY_LOGGING_LEVEL .log_level

install --directory --mode 0700 --owner 1000 --group 1000 "$RELAY_HOME"
# The groups that may use the serial port and the message bus.
groups=1000
for used in "${RELAY_MESHTASTIC_SERIAL_PORT:-}" /run/dbus/system_bus_socket; do
    [ ! -e "$used" ] || groups+=,$(stat --dereference --format %g "$used")
done
exec setpriv --reuid 1000 --regid 1000 --groups "$groups" --no-new-privs relay "$@"
