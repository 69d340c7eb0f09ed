"""Reading sample logs: ours, cold and from the cache, beside pandas.read_json on the same files.

    python benchmarks/reading.py [--runs 6] [--items 2000] [--seeds 5] [--repeats 3] [--json FILE]
        [--folder LOGS] [--longest 300]

Logs are made in lm_eval's format (lib/sample_logs.py) in a temporary folder, or taken from --folder if it has them; the
studies' size is --runs 39 --items 12148. Each measure is a process of its own, ours and the peer's in turn; ratios are
made pair by pair. Ours is `analysis.logs.read_logs`: every row parsed, checked, hashed and written to the report's
store. The peer reads each file into a frame and drops it, nested records as Python objects, which is where a user's
own work would begin. Where all of its files would take over --longest seconds, it reads some and is scaled.

Peak memory is that of the reading process plus, for each other process, that of the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

LOGS = Path(__file__).parent / "lib" / "sample_logs.py"
PEER = "pandas.read_json(lines=True)"
Result = dict[str, Any]


def ours(folder: Path, workers: int) -> Result:
    from analysis.logs import DocumentStore, ItemStore, read_logs

    with tempfile.TemporaryDirectory() as scratch:
        start, home = time.perf_counter(), Path(scratch)
        with ItemStore(home / "items.parquet") as store, DocumentStore(home / "documents.parquet") as documents:
            logs = read_logs(folder, store, workers=workers, documents=documents)
        seconds = time.perf_counter() - start
    assert not logs.issues, logs.issues[:3]
    rows = sum(task.rows for run in logs.runs.values() for task in run.tasks.values())
    return {"seconds": seconds, "rows": rows}


def peer(folder: Path, files: int) -> Result:
    import pandas as pd

    paths = sorted(folder.rglob("samples_*.jsonl"))
    chosen = paths[: files or None]
    start = time.perf_counter()
    rows = sum(len(pd.read_json(path, lines=True)) for path in chosen)
    seconds = time.perf_counter() - start
    return {"seconds": seconds * len(paths) / len(chosen), "rows": rows, "files": len(chosen), "of": len(paths)}


def back(folder: Path) -> Result:
    """What the tables are made from: every run's rows, in the columns that the measures get, as one frame."""
    import pandas as pd

    from analysis.compare.frames import ROLE_COLUMNS
    from analysis.logs import ItemStore, read_logs

    with tempfile.TemporaryDirectory() as scratch, ItemStore(Path(scratch) / "items.parquet") as store:
        logs = read_logs(folder, store, workers=1)
        start, before = time.perf_counter(), _resident()
        parts = [store.read(label, task, ROLE_COLUMNS) for label, run in logs.runs.items() for task in run.tasks]
        frame = pd.concat(parts, ignore_index=True)
        seconds, taken = time.perf_counter() - start, _resident() - before
    size = int(frame.memory_usage(deep=True).sum())
    return {"seconds": seconds, "rows": len(frame), "frame": size, "resident": taken, "columns": len(frame.columns)}


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


MEASURES: dict[str, Callable[[Path, int], Result]] = {
    "ours": ours,
    "peer": peer,
    "back": lambda folder, _: back(folder),
}


def worker(which: str, folder: Path, number: int) -> None:
    began = time.process_time()
    result = MEASURES[which](folder, number)
    own, others = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    result["cpu"] = sum(used.ru_utime + used.ru_stime for used in times) - began
    if which == "peer":
        result["cpu"] *= result["of"] / result["files"]
    result["peak"] = 1024 * (own + others * (number - 1 if which == "ours" else 0))
    print("RESULT " + json.dumps(result))


