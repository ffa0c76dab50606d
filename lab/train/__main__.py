"""`python -m vogue.lab.train codec|eyes|mllm|mmdit|export`: one resumable command per network. The paper's stages: `stage_cli`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from . import stage_cli
from .budget import Budget
from .trainer import Settings, Trainer


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and train, or export."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in stage_cli.COMMANDS:
        return stage_cli.main(arguments)
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.train", description=__doc__)
    parser.add_argument("network", choices=tuple(COMMANDS))
    parser.add_argument("--minutes", type=float, default=None, help="wall-clock budget, earlier sittings included")
    parser.add_argument("--steps", type=int, default=None, help="budget in steps instead; reproducible to the bit")
    parser.add_argument("--resume", action="store_true", help="continue from the run's checkpoint")
    parser.add_argument("--run", type=Path, default=Path("runs"), help="folder of checkpoints, logs and pools")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--weights", type=Path, default=Path("weights/mini"), help="export: where to; adopt: from where"
    )
    parser.add_argument("--start-from", type=Path, default=None, help="mmdit: begin with these weights, not at random")
    parser.add_argument("--cases", type=int, default=20_000, help="pool: how many cases to encode, over all tasks")
    parser.add_argument("--part", type=int, default=0, help="pool: which of --parts processes this is")
    parser.add_argument("--parts", type=int, default=1, help="pool: how many processes fill it together")
    parser.add_argument("--compile", action="store_true", help="mmdit: compile the blocks (minutes once, then faster)")
    parser.add_argument("--evaluate-every-s", type=float, default=900.0, help="mmdit: pause between samples")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    torch.set_num_threads(options.threads)
    if options.minutes is None and options.steps is None:
        options.minutes = 20.0
    COMMANDS[options.network](options)
    return 0


def train_codec(options: argparse.Namespace) -> None:
    """Train the codec, then measure its latents' statistics."""
    from .codec import CodecTask, clip_pool, measure_latents

    pool = clip_pool(options.run / "pool" / "clips.u8", 8000, options.seed)
    task = CodecTask(pool, seed=options.seed)
    trainer = _trainer(task, options, ema_decay=0.99)
    trainer.run()
    best = trainer.averaged() or task.network
    measure_latents(best, pool)  # type: ignore[arg-type]
    torch.save(best.state_dict(), options.run / "codec-final.pt")


def train_decoder(options: argparse.Namespace) -> None:
    """Go on with the codec's decoder alone, on the generator's latents; all that was encoded stays valid."""
    from vogue.schemas.presets import get_preset

    from .codec import clip_pool
    from .mending import MendingTask

    pool = clip_pool(options.run / "pool" / "clips.u8", 8000, options.seed)
    state = torch.load(options.run / "codec-final.pt", weights_only=True)
    task = MendingTask(pool, state, options.run, get_preset("mini"), seed=options.seed)
    trainer = _trainer(task, options, ema_decay=0.99, evaluate_every_s=600.0)
    trainer.run()
    torch.save((trainer.averaged() or trainer.task.network).state_dict(), options.run / "decoder-final.pt")


def train_eyes(options: argparse.Namespace) -> None:
    """Train the MLLM's vision tower alone; `give-eyes` puts it into the MLLM's run."""
    from .eyes import EyesTask
    from .mllm import load_or_build_tokenizer

    tokenizer = load_or_build_tokenizer(options.run / "tokenizer.json", options.seed)
    _trainer(EyesTask(tokenizer, seed=options.seed), options, ema_decay=0.99).run()


def hand_over_eyes(options: argparse.Namespace) -> None:
    """Put the tower that `eyes` trained into the MLLM's checkpoint, once; a new one where there is none. `mllm --resume` goes on."""
    from .eyes import give_eyes
    from .mllm import MLLMTask, load_or_build_tokenizer

    tokenizer = load_or_build_tokenizer(options.run / "tokenizer.json", options.seed)
    trainer = _trainer(MLLMTask(tokenizer, seed=options.seed), options, ema_decay=0.99)
    if trainer.checkpoint.exists() and not options.resume:
        trainer.restore()
    eyes = torch.load(options.run / "eyes.pt", map_location="cpu", weights_only=True)["average"]
    state = trainer.task.network.state_dict()
    for kept in (state, trainer.average or {}):
        give_eyes(eyes, kept)
    trainer.task.network.load_state_dict(state)
    trainer.save()


def train_mllm(options: argparse.Namespace) -> None:
    """Learn the tokenizer, then train the MLLM."""
    from .mllm import MLLMTask, load_or_build_tokenizer
    from .pupil import save_mllm
    from .tokenizer import save_tokenizer

    tokenizer = load_or_build_tokenizer(options.run / "tokenizer.json", options.seed)
    task = MLLMTask(tokenizer, seed=options.seed)
    trainer = _trainer(task, options, ema_decay=0.99)
    trainer.run()
    folder = options.run / "mllm"
    save_tokenizer(tokenizer, folder)
    if trainer.average is not None:
        task.network.load_state_dict(trainer.average)
    save_mllm(task.network.mllm, folder)


def build_pool(options: argparse.Namespace) -> None:
    """Encode training cases until the pool is full, shard by shard, all tasks in step; continues where it stopped."""
    from .pool import fill_pool

    fill_pool(options.run, options.cases, options.part, options.parts)


def train_mmdit(options: argparse.Namespace) -> None:
    """Train connector and MMDiT on the pool's shards, those that appear meanwhile included."""
    from vogue.schemas.presets import get_preset

    from .mmdit import GeneratorTask

    task = GeneratorTask(get_preset("mini"), options.run / "pool", seed=options.seed, compiled=options.compile)
    if options.start_from is not None and not options.resume:
        from .adopt import start_from

        start_from(options.start_from, task.network)
    trainer = _trainer(task, options, ema_decay=0.997, hold=0.4, evaluate_every_s=options.evaluate_every_s)
    trainer.run()


def adopt(options: argparse.Namespace) -> None:
    """Make a run folder of shipped weights, to train the generator on from there with `mmdit --start-from`."""
    from .adopt import adopt_frozen

    adopt_frozen(options.weights, options.run)


def export(options: argparse.Namespace) -> None:
    """Write the weights that ship."""
    from .export import export_weights

    for name, size in export_weights(options.run, options.weights, seed=options.seed).items():
        logging.info("%9d  %s", size, name)


def _trainer(task, options: argparse.Namespace, **settings: float) -> Trainer:  # type: ignore[no-untyped-def]
    budget = Budget(minutes=options.minutes, steps=options.steps)
    trainer = Trainer(task, budget, Settings(folder=options.run, seed=options.seed, **settings))  # type: ignore[arg-type]
    if options.resume:
        trainer.restore()
    return trainer


COMMANDS = {
    "codec": train_codec,
    "decoder": train_decoder,
    "eyes": train_eyes,
    "give-eyes": hand_over_eyes,
    "mllm": train_mllm,
    "pool": build_pool,
    "mmdit": train_mmdit,
    "adopt": adopt,
    "export": export,
}

if __name__ == "__main__":
    sys.exit(main())
