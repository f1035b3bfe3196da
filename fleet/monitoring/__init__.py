"""Numbers about a fleet, made from its scoreboard and its roster; no HTTP."""
