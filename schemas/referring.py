"""What an instruction of a session refers to: a pure function of its words, the tags there are, and what was made last.

Tags are said as `turn1`, `turn 1`, `image2`, `Video #1`. The rules, in order:

1. What is given explicitly plays the part it is given.
2. A tag that is mentioned must exist. After `from`, `of`, `like`, `with`, … it is a reference, and before `'s`; so is every
   mention when the words speak of the last result (`it`, `this`, `the result`).
3. One mention that is no reference is what is edited; several are an error that asks which.
4. Otherwise what was made last is edited, unless the task takes no source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .config import Role, Task
from .errors import TagUnresolved
from .references import MediaKind

__all__ = ["Chosen", "Given", "Known", "Mention", "Referred", "find_mentions", "refer"]

_MENTION = re.compile(r"(?<![\w-])(turn|image|video)(\s?#?\s?)([1-9][0-9]{0,3})(?![\w-])", re.IGNORECASE)
_REFERENCE_WORDS = frozenset(
    ("from", "of", "like", "with", "as", "using", "by", "after", "wearing", "holding", "beside", "than")
)
_SKIPPED = frozenset(("the", "a", "an", "in", "style", "look", "colour", "color", "background", "picture", "clip"))
"""Words that may stand between one of those and the tag: `with the background of image1`, `like the clip video1`."""
_LAST = re.compile(
    r"\b(it|its|this|the result|the (last|previous) (one|result|picture|clip|turn|image|video))\b", re.IGNORECASE
)
_BOUNDARY = re.compile(r"[,;.!?]|\b(and|then|but|so)\b", re.IGNORECASE)
_LIST = re.compile(r"\s*(,|and|or|&|,\s*and)\s*(the\s+)?", re.IGNORECASE)
_CLAUSE_WORDS = frozenset(("and", "then", "please", "now", "also", "but", "or", "just", "you"))
_NOUN_FOLLOWERS = frozenset(("but", "with", "without", "again", "and", "or", "in", "as", "is", "like", "instead", "on"))
_FRESH = (Task.T2I, Task.T2V)


class Known(NamedTuple):
    """An asset of the session: its kind, and whether a clip can also be had as a picture."""

    kind: MediaKind
    has_still: bool = False


class Given(NamedTuple):
    """An input that was given explicitly; without a role it finds one."""

    tag: str
    role: Role | None = None


class Mention(NamedTuple):
    """A tag in the words of an instruction, at `start:end`; `as_reference` if the words before it say so."""

    tag: str
    start: int
    end: int
    as_reference: bool


class Chosen(NamedTuple):
    """What a turn looks at: the session's tag, the part it plays, what the job calls it, and whether as a still picture."""

    tag: str
    role: Role
    called: str
    still: bool


class Referred(NamedTuple):
    """The visuals in the order a job takes them, and the instruction with every mention in the job's own tags."""

    visuals: tuple[Chosen, ...]
    instruction: str


def find_mentions(text: str) -> tuple[Mention, ...]:
    """The tags that a text mentions, in order.

    `turn 2 circles blue` begins with a verb: with a space after it, `turn` counts only where a name can stand.
    """
    found: list[Mention] = []
    for match in _MENTION.finditer(text):
        word, space, number = match.groups()
        if word.lower() == "turn" and space and not _names(text, match.start(), match.end()):
            continue
        marked = text[match.end() :].startswith(("'s ", "’s ")) or _marks_reference(text[: match.start()])
        if found and not marked and _LIST.fullmatch(text[found[-1].end : match.start()]):
            marked = found[-1].as_reference
        found.append(Mention(f"{word.lower()}{number}", match.start(), match.end(), marked))
    return tuple(found)


def _names(text: str, start: int, end: int) -> bool:
    """Whether `turn N` can be a name here: not the verb that begins a clause."""
    before = re.findall(r"[\w']+|[^\w\s]", text[:start])
    if before and (before[-1][0].isalnum() or before[-1] in "'\"@(") and before[-1].lower() not in _CLAUSE_WORDS:
        return True
    after = re.match(r"\s*([\w']+|[^\w\s])?", text[end:])
    follower = after[1] if after else None
    return follower is None or not follower[0].isalnum() or follower.lower() in _NOUN_FOLLOWERS


