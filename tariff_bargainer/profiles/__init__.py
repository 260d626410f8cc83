"""Load over time, checked and summarised."""
