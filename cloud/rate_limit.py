"""Rate limits in memory: so many tries per caller and window, with a bound on callers kept."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from cloud.errors import TooManyRequests

CALLERS_MAX = 10_000
"""Callers remembered per limit; the one seen longest ago is forgotten first."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class RateLimit:
    """A token bucket per caller.

    Args:
        tries: Tries a caller may make at once.
        window_s: Time in which all of them grow back [s].
    """

    def __init__(self, *, tries: int, window_s: float) -> None:
        self._tries = tries
        self._window_s = window_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, now: datetime) -> None:
        """Count one try.

        Raises:
            TooManyRequests: The caller has none left.
        """
        with self._lock:
            bucket = self._buckets.pop(caller, None) or _Bucket(float(self._tries), now)
            self._buckets[caller] = bucket
            while len(self._buckets) > CALLERS_MAX:
                self._buckets.popitem(last=False)
            passed_s = max(0.0, (now - bucket.at).total_seconds())
            bucket.tokens = min(
                float(self._tries), bucket.tokens + passed_s * self._tries / self._window_s
            )
            bucket.at = now
            if bucket.tokens < 1:
                wait_s = (1 - bucket.tokens) * self._window_s / self._tries
                raise TooManyRequests(retry_after_s=max(1, math.ceil(wait_s)))
            bucket.tokens -= 1


class RateLimits:
    """All limits of the server in one place."""

    def __init__(self) -> None:
        self.sign_in_by_address = RateLimit(tries=20, window_s=900)
        self.sign_in_by_person = RateLimit(tries=5, window_s=900)
        self.link_tries = RateLimit(tries=30, window_s=900)
        self.claim_tries = RateLimit(tries=20, window_s=900)
        self.claims_made = RateLimit(tries=10, window_s=3600)
        self.signed_requests = RateLimit(tries=600, window_s=600)
