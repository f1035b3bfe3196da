"""What there is in the world: kinds of sensor, makers, models, firmware, surroundings, cities and their climate."""
