"""The order of a settlement, and how to run it again."""
