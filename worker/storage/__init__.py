"""Where readings go: SQLite databases, transactions, rotation."""
