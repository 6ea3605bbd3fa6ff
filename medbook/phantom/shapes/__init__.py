"""Convex shapes with closed forms: line integrals, pixel means, Fourier transforms, painting."""
