"""What spans several domains: counting votes, and the order of a settlement."""
