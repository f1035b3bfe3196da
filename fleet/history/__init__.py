"""Readings as columns, from a config or from a data directory, and the files that they are written to."""
