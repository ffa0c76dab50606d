"""`python -m vogue.lab.train stage1|stage2|stage3|encode|ablate|stages`: the paper's stages, one command each.

encode   encode the cases that all three stages draw, once
stage1   connector alignment, from the weights of --start-from
stage2   fine-tuning of connector and MMDiT, from stage 1
stage3   multi-task training, from stage 2
stages   print the table of docs/stages.md
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Final, get_args

from vogue.schemas.errors import VogueError

from .stages import STAGES, InContext, as_markdown

__all__ = ["COMMANDS", "main"]

COMMANDS: Final = ("encode", *STAGES, "ablate", "stages")
_REFUSED: Final = 3


def main(arguments: list[str]) -> int:
    """Run one command. Exit 3 when it is refused; the reason goes to standard error."""
    if arguments and arguments[0] == "ablate":
        from .ablate import main as ablate

        return ablate(arguments[1:])
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    if options.command == "stages":
        sys.stdout.write(as_markdown())
        return 0
    try:
        _encode(options) if options.command == "encode" else _train(options)
    except VogueError as error:
        sys.stderr.write(f"refused: {error.message}\n")
        return _REFUSED
    return 0


def _encode(options: argparse.Namespace) -> None:
    from vogue.schemas.presets import get_preset

    from .buckets import measure_padding
    from .encoded import Shelf
    from .stage_runs import SHELF, encode
    from .stages import exercise_shares

    preset = get_preset(options.preset)
    encode(options.run, preset, options.cases, in_context=options.in_context, seed=options.seed, blind=options.blind)
    for stage in STAGES.values():
        shares = exercise_shares(stage, options.in_context)
        cases = Shelf(options.run / SHELF, shares).cases
        side = cases[0].frames.shape[-1] // preset.mmdit.patch_size
        padding = measure_padding(cases, shares, tokens_per_frame=side * side, tokens=options.tokens)
        logging.info(
            "%s: padding %.1f %% without buckets, %.1f %% with equal frames, %.1f %% with equal frames and alike contexts",
            stage.name, 100 * padding.worst, 100 * padding.by_frames, 100 * padding.by_frames_and_context,
        )  # fmt: skip


def _train(options: argparse.Namespace) -> None:
    from .stage_runs import StageRun, train_stage

    run = StageRun(
        stage=options.command,
        folder=str(options.run.resolve()),
        preset=options.preset,
        steps=options.steps,
        seed=options.seed,
        tokens=options.tokens,
        in_context=options.in_context,
        weights=None if options.start_from is None else str(options.start_from.resolve()),
        keep_connector=options.keep_connector,
        resume=options.resume,
        threads=options.threads,
    )
    if options.workers > 1:
        from .distributed import train_distributed

        train_distributed(run, options.workers)
    else:
        train_stage(run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vogue.lab.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--run", type=Path, default=Path("runs"), help="folder of checkpoints, logs and encoded cases")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--steps", type=int, default=None, help="in place of the stage's own")
    parser.add_argument("--resume", action="store_true", help="go on from the stage's checkpoint, to the bit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="more than one: through Ray Train")
    parser.add_argument("--threads", type=int, default=2, help="torch threads of each worker")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens of a batch, over all workers")
    parser.add_argument("--start-from", type=Path, default=None, help="weights folder to begin with")
    parser.add_argument("--keep-connector", action="store_true", help="stage1: start from that folder's connector too")
    parser.add_argument("--in-context", choices=get_args(InContext), default="table-7", help="whose shares to mix by")
    parser.add_argument("--cases", type=int, default=20_000, help="encode: cases of a stage, over all exercises")
    parser.add_argument(
        "--blind", action="store_true", help="encode: also what the MLLM makes of words alone (ablations)"
    )
    return parser
