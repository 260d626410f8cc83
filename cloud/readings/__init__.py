"""Stored readings behind one port."""
