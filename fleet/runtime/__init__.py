"""A fleet that runs: planning, starting, changing and controlling it."""
