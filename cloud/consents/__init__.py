"""Consent events as the cloud keeps them."""
