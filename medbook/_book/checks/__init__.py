"""Stored numbers and notebooks checked on this machine."""
