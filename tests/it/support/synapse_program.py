"""Synapse as it is, but for its database: nobody misses what a power cut takes from a test, so nothing waits for the disk."""

from synapse.app.homeserver import main
from synapse.storage.engines.sqlite import Sqlite3Engine

connected = Sqlite3Engine.on_new_connection


def on_new_connection(self, connection):
    connected(self, connection)
    connection.execute("PRAGMA synchronous = OFF;")


Sqlite3Engine.on_new_connection = on_new_connection
main()
