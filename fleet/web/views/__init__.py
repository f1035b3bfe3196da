"""Flask views, a blueprint each."""
