"""`vogue engine build|list|verify|bench|serve`: networks exported, compiled, kept, measured, and served to others.

Torch is loaded when a command runs, not when the command line is built.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vogue.schemas.engines import EngineSpec, LibraryName, OnnxRuntimeSpec, Precision, TensorRTSpec, TorchSpec
from vogue.schemas.errors import EngineNotBuilt, RequestInvalid

from .config import AppConfig
from .options import EngineDirOption, PresetOption, StateOption, WeightsOption
from .speaking import JsonFlag, at_work, gib, speaker_of
from .triton_cli import serve

if TYPE_CHECKING:
    from vogue.engines.compiled.signatures import Network
    from vogue.engines.compiled.store import Build
    from vogue.engines.registry import Site

__all__ = ["register"]


Kind = Literal["onnxruntime", "tensorrt"]
Parts = Literal["all", "mmdit", "decoder"]


class Measured(StrEnum):
    """Engines that `bench` runs. The command line takes several, and several only of an enumeration."""

    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


LibraryOption = Annotated[LibraryName, typer.Option(help="tensorrt for data-centre GPUs, tensorrt_rtx for RTX cards.")]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="By default fp32 for onnxruntime and bf16 for tensorrt.")
]
StreamingOption = Annotated[bool, typer.Option("--weight-streaming", help="Weights may stay in main memory.")]
RefitOption = Annotated[bool, typer.Option("--refit", help="New weights can be put into the plan.")]


def register(app: typer.Typer) -> None:
    """Add the commands `engine build`, `list`, `verify`, `bench` and `serve`."""
    group = typer.Typer(no_args_is_help=True, help="Export and compile networks, and see how fast they are.")
    group.command("build")(build)
    group.command("list")(list_builds)
    group.command("verify")(verify)
    group.command("bench")(bench)
    group.command("serve")(serve)
    app.add_typer(group, name="engine")


def build(
    ctx: typer.Context,
    preset: PresetOption = "mini",
    engine: Annotated[Kind, typer.Option(help="What it is built for.")] = "onnxruntime",
    network: Annotated[Parts, typer.Option(help="The MMDiT, the VAE's decoder, or both.")] = "all",
    library: LibraryOption = "tensorrt",
    precision: PrecisionOption = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="SM", help="GPUs to compile for, such as sm89; by default this machine's."),
    ] = None,
    weight_streaming: StreamingOption = False,
    refit: RefitOption = False,
    layers_only: Annotated[
        bool,
        typer.Option(
            "--layers-only", help="At full width, but one of each distinct layer, with random weights: a trial."
        ),
    ] = False,
    state_dir: StateOption = Path(".vogue"),
    engine_dir: EngineDirOption = None,
    weights_dir: WeightsOption = None,
    json: JsonFlag = False,
) -> None:
    """Export networks and, for TensorRT, compile them. What is there already is kept; nothing is overwritten by half."""
    speaker = speaker_of(ctx)
    spec = _spec(engine, library, precision, weight_streaming, refit)
    config = AppConfig(preset=preset, state_dir=state_dir, engine_dir=engine_dir, weights_dir=weights_dir)
    from vogue.engines.compiled.exporting import export_network
    from vogue.engines.compiled.tensorrt_build import Target, build_plan, this_gpu

    targets: list[Target] = []
    if isinstance(spec, TensorRTSpec):
        targets = [Target.parse(one) for one in target] if target else [this_gpu()]
        _refuse_far_targets(spec, targets)
    elif target:
        raise RequestInvalid("targets are TensorRT's; ONNX Runtime runs the graph anywhere", param="target")
    modules: dict[Network, Any] = {}
    if layers_only:
        from vogue.engines.compiled.trial import trial_site

        site, modules = trial_site(config.preset, _engine_dir(config), spec.precision, _networks(network))
    else:
        site = _site(config)
    built: list[Build] = []
    with at_work(speaker) as say:
        for one in _networks(network):
            built.append(export_network(site, one, spec.precision, say, module=modules.get(one)))
            if isinstance(spec, TensorRTSpec):
                built += [build_plan(site, one, spec, each, say) for each in targets]
    speaker.answer(
        {"engine_dir": str(site.engine_dir), "builds": [_document(one) for one in built]},
        lines=[
            *map(_line, built),
            f"next: set engines in serve_config.yaml (docs/engines.md); they are in {site.engine_dir}",
        ],
    )


def list_builds(
    ctx: typer.Context,
    state_dir: StateOption = Path(".vogue"),
    engine_dir: EngineDirOption = None,
    json: JsonFlag = False,
) -> None:
    """Say what is built."""
    speaker = speaker_of(ctx)
    from vogue.engines.compiled.store import builds_in

    folder = _engine_dir(AppConfig(state_dir=state_dir, engine_dir=engine_dir))
    found = builds_in(folder)
    speaker.answer(
        {"engine_dir": str(folder), "builds": [_document(one) for one in found]},
        lines=[_line(one) for one in found] or [f"nothing is built in {folder}; next: vogue engine build"],
    )


def verify(
    ctx: typer.Context,
    state_dir: StateOption = Path(".vogue"),
    engine_dir: EngineDirOption = None,
    json: JsonFlag = False,
) -> None:
    """Check every build's files against the digests of its manifest, and every graph against the standard."""
    speaker = speaker_of(ctx)
    from vogue.engines.compiled.exporting import MODEL, check_onnx
    from vogue.engines.compiled.signatures import signature_of
    from vogue.engines.compiled.store import builds_in, verify_build
    from vogue.schemas.presets import PRESETS

    folder = _engine_dir(AppConfig(state_dir=state_dir, engine_dir=engine_dir))
    found = builds_in(folder)
    faults = []
    for one in found:
        wrong = verify_build(one)
        if not wrong and one.manifest.kind == "onnx" and one.manifest.preset in PRESETS:
            check_onnx(one.folder / MODEL, signature_of(PRESETS[one.manifest.preset], one.manifest.network))
        faults += [f"{one.folder.relative_to(folder)}: {fault}" for fault in wrong]
    if faults:
        raise EngineNotBuilt(f"{'; '.join(faults)}. Remove what is wrong and build it again")
    speaker.answer(
        {"engine_dir": str(folder), "builds": len(found)},
        lines=[f"{len(found)} builds in {folder}, all as they were made"],
    )


