"""How notebooks show jobs: a few facts and an inline picture, everything escaped."""

from __future__ import annotations

import base64
from html import escape

from vogue.schemas.jobs import Asset, Job

__all__ = ["job_html", "poster_of"]

_MOST_BYTES = 4 * 1024 * 1024
_WIDTH_PX = 256


def poster_of(job: Job) -> Asset | None:
    """The png among a job's results that shows what it made, if it is small enough to be shown inline."""
    pictures = [asset for asset in job.assets if asset.media_type == "image/png" and asset.num_bytes <= _MOST_BYTES]
    return pictures[-1] if pictures else None


def job_html(job: Job, poster: bytes | None) -> str:
    """A job as HTML."""
    spec = job.spec
    facts = [f"{spec.task}, seed {spec.seed}", f"{spec.width_px}×{spec.height_px}, {spec.num_frames} frames"]
    if not job.status.final and job.steps_total:
        facts.append(f"step {job.steps_done} of {job.steps_total}")
    if job.answer:
        facts.append(job.answer)
    if job.error is not None:
        facts.append(job.error.message)
    picture = ""
    if poster is not None:
        source = f"data:image/png;base64,{base64.b64encode(poster).decode()}"
        words = escape(job.request.instruction, quote=True)
        picture = f'<img src="{source}" alt="{words}" width="{_WIDTH_PX}"/>'
    lines = "<br/>".join(escape(fact) for fact in facts)
    head = f"<b>{escape(job.id)}</b> {escape(str(job.status))}"
    return f"<div>{head}<br/><i>{escape(job.request.instruction)}</i><br/>{lines}<br/>{picture}</div>"
