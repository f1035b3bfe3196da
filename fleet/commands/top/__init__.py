"""`fleet top`: all sensors of a running fleet, live, in the terminal."""
