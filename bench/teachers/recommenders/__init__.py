"""Conventional recommenders that teachers are made of, trained on training rows alone."""
