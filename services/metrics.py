"""What is counted and timed, all of it: the names that `/metrics`, the dashboard and the alerts speak of.

No label holds what a user said or named. Each has a known set of values, and whatever else comes counts as `other`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vogue.schemas import errors
from vogue.schemas.config import Task
from vogue.schemas.jobs import JobStatus

from .meters import Counter, Gauge, Histogram, Meters

__all__ = [
    "CACHE_LOOKUPS",
    "FAILURES",
    "FINISHED",
    "HTTP_REQUESTS",
    "HTTP_SECONDS",
    "INFO",
    "JOBS",
    "JOB_SECONDS",
    "METERS",
    "MLLM_TOKENS",
    "OPERATION_SECONDS",
    "QUEUE_OLDEST",
    "QUEUE_SECONDS",
    "STEP_SECONDS",
    "STORE_BYTES",
    "SUBMITTED",
    "UPLOADED",
    "operation",
]

METERS = Meters()
"""This process's."""

_TASKS = tuple(Task)
_CODES = {getattr(errors, name).code for name in errors.__all__ if isinstance(getattr(errors, name), type)}
_OPERATIONS = (
    "codec.compare",
    "codec.decode",
    "codec.encode",
    "codec.prepare",
    "codec.preview",
    "codec.probe",
    "codec.sheet",
    "connector.project",
    "understanding.answer",
    "understanding.encode",
    "understanding.look",
    "understanding.plan",
    "understanding.review",
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_STEPS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WORK_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WAIT_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_ANSWER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

SUBMITTED = Counter(METERS, "vogue_jobs_submitted_total", "Jobs that were accepted.", task=_TASKS)
FINISHED = Counter(
    METERS, "vogue_jobs_finished_total", "Jobs that are over, and how they ended.", task=_TASKS, status=tuple(JobStatus)
)
FAILURES = Counter(METERS, "vogue_job_failures_total", "Failed jobs by the code of their error.", code=_CODES)
JOBS = Gauge(METERS, "vogue_jobs", "Jobs that are not over; those queued are the queue.", status=tuple(JobStatus))
QUEUE_OLDEST = Gauge(METERS, "vogue_queue_oldest_seconds", "How long the job that waits longest has waited.")
QUEUE_SECONDS = Histogram(
    METERS, "vogue_queue_seconds", "From when a job is accepted to when it is first taken.", _WAIT_S, task=_TASKS
)
JOB_SECONDS = Histogram(METERS, "vogue_job_seconds", "From when a job is first taken to its end.", _WAIT_S, task=_TASKS)
STEP_SECONDS = Histogram(
    METERS, "vogue_step_seconds", "One denoising step of one job, as the job waits for it.", _STEPS_S, task=_TASKS
)
OPERATION_SECONDS = Histogram(
    METERS,
    "vogue_operation_seconds",
    "What the services compute; what is found in the cache takes no time and is not here.",
    _WORK_S,
    operation=_OPERATIONS,
)
CACHE_LOOKUPS = Counter(
    METERS,
    "vogue_cache_lookups_total",
    "Results asked of the action cache: reused, or computed because they were not there.",
    operation=_OPERATIONS,
    outcome=("computed", "reused"),
)
MLLM_TOKENS = Counter(
    METERS,
    "vogue_mllm_tokens_total",
    "Tokens that the MLLM read, visuals included, and wrote.",
    kind=("read", "written"),
)
UPLOADED = Counter(
    METERS, "vogue_uploaded_bytes_total", "Bytes of the files that users brought.", kind=("image", "video")
)
STORE_BYTES = Gauge(METERS, "vogue_store_bytes", "Bytes in the blob store.")
HTTP_REQUESTS = Counter(
    METERS,
    "vogue_http_requests_total",
    "Requests by the template of their path; what fits none is `unmatched`.",
    method=_METHODS,
    route=None,
    status=None,
)
HTTP_SECONDS = Histogram(
    METERS,
    "vogue_http_response_seconds",
    "From a request to the head of its answer; bodies, such as streams of events, may take longer.",
    _ANSWER_S,
    method=_METHODS,
    route=None,
)
INFO = Gauge(METERS, "vogue_info", "Always 1: the version and the preset that are served.", version=None, preset=None)

logger = logging.getLogger(__name__)


@contextmanager
def operation(name: str) -> Iterator[None]:
    """Time what a service computes, and log it."""
    began_s = time.perf_counter()
    with OPERATION_SECONDS.time(operation=name):
        yield
    logger.info("%s took %.3f s", name, time.perf_counter() - began_s, extra={"operation": name})
