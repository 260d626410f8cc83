"""The cooperative's server."""
