"""The computation of readings: a reading is a pure function of seed, identity, settings and sequence number."""
