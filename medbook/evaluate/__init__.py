"""Numbers about methods: intervals and verdicts, how good features are, how long things take."""
