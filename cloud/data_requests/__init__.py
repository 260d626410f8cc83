"""Requests to use members' data."""
