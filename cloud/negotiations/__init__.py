"""Tenders, offers and acceptance."""
