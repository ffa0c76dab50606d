"""The protocol's side: which requests the server answers, and how a tool's report, progress or error is put into its words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any, Protocol, TypeVar

from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as McpTool

from vogue.asynchronous import AsyncVogue
from vogue.schemas.errors import VogueError
from vogue.schemas.jobs import EventKind, JobEvent
from vogue.toolbox import TOOLS, Bench, Roots, Tool, explain, tool_named

from .content import ASSET_TEMPLATE, asset_in, asset_uri, read_asset, show

__all__ = ["Caller", "Connect", "build_server"]

T = TypeVar("T")


class Caller(Protocol):
    """An HTTP request, as far as a client is made for it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers."""
        ...

    @property
    def url(self) -> Any:
        """What it asked for, with `scheme` and `netloc`."""
        ...


Connect = Callable[[Caller | None], AsyncVogue]
"""Makes the client for one request; over stdio there is no caller."""

Context = ServerRequestContext[Any, Any]
_PAGE = 50

_INSTRUCTIONS = """\
VOGUE makes and edits images and videos. Media is named by id (`upload_…`, `asset_…`){paths}; it is never given inline or as a URL. \
generate and edit wait for the result and may take minutes; where calls have to be short, use submit_generate or submit_edit and \
ask get_job with wait_s. Every result is an asset whose id can be the source of the next edit. For a conversation with somebody who \
says `it` and `the one before`, start_session and then take_turn."""


def build_server(connect: Connect, roots: Roots | None = None) -> Server[Any]:
    """An MCP server whose tools work through the clients that `connect` makes.

    Args:
        roots: folders whose files may be named by path. Leave it out for a server that others can reach.
    """
    office = _Office(connect, roots or Roots())
    paths = f" or by the path of a file in {', '.join(map(str, office.roots.folders))}" if office.roots else ""
    return Server(
        "vogue",
        title="VOGUE",
        version=version("vogue-video"),
        instructions=_INSTRUCTIONS.format(paths=paths),
        on_list_tools=office.list_tools,
        on_call_tool=office.call_tool,
        on_list_resources=office.list_resources,
        on_list_resource_templates=office.list_templates,
        on_read_resource=office.read_resource,
    )


class _Office:
    """The handlers of one server."""

    def __init__(self, connect: Connect, roots: Roots) -> None:
        self._connect = connect
        self.roots = roots

    def _client(self, context: Context) -> AsyncVogue:
        return self._connect(context.request)

    async def list_tools(self, _: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_described(tool) for tool in TOOLS])

    async def call_tool(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = tool_named(params.name)
        if tool is None:
            known = ", ".join(tool.name for tool in TOOLS)
            raise MCPError(INVALID_PARAMS, f"no tool is called {params.name[:100]!r}; there are {known}")
        async with self._client(context) as client:
            try:
                bench = Bench(client, self.roots, _teller(context.session.report_progress))
                return await show(client, await tool.call(bench, params.arguments or {}))
            except VogueError as error:
                return CallToolResult(content=[TextContent(type="text", text=explain(error))], is_error=True)

    async def list_resources(self, context: Context, params: PaginatedRequestParams | None) -> ListResourcesResult:
        async with self._client(context) as client:
            found = await _answered(client.assets.list(_PAGE, params.cursor if params is not None else None))
        assets = [handle.asset for handle in found]
        return ListResourcesResult(
            resources=[
                Resource(uri=asset_uri(one.id), name=one.filename, mime_type=one.media_type, size=one.num_bytes)
                for one in assets
            ],
            next_cursor=assets[-1].id if len(assets) == _PAGE else None,
        )

    async def list_templates(self, _: Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
        template = ResourceTemplate(
            uri_template=ASSET_TEMPLATE, name="asset", description="An upload or result, by its id."
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        asset_id = asset_in(params.uri)
        if asset_id is None:
            raise MCPError(INVALID_PARAMS, f"{params.uri[:200]!r} is not of the form {ASSET_TEMPLATE}")
        async with self._client(context) as client:
            return ReadResourceResult(contents=[await _answered(read_asset(client, asset_id))])


async def _answered(work: Awaitable[T]) -> T:
    """What is awaited; an error becomes one of the protocol, as there is no other form outside tools."""
    try:
        return await work
    except VogueError as error:
        raise MCPError(INVALID_PARAMS, explain(error)) from error


def _described(tool: Tool) -> McpTool:
    return McpTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        output_schema=tool.result.model_json_schema(mode="serialization"),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads_only,
            destructive_hint=tool.destroys,
            idempotent_hint=tool.repeatable,
            open_world_hint=False,
        ),
    )


def _teller(
    report: Callable[[float, float | None, str | None], Awaitable[None]],
) -> Callable[[JobEvent], Awaitable[None]]:
    """A job's events as progress, which by the protocol may only grow.

    The unit is a step, and one more stands for all that follows the last. What happens between two steps moves it by a fraction.
    """
    done, between = 0, 0

    async def tell(event: JobEvent) -> None:
        nonlocal done, between
        done, between = (event.steps_done, 0) if event.steps_done > done else (done, between + 1)
        total = event.steps_total + 1.0 if event.steps_total else None
        ended = event.kind is EventKind.COMPLETED and total is not None
        progress = total if ended and total is not None else done + 1.0 - 1.0 / (1 + between)
        await report(progress, total, _sentence(event))

    return tell


def _sentence(event: JobEvent) -> str:
    what = f"job {event.job_id}: {event.stage or event.kind}"
    told = [
        f"number {event.queue_position} in the queue" if event.queue_position else "",
        f"{event.steps_done} of {event.steps_total} steps" if event.steps_total else "",
        f"about {event.eta_s:.0f} s left" if event.eta_s is not None else "",
        f"to be seen at {asset_uri(event.assets[0].id)}" if event.kind is EventKind.PREVIEW and event.assets else "",
        event.message,
    ]
    return ", ".join([what, *filter(None, told)])
