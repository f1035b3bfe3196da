"""Readings as lines of JSON while they are made, without a data directory or a supervisor."""
