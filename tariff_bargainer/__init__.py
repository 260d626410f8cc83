"""From load profiles to a better tariff."""
