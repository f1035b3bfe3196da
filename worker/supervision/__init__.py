"""The supervisor's side of its child processes: forking, watching, restarting, ending."""
