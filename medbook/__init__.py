"""Plumbing of the book: data, training, statistics, figures; the methods stand in the chapters."""

from medbook.data.own import own_image
from medbook.record.session import start

__version__ = "0.1.0"
__all__ = ["__version__", "own_image", "start"]
