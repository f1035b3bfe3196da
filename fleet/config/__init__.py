"""The config: YAML, environment and flags become one `Config`, and that becomes the settings of each sensor."""
