"""Options that several commands of this room have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EngineDirOption", "PresetOption", "StateOption", "WeightsOption"]

PresetOption = Annotated[str, typer.Option(help="The model.")]
StateOption = Annotated[Path, typer.Option("--state-dir", metavar="DIR", help="The server's state directory.")]
EngineDirOption = Annotated[
    Path | None, typer.Option("--engine-dir", metavar="DIR", help="Where engines are kept; by default STATE/engines.")
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights-dir", metavar="DIR", help="The preset's weights, if not those that are shipped."),
]
