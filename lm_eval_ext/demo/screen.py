"""What the demonstration shows while it runs: a line a step, and on a terminal how far it is and how long it takes."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from lm_eval_ext.media import for_terminal

__all__ = ["Screen", "clock"]

# Below this part done, what is left is a guess.
_ENOUGH = 0.03


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds: 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Screen:
    """Shows steps on a console. A terminal has one line that moves; anything else gets plain lines."""

    def __init__(self, console: Console, weights: list[float], moving: bool) -> None:
        """Set up.

        Args:
            console: Where to.
            weights: How long each step takes against the others.
            moving: Whether a line may move; only on a terminal it does.
        """
        self._console, self._weights = console, weights
        self._moving = moving and console.is_terminal
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[time]}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._number, self._title, self._part = 0, "", 0.0
        self._began = self._step_began = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line as it is."""
        self._console.print(Text(for_terminal(text), style=style or ""), soft_wrap=True)

    def begin(self, title: str) -> None:
        """Go on to the next step."""
        self._number, self._title, self._part = self._number + 1, title, 0.0
        self._step_began = time.monotonic()
        if not self._moving:
            self.say(f"{self._step()} ...")
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=sum(self._weights), time="")
        self.move("", 0.0)
        self._bar.start()

    def move(self, words: str, part: float) -> None:
        """Show what the step does and which part of it is done; it never goes back."""
        self._part = max(self._part, part)
        if self._task is None:
            return
        text = f"{self._number}/{len(self._weights)} {self._title}" + (f": {words}" if words else "")
        self._bar.update(self._task, completed=self._done(), description=for_terminal(text), time=self._time())

    def end(self) -> None:
        """The step is over."""
        self._part = 1.0
        took = f"{self._step()}: {clock(time.monotonic() - self._step_began)}"
        self.say(took if self._moving or self._number == len(self._weights) else f"{took}, {self._left()}")

    def rest(self) -> None:
        """Take the moving line away: what comes next is printed by others."""
        if self._task is not None:
            self._bar.stop()
            self._task, self._moving = None, False

    def _step(self) -> str:
        return f"step {self._number} of {len(self._weights)}, {self._title}"

    def _done(self) -> float:
        return sum(self._weights[: self._number - 1]) + self._part * self._weights[self._number - 1]

    def _time(self) -> str:
        return ", ".join(filter(None, [clock(time.monotonic() - self._began), self._left()]))

    def _left(self) -> str:
        """Time left, if it goes on as fast as so far; empty where too little is done to tell."""
        part = self._done() / sum(self._weights)
        if part < _ENOUGH:
            return ""
        return f"about {clock((time.monotonic() - self._began) * (1 - part) / part)} left"
