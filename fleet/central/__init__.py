"""A central database: its tables, and how a batch gets into them."""
