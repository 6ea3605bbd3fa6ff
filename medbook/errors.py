"""The one error that a reader is meant to see."""


class MedbookError(Exception):
    """What was given, what is accepted and what to do, in one line."""
