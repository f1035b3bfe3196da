"""Plots of readings: in a file by matplotlib, or as characters in a terminal."""
