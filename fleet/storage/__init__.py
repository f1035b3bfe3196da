"""What a fleet keeps in its data directory, and how each of it is read."""
