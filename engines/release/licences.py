"""The licences of what a user downloads, in this project's words: what they are, where they stand, and what to watch for.

Nothing here is legal advice or replaces the texts; they are shown before an import, and have to be accepted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vogue.schemas.errors import RequestInvalid

__all__ = ["LICENCES", "Licence", "require_acceptance"]


@dataclass(frozen=True)
class Licence:
    """Terms of one downloaded part. `source` is where its text is; `summary` names what is easily overlooked."""

    id: str
    covers: str
    name: str
    source: str
    summary: str


LICENCES: tuple[Licence, ...] = (
    Licence(
        id="tencent-hunyuan-community",
        covers="HunyuanVideo: the VAE and the base of the MMDiT (hunyuanvideo-community/HunyuanVideo), and what is derived from them",
        name="Tencent Hunyuan Community License Agreement (HunyuanVideo, 3 December 2024)",
        source="https://huggingface.co/tencent/HunyuanVideo/blob/main/LICENSE",
        summary=(
            "Not an open-source licence. It does not apply in the European Union, the United Kingdom and South Korea: whoever"
            " is there gets no rights from it, and results must not be used outside its territory either. It restricts"
            " uses (Exhibit A), asks very large services for a licence of their own, forbids training other models on the"
            " results, and passes its terms on to derived models, such as UniVideo's MMDiT."
        ),
    ),
    Licence(
        id="qwen2.5-vl-7b-apache-2.0",
        covers="Qwen2.5-VL-7B-Instruct: the MLLM (Qwen/Qwen2.5-VL-7B-Instruct)",
        name="Apache License 2.0",
        source="https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct",
        summary=(
            "Permissive; keep its notices. True of the 7B size only: the 3B and 72B sizes have other terms"
            " (github.com/QwenLM/Qwen3-VL/issues/963)."
        ),
    ),
    Licence(
        id="univideo",
        covers="UniVideo: the connector, the trained MMDiT, and the queries' MLLM state (KlingTeam/UniVideo)",
        name="see the model card; no licence text was found in the authors' code repository",
        source="https://huggingface.co/KlingTeam/UniVideo",
        summary=(
            "github.com/KlingTeam/UniVideo, read in 2026, holds no licence file and its README names none; without one, nothing"
            " is granted. Read the model card before use. Being derived from HunyuanVideo and Qwen2.5-VL, these"
            " weights are bound by both licences above in any case."
        ),
    ),
)


def require_acceptance(accepted: Collection[str]) -> None:
    """Raise unless every licence has been accepted.

    Raises:
        RequestInvalid: names those that were not, and how to accept them.
    """
    open_ones = [licence for licence in LICENCES if licence.id not in accepted]
    if open_ones:
        named = "; ".join(f"{licence.name} for {licence.covers} ({licence.source})" for licence in open_ones)
        raise RequestInvalid(
            f"licences that have not been accepted: {named}. Read them, then pass --accept-licences",
            param="accept_licences",
        )
