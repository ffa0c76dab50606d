"""One thread for torch: what is loaded there runs there."""

from __future__ import annotations

import threading

import torch

from vogue.services.workplace import TorchThread


async def test_loading_and_running_share_one_thread() -> None:
    thread = TorchThread()
    loaded_on = thread.call(threading.get_ident)
    assert await thread.run(threading.get_ident) == loaded_on != threading.get_ident()


def test_the_number_of_threads_is_set_there() -> None:
    before = torch.get_num_threads()
    thread = TorchThread(before + 1)
    try:
        assert thread.call(torch.get_num_threads) == before + 1
    finally:
        torch.set_num_threads(before)
