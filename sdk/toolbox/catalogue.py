"""The list of tools, and what a model is told about each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from vogue.schemas.errors import RequestInvalid
from vogue.schemas.wire import validate

from . import arguments, reports, talking, work

__all__ = ["TOOLS", "Tool", "tool_named"]


@dataclass(frozen=True)
class Tool:
    """One tool.

    `reads_only`, `destroys` and `repeatable` are hints for whoever asks a person before a call: whether it changes anything,
    whether something may be lost by it, and whether calling it twice is the same as once.
    """

    name: str
    title: str
    description: str
    arguments: type[arguments.Arguments]
    result: type[reports.Report]
    run: Callable[[work.Bench, Any], Awaitable[reports.Report]]
    reads_only: bool = False
    destroys: bool = False
    repeatable: bool = False

    async def call(self, bench: work.Bench, given: dict[str, Any]) -> reports.Report:
        """Check the arguments and run.

        Raises:
            RequestInvalid: the arguments are not what the tool takes; `param` names the first at fault.
            VogueError: what the server says.
        """
        try:
            wanted = validate(self.arguments, given)
        except RequestInvalid as error:
            known = ", ".join(self.arguments.model_fields)
            raise RequestInvalid(
                f"{error.message}. The arguments of {self.name} are {known}", param=error.param
            ) from error
        return await self.run(bench, wanted)


_SEE_RESULTS = "Answers the job with its results; give results[0].asset_id as the source of the next edit."

TOOLS: tuple[Tool, ...] = (
    Tool(
        "generate",
        "Generate a clip or picture",
        "Make a video or image from words, from a first frame, or with given people and things as references. Waits until it is"
        f" done and tells of progress; cancelling the call cancels the job. {_SEE_RESULTS}",
        arguments.WaitedGeneration,
        reports.JobReport,
        work.generate,
    ),
    Tool(
        "edit",
        "Edit a clip or picture",
        "Change a video or image as the instruction says: recolour, add, remove, replace, restyle, put a reference into it. What the"
        " instruction does not name stays. Waits until it is done and tells of progress; cancelling the call cancels the job."
        f" {_SEE_RESULTS}",
        arguments.WaitedEdit,
        reports.JobReport,
        work.edit,
    ),
    Tool(
        "understand",
        "Look at clips and pictures",
        "Answer a question about images and videos in words: what they show, what happens, what differs. Answers the job with the"
        " text as its answer.",
        arguments.Question,
        reports.JobReport,
        work.understand,
    ),
    Tool(
        "plan",
        "Plan before making",
        "Have a request worked out without drawing anything: the task, the part of each input, the steps, the detailed prompt. The"
        " job then waits; decide_plan has it carried out, changed or dropped.",
        arguments.Planning,
        reports.JobReport,
        work.plan,
    ),
    Tool(
        "decide_plan",
        "Decide on a plan",
        "Have the waiting plan of a job carried out, as it is or edited, or reject it. Answers at once; ask get_job for the result.",
        arguments.Decision,
        reports.JobReport,
        work.decide_plan,
    ),
    Tool(
        "submit_generate",
        "Start a generation",
        "As generate, but answers at once with the job's id. The job goes on by itself; ask get_job for it.",
        arguments.Generation,
        reports.JobReport,
        work.submit_generate,
    ),
    Tool(
        "submit_edit",
        "Start an edit",
        "As edit, but answers at once with the job's id. The job goes on by itself; ask get_job for it.",
        arguments.Edit,
        reports.JobReport,
        work.submit_edit,
    ),
    Tool(
        "get_job",
        "Look at a job",
        "Where a job stands: status, finished steps, results or error. With wait_s it waits for the end first.",
        arguments.JobQuery,
        reports.JobReport,
        work.get_job,
        reads_only=True,
        repeatable=True,
    ),
    Tool(
        "cancel_job",
        "Cancel a job",
        "Stop a job within one step; what it has done is lost. A job that is over stays as it is.",
        arguments.JobTarget,
        reports.JobReport,
        work.cancel_job,
        destroys=True,
        repeatable=True,
    ),
    Tool(
        "start_session",
        "Start a conversation",
        "Begin a session, in which turns build on each other: `make it blue` changes the last result, `put the fox from turn 1 on"
        " it` uses an earlier one. Answers its session_id for take_turn.",
        arguments.SessionStart,
        reports.SessionReport,
        talking.start_session,
    ),
    Tool(
        "take_turn",
        "Take a turn in a conversation",
        "Make or change something as the next turn of a session. What the words refer to (it, turn 2, image1) is found by the"
        " server; source, references, first_frame and visual_prompts may also be tags of the session. With parent it branches from"
        " an earlier turn, and parent 0 begins anew. Waits until it is done; cancelling the call cancels the turn.",
        arguments.WaitedTurn,
        reports.TurnReport,
        talking.take_turn,
    ),
    Tool(
        "submit_turn",
        "Start a turn in a conversation",
        "As take_turn, but answers at once with the job's id. Until it is over, or undone, the session takes no other turn.",
        arguments.TurnAsk,
        reports.TurnReport,
        talking.submit_turn,
    ),
    Tool(
        "list_turns",
        "Look at a conversation",
        "A session's tree of turns with their instructions and results, where it stands, and what each file is called in it.",
        arguments.SessionTarget,
        reports.SessionReport,
        talking.list_turns,
        reads_only=True,
        repeatable=True,
    ),
    Tool(
        "undo_turn",
        "Undo the last turn",
        "Go back to the turn before the last one. The undone turn stays in the tree and can be gone back to; one that is still at"
        " work is cancelled.",
        arguments.SessionTarget,
        reports.SessionReport,
        talking.undo_turn,
        destroys=True,
    ),
    Tool(
        "go_to_turn",
        "Go on from another turn",
        "Choose the turn that the next one follows: any of the session, or 0 for the start. Nothing is lost.",
        arguments.TurnTarget,
        reports.SessionReport,
        talking.go_to_turn,
        repeatable=True,
    ),
    Tool(
        "list_sessions",
        "List conversations",
        "The sessions that there are, newest first.",
        arguments.SessionPage,
        reports.SessionList,
        talking.list_sessions,
        reads_only=True,
        repeatable=True,
    ),
    Tool(
        "list_assets",
        "List uploads and results",
        "What the server holds, newest first: ids to use as media, sizes, lengths, and where each can be downloaded.",
        arguments.AssetPage,
        reports.AssetList,
        work.list_assets,
        reads_only=True,
        repeatable=True,
    ),
)


def tool_named(name: str) -> Tool | None:
    """The tool of that name, if there is one."""
    return next((tool for tool in TOOLS if tool.name == name), None)
