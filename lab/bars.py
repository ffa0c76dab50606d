"""What the scores must reach: floors that a user needs to believe it, and targets, which are the aim.

Scores are also sorted into what they speak of: whether the instruction was followed, identity, what should have stayed as it
was, and quality.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BARS", "Bar", "dimension"]


class Bar(NamedTuple):
    """Floor and target of one score; larger is better."""

    floor: float
    target: float


_FACTS: Final = Bar(0.9, 0.97)
_READ: Final = Bar(0.97, 0.99)
_DONE: Final = Bar(0.8, 0.95)
_KEPT: Final = Bar(0.75, 0.92)
_STYLE: Final = Bar(0.85, 0.97)
_ZERO_SHOT: Final = Bar(0.4, 0.75)
_OUTSIDE: Final = Bar(-4.0, -2.0)
_DRAWN: Final = Bar(0.65, 0.9)
_PLAN: Final = Bar(0.8, 0.97)
_SEEN: Final = {"colour": _FACTS, "shape": _FACTS, "background": _FACTS}
_EDIT: Final = {"done": _DONE, "outside against codec dB": _OUTSIDE, "nothing else changed": _KEPT}
_DRAWN_EDIT: Final = {"plan": _PLAN, "plan, both drawings": _PLAN}

BARS: Final[dict[str, dict[str, Bar]]] = {
    "codec": {"codec dB": Bar(28.0, 32.0)},
    "analyser": dict.fromkeys(
        ("background", "style", "count", "place", "motion", "shape", "color", "material", "size", "identity"), _READ
    ),
    "caption": {"right": Bar(0.8, 0.95)},
    "question": {"right": Bar(0.9, 0.98)},
    "t2i": {**_SEEN, "all facts, 2 subjects": Bar(0.55, 0.8)},
    "t2v": {**_SEEN, "motion": Bar(0.85, 0.95), "all facts, 2 subjects": Bar(0.55, 0.8)},
    "i2v": {"first frame against codec dB": Bar(-2.0, 0.0), "motion": Bar(0.85, 0.95)},
    "i2i_edit": _EDIT,
    "v2v_edit": _EDIT,
    "i2i_wide": _EDIT,
    "v2v_wide": _EDIT,
    "i2i_style": {"done": _STYLE, "layout": _STYLE},
    "v2v_style": {"done": _STYLE, "layout": _STYLE},
    "ref_i2i_style": {"done": _STYLE, "layout": _STYLE},
    "multiid_one": {"identity": Bar(0.6, 0.9)},
    "ref2i": {"identity": Bar(0.6, 0.9)},
    "multiid_views": {"identity": Bar(0.6, 0.9)},
    "multiid": {"identity": Bar(0.45, 0.75)},
    "ref_i2i_edit": {"identity": Bar(0.55, 0.85)},
    "ref_v2v_edit": {
        **{f"done, {kind}": Bar(0.7, 0.92) for kind in ("insert", "swap", "delete", "style")},
        "identity": Bar(0.55, 0.85),
    },
    "v2v_free": {"done": _ZERO_SHOT},
    "v2v_composed": {"done": _ZERO_SHOT},
    "i2i_composed": {"done": _ZERO_SHOT},
    "drawn_motion": {**_DRAWN_EDIT, "motion": _DRAWN},
    "drawn_edit": {**_DRAWN_EDIT, "done": _DRAWN},
    "drawn_canvas": {**_DRAWN_EDIT, "motion": _DRAWN},
    "unmeetable": {"plan": _PLAN},
    "conversation": {"F1 after turn 4": Bar(0.0, 0.85)},
}

_IDENTITY: Final = ("identity",)
_PRESERVATION: Final = ("nothing", "outside", "first frame", "layout")
_QUALITY: Final = ("quality", "target", "codec")


def dimension(score: str) -> str:
    """What a score speaks of: "following", "identity", "preservation" or "quality"."""
    for name, starts in (("identity", _IDENTITY), ("preservation", _PRESERVATION), ("quality", _QUALITY)):
        if score.startswith(starts):
            return name
    return "following"
