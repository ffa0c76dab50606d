"""Carries webhooks to their receivers, at least once, again and again with growing delays, over checked connections."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

from vogue.schemas.errors import UrlRefused, VogueError

from .dialing import Dialer, check_url
from .outbound import WebhookConfig
from .webhooks import Delivery, DeliveryTable, Signer

__all__ = ["Postman"]

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_FORGET_EVERY = 3600
_GONE = 410


class Postman:
    """Delivers what is due, several messages at once, so that one slow receiver keeps nobody else waiting.

    Args:
        dialer: makes the connections; by default only to public addresses.
        chance: what delays are multiplied with, so that messages which failed together do not come back together.
    """

    def __init__(
        self,
        table: DeliveryTable,
        rules: WebhookConfig,
        signer: Signer,
        dialer: Dialer | None = None,
        chance: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        self._table = table
        self._rules = rules
        self._signer = signer
        self._dialer = dialer or Dialer(rules)
        self._chance = chance
        self._carried: dict[str, asyncio.Task[None]] = {}
        self.wake = asyncio.Event()
        """Set when there may be something new."""

    async def run(self) -> None:
        """Deliver for ever. What is on its way when this is cancelled is sent again after the next start."""
        rounds = 0
        try:
            while True:
                self.wake.clear()
                try:
                    await self._hand_out()
                    if rounds % _FORGET_EVERY == 0:
                        await asyncio.to_thread(self._table.forget_old)
                except Exception:
                    logger.exception("webhooks could not be looked up; trying again")
                rounds += 1
                await self._rest()
        finally:
            for task in self._carried.values():
                task.cancel()
            await asyncio.gather(*self._carried.values(), return_exceptions=True)

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_S):
                await self.wake.wait()
        except TimeoutError:
            return

    async def _hand_out(self) -> None:
        room = self._rules.max_at_once - len(self._carried)
        if room <= 0:
            return
        # Those on their way are still due, and stand first.
        for delivery in await asyncio.to_thread(self._table.due, self._rules.max_at_once * 2):
            if delivery.id in self._carried or len(self._carried) >= self._rules.max_at_once:
                continue
            task = asyncio.create_task(self._carry(delivery), name=f"webhook {delivery.id}")
            self._carried[delivery.id] = task
            task.add_done_callback(partial(self._returned, delivery.id))

    def _returned(self, event_id: str, _task: asyncio.Task[None]) -> None:
        del self._carried[event_id]
        self.wake.set()

    async def _carry(self, delivery: Delivery) -> None:
        """One attempt, and what came of it."""
        try:
            status = await self._post(delivery)
        except (VogueError, TimeoutError) as error:
            said = error.message if isinstance(error, VogueError) else f"no answer within {self._rules.timeout_s:g} s"
            await self._fail(delivery, said, final=isinstance(error, UrlRefused))
            return
        if 200 <= status < 300:
            await asyncio.to_thread(self._table.delivered, delivery.id, status)
        else:
            await self._fail(delivery, f"the receiver answered {status}", status == _GONE, status)

    async def _post(self, delivery: Delivery) -> int:
        """Send, and read no more than the status: redirects are not followed."""
        headers = self._signer.headers(delivery) | {"user-agent": "vogue", "connection": "close"}
        body = delivery.body.encode()
        async with (
            asyncio.timeout(self._rules.timeout_s),
            self._dialer.call(
                "POST", check_url(delivery.url, self._rules), headers | {"content-length": str(len(body))}, body
            ) as answer,
        ):
            return answer.status

    async def _fail(self, delivery: Delivery, said: str, final: bool, answered: int | None = None) -> None:
        failures = delivery.attempts + 1
        delay_s: float | None = None
        if not final and failures < self._rules.max_attempts:
            grown_s = self._rules.first_delay_s * 3.0 ** min(failures - 1, 40)
            delay_s = min(grown_s, self._rules.max_delay_s) * self._chance()
        fate = f"trying again in {delay_s:.0f} s" if delay_s is not None else "given up"
        logger.warning("webhook %s, attempt %d: %s; %s", delivery.id, failures, said, fate)
        await asyncio.to_thread(self._table.failed, delivery.id, said, delay_s, answered)
