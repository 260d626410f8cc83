"""The log that nobody can rewrite."""
