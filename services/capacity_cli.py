"""`vogue capacity`: what fits on which card, computed from the networks' construction."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vogue.schemas.errors import RequestInvalid
from vogue.schemas.presets import get_preset

from .speaking import JsonFlag, gib, speaker_of
from .weights import shipped_folder

if TYPE_CHECKING:
    from vogue.engines.capacity.plan import Capacity, Card

__all__ = ["register"]

COMPUTED = "Computed from the construction of the networks; nothing here was measured."


def register(app: typer.Typer) -> None:
    """Add the command `capacity`."""
    app.command("capacity")(capacity)


def capacity(
    ctx: typer.Context,
    preset: Annotated[str, typer.Option(help="The model, such as univideo-hidden.")],
    gpu: Annotated[str, typer.Option(help="The kind of card, such as h100-80g.")],
    count: Annotated[int, typer.Option(min=1, max=4096, help="How many such cards.")] = 1,
    precision: Annotated[str, typer.Option(help="bf16 or fp8, for the matrices of MLLM and MMDiT.")] = "bf16",
    weights_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Weights whose MLLM is meant, where it is not the released one.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Say what fits where: weights, activations and offloading, per stage and card. Computed, not measured."""
    speaker = speaker_of(ctx)
    wanted = get_preset(preset)
    from vogue.engines.capacity.gpus import get_gpu
    from vogue.engines.capacity.plan import Precision, capacity_of
    from vogue.engines.release.blueprint import read_architecture

    card = get_gpu(gpu)
    if precision not in list(Precision):
        raise RequestInvalid(f"unknown precision {precision!r}; choose bf16 or fp8", param="precision")
    if precision == Precision.FP8 and not card.has_fp8:
        raise RequestInvalid(f"{gpu} has no fp8 matrix products", param="precision")
    folder = weights_dir if weights_dir is not None else shipped_folder(preset)
    architecture = read_architecture(folder / "mllm") if (folder / "mllm").is_dir() or weights_dir is not None else None
    if architecture is None and preset == "tiny":
        from vogue.engines.tiny import byte_tokenizer, tiny_architecture

        architecture = tiny_architecture(byte_tokenizer(), wanted.connector.in_dim)
    found = capacity_of(wanted, card, count, Precision(precision), architecture)
    speaker.answer(_document(found), lines=_lines(found))


def _document(found: Capacity) -> dict[str, Any]:
    document = asdict(found) | {"computed": True, "measured": False}
    document["stages"] = {
        name: [asdict(need) | {"total": need.total} for need in needs] for name, needs in found.stages.items()
    }
    return document


def _lines(found: Capacity) -> list[str]:
    first = next(iter(found.stages.values()))
    lines = [
        COMPUTED,
        "",
        f"{found.preset} in {found.precision}, {found.count} × {found.gpu.name} ({found.gpu.memory_gib} GiB)",
    ]
    lines += ["", "weights"]
    lines += [
        f"  {need.stage:<14} {need.parameters / 1e9:7.3f} B parameters  {gib(need.weights):>10}" for need in first
    ]
    if found.queries:
        lines.append(f"  of these, learnable queries {gib(found.queries)}")
    for shape in found.shapes:
        lines += ["", f"{shape.name}: {shape.width_px}×{shape.height_px}, {shape.num_frames} frames, {shape.tokens:,} latent and"
                      f" {shape.context_tokens:,} context tokens"]  # fmt: skip
        for need in found.stages[shape.name]:
            lines.append(f"  {need.stage:<14} activations {gib(need.activations):>10}   in all {gib(need.total):>10}")
        if shape.name in found.codec_whole_pictures:
            lines.append(
                f"  codec without tiles would take {gib(found.codec_whole_pictures[shape.name])} of activations"
            )
        lines += [f"  {_card_line(card)}" for card in found.cards if card.shape == shape.name]
        lines += [f"  together on one card: {_card_line(card)}" for card in found.together if card.shape == shape.name]
        lines.append("  making room on one card, each on top of those before:")
        for rung in found.ladder[shape.name]:
            cost = f", +{rung.cost_s:.2g} s a job" if rung.cost_s else ""
            today = "" if rung.today else " [not a switch of this version]"
            lines.append(
                f"    {'fits    ' if rung.fits else 'too much'} {gib(rung.needed):>10}  {rung.what}{cost}; {rung.note}{today}"
            )
    lines += ["", "next: deploy/h100.yaml places the services; docs/released-weights.md goes through it"]
    return lines


def _card_line(card: Card) -> str:
    return f"{' + '.join(card.stages)}: {gib(card.needed)}, {'fits' if card.fits else 'does not fit'}"
