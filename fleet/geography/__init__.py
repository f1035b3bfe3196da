"""What is known of places: cities, time zones, elevations, climate."""
