"""The targets of a delivery: a module or package per place that readings are written to and read back from."""
