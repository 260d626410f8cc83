"""The solar fund as members see it."""
