"""What the MLLM is asked, and what it writes, when it plans and when it scores a result: the one format of use and of training.

All three kinds of exchange have the chat layout of `ChatTokenizer.question`: system prompt; one user turn with the pictures, then the
clips, each kind in the order of the request, then the text; the assistant's words up to `<|im_end|>`. The task instruction (below: before
the `|`) is ours, what follows is the user's and is neutralised. `·` stands for nothing, `⏎` for a newline.

    answer   user       ·| how many stars are there?
             assistant  two
    plan     user       {prompts.plan}image1=?, image2=visual_prompt⏎| do what the arrow says
             assistant  {"task":"i2i_edit","roles":{"image1":"source","image2":"visual_prompt"},
                         "steps":[{"action":"move the star to the right","inputs":["image1"]}],
                         "dense_prompt":"a red star at the right on a blue sky"}
             or         {"clarification":"there is no star; which shape do you mean?"}
    review   user       {prompts.review}i2i_edit⏎| make the star blue        (inputs first, then the result as the last picture or clip)
             assistant  {"quality":8,"instruction_following":9,"over_editing":7}

- JSON stands on one line without spaces, its keys in this order; `write_plan` and `write_review` write it (the line breaks above are
  for reading only).
- Of each input the planner is told the role that its owner gave, `?` if none, `nothing` if there is no input: `describe_inputs`.
- `roles` names every input. `steps` may be empty. `over_editing` is there for the four tasks that edit, and only there.
- Inputs are shown as for a question: a reference whole on a white square, everything else in its own ratio, clips thinned to
  `understanding_video_frames`. The result of a review plays the part of a source.
- The plan is decoded under a grammar made from `plan_schema`, so only tasks and roles that the request leaves room for can be
  written; training labels must be among them (`vogue.graph.resolve.choices` lists them).

`plan_exchange` and `review_exchange` build (task instruction, user's text, answer) for training from values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from vogue.schemas.config import Prompts, Role, Task
from vogue.schemas.errors import PlanUnparseable
from vogue.schemas.plan import Plan, PlanChoice, Review

__all__ = [
    "describe_inputs",
    "plan_exchange",
    "plan_instruction",
    "plan_schema",
    "read_plan",
    "read_review",
    "review_exchange",
    "review_instruction",
    "review_schema",
    "write_plan",
    "write_review",
]

Schema = dict[str, Any]


def describe_inputs(roles: Mapping[str, Role | None]) -> str:
    """Every tag and the role its owner gave it, in the request's order."""
    return ", ".join(f"{tag}={role.value if role is not None else '?'}" for tag, role in roles.items()) or "nothing"


def plan_instruction(prompts: Prompts, roles: Mapping[str, Role | None]) -> str:
    """What stands before the user's words when a plan is asked for."""
    return f"{prompts.plan}{describe_inputs(roles)}\n"


def review_instruction(prompts: Prompts, task: Task) -> str:
    """What stands before the user's words when a result is to be scored."""
    return f"{prompts.review}{task.value}\n"


def plan_exchange(prompts: Prompts, roles: Mapping[str, Role | None], text: str, plan: Plan) -> tuple[str, str, str]:
    """Task instruction, user's text and answer of a request that is planned."""
    return plan_instruction(prompts, roles), text, write_plan(plan)


def review_exchange(prompts: Prompts, task: Task, text: str, review: Review) -> tuple[str, str, str]:
    """Task instruction, user's text and answer of a result that is scored."""
    return review_instruction(prompts, task), text, write_review(review)


def write_plan(plan: Plan) -> str:
    """A plan in the MLLM's words."""
    if plan.clarification is not None:
        return _line({"clarification": plan.clarification})
    fields = plan.model_dump(mode="json", include={"task", "roles", "steps", "dense_prompt"})
    return _line({name: fields[name] for name in ("task", "roles", "steps", "dense_prompt")})


def read_plan(text: str) -> Plan:
    """The inverse of `write_plan`.

    Raises:
        PlanUnparseable: it is not one.
    """
    try:
        return Plan.model_validate_json(text)
    except ValidationError as error:
        raise PlanUnparseable(f"the model wrote no plan: {text[:200]!r}") from error


def write_review(review: Review) -> str:
    """Scores in the MLLM's words."""
    return _line(review.model_dump(mode="json", exclude_none=True))


def read_review(text: str) -> Review:
    """The inverse of `write_review`.

    Raises:
        PlanUnparseable: it is not one.
    """
    try:
        return Review.model_validate_json(text)
    except ValidationError as error:
        raise PlanUnparseable(f"the model wrote no scores: {text[:200]!r}") from error


def plan_schema(choices: Sequence[PlanChoice], max_prompt_chars: int) -> Schema:
    """The JSON schema of the plans that a request leaves room for: `Plan`'s own bounds, and its tags, roles and tasks only."""
    drawn = Plan.model_json_schema()
    fields, step = drawn["properties"], drawn["$defs"]["PlanStep"]["properties"]
    tags = list(dict.fromkeys(tag for choice in choices for tag in choice.roles))
    inputs: Schema = {"type": "array", "maxItems": len(tags)}
    if tags:
        inputs["items"] = {"enum": tags}
    action = _text(1, step["action"]["maxLength"])
    steps = {
        "type": "array",
        "maxItems": fields["steps"]["maxItems"],
        "items": _object({"action": action, "inputs": inputs}),
    }
    prompt = _text(1, min(max_prompt_chars, fields["dense_prompt"]["maxLength"]))
    question = next(one for one in fields["clarification"]["anyOf"] if one.get("type") == "string")
    plans = [
        _object(
            {
                "task": {"const": choice.task.value},
                "roles": _object({tag: {"const": role.value} for tag, role in choice.roles.items()}),
                "steps": {"$ref": "#/$defs/steps"},
                "dense_prompt": {"$ref": "#/$defs/dense_prompt"},
            }
        )
        for choice in choices
    ]
    asks = _object({"clarification": _text(1, question["maxLength"])})
    return {"anyOf": [*plans, asks], "$defs": {"steps": steps, "dense_prompt": prompt}}


def review_schema(task: Task) -> Schema:
    """The JSON schema of the scores of a task's result."""
    score = {"type": "integer", "minimum": 0, "maximum": 10}
    names = ["quality", "instruction_following", *(["over_editing"] if task.edits else [])]
    return _object(dict.fromkeys(names, score))


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text(least: int, most: int) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
