"""A simulated street. Everything in it is made up."""
