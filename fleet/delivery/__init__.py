"""Delivery of readings from the databases of a directory to a target, each reading exactly once."""
