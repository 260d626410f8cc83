"""Example and published tariffs in the project's own form, each with its source and date."""