def bench(
    ctx: typer.Context,
    preset: PresetOption = "mini",
    engine: Annotated[
        list[Measured] | None, typer.Option(help="Engines to measure; by default torch and onnxruntime.")
    ] = None,
    library: LibraryOption = "tensorrt",
    precision: PrecisionOption = None,
    weight_streaming: StreamingOption = False,
    refit: RefitOption = False,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Calls of each; the median counts.")] = 5,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads of the CPU.")] = 2,
    device: Annotated[str, typer.Option(help="Where torch runs.")] = "cpu",
    state_dir: StateOption = Path(".vogue"),
    engine_dir: EngineDirOption = None,
    weights_dir: WeightsOption = None,
    json: JsonFlag = False,
) -> None:
    """Time one denoising step of three passes at the usual size on each engine, side by side, and how far they are apart."""
    speaker = speaker_of(ctx)
    config = AppConfig(
        preset=preset, state_dir=state_dir, engine_dir=engine_dir, weights_dir=weights_dir, device=device
    )
    from vogue.engines.compiled.benching import bench_engines

    chosen = engine or [Measured.TORCH, Measured.ONNXRUNTIME]
    specs: list[EngineSpec] = [
        TorchSpec() if one is Measured.TORCH else _spec(one, library, precision, weight_streaming, refit)
        for one in chosen
    ]
    with at_work(speaker) as say:
        found = bench_engines(_site(config, threads), specs, rounds, say)
    lines = [f"{preset}, one step of three passes, {found[0].tokens} tokens a row, {rounds} rounds, {threads} threads"]
    lines += [
        f"{one.identity:<60} {one.median_s * 1e3:9.1f} ms   {one.apart:.1e} from {found[0].identity}" for one in found
    ]
    speaker.answer({"preset": preset, "rounds": rounds, "engines": [one.__dict__ for one in found]}, lines=lines)


def _spec(
    kind: Kind | Measured, library: LibraryName, precision: Precision | None, streaming: bool, refit: bool
) -> OnnxRuntimeSpec | TensorRTSpec:
    if kind == "onnxruntime":
        return OnnxRuntimeSpec(precision=precision or "fp32")
    return TensorRTSpec(library=library, precision=precision or "bf16", weight_streaming=streaming, refit=refit)


def _networks(parts: Parts) -> list[Network]:
    from vogue.engines.compiled.signatures import Network

    decoders = [Network.DECODER, Network.DECODER_STILL]
    return {"all": [Network.MMDIT, *decoders], "mmdit": [Network.MMDIT], "decoder": decoders}[parts]


def _engine_dir(config: AppConfig) -> Path:
    return config.engine_dir or config.state_dir / "engines"


def _site(config: AppConfig, threads: int | None = None) -> Site:
    from .workplace import Workplace

    config.state_dir.mkdir(parents=True, exist_ok=True)
    return Workplace(config, threads).site


def _refuse_far_targets(spec: TensorRTSpec, targets: list[Any]) -> None:
    """Plain TensorRT measures kernels on the GPU that it compiles for."""
    if spec.library != "tensorrt":
        return
    from vogue.engines.compiled.tensorrt_build import this_gpu

    here = this_gpu()
    far = [str(one) for one in targets if one != here]
    if far:
        raise EngineNotBuilt(
            f"the library tensorrt compiles for the GPU it runs on, here {here}, not for {', '.join(far)}: run this on such"
            " a machine, or choose --library tensorrt_rtx"
        )


def _document(one: Build) -> dict[str, Any]:
    return {"folder": str(one.folder), "bytes": one.num_bytes, **one.manifest.model_dump(mode="json")}


def _line(one: Build) -> str:
    facts = one.manifest.facts
    target = f" {facts['compute_capability']}" if "compute_capability" in facts else ""
    return (
        f"{one.manifest.preset:<18} {one.manifest.network.value:<14} {one.manifest.kind:<13} {facts['precision']}{target}"
        f"  {gib(one.num_bytes):>10}  {one.folder.name.rpartition('-')[2]}"
    )
