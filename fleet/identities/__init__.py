"""Identities: files that are read, and identities that are generated."""
