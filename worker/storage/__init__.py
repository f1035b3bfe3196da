"""The store of readings: SQLite databases, transactions, rotation, retention."""
