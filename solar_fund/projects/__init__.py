"""Solar projects from proposal to operation."""
