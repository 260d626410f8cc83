"""Ballots and results."""