def _marks_reference(before: str) -> bool:
    """Whether the words just before a mention make it something to take from, rather than to change."""
    for word in reversed(re.findall(r"[\w']+|[^\w\s]", before)[-4:]):
        if word.lower() in _REFERENCE_WORDS:
            return True
        if word.lower() not in _SKIPPED:
            return False
    return False


def refer(
    instruction: str,
    known: Mapping[str, Known],
    last: str | None = None,
    given: Sequence[Given] = (),
    task: Task | None = None,
) -> Referred:
    """Find what an instruction looks at.

    Args:
        known: every tag that can be said, files that come with this turn included.
        last: the tag of the latest result on this branch.
        given: what was named explicitly beside the words.
        task: the task that was named, if any.

    Raises:
        TagUnresolved: a tag that is not known, or several that could be what is edited; the message lists those that exist.
    """
    mentions = find_mentions(instruction)
    for tag in (*(one.tag for one in given), *(one.tag for one in mentions)):
        if tag not in known:
            raise TagUnresolved(f"there is no {tag} in this session: {_existing(known)}", param="instruction")
    parts: dict[str, Role] = {one.tag: one.role for one in given if one.role is not None}
    guides = [role for role in parts.values() if role in (Role.SOURCE, Role.FIRST_FRAME)]
    open_tags = [one.tag for one in given if one.role is None]
    mentioned = [one.tag for one in mentions if one.tag not in parts and one.tag not in open_tags]
    if task is Task.MULTIID or guides or task in _FRESH:
        rest = [*open_tags, *mentioned]
    else:
        guide = _guide(instruction, mentions, mentioned, open_tags, last)
        rest = [tag for tag in (*open_tags, *mentioned) if tag != guide]
        if guide is not None:
            parts.setdefault(guide, Role.FIRST_FRAME if task is Task.I2V else Role.SOURCE)
    for tag in rest:
        parts.setdefault(tag, Role.REFERENCE)
    return _called(instruction, mentions, parts, known)


def _guide(
    instruction: str, mentions: Sequence[Mention], mentioned: Sequence[str], open_tags: Sequence[str], last: str | None
) -> str | None:
    """What is edited: the last result, or what is named in its place."""
    if last is not None and (_speaks_of_last(instruction, mentions) or (not mentioned and not open_tags)):
        return last
    marked = {one.tag for one in mentions if one.as_reference}
    named = list(dict.fromkeys(tag for tag in mentioned if tag not in marked))
    if len(named) > 1:
        raise TagUnresolved(
            f"{' and '.join(named)} could each be what is to be edited: say `it` for the last result, write `from` before the"
            " others, or give one the role source in `inputs`",
            param="instruction",
        )
    if named:
        return named[0]
    if last is not None:
        return last
    unmarked = [tag for tag in open_tags if tag not in marked]
    return unmarked[0] if unmarked else None


def _speaks_of_last(instruction: str, mentions: Sequence[Mention]) -> bool:
    """Whether a word stands for the last result; in `make turn1 blue and move it left` it stands for turn1."""
    for match in _LAST.finditer(instruction):
        before = [one for one in mentions if one.end <= match.start() and not one.as_reference]
        if not before or not _BOUNDARY.search(instruction[before[-1].end : match.start()]):
            return True
    return False


def _called(
    instruction: str, mentions: Sequence[Mention], parts: Mapping[str, Role], known: Mapping[str, Known]
) -> Referred:
    """Order the visuals as the release does (references first, the source last) and count them by kind."""
    order = (Role.REFERENCE, Role.VISUAL_PROMPT, Role.FIRST_FRAME, Role.SOURCE)
    counts = {kind: 0 for kind in MediaKind}
    chosen: dict[str, Chosen] = {}
    for tag, role in sorted(parts.items(), key=lambda part: order.index(part[1])):
        kind, has_still = known[tag]
        still = kind is MediaKind.VIDEO and role is not Role.SOURCE and has_still
        kind = MediaKind.IMAGE if still else kind
        counts[kind] += 1
        chosen[tag] = Chosen(tag, role, f"{kind.value}{counts[kind]}", still)
    pieces, end = [], 0
    for mention in mentions:
        pieces += [instruction[end : mention.start], chosen[mention.tag].called]
        end = mention.end
    return Referred(tuple(chosen.values()), "".join([*pieces, instruction[end:]]))


def _existing(known: Mapping[str, Known]) -> str:
    return f"there are {', '.join(sorted(known))}" if known else "it has nothing yet"
