"""The formats of files with readings: a module each, and the list of them in `registry.py`."""
