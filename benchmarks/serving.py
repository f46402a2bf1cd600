"""Load the service on this machine: clients that ask about one video, and clients that upload.

    python -m benchmarks.serving

Rounds of direct calls, of 1 client and of 8 clients alternate, so that other programs on the machine slow all alike. Prints
medians over the rounds, and checks that all clients get what one gets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
import typer

from videolights_hf.cli.terminal import errors_as_lines, quiet_transformers
from videolights_hf.demo import demo_checkpoint, demo_videos
from videolights_hf.deploy import AnswerService, MomentClient, ServiceSettings, load_pipeline, running_service

SENTENCES = ["a red circle", "There is a blue square on stripes."]


@dataclass
class Load:
    """One kind of load: what each of several threads sends, and what was measured.

    Attributes:
        name: For the table.
        clients: How many threads.
        requests: Requests per round.
        send: Sends one request and returns its answer.
        rates: Requests per second, of each round.
        cpu: CPU milliseconds per request, server and clients together, of each round.
        waits: Milliseconds that each request took.
    """

    name: str
    clients: int
    requests: int
    send: Callable[[], Any]
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def run(self) -> list[Any]:
        """Send a round of requests; their answers."""

        def timed(_: int) -> Any:
            start = time.perf_counter()
            answer = self.send()
            self.waits.append(1000 * (time.perf_counter() - start))
            return answer

        start, cpu_start = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(self.clients) as pool:
            answers = list(pool.map(timed, range(self.requests)))
        self.rates.append(self.requests / (time.perf_counter() - start))
        self.cpu.append(1000 * (time.process_time() - cpu_start) / self.requests)
        return answers

    def __str__(self) -> str:
        middle, high = np.percentile(self.waits, [50, 95])
        return (
            f"{self.name:>28}: {np.median(self.rates):6.1f} requests/s, {np.median(self.cpu):6.1f} ms of CPU each; "
            f"median {middle:.0f} ms, 95% under {high:.0f} ms"
        )


def main(
    model: Annotated[str | None, typer.Option(help="Model folder, or what `export` wrote. Default: bundled.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each kind of load.")] = 8,
    requests: Annotated[int, typer.Option(min=1, help="Questions per round.")] = 16,
    uploads: Annotated[int, typer.Option(min=1, help="Uploads per round.")] = 4,
    num_threads: Annotated[int, typer.Option(min=1, help="CPU threads of PyTorch.")] = 1,
) -> None:
    """Load the service with 1 and 8 clients."""
    torch.set_num_threads(num_threads)
    video = demo_videos() / "demo_0_00000.mp4"
    with quiet_transformers():
        pipeline = load_pipeline(model or demo_checkpoint(), device="cpu")
        encoded = pipeline.processor.encode_video(video)
        with running_service(AnswerService(pipeline, ServiceSettings())) as address:
            client = MomentClient(address)
            key = client.upload(video)
            expected = client.ask(key, SENTENCES)
            asks = [
                Load("two sentences, no HTTP", 1, requests, lambda: pipeline(encoded, SENTENCES, show_progress=False)),
                Load("two sentences, 1 client", 1, requests, lambda: client.ask(key, SENTENCES)),
                Load("two sentences, 8 clients", 8, requests, lambda: client.ask(key, SENTENCES)),
            ]
            sends = [
                Load("upload, no HTTP", 1, uploads, lambda: pipeline.processor.encode_video(video)),
                Load("upload, 1 client", 1, uploads, lambda: client.upload(video)),
                Load("upload, 8 clients", 8, uploads, lambda: client.upload(video)),
            ]
            for _ in range(rounds):
                for load in asks:
                    if any(answer != expected for answer in load.run()):
                        raise ValueError(f"{load.name}: an answer differs.")
                for load in sends:
                    load.run()
    for load in [*asks, *sends]:
        print(load)


if __name__ == "__main__":
    with errors_as_lines():
        typer.run(main)
