"""The places that readings can be delivered to and read back from."""
