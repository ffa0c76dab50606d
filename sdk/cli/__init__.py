"""The command line. `vogue --help` lists its commands; `vogue.cli.exits` says what their exit codes mean."""

from .app import build_app, main

__all__ = ["build_app", "main"]
