"""What can go wrong in the gateway.

GatewayError
├── BadMeterMap         a meter map says something that cannot be; file, table and remedy are named
├── BadPreset           an MQTT preset says something that cannot be
├── UnknownName         no map or preset of this name is shipped
├── BadRecording        a recording of samples is not one
├── BadWiring           host, device or serial settings that cannot be
├── BadFrame            captured bytes are not the Modbus exchange they should be
├── BadPayload          an MQTT payload does not hold what its preset says
├── BadSettings         gateway.toml says something that cannot be; key and remedy are named
├── StateFault          the state directory cannot be used, or holds something else
├── NotPaired           the gateway has no household yet
├── PairingRefused      the co-op did not accept the claim code
├── ConsentNotPossible  a household asks for something its consents do not allow
├── WrongSecret         the local secret does not fit, or was tried too often
├── RecordsNotGiven     a device does not give the minutes it recorded
├── CloudUnreachable    no answer, or one that asks to come back later
├── CloudRefused        the co-op's server answered, and said no
└── MeterFault          a meter did not answer, or answered something that cannot be trusted
    ├── MeterSilent     no reply in time
    │   └── HungUp      the other end closed the line instead
    ├── LinkDown        the wire itself cannot be opened
    ├── OutOfStep       a reply that cannot belong to the request; it was thrown away
    └── MeterRefused    the meter answered with a Modbus exception
"""

from __future__ import annotations

import difflib


class GatewayError(Exception):
    """Base of all faults the gateway names itself. Commands print it as one line and exit with 2."""


class BadMeterMap(GatewayError):
    """A meter map says something that cannot be."""

    def __init__(self, *, file: str, place: str, problem: str, remedy: str) -> None:
        self.file = file
        self.place = place
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{file}, {place}: {problem}; {remedy}")


class BadPreset(GatewayError):
    """An MQTT preset says something that cannot be."""

    def __init__(self, *, file: str, place: str, problem: str, remedy: str) -> None:
        self.file = file
        self.place = place
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{file}, {place}: {problem}; {remedy}")


class UnknownName(GatewayError):
    """No map or preset of this name is shipped."""

    def __init__(self, *, kind: str, name: str, known: list[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = known
        shown = ", ".join(known[:60])
        close = difflib.get_close_matches(name.lower(), known, n=3)
        meant = f"; did you mean {' or '.join(close)}?" if close else ";"
        super().__init__(
            f"no {kind} is called {name!r}{meant} give the path of a file, or one of: {shown}"
        )


class BadRecording(GatewayError):
    """A recording of samples is not one."""

    def __init__(self, *, file: str, place: str, problem: str) -> None:
        self.file = file
        self.place = place
        super().__init__(
            f"{file}, {place}: {problem}; write one JSON object a line with meter, taken_at and "
            "quantities"
        )


class BadWiring(GatewayError):
    """Host, device or serial settings that cannot be."""

    def __init__(self, *, problem: str, remedy: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; {remedy}")


class BadFrame(GatewayError):
    """Captured bytes are not the Modbus exchange they should be."""

    def __init__(self, *, place: str, problem: str, remedy: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place}: {problem}; {remedy}")


class BadPayload(GatewayError):
    """An MQTT payload does not hold what its preset says."""

    def __init__(self, *, topic: str, problem: str) -> None:
        self.topic = topic
        self.problem = problem
        self.problem = problem
        super().__init__(f"topic {topic}: {problem}")


class MeterFault(GatewayError):
    """A meter did not answer, or answered something that cannot be trusted."""

    def __init__(self, *, place: str, problem: str) -> None:
        self.place = place
        self.problem = problem
        super().__init__(f"{place}: {problem}")


class MeterSilent(MeterFault):
    """No reply in time."""


class HungUp(MeterSilent):
    """The other end closed the line instead of replying."""


class LinkDown(MeterFault):
    """The wire itself cannot be opened: no such device, connection refused, no route."""

    def __init__(self, *, place: str, problem: str, remedy: str = "") -> None:
        self.cannot = f"{place}: {problem}"
        super().__init__(place=place, problem=f"{problem}; {remedy}" if remedy else problem)


class OutOfStep(MeterFault):
    """A reply that cannot belong to the request; it was thrown away."""


_EXCEPTIONS = {
    1: "no such function",
    2: "no such registers",
    3: "not so many at once",
    4: "it failed",
    6: "it is busy",
    10: "the bridge has no way to it",
    11: "nothing answers behind the bridge",
}


class MeterRefused(MeterFault):
    """The meter answered with a Modbus exception."""

    def __init__(self, *, place: str, exception_code: int) -> None:
        self.exception_code = exception_code
        meaning = _EXCEPTIONS.get(exception_code)
        super().__init__(
            place=place,
            problem=f"the meter refused with Modbus exception {exception_code}"
            f"{f' ({meaning})' if meaning else ''}; check the map and the unit",
        )


class BadSettings(GatewayError):
    """gateway.toml says something that cannot be."""

    def __init__(self, *, file: str, place: str, problem: str, remedy: str) -> None:
        self.file = file
        self.place = place
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{file}, {place}: {problem}; {remedy}")


class StateFault(GatewayError):
    """The state directory cannot be used, or holds something else."""

    def __init__(self, *, path: str, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}; {remedy}")


class NotPaired(GatewayError):
    """The gateway has no household yet."""

    def __init__(self) -> None:
        super().__init__(
            "this gateway is not paired; run `coop-gateway pair --config FILE --code CODE`"
        )


class PairingRefused(GatewayError):
    """The co-op did not accept the claim code."""

    def __init__(
        self, *, problem: str, remedy: str = "make a new claim code on the co-op's page"
    ) -> None:
        self.problem = problem
        super().__init__(f"pairing: {problem}; {remedy}" if remedy else f"pairing: {problem}")


class ConsentNotPossible(GatewayError):
    """A household asks for something its consents do not allow."""

    def __init__(self, *, consent_id: str, problem: str, remedy: str) -> None:
        self.consent_id = consent_id
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"consent {consent_id}: {problem}; {remedy}")


class NoAlarm(GatewayError):
    """There is nothing to accept."""

    def __init__(self) -> None:
        super().__init__("the co-op's log does not contradict itself; there is nothing to accept")


class WrongSecret(GatewayError):
    """The local secret does not fit, or was tried too often."""

    def __init__(self, *, wait_s: int = 0) -> None:
        self.wait_s = wait_s
        again = f"wait {wait_s} s" if wait_s else "it was shown when the gateway first started"
        super().__init__(f"the local secret does not fit; {again}")


class RecordsNotGiven(GatewayError):
    """A device does not give the minutes it recorded; without them the hole is an estimate."""

    def __init__(self, *, problem: str) -> None:
        self.problem = problem
        super().__init__(f"{problem}; the hole is estimated")


class CloudUnreachable(GatewayError):
    """No answer, or one that asks to come back later."""

    def __init__(self, *, url: str, problem: str, retry_after_s: float | None = None) -> None:
        self.url = url
        self.problem = problem
        self.retry_after_s = retry_after_s
        super().__init__(f"{url}: {problem}; try again later; a running gateway does so by itself")


class CloudRefused(GatewayError):
    """The co-op's server answered, and said no."""

    def __init__(self, *, url: str, status: int, problem: str) -> None:
        self.url = url
        self.status = status
        self.problem = problem
        super().__init__(f"{url}: HTTP {status}: {problem}")
