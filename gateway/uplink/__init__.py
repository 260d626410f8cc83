"""The line to the cooperative's cloud."""
