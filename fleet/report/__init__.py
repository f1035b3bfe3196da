"""The report of a data directory: one page that can be sent around."""
