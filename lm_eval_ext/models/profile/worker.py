"""One model in a process of its own: how long it loads, how much memory it takes, how fast it runs.

Called as `python worker.py REQUEST RESULT`, see `backends.isolated`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def peak_bytes() -> int | None:
    """Highest resident memory of this process so far; None where the system does not tell."""
    # Linux: what getrusage says survives exec, so that a child would begin with its parent's peak.
    status = Path("/proc/self/status")
    if status.is_file():
        lines = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) * 1024 if lines else None
    try:
        import resource
    except ImportError:
        return None
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def parts(tensor: Any) -> list[Any]:
    """The plain tensors that one is made of: itself, or those of a quantized one of torchao or quanto."""
    import torch

    if type(tensor) in (torch.Tensor, torch.nn.Parameter) and type(tensor.data) is torch.Tensor:
        return [tensor]
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor] if isinstance(tensor, torch.Tensor) else []
    return [part for name in tensor.__tensor_flatten__()[0] for part in parts(getattr(tensor, name))]


class Clock:
    """Seconds of a piece of work; waits for a GPU."""

    def __init__(self, device: Any) -> None:
        self._cuda = device.type == "cuda"

    def now(self) -> float:
        """The time, once all that was asked of the device is done."""
        if self._cuda:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


def timed(model: Any, batch: int, request: dict[str, Any], clock: Clock) -> dict[str, list[float]]:
    """Seconds of each prefill of [batch, prompt] tokens, and of each decode step of [batch, 1], greedy."""
    import torch

    draw = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    prompt = torch.randint(0, vocabulary, (batch, request["prompt"]), generator=draw).to(model.device)
    prefills: list[float] = []
    steps: list[float] = []
    for repeat in range(request["repeats"] + 1):
        start = clock.now()
        out = model(input_ids=prompt, use_cache=True, logits_to_keep=1)
        seconds = clock.now() - start
        new: list[float] = []
        for _ in range(request["new"] if repeat else 2):  # the first time is warming up
            token = out.logits[:, -1:].argmax(-1)
            start = clock.now()
            out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
            new.append(clock.now() - start)
        if repeat:
            prefills.append(seconds)
            steps += new
    return {"prefill_seconds": prefills, "decode_seconds": steps}


def main() -> None:
    """Load, run, and write down what was measured."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch
    from transformers import AutoModelForCausalLM

    from lm_eval_ext.models.evidence.hashes import weights_hash

    device = torch.device(request["device"] or ("cuda" if torch.cuda.is_available() else "cpu"))
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    clock = Clock(device)
    before = peak_bytes()
    start = clock.now()
    model: Any = AutoModelForCausalLM.from_pretrained(
        request["pretrained"],
        dtype=request["dtype"],
        revision=request["revision"],
        trust_remote_code=request["trust_remote_code"],
    )
    model = model.to(device).eval()
    loaded = clock.now() - start
    result: dict[str, Any] = {
        "load_seconds": loaded,
        "peak_bytes_before": before,
        "peak_bytes_load": peak_bytes(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__},
    }
    with torch.no_grad():
        result["batches"] = {str(batch): timed(model, batch, request, clock) for batch in request["batches"]}
    result["peak_bytes"] = peak_bytes()
    result["peak_bytes_gpu"] = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    tensors = {t.data_ptr(): t.numel() * t.element_size() for held in model.state_dict().values() for t in parts(held)}
    result["weight_bytes"] = sum(tensors.values())
    result["weights_hash"] = weights_hash(model) if request["hash"] else None
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
