"""Networks and their training, and what they are fed with."""
