"""Plans of measurements: in which order, and how long each takes."""
