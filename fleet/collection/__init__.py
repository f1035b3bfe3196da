"""The sweep: readings go from every sensor's database to a central place, each exactly once."""
