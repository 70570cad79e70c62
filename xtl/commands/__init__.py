"""Commands of the command line that are kept out of `xtl.cli`."""
