"""The target `http:`: readings posted as JSON to a server."""
