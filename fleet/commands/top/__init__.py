"""`fleet top`: the sensors of the running fleet in a terminal. `command` has the flags, `screen` draws the `table`."""
