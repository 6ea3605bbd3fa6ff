"""Chapters executed: what a run is, one job of it, and where jobs are run."""
