"""What twins are drawn with: shapes, and pictures that several sets share."""
