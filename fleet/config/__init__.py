"""A config: YAML, environment and flags become one `Config`, and that the settings of each sensor."""
