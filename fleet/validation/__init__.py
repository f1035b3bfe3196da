"""Validation of values from outside: YAML with line and column, scalar types, and issues that name their place."""