def run(which: str, folder: Path, number: int, cache: Path) -> Result:
    command = [sys.executable, __file__, "--worker", which, "--number", str(number), "--folder", str(folder)]
    environment = os.environ | {"LM_EVAL_EXT_CACHE": str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise SystemExit(f"{which} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(results[-1].removeprefix("RESULT ")))


def turns(folder: Path, repeats: int, longest: float) -> dict[str, list[Result]]:
    """Every measure in turn, several times."""
    found: dict[str, list[Result]] = {}
    files = 0
    for _ in range(repeats):
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as cache:
                name = f"ours, cold, {workers} process{'es' * (workers > 1)}"
                found.setdefault(name, []).append(run("ours", folder, workers, Path(cache)))
                if workers == 2:
                    found.setdefault("ours, from the cache", []).append(run("ours", folder, workers, Path(cache)))
        if not files:  # one file says how long all take
            first = run("peer", folder, 1, Path("unused"))
            files = max(1, min(first["of"], int(first["of"] * longest / first["seconds"])))
        found.setdefault(PEER, []).append(run("peer", folder, files, Path("unused")))
    return found


def table(found: dict[str, list[Result]]) -> list[str]:
    out = [
        "| | seconds | CPU seconds | answers a second | times as fast as pandas (spread) | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    rows = found["ours, cold, 1 process"][0]["rows"]
    for name, results in found.items():
        seconds = median(result["seconds"] for result in results)
        ratios = sorted(t["seconds"] / o["seconds"] for o, t in zip(results, found[PEER], strict=True))
        ratio = "1" if name == PEER else f"**{median(ratios):.1f}** ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        cpu = median(result["cpu"] for result in results)
        peak = max(result["peak"] for result in results) / 1e6
        out.append(f"| {name} | {seconds:.1f} | {cpu:.1f} | {rows / seconds:,.0f} | {ratio} | {peak:,.0f} |")
    theirs = found[PEER][0]
    if theirs["files"] < theirs["of"]:
        out.append(f"\npandas read {theirs['files']} of {theirs['of']} files; its seconds are scaled to all.")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--longest", type=float, default=300.0, help="seconds that the peer may take (default 300)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the logs are, or are made and left")
    parser.add_argument("--worker", choices=list(MEASURES))
    parser.add_argument("--number", type=int, default=0)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.folder, given.number)
        return
    with tempfile.TemporaryDirectory() as scratch:
        measure(given, given.folder or Path(scratch))


def make(folder: Path, given: argparse.Namespace, items: int) -> None:
    # In a process of its own: a process that starts another hands its own peak of memory on to it.
    command = [sys.executable, str(LOGS), str(folder), "--runs", str(given.runs), "--items", str(items)]
    subprocess.run([*command, "--seeds", str(given.seeds)], check=True, capture_output=True)


def measure(given: argparse.Namespace, home: Path) -> None:
    sizes = [max(1, given.items // 4), max(1, given.items // 2), given.items]
    folders = []
    for items in sizes:
        folder = home / f"logs-{given.runs}x{items}"
        if not folder.exists():
            make(folder, given, items)
        folders.append(folder)
    size = sum(path.stat().st_size for path in folders[-1].rglob("samples_*"))
    print(f"{given.runs} runs of {given.items:,} items, {given.seeds} seeds each: {size / 1e6:,.0f} MB\n")
    found = turns(folders[-1], given.repeats, given.longest)
    print("\n".join(table(found)))
    growth = []
    print(
        "\n| items a run | lines | cold, 1 process, s | microseconds a line | peak memory, MB |\n|---|---|---|---|---|"
    )
    for items, folder in zip(sizes, folders, strict=True):
        with tempfile.TemporaryDirectory() as cache:
            result = run("ours", folder, 1, Path(cache)) | {"items": items}
        growth.append(result)
        lines = given.runs * items
        each = f"{result['seconds'] / lines * 1e6:.1f}"
        print(f"| {items:,} | {lines:,} | {result['seconds']:.1f} | {each} | {result['peak'] / 1e6:,.0f} |")
    with tempfile.TemporaryDirectory() as cache:
        again = run("back", folders[-1], 0, Path(cache))
    print(
        f"\nRead back for the tables: {again['rows']:,} answers in {again['columns']} columns, "
        f"{again['seconds']:.1f} s, a frame of {again['frame'] / 1e6:,.0f} MB; {again['resident'] / 1e6:,.0f} MB more "
        f"resident with its parts, {again['peak'] / 1e6:,.0f} MB in all"
    )
    if given.json:
        given.json.write_text(json.dumps({"measures": found, "growth": growth, "back": again}, indent=2) + "\n")


if __name__ == "__main__":
    main()
