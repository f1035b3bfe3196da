"""The HTTP server of a fleet: documents, dashboard, metrics and control."""
