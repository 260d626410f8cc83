"""Tariffs as data."""
