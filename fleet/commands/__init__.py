"""What the commands do that need more than a line or two."""
