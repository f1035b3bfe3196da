"""Readings reach another place, exactly once."""
