"""The files of a data directory, each with one writer."""
