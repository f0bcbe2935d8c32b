"""What becomes of a finished run: it is served, exported to the engines that people run, and kept up to date."""
