"""Load the service on this machine: many clients that ask about one video, and clients that upload.

    python benchmarks/serving.py

Prints requests per second and the times of a request, and checks that all clients get what one gets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import torch
import typer

from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.demo import demo_checkpoint, demo_videos
from videolights_hf.deploy import AnswerService, MomentClient, ServiceSettings, load_pipeline, running_service

SENTENCES = ["a red circle", "There is a blue square on stripes."]


def load(name: str, clients: int, requests: int, send: Callable[[], Any]) -> list[Any]:
    """Send requests from several threads; print how long they took."""

    def timed(_: int) -> tuple[float, Any]:
        start = time.perf_counter()
        answer = send()
        return time.perf_counter() - start, answer

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds, answers = zip(*pool.map(timed, range(requests)))
    rate = requests / (time.perf_counter() - start)
    middle, high = (1000 * value for value in np.percentile(seconds, [50, 95]))
    print(
        f"{name}, {clients} client(s): {rate:.1f} requests/s, median {middle:.0f} ms, 95% under {high:.0f} ms",
        flush=True,
    )
    return list(answers)


def main(
    model: Annotated[str | None, typer.Option(help="Model folder, or what `export` wrote. Default: bundled.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Questions for each number of clients.")] = 64,
    uploads: Annotated[int, typer.Option(min=1, help="Uploads for each number of clients.")] = 8,
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads of PyTorch.")] = 1,
) -> None:
    """Load the service with 1 and 8 clients."""
    torch.set_num_threads(num_threads)
    video = demo_videos() / "demo_0_00000.mp4"
    with quiet_transformers():
        pipeline = load_pipeline(model or demo_checkpoint(), device="cpu")
        with running_service(AnswerService(pipeline, ServiceSettings())) as address:
            client = MomentClient(address)
            key = client.upload(video)
            expected = client.ask(key, SENTENCES)
            for clients in (1, 8):
                answers = load("two sentences", clients, requests, lambda: client.ask(key, SENTENCES))
                if any(answer != expected for answer in answers):
                    raise ValueError(f"{clients} clients got different answers.")
                load("upload", clients, uploads, lambda: client.upload(video))


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
