"""The command line: each command is a few lines over a function that programs call too."""
