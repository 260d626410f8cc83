"""Bills, exactly."""
