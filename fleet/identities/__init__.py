"""Who the sensors are: identity files that are read, and identities that are generated."""
