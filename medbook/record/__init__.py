"""A run of one chapter: its size and seeds, what is claimed, what it measured."""
