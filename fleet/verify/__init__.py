"""The proof: every reading of a database is computed again and compared."""
