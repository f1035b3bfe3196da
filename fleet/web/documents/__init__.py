"""What the HTTP documents and pages contain."""
