"""`python -m vogue.cli`, where the script `vogue` is not on PATH."""

from .app import main

main()
