"""Forms of files that several sets share."""
