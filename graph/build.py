"""The flow of a job as a LangGraph graph.

    ingest → plan? ┬→ clarify
                   └→ approve? → route ┬→ answer
                                       └→ encode_instruction ∥ encode_visuals → denoise → decode → review? → deliver

`review` may go back to `denoise` with another seed. Each node's result is checkpointed, so a job goes on from the node at which
it was interrupted.
"""

from __future__ import annotations

from typing import Literal

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from vogue.schemas.config import Task
from vogue.schemas.errors import VogueError
from vogue.schemas.requests import Thinking

from . import deciding, nodes
from .state import Flow, FlowState

__all__ = ["RETRY", "build_graph"]


def _retryable(error: Exception) -> bool:
    """Only what says of itself that trying again can help: a service that died, or a full device."""
    return isinstance(error, VogueError) and error.retryable


RETRY = RetryPolicy(
    initial_interval=0.25, backoff_factor=2.0, max_interval=8.0, max_attempts=6, jitter=True, retry_on=_retryable
)


def _after_ingest(state: FlowState) -> Literal["plan", "route"]:
    return "route" if state["spec"]["thinking"] == Thinking.OFF.value else "plan"


def _after_plan(state: FlowState) -> Literal["clarify", "approve", "route"]:
    if state["plan"].get("clarification") is not None:
        return "clarify"
    return "approve" if state["spec"]["thinking"] == Thinking.REVIEW.value else "route"


def _after_route(state: FlowState) -> Literal["answer"] | list[Literal["encode_instruction", "encode_visuals"]]:
    return ["encode_instruction", "encode_visuals"] if Task(state["spec"]["task"]).makes_media else "answer"


def _after_decode(state: FlowState) -> Literal["review", "deliver"]:
    return "deliver" if state["spec"].get("self_review") is None else "review"


def _after_review(state: FlowState) -> Literal["denoise", "deliver"]:
    return "denoise" if deciding.wants_another_seed(state) else "deliver"


def build_graph(
    checkpointer: BaseCheckpointSaver[str] | None = None, retry: RetryPolicy = RETRY
) -> CompiledStateGraph[FlowState, Flow, FlowState, FlowState]:
    """Compile the flow.

    Args:
        checkpointer: where the state is kept between nodes; without one, nothing survives the process.
        retry: when and how often a node that failed is run again.
    """
    graph = StateGraph(FlowState, context_schema=Flow)
    graph.add_node("ingest", nodes.ingest, retry_policy=retry)
    graph.add_node("plan", deciding.plan, retry_policy=retry)
    graph.add_node("clarify", deciding.clarify)
    graph.add_node("approve", deciding.approve)
    graph.add_node("route", nodes.route_task, retry_policy=retry)
    graph.add_node("answer", deciding.answer, retry_policy=retry)
    graph.add_node("encode_instruction", nodes.encode_instruction, retry_policy=retry)
    graph.add_node("encode_visuals", nodes.encode_visuals, retry_policy=retry)
    graph.add_node("denoise", nodes.denoise, retry_policy=retry)
    graph.add_node("decode", nodes.decode, retry_policy=retry)
    graph.add_node("review", deciding.review, retry_policy=retry)
    graph.add_node("deliver", nodes.deliver)

    graph.add_edge(START, "ingest")
    graph.add_conditional_edges("ingest", _after_ingest)
    graph.add_conditional_edges("plan", _after_plan)
    graph.add_edge("approve", "route")
    graph.add_conditional_edges("route", _after_route, ["answer", "encode_instruction", "encode_visuals"])
    graph.add_edge("answer", END)
    graph.add_edge(["encode_instruction", "encode_visuals"], "denoise")
    graph.add_edge("denoise", "decode")
    graph.add_conditional_edges("decode", _after_decode)
    graph.add_conditional_edges("review", _after_review)
    graph.add_edge("deliver", END)
    return graph.compile(checkpointer=checkpointer)
