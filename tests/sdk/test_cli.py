"""The command line against the server in memory: answers, exit codes, and one JSON document whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from rich.progress import Progress
from typer.testing import CliRunner, Result

from vogue import JobStatus
from vogue.cli import app as cli_app
from vogue.cli import build_app
from vogue.cli.exits import ExitCode, exit_code_of
from vogue.cli.session import Session
from vogue.rehearsal import JobRecord
from vogue.schemas.errors import (
    DeviceOutOfMemory,
    EngineError,
    LimitExceeded,
    ServiceOverloaded,
    TurnConflict,
    WeightsMismatch,
)
from vogue.schemas.jobs import EventKind, JobEvent, Stage
from vogue.schemas.requests import GenerationRequest
from vogue.testing import SMALLEST_GIF, FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def vogue(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOGUE_SERVER", raising=False)

    def call(*arguments: str) -> Result:
        session = Session(connect=lambda _: server.client())
        return CliRunner().invoke(build_app(), list(arguments), obj=session, catch_exceptions=False)

    return call


def test_a_notice_is_said_once(vogue: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = server.stage.begin

    def begin_cut(wanted: GenerationRequest) -> JobRecord:
        record = begin(wanted)
        message = "video1 is cut to 17 frames"
        record.job = record.job.model_copy(update={"notices": (message,)})
        record.events.append(JobEvent(job_id=record.job.id, seq=2, kind=EventKind.NOTICE, time_s=0.0, message=message))
        return record

    monkeypatch.setattr(server.stage, "begin", begin_cut)
    result = vogue("run", "a ball")
    assert result.exit_code == 0
    assert result.stderr.count("video1 is cut to 17 frames") == 1


def test_a_terminal_shows_the_place_in_the_queue_the_steps_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[Any, Any, Any]] = []

    def update(_: Progress, task: Any, *, description: str, completed: int, total: int | None) -> None:
        shown.append((description, completed, total))

    monkeypatch.setattr(Progress, "update", update)
    told: list[dict[str, Any]] = [
        {"kind": EventKind.QUEUED, "queue_position": 3, "eta_s": 12.4},
        {"kind": EventKind.STAGE, "stage": Stage.DENOISE},
        {"kind": EventKind.STEP, "steps_done": 7, "steps_total": 20, "eta_s": 41.0},
        {"kind": EventKind.STEP, "steps_done": 8, "steps_total": 20},
    ]
    with Session().progress() as show:
        for seq, fields in enumerate(told, 1):
            show(JobEvent(job_id="job_1", seq=seq, time_s=0.0, **fields))
    assert shown == [
        ("number 3 in the queue, about 12 s left", 0, None),
        ("denoise", 0, None),
        ("denoise, about 41 s left", 7, 20),
        ("denoise", 8, 20),
    ]


def test_run_saves_a_file_and_prints_its_path(vogue: Any, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "cat.png").write_bytes(b"cat")
    arguments = ["--source", "clip.mp4", "--reference", "cat.png", "--reference", "cat.png", "--size", "64x48"]
    result = vogue("run", "put image1 on it", *arguments, "--seed", "7", "--frames", "17", "-o", "out.gif")
    assert (result.exit_code, result.stdout) == (0, "out.gif\n")
    assert (tmp_path / "out.gif").read_bytes() == SMALLEST_GIF
    request = server.requests[0]
    assert (request.width_px, request.height_px, request.num_frames, request.seed) == (64, 48, 17, 7)
    assert [visual.tag for visual in request.visuals] == ["image1", "image2", "video1"]


def test_run_speaks_json(vogue: Any) -> None:
    document = json.loads(vogue("run", "a ball", "--json").stdout)
    assert document["job"]["status"] == "completed"
    assert [Path(name).read_bytes() for name in document["files"]] == [SMALLEST_GIF]


def test_the_wrong_suffix_is_said(vogue: Any) -> None:
    result = vogue("run", "a ball", "-o", "out.mp4")
    assert result.exit_code == 0 and "out.mp4 holds a .gif file" in result.stderr


def test_detach_then_wait(vogue: Any) -> None:
    job_id = vogue("run", "a ball", "--detach").stdout.strip()
    result = vogue("wait", job_id, "-o", "x.gif")
    assert (result.exit_code, result.stdout) == (0, "x.gif\n")


def test_run_says_the_tier_the_deadline_and_the_webhook(vogue: Any, server: FakeServer) -> None:
    options = ["--tier", "fast", "--deadline-s", "90", "--webhook-url", "https://hooks.example.com/vogue"]
    made = json.loads(vogue("run", "a ball", *options, "--detach", "--json").stdout)["job"]
    request = server.requests[0]
    assert (request.tier, request.deadline_s, request.webhook_url) == ("fast", 90, "https://hooks.example.com/vogue")
    assert made["spec"]["tier"] == "fast"
    told = vogue("deliveries", made["id"])
    assert (told.exit_code, told.stdout) == (0, "its webhook was told nothing yet\n")
    assert json.loads(vogue("deliveries", made["id"], "--json").stdout) == {"deliveries": []}


def test_what_a_webhook_was_told_is_a_line_each(
    vogue: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"job_id": "job_1", "type": "video.completed", "url": "https://x.test/hook", "created_at_s": 1.0}
    told = [
        {**common, "id": "evt_1", "status": "delivered", "attempts": 2, "attempted_at_s": 2.0, "answered": 204},
        {**common, "id": "evt_2", "status": "pending", "attempts": 1, "answered": 500, "error": "it answered 500"},
    ]
    answer = httpx.Response(200, json={"object": "list", "data": told})
    monkeypatch.setattr(server, "_deliveries", lambda *_: answer)
    lines = vogue("deliveries", "job_1").stdout.splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        "delivered  video.completed  https://x.test/hook  2 attempts  answered 204",
        "pending  video.completed  https://x.test/hook  1 attempts  it answered 500",
    ]
    assert [one["id"] for one in json.loads(vogue("deliveries", "job_1", "--json").stdout)["deliveries"]] == [
        "evt_1",
        "evt_2",
    ]


def test_the_newest_preview_is_kept_in_a_file(vogue: Any, server: FakeServer, tmp_path: Path) -> None:
    result = vogue("run", "a ball", "--steps", "6", "--preview", "now.png", "--preview-every", "2", "-o", "x.gif")
    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if line.startswith("preview")] == [
        "preview after 2 of 6 steps: now.png",
        "preview after 4 of 6 steps: now.png",
    ]
    assert (tmp_path / "now.png").read_bytes() == SMALLEST_GIF
    assert server.requests[0].preview_every_steps == 2
    job = server.stage.records["job_0000000000000001"].job
    assert len(job.assets) == 1, "a preview is no result"
    (tmp_path / "now.png").unlink()
    assert vogue("wait", job.id, "--preview", "now.png", "-o", "x.gif").exit_code == 0
    assert (tmp_path / "now.png").exists()
    vogue("run", "another", "-o", "y.gif")
    assert server.requests[1].preview_every_steps == 0


def test_a_preview_that_is_gone_costs_nothing(vogue: Any, server: FakeServer) -> None:
    job_id = vogue("run", "a ball", "--preview", "now.png", "--preview-every", "2", "--detach").stdout.strip()
    vogue("wait", job_id, "-o", "x.gif")
    shown = next(event.assets[0].id for event in server.stage.records[job_id].events if event.kind == "preview")
    del server.stage.files[shown]
    result = vogue("wait", job_id, "--preview", "now.png", "-o", "x.gif")
    assert result.exit_code == 0 and "no preview after 2 steps" in result.stderr


def test_a_file_that_cannot_be_written_is_told_and_the_result_is_kept(vogue: Any, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("no folder")
    result = vogue("run", "a ball", "-o", "file.txt/x.gif", "--preview", "file.txt/now.png", "--preview-every", "2")
    assert result.exit_code == ExitCode.REQUEST_INVALID and "Traceback" not in result.output
    assert "cannot write file.txt/x.gif" in result.stderr and "no preview after 2 steps" in result.stderr
    job_id = result.stderr.split("`vogue wait ")[1].split()[0]
    assert vogue("wait", job_id, "-o", "x.gif").exit_code == 0
    spoken = json.loads(vogue("wait", job_id, "-o", "file.txt/x.gif", "--json").stdout)
    assert (spoken["error"]["code"], spoken["error"]["param"]) == ("request_invalid", "output")


def test_a_comparison_that_cannot_be_written_is_told(
    vogue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vogue.blocking_sessions.SessionHandle.compare_picture", lambda *_: b"png")
    (tmp_path / "file.txt").write_text("no folder")
    session = vogue("session", "new").stdout.strip()
    vogue("session", "say", session, "a star", "-o", "x.gif")
    result = vogue("session", "compare", session, "1", "1", "-o", "file.txt/both.png")
    assert result.exit_code == ExitCode.REQUEST_INVALID and "cannot write file.txt/both.png" in result.stderr
    assert vogue("session", "compare", session, "1", "1", "-o", "both.png").exit_code == 0
    assert (tmp_path / "both.png").read_bytes() == b"png"


def test_previews_in_a_folder_are_all_kept(vogue: Any, tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    vogue("run", "a ball", "--steps", "4", "--preview", "shown", "--preview-every", "1", "-o", "x.gif")
    assert len(list((tmp_path / "shown").iterdir())) == 3


def test_a_conversation_is_deleted_after_a_question(vogue: Any, server: FakeServer) -> None:
    session = vogue("session", "new", "--title", "stars").stdout.strip()
    said = vogue("session", "say", session, "a star", "--tier", "fast", "--deadline-s", "60", "--detach", "--json")
    assert (server.requests[0].tier, server.requests[0].deadline_s) == ("fast", 60)
    busy = vogue("session", "delete", session, "--yes")
    assert busy.exit_code == ExitCode.REQUEST_INVALID and "still at work" in busy.stderr
    vogue("wait", json.loads(said.stdout)["turn"]["job_id"], "-o", "x.gif")
    unasked = vogue("session", "delete", session, "--json")
    assert unasked.exit_code == ExitCode.REQUEST_INVALID and json.loads(unasked.stdout)["error"]["param"] == "yes"
    refused = vogue("session", "delete", session)  # nobody answers
    assert refused.exit_code != 0 and "1 turns, their tree and tags; the files stay" in refused.stderr
    assert session in vogue("session", "list").stdout
    gone = vogue("session", "delete", session, "--yes", "--json")
    assert json.loads(gone.stdout) == {"id": session, "object": "session", "deleted": True}
    assert "no sessions yet" in vogue("session", "list").stdout
    assert vogue("session", "delete", session, "--yes").exit_code == ExitCode.NOT_FOUND


def test_jobs_lists_and_shows(vogue: Any) -> None:
    assert "no jobs yet" in vogue("jobs").stdout
    job_id = vogue("run", "a [red] ball", "--detach").stdout.strip()
    listed = vogue("jobs")
    assert job_id in listed.stdout and "[red]" in listed.stdout
    assert "a [red] ball" in vogue("jobs", job_id).stdout
    assert [job["id"] for job in json.loads(vogue("jobs", "--json").stdout)["jobs"]] == [job_id]
    assert json.loads(vogue("jobs", job_id, "--json").stdout)["id"] == job_id


def test_cancel_and_resume(vogue: Any, server: FakeServer) -> None:
    job_id = vogue("run", "a ball", "--detach").stdout.strip()
    assert vogue("cancel", job_id).stdout == f"{job_id} cancelled\n"
    assert vogue("wait", job_id).exit_code == ExitCode.CANCELLED
    server.stage.failure = EngineError("the tea went cold")
    failed = vogue("run", "a ball", "--json")
    assert failed.exit_code == ExitCode.JOB_FAILED
    assert json.loads(failed.stdout)["error"]["message"] == "the tea went cold"
    newest = json.loads(vogue("jobs", "--json").stdout)["jobs"][0]["id"]
    assert vogue("resume", newest).stdout == f"{newest} in_progress\n"
    assert vogue("wait", newest, "-o", "x.gif").exit_code == 0


def test_control_c_cancels_the_job(vogue: Any, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vogue.blocking.JobHandle.wait", interrupt)
    result = vogue("run", "a ball", "--json")
    assert result.exit_code == ExitCode.CANCELLED
    assert json.loads(result.stdout)["job"]["status"] == "cancelled"
    job_id = vogue("run", "a ball", "--detach").stdout.strip()
    assert vogue("wait", job_id).exit_code == ExitCode.CANCELLED
    assert server.advance(job_id).status is JobStatus.IN_PROGRESS


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run"], 2, "instruction"),
        (["run", "x", "--size", "big"], 2, "width x height"),
        (["run", "x", "--task", "t2x"], 2, "t2x"),
        (["run", "x", "--steps", "many"], 2, "--steps"),
        (["paint", "x"], 2, "paint"),
        (["run", "   "], 3, "instruction"),
        (["run", "x", "--steps", "0"], 3, "steps"),
        (["run", "x", "--tier", "warp"], 2, "--tier"),
        (["run", "x", "--preview", "x.png", "--preview-every", "0"], 2, "--preview-every"),
        (["run", "x", "--deadline-s", "0"], 3, "deadline_s"),
        (["run", "x", "--deadline-s", "soon"], 2, "--deadline-s"),
        (["run", "x", "--webhook-url", "ftp://x"], 3, "webhook_url"),
        (["deliveries", "job_none"], 4, "job_none"),
        (["session", "delete", "session_none", "--yes"], 4, "session_none"),
        (["run", "x", "--guidance", "nan"], 3, "guidance"),
        (["run", "x", "--source", "nowhere.mp4"], 3, "nowhere.mp4 is not a file"),
        (["jobs", "job_none"], 4, "job_none"),
        (["wait", "job_none"], 4, "job_none"),
        (["cancel", "job_none"], 4, "job_none"),
    ],
)
def test_mistakes_have_their_exit_codes(vogue: Any, arguments: list[str], code: int, words: str) -> None:
    result = vogue(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_errors_are_one_json_document_too(vogue: Any, server: FakeServer) -> None:
    result = vogue("run", "x", "--guidance", "nan", "--json")
    assert json.loads(result.stdout)["error"]["param"] == "guidance" and result.stderr == ""
    server.fail_next(*[httpx.ConnectError("refused")] * 9)
    result = vogue("run", "x")
    assert result.exit_code == ExitCode.UNAVAILABLE and "`vogue serve`" in result.stderr


def test_what_the_server_says_is_shown(vogue: Any, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "long.mp4").write_bytes(b"clip")
    real = server._handle

    def refuse_uploads(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/uploads":
            server.fail_next(LimitExceeded("video1 lasts 10800.0 s, and at most 1800 s are accepted", param="file"))
        return real(request)

    server._handle = refuse_uploads  # type: ignore[method-assign]
    result = vogue("run", "x", "--source", "long.mp4")
    assert result.exit_code == ExitCode.REQUEST_INVALID
    assert "error (file): video1 lasts 10800.0 s, and at most 1800 s are accepted" in result.stderr


def test_exit_codes_of_errors() -> None:
    assert exit_code_of(ServiceOverloaded("full")) == ExitCode.UNAVAILABLE
    assert exit_code_of(DeviceOutOfMemory("full")) == ExitCode.UNAVAILABLE
    assert exit_code_of(TurnConflict("late")) == ExitCode.REQUEST_INVALID
    assert exit_code_of(WeightsMismatch("odd")) == ExitCode.UNFORESEEN


def test_commands_of_other_rooms_are_found_by_entry_point(vogue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("bake", "tests_bakery:register", cli_app.COMMANDS_GROUP),
        EntryPoint("steal", "no_such_module_at_all:register", cli_app.COMMANDS_GROUP),
    ]
    monkeypatch.setattr(cli_app, "_extensions", lambda: points)

    def register(app: typer.Typer) -> None:
        @app.command()
        def bake(loaves: int = 1) -> None:
            if loaves > 3:
                raise ServiceOverloaded("the oven is full")
            typer.echo(f"{loaves} baked")

    monkeypatch.setattr(
        EntryPoint, "load", lambda point: register if point.name == "bake" else __import__(point.module)
    )
    assert vogue("bake", "--loaves", "2").stdout == "2 baked\n"
    full = vogue("bake", "--loaves", "4")
    assert full.exit_code == ExitCode.UNAVAILABLE and "the oven is full" in full.stderr
    missing = vogue("steal")
    assert missing.exit_code == ExitCode.UNFORESEEN and "vogue-video[serve]" in missing.stderr
    assert {"bake", "steal", "run"} <= set(vogue("--help").stdout.split())


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "vogue.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_runs_a_job(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    with server.listen() as url:
        with _start(
            "run", "a", "--server", url, "--source", str(tmp_path / "clip.mp4"), "-o", str(tmp_path / "x.gif")
        ) as process:
            out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, f"{tmp_path / 'x.gif'}\n"), err
    assert (tmp_path / "x.gif").read_bytes() == SMALLEST_GIF


def test_control_c_in_a_process_cancels_the_job(server: FakeServer) -> None:
    server.stage.hold_at_step = 2
    with server.listen() as url, _start("run", "a", "--server", url) as process:
        with server.stage.changed:
            assert server.stage.changed.wait_for(
                lambda: any(record.job.steps_done == 2 for record in server.stage.records.values()), timeout=120
            )
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == ExitCode.CANCELLED, err
        assert "Traceback" not in err and "cancelling job_" in err
    assert [record.job.status for record in server.stage.records.values()] == [JobStatus.CANCELLED]


def test_a_broken_connection_is_mended_by_a_process(server: FakeServer, tmp_path: Path) -> None:
    server.break_next_stream(400)
    with (
        server.listen() as url,
        _start("run", "a", "--server", url, "-o", str(tmp_path / "x.gif"), "--json") as process,
    ):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert json.loads(out)["job"]["status"] == "completed"
    assert sum(path.endswith("/events") for _, path in server.calls) == 2


def test_the_script_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "vogue.cli", "run", "x", "--json", "--server", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "service_unavailable"
