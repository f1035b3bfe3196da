"""A fleet that runs: its plan, its loop, and what changes it."""
