"""Processes as the supervisor holds them: forking, watching, restarting, ending."""
