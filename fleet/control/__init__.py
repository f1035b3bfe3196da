"""What may be asked of a running fleet, and how: typed commands, the socket that takes them, and who they are about."""
