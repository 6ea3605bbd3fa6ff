"""Planar phantoms: plain shapes, axial chests and heads, drawn at random."""
