"""The format of plans and scores: what is written for training is what the grammar allows and what is read back."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vogue.engines.grammar import Grammars
from vogue.engines.thinking import (
    plan_exchange,
    plan_schema,
    read_plan,
    read_review,
    review_exchange,
    review_schema,
    write_plan,
    write_review,
)
from vogue.engines.tiny import byte_tokenizer
from vogue.schemas.config import Role, Task
from vogue.schemas.errors import EngineError, PlanUnparseable
from vogue.schemas.plan import Plan, PlanChoice, PlanStep, Review
from vogue.schemas.presets import get_preset

TOKENIZER = byte_tokenizer()
GRAMMARS = Grammars(TOKENIZER, TOKENIZER.get_vocab_size() + 8, TOKENIZER.token_to_id("<|im_end|>"))
CHOICES = (
    PlanChoice(task=Task.REF_V2V_EDIT, roles={"image1": Role.REFERENCE, "video1": Role.SOURCE}),
    PlanChoice(task=Task.MULTIID, roles={"image1": Role.REFERENCE, "video1": Role.SOURCE}),
    PlanChoice(task=Task.T2I),
)
WORDS = st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=30)


def _follows(schema: dict[str, object], text: str) -> None:
    form = GRAMMARS.json(schema)
    for token in TOKENIZER.encode(text, add_special_tokens=False).ids:
        form.push(token)
    assert form.over


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    if draw(st.booleans()):
        return Plan(clarification=draw(WORDS))
    chosen = draw(st.sampled_from(CHOICES))
    tags = st.lists(st.sampled_from(["image1", "video1"]), max_size=2)
    steps = draw(st.lists(st.builds(PlanStep, action=WORDS, inputs=tags.map(tuple)), max_size=8))
    return Plan(task=chosen.task, roles=chosen.roles, steps=tuple(steps), dense_prompt=draw(WORDS))


@given(plan=plans())
def test_plans_are_written_under_the_grammar_and_read_back(plan: Plan) -> None:
    text = write_plan(plan)
    schema = plan_schema(CHOICES, 60)
    jsonschema.validate(json.loads(text), schema)
    _follows(schema, text)
    assert read_plan(text) == plan


@given(
    quality=st.integers(0, 10),
    following=st.integers(0, 10),
    kept=st.integers(0, 10),
    task=st.sampled_from([task for task in Task if task.makes_media]),
)
def test_scores_are_written_under_the_grammar_and_read_back(
    quality: int, following: int, kept: int, task: Task
) -> None:
    review = Review(quality=quality, instruction_following=following, over_editing=kept if task.edits else None)
    _follows(review_schema(task), write_review(review))
    assert read_review(write_review(review)) == review


@pytest.mark.parametrize(
    "text",
    [
        '{"task":"v2v_edit","roles":{},"steps":[],"dense_prompt":"x"}',
        '{"task":"t2i","roles":{"image1":"source"},"steps":[],"dense_prompt":"x"}',
        '{"task":"t2i","roles":{},"steps":[{"action":"x","inputs":["image7"]}],"dense_prompt":"x"}',
        '{"task":"t2i","roles":{},"steps":[],"dense_prompt":""}',
        '{"task":"t2i","roles":{},"steps":[],"dense_prompt":"' + "x" * 61 + '"}',
        '{"task": "t2i","roles":{},"steps":[],"dense_prompt":"x"}',
        '{"clarification":"x","task":"t2i"}',
    ],
)
def test_what_a_request_leaves_no_room_for_cannot_be_written(text: str) -> None:
    with pytest.raises(EngineError, match="refused"):
        _follows(plan_schema(CHOICES, 60), text)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"task":"fly"}', '{"task":"t2i","x":1}', "\ud800"])
def test_what_is_no_plan_is_a_typed_error(text: str) -> None:
    with pytest.raises(PlanUnparseable):
        read_plan(text)
    with pytest.raises(PlanUnparseable):
        read_review(text)


def test_the_documented_examples_hold() -> None:
    prompts = get_preset("tiny").prompts
    roles = {"image1": Role.SOURCE, "image2": Role.VISUAL_PROMPT, "video1": None}
    plan = Plan(clarification="which star?")
    assert plan_exchange(prompts, roles, "do it", plan) == (
        "plan: image1=source, image2=visual_prompt, video1=?\n",
        "do it",
        '{"clarification":"which star?"}',
    )
    assert plan_exchange(prompts, {}, "do it", plan)[0] == "plan: nothing\n"
    scored = Review(quality=8, instruction_following=9, over_editing=7)
    assert review_exchange(prompts, Task.I2I_EDIT, "make it blue", scored) == (
        "review: i2i_edit\n",
        "make it blue",
        '{"quality":8,"instruction_following":9,"over_editing":7}',
    )


def test_free_roles_of_many_inputs_still_compile() -> None:
    roles = (Role.SOURCE, Role.FIRST_FRAME, Role.REFERENCE, Role.VISUAL_PROMPT)
    many = tuple(
        PlanChoice(task=task, roles={"image1": a, "image2": b, "image3": c})
        for task in Task
        for a in roles
        for b in roles
        for c in roles
    )
    form = GRAMMARS.json(plan_schema(many, 8000))
    assert TOKENIZER.decode(form.forced()) == '{"'
