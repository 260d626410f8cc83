"""The door through which signed batches come in."""
