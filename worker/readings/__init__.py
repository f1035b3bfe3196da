"""A reading is a pure function of seed, sensor, settings and sequence number."""
