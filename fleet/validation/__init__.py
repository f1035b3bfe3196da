"""Values that come from outside: YAML that knows its line and column, scalar types, and faults that name the place."""
