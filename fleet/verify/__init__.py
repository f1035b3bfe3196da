"""The verification of databases: every reading is computed again and compared with its row."""
