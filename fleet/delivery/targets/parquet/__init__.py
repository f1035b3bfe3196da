"""The target `parquet:`: readings in a directory of Parquet files."""
