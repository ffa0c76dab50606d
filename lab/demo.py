"""The demo: `python -m vogue.lab.demo` (or `make demo`).

Starts a server, renders a clip of the mini world, and asks for three things as any user would: a clip from words, a clip from
a picture, and an edit of the clip. The files, a contact sheet and a small animation land in `out/`; the server is stopped.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from vogue import JobHandle, Vogue, VogueError
from vogue.engines.media import read_video, write_image, write_video
from vogue.lab.world.cases import sample_case
from vogue.lab.world.scene import CLIP_FPS

from .contact_sheet import Clip, Strip, contact_sheet, side_by_side
from .local_server import local_server

__all__ = ["main", "make"]

# Held-out scenes: no weights have been trained on them.
_WORDS_SEED, _PICTURE_SEED, _EDIT_SEED = 7, 0, 1
_MAX_FRAMES = 257


def make(client: Vogue, folder: Path, console: Console, seed: int) -> tuple[Strip, ...]:
    """Ask a server for what the demo shows; inputs and results are written to `folder`.

    Raises:
        VogueError: the server refuses, or a job failed.
    """
    words = sample_case("t2v", _WORDS_SEED, "eval").prompt
    picture = sample_case("i2v", _PICTURE_SEED, "eval")
    edit = sample_case("v2v_edit", _EDIT_SEED, "eval", edit_kind="recolour")
    if picture.first_frame is None or edit.source is None:
        raise ValueError("an i2v case needs a first frame and an edit a source")
    first_frame, source = folder / "first-frame.png", folder / "source.mp4"
    write_image(picture.first_frame[0], first_frame)
    write_video(edit.source, CLIP_FPS, source)

    made = client.generate(words, task="t2v", seed=seed)
    from_words = _receive(console, made, "text to video", folder / "text-to-video.mp4")
    made = client.generate(picture.prompt, first_frame=first_frame, seed=seed)
    from_picture = _receive(console, made, "image to video", folder / "image-to-video.mp4")
    made = client.generate(edit.prompt, source=source, seed=seed)
    edited = _receive(console, made, "edit", folder / "edit.mp4")
    return (
        Strip(f"text to video: {words}", from_words),
        Strip("image to video, the picture", picture.first_frame),
        Strip(f"image to video: {picture.prompt}", from_picture),
        Strip("edit, the source", edit.source),
        Strip(f"edit: {edit.prompt}", edited),
    )


def _receive(console: Console, job: JobHandle, what: str, path: Path) -> Clip:
    """Wait for a job, save its clip, and read it back as uint8 [T, H, W, 3]."""
    began_s = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        job.wait(lambda event: bar.update(task, completed=event.steps_done, total=event.steps_total or None))
    job.save(path)
    console.print(
        f"{what}: {job.job.request.instruction!r} → {path} ({time.monotonic() - began_s:.1f} s)", markup=False
    )
    return read_video(path, max_frames=_MAX_FRAMES).frames


def _show(strips: tuple[Strip, ...], folder: Path, console: Console) -> None:
    """Write the contact sheet and the animation, and say where everything is."""
    write_image(contact_sheet(strips), folder / "contact-sheet.png")
    frames = side_by_side(strips)
    # A pause at the end, so that the eye sees where the clips begin.
    write_video(np.concatenate([frames, frames[-1:].repeat(6, axis=0)]), CLIP_FPS, folder / "demo.gif")
    console.print(f"look at {folder / 'contact-sheet.png'} and {folder / 'demo.gif'}", markup=False)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vogue.lab.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="where the files go")
    parser.add_argument("--preset", default="mini", help="the preset to serve")
    parser.add_argument("--server", help="use this server instead of starting one")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False)
    # `kill` must clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, _stop)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vogue-demo-") as state:
        try:
            console.print("starting a server" if options.server is None else f"using {options.server}")
            began_s = time.monotonic()
            running = (
                nullcontext(options.server) if options.server else local_server(Path(state), preset=options.preset)
            )
            with running as url, Vogue(url) as client:
                console.print(f"{url} is ready ({time.monotonic() - began_s:.1f} s)")
                strips = make(client, options.out, console, options.seed)
                console.print("stopping")
            _show(strips, options.out, console)
        except VogueError as error:
            console.print(f"error: {error.message}", markup=False, style="red")
            return 1
        except KeyboardInterrupt:
            console.print("stopped")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
