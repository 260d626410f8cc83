"""Solar projects from proposal to the last metered month."""
