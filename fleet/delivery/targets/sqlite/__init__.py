"""The target `sqlite:`: readings in a central SQLite database, or in a user's table."""
