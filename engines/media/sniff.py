"""What a file is, judged by its first bytes; its name is never asked."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from vogue.schemas.errors import LimitExceeded, MediaUnreadable

from .limits import MediaLimits

__all__ = ["Container", "sniff_bytes", "sniff_file"]

_HEAD_BYTES = 4096

_ACCEPTED = "use mp4, mov, webm, mkv, avi, gif, png, jpeg or webp"

# First box types that open an ISO/QuickTime file; files older than `ftyp` start with one of the others.
_MOV_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_PICTURE_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis"}


class Container(StrEnum):
    """The file formats we read."""

    MP4 = "mp4"
    WEBM = "webm"
    AVI = "avi"
    GIF = "gif"
    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def demuxer(self) -> str | None:
        """The only ffmpeg demuxer allowed to touch this container; None where ffmpeg is not used."""
        return _DEMUXERS.get(self)

    @property
    def is_picture(self) -> bool:
        """True for formats that hold a still, or an animation of stills."""
        return self in (Container.GIF, Container.PNG, Container.JPEG, Container.WEBP)


_DEMUXERS = {
    Container.MP4: "mov",
    Container.WEBM: "matroska",
    Container.AVI: "avi",
    Container.GIF: "gif",
    Container.PNG: "apng",
}


def sniff_bytes(head: bytes, *, param: str | None = None) -> Container:
    """Name the container that starts with `head` (a few kilobytes are enough).

    Text of any kind (HTML, SVG, playlists, concat lists) is refused: it could make a demuxer open other files.

    Raises:
        MediaUnreadable: empty, text, or a format that is not accepted.
    """
    if not head:
        raise MediaUnreadable(f"the file is empty; {_ACCEPTED}", param=param)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Container.PNG
    if head.startswith(b"\xff\xd8\xff"):
        return Container.JPEG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Container.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Container.WEBP
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return Container.AVI
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Container.WEBM
    if head[4:8] in _MOV_BOXES:
        if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS:
            raise MediaUnreadable(f"HEIC and AVIF pictures are not read; {_ACCEPTED}", param=param)
        return Container.MP4
    raise MediaUnreadable(f"the content is {_describe(head)}, not a media file; {_ACCEPTED}", param=param)


def sniff_file(path: Path, limits: MediaLimits, *, param: str | None = None) -> Container:
    """Name the container of a file, after checking that it is a plain file of an allowed size.

    Raises:
        MediaUnreadable: missing, not a plain file, empty, or not an accepted format.
        LimitExceeded: larger than `limits.max_bytes`.
    """
    try:
        if not path.is_file():
            raise MediaUnreadable("there is no such media file", param=param)
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise LimitExceeded(f"the file has {size:,} bytes; at most {limits.max_bytes:,} are read", param=param)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise MediaUnreadable(f"the file cannot be opened: {error.strerror}", param=param) from error
    return sniff_bytes(head, param=param)


def _describe(head: bytes) -> str:
    text = head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "an HTML page"
    if text.startswith((b"<?xml", b"<svg")):
        return "XML or SVG text"
    if text.startswith((b"#extm3u", b"ffconcat")):
        return "a playlist"
    printable = sum(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)
    return "text" if printable > 0.95 * len(head) else "unknown data"
