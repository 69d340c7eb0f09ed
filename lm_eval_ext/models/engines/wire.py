"""JSON over HTTP to an engine's server: retried where that can help, and one line where it can't."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from lm_eval_ext.errors import UserError, seen

__all__ = ["RefusedError", "Wire"]

log = logging.getLogger(__name__)
_PAUSE = 0.5


class RefusedError(Exception):
    """The server understood and said no (400 to 499): asking again changes nothing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Wire:
    """A server's address, and how long it is waited for."""

    def __init__(self, base_url: str, *, timeout: float = 300.0, retries: int = 3, key: str | None = None) -> None:
        """Take an address.

        Args:
            base_url: Of the server, with or without the path of its API ("/v1", "/v1/completions", "/completion").
            timeout: Seconds that one answer may take.
            retries: How often a request is sent that gets no answer, or one of 500 and above.
            key: Bearer token; none is sent without.

        Raises:
            UserError: If it is no http address.
        """
        if not str(base_url).startswith(("http://", "https://")):
            raise UserError(f"base_url={seen(base_url)}: expected an address such as http://127.0.0.1:8080")
        self.root = str(base_url).rstrip("/")
        for path in ("/completions", "/completion", "/v1"):
            self.root = self.root.removesuffix(path).rstrip("/")
        self._timeout, self._retries = float(timeout), max(1, int(retries))
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def get(self, path: str) -> Any:
        """What a path answers; None where there is nothing, or no JSON. Raises UserError if nobody answers at all."""
        try:
            return self._send(path, None, self._retries)
        except RefusedError:
            return None
        except _NoJsonError:
            return None

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request.

        Raises:
            RefusedError: If the server says that it can't be answered.
            UserError: If there is no server, it does not answer in time, it fails again and again, or answers with what
                is no JSON object.
        """
        try:
            answer = self._send(path, json.dumps(body).encode(), self._retries)
        except _NoJsonError as fault:
            raise UserError(
                f"{self.root}{path} answered {self._retries} times with what is no JSON: {fault}; look at its log"
            ) from None
        if not isinstance(answer, dict):
            raise UserError(f"{self.root}{path} answered {seen(answer)}, expected a JSON object")
        return answer

    def _send(self, path: str, body: bytes | None, times: int) -> Any:
        for turn in range(1, times + 1):
            try:
                return self._once(path, body)
            except (_FailedError, _NoJsonError) as fault:
                if turn < times:
                    log.warning("%s%s: %s; sent again (%d of %d)", self.root, path, fault, turn + 1, times)
                    time.sleep(_PAUSE * 2 ** (turn - 1))
                    continue
                if isinstance(fault, _NoJsonError):
                    raise
                raise UserError(
                    f"the server at {self.root} does not answer {path}: {fault} ({times} tries). Start it, give its "
                    "address as base_url, or a longer timeout"
                ) from None
        raise AssertionError("unreachable")

    def _once(self, path: str, body: bytes | None) -> Any:
        request = urllib.request.Request(self.root + path, data=body, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as reply:
                raw = reply.read()
        except urllib.error.HTTPError as error:
            said = _message(error.read())
            if error.code >= 500:
                raise _FailedError(f"error {error.code}: {said}") from None
            raise RefusedError(error.code, said) from None
        except (OSError, EOFError) as error:
            reason = getattr(error, "reason", error)
            raise _FailedError(" ".join(str(reason).split()) or type(reason).__name__) from None
        except Exception as error:  # http.client's own, of a connection that ends half way
            raise _FailedError(f"{type(error).__name__}: {error}") from None
        try:
            return json.loads(raw)
        except ValueError:
            raise _NoJsonError(seen(raw[:120].decode("utf-8", "replace"))) from None


class _FailedError(Exception):
    """No answer, or one that may be another the next time."""


class _NoJsonError(Exception):
    """An answer that is cut off, or of another kind."""


def _message(raw: bytes) -> str:
    """What a server says of a request that it refuses, in one line."""
    text = raw.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        while isinstance(said, dict) and ("error" in said or "message" in said or "detail" in said):
            said = next(said[key] for key in ("error", "message", "detail") if key in said)
        text = said if isinstance(said, str) else json.dumps(said)
    except ValueError:
        pass
    return " ".join(text.split())[:300] or "no reason given"
