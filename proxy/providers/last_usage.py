"""A stream whose usage stands whole in one event: the last that has any."""

from __future__ import annotations

from proxy.metering.reading import Reading, UsageReader


class LastUsage:
    """`reader` reads one event as it reads a body."""

    __slots__ = ("_error", "_garbled", "_last", "_reader")

    def __init__(self, reader: UsageReader) -> None:
        self._reader = reader
        self._last = Reading(pending=True)
        self._error = self._garbled = False

    def feed(self, data: bytes) -> None:
        reading = self._reader.read(data)
        self._error = self._error or reading.error
        self._garbled = self._garbled or (reading.garbled and self._reader.needle in data)  # [DONE] is nothing to be read
        if reading.usage is not None:
            self._last = reading

    def reading(self) -> Reading:
        return self._last._replace(error=self._error, garbled=self._garbled)
