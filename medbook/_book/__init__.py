"""The build tool behind the `medbook` command; chapters never import it."""
