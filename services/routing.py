"""Routing by job: all calls about a job reach the replica that runs it, however many replicas there are."""

from __future__ import annotations

import hashlib

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

__all__ = ["JobAffinityRouter", "preferred"]


def preferred(job_id: str, replica_ids: list[str]) -> str:
    """The replica of a job: rendezvous hashing, so a replica that comes or goes moves its own share of jobs only."""
    return max(replica_ids, key=lambda replica_id: hashlib.sha256(f"{job_id} {replica_id}".encode()).digest())


class JobAffinityRouter(RequestRouter):
    """Takes the job's id from the handle option `session_id`; calls without one go to any replica.

    There is no second choice: another replica would not know the job, and says so when it is asked after a change.
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """See `RequestRouter.choose_replicas`."""
        job_id = pending_request.metadata.session_id if pending_request is not None else ""
        if not job_id or not candidate_replicas:
            return [list(candidate_replicas)]
        by_id = {str(replica.replica_id.unique_id): replica for replica in candidate_replicas}
        return [[by_id[preferred(job_id, list(by_id))]]]
