"""`python -m xtl`: the command line, where its script is not on the path."""

from xtl.cli import main

main()
