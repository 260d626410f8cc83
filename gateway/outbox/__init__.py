"""What waits to be sent, safe across a power cut."""
