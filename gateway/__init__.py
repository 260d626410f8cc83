"""Everything a household must trust: reads its meters and lets out only what it agreed to."""
