"""The household's own page."""
