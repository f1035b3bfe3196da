"""The commands of `fleet`: one module per verb, with its flags and what it does.

To add a command: a module with its click command, and one line in `fleet.cli`. What a command needs beyond click is
imported inside its functions, so that `fleet --help` stays quick.
"""
