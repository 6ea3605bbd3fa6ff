"""Notebooks made from chapters: published, for students, to take away, new."""
