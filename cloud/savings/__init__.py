"""Monthly savings per member."""
