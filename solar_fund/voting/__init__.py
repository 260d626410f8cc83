"""Ballots and counting rules."""
