"""Key stores that a test opens."""

from __future__ import annotations

from keyrail.keys import stores
from keyrail.keys.base import KeyReader, KeyWriter
from keyrail.keys.settings import KeyReaderSettings


class Opened:
    """Readers and writers of one test, closed at its end."""

    def __init__(self) -> None:
        self._made: list[KeyReader | KeyWriter] = []

    async def reader(self, settings: KeyReaderSettings) -> KeyReader:
        reader = stores.reader(settings)
        self._made.append(reader)
        await reader.open()
        return reader

    async def writer(self, settings: KeyReaderSettings) -> KeyWriter:
        writer = stores.writer(settings)
        self._made.append(writer)
        await writer.open()
        return writer

    def keep(self, store: KeyReader | KeyWriter) -> None:
        self._made.append(store)

    async def close(self) -> None:
        for store in self._made:
            await store.close()
