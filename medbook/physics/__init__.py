"""Measurement operators of the imaging modalities, each with its exact adjoint."""
