"""Faults of the way to a target, on purpose: which reading has which, their application and their record."""
