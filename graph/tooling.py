"""The flow as LangGraph's own tools load it, named in `langgraph.json`: to look at, node by node and state by state.

A run needs the ports of the services, which only `vogue serve` has; tools without them can draw the flow, not carry out a job.
"""

from __future__ import annotations

from langgraph.graph.state import CompiledStateGraph

from .build import build_graph
from .state import Flow, FlowState

__all__ = ["job_flow"]


def job_flow() -> CompiledStateGraph[FlowState, Flow, FlowState, FlowState]:
    """The flow of a job. The tool that loads it brings its own checkpointer."""
    flow = build_graph()
    flow.context_schema = None  # ports have no JSON form, in which tools would show what a run may be given
    return flow
