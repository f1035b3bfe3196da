"""The catalogue: sensor types, manufacturers, models, firmware, surroundings; cities and their climate."""
