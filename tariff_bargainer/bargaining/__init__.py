"""Offers, supplier cost, counter-offers and fairness."""
