"""`fleet verify --against`: what was delivered compared with what was generated."""
