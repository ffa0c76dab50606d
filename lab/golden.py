"""A folder of golden vectors: its sizes, its wording, its cases, and their visuals read as the product reads them.

The format is described in the README beside the vectors. Nothing here compares; `parity` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.torch import load_file
from torch import Tensor

from vogue.engines.conditioning import Canvas, Visual
from vogue.engines.loading import load_vae, materialise
from vogue.engines.media.decode import read_image, read_video
from vogue.engines.media.probe import probe
from vogue.engines.mllm import MLLM
from vogue.engines.mllm_loading import load_mllm
from vogue.engines.models.connector import Connector
from vogue.engines.models.mmdit import MMDiT
from vogue.engines.models.vae import VAE
from vogue.engines.preprocess import causal_frames, size_source
from vogue.engines.torch_engine import TorchEngine
from vogue.engines.weights import CONNECTOR_PREFIX, read_weights, split_prefix
from vogue.schemas.config import (
    ConnectorConfig,
    HunyuanVAEConfig,
    MLLMConfig,
    MMDiTConfig,
    Prompts,
    Role,
    ScheduleConfig,
    Task,
    Variant,
)
from vogue.schemas.references import MediaKind

__all__ = ["Case", "Golden"]

C = TypeVar("C", bound=BaseModel)
VAE_SIDE = 8


@dataclass(frozen=True)
class Case:
    """One recorded run: what was asked, and the tensors of its file."""

    name: str
    variant: Variant
    task: Task
    prompt: str
    negative_prompt: str
    num_frames: int
    steps: int
    guidance: float
    image_guidance: float
    canvas: Canvas
    visuals: tuple[Visual, ...]
    recorded: Mapping[str, Tensor]

    @property
    def references(self) -> int:
        """How many reference pictures stand before the target."""
        return sum(visual.role is Role.REFERENCE for visual in self.visuals)

    @property
    def guide(self) -> Visual | None:
        """The source or first frame."""
        return next((visual for visual in self.visuals if visual.role is not Role.REFERENCE), None)


class Golden:
    """The networks and cases of a folder. Networks are float32 and built once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configs: dict[str, Any] = _read_json(folder / "configs.json")
        self.prompts = Prompts.model_validate(_read_json(folder / "prompts.json"))
        self.schedule = ScheduleConfig(
            **_known(ScheduleConfig, self.configs["scheduler"]),
            guidance_embedding=self.configs["guidance_embedding"],
        )
        self._mllms: dict[Variant, MLLM] = {}

    def cases(self) -> list[dict[str, Any]]:
        """The entries of `cases.json`."""
        entries: list[dict[str, Any]] = _read_json(self.folder / "cases.json")
        return entries

    @cached_property
    def _transformer(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return split_prefix(read_weights(self.folder / self.configs["transformer"]["file"]), CONNECTOR_PREFIX)

    @cached_property
    def connector(self) -> Connector:
        """The connector, from its keys in the transformer's file."""
        sizes = self.configs["transformer"]
        config = ConnectorConfig(in_dim=sizes["text_embed_dim"], out_dim=sizes["context_dim"])
        return materialise(lambda: Connector(config), self._transformer[0], "connector", "cpu", torch.float32)

    @cached_property
    def engine(self) -> TorchEngine:
        """The MMDiT behind the engine port."""
        config = MMDiTConfig(**_known(MMDiTConfig, self.configs["transformer"]))
        model = materialise(lambda: MMDiT(config), self._transformer[1], "MMDiT", "cpu", torch.float32)
        return TorchEngine(model, guidance_embedding=self.schedule.guidance_embedding)

    @cached_property
    def vae(self) -> VAE:
        """The codec."""
        sizes = self.configs["vae"]
        return load_vae(self.folder / sizes["file"], HunyuanVAEConfig(**_known(HunyuanVAEConfig, sizes)))

    def mllm(self, variant: Variant) -> MLLM:
        """The MLLM of a variant; the *queries* state lies over the base weights."""
        if variant not in self._mllms:
            sizes = self.configs["mllm"]
            config = MLLMConfig(
                variant=variant,
                num_queries=sizes["num_queries"][variant.value],
                source_video_frames=sizes["source_video_frames"][variant.value],
                min_pixels=sizes["min_pixels"],
                max_pixels=sizes["max_pixels"],
            )
            overlaid = self.folder / sizes["queries_state"] if variant is Variant.QUERIES else None
            self._mllms[variant] = load_mllm(
                self.folder / sizes["path"], config, self.prompts.system, overlaid=overlaid
            )
        return self._mllms[variant]

    def read(self, entry: Mapping[str, Any]) -> Case:
        """A case with its visuals decoded and put on the canvas by the product's own code."""
        area_px = entry["height"] * entry["width"]
        height, width = (side // VAE_SIDE * VAE_SIDE for side in (entry["height"], entry["width"]))
        visuals: list[Visual] = []
        for role, name in ((Role.FIRST_FRAME, "first_frame"), (Role.SOURCE, "source")):
            if name in entry:
                guide, (height, width) = _read_guide(self.folder / entry[name], role, area_px, int(entry["num_frames"]))
                visuals.append(guide)
        references = [
            Visual(Role.REFERENCE, MediaKind.IMAGE, read_image(self.folder / path)[None])
            for path in entry.get("references", ())
        ]
        return Case(
            name=f"{entry['variant']}/{entry['task']}",
            variant=Variant(entry["variant"]),
            task=Task(entry["task"]),
            prompt=entry["prompt"],
            negative_prompt=entry["negative_prompt"],
            num_frames=entry["num_frames"],
            steps=entry["steps"],
            guidance=entry["guidance"],
            image_guidance=entry["image_guidance"],
            canvas=Canvas(height, width, area_px),
            visuals=(*references, *visuals),
            recorded=load_file(self.folder / entry["file"]),
        )


def _read_guide(path: Path, role: Role, area_px: int, num_frames: int) -> tuple[Visual, tuple[int, int]]:
    """A source or first frame, and the canvas it asks for. Clips come resized by the decoder, then cropped."""
    info = probe(path)
    size = size_source(info.height_px, info.width_px, area_px)
    if info.kind != "video":
        return Visual(role, MediaKind.IMAGE, read_image(path)[None]), (size.height, size.width)
    decoded = read_video(path, max_frames=num_frames, size=(size.resized_height, size.resized_width)).frames
    used = causal_frames(len(decoded), num_frames)
    frames = np.ascontiguousarray(decoded[:used, : size.height, : size.width])
    return Visual(role, MediaKind.VIDEO, frames), (size.height, size.width)


def _known(contract: type[C], values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that the configuration has a field for; a folder may note more."""
    return {name: value for name, value in values.items() if name in contract.model_fields}


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
