"""Numbers about a fleet, computed from its scoreboard and its roster, without HTTP."""
