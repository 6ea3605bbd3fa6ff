"""What the book has stored of its runs, and what follows from it; no page and no check yet."""
