"""What may leave the house, and at which resolution. Pure."""
