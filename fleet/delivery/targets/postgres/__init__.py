"""The target `postgresql:`: readings in a PostgreSQL database."""
