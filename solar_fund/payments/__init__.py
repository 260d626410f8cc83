"""Bank files out and in."""
