"""The cooperative's money and votes."""
