"""The target `mqtt:`: readings as messages to a broker."""
