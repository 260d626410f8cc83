"""Load profiles behind the privacy floor."""
