"""Ways to authenticate."""
