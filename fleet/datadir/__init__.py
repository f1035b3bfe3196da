"""What lies in a data directory, one writer per file."""
