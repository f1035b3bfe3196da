"""YAML of every dialect becomes one `Config`, and that the settings of each sensor."""
