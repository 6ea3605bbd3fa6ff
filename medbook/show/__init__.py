"""What a reader looks at: figures, sliders, tables."""
