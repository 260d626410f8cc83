"""Double entry, append-only, hash-chained."""
