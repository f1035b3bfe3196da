"""The targets `influx://`, a server that takes line protocol over HTTP, and `influx:`, a file of it."""
