"""Where a sweep can deliver to: a class each."""
