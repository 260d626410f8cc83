"""What spans several domains: counting a vote and carrying out what it decided."""
