"""What arrived, compared with what was generated."""
