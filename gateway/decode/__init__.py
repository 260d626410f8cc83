"""From raw registers and payloads to quantities with units. Pure."""
