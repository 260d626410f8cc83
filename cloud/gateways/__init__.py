"""Pairing and keys of gateways."""
