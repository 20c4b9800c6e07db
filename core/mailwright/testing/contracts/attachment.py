"""What an attachment source owes: parts that can be composed, or an error that says which field is at fault."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mailwright.documents import structure_node, unstructure_node
from mailwright.errors import AttachmentError, DocumentError, MailwrightError
from mailwright.model import Message
from mailwright.ports import Fetched, Fetching
from mailwright.prepare import prepare
from mailwright.spi import AttachmentSource, Part, RawPart
from mailwright.system import SystemClock, SystemEntropy
from mailwright.testing.contracts.running import leaks, run
from mailwright.testing.contracts.settings import Place, SettingsContract, settings_documents
from mailwright.testing.laws import composed, lines_are_sound, replay_is_equal, size_is_length
from mailwright.testing.services import NoHttp
from mailwright.vetting import Kind


class AttachmentContract(SettingsContract):
    """For plugins with ``mailwright_attachment_sources``.

    Attributes:
        document: A valid attachment: what stands beside ``type``.
        files: Files below the attachment folder while the laws are checked: name → content.
        web: What `Fetching.get` finds: URL → file.
    """

    kind: ClassVar[Kind | None] = "attachment"
    files: ClassVar[Mapping[str, bytes]] = {}
    web: ClassVar[Mapping[str, Fetched]] = {}

    def place(self, record: Any) -> Place:
        """An entry of ``attachments`` of a node document."""
        registry = self.registry()
        frame = {"connection": "support", "to": "ann@example.org", "subject": "s", "content": "c"}
        return Place(
            wrap=lambda values: {**frame, "attachments": [{"type": record.name, **values}]},
            path=lambda key: f"$.attachments[0].{key}",
            load=lambda document: structure_node(document, registry, files=True),
            plain=unstructure_node,
            masked=lambda node: unstructure_node(node, mask_secrets=True),
        )

    def test_it_has_a_title(self, record: AttachmentSource[Any]) -> None:
        """People choose it from a list."""
        assert record.title.strip(), f"{record.name}: give it a title"

    def test_the_document_becomes_parts(self, record: AttachmentSource[Any]) -> None:
        """The valid document resolves to at least one part, the same each time, that composes to a sound message."""

        async def law() -> None:
            first, again = [await self._resolved(record, self._settings(record)) for _ in range(2)]
            assert first, "no part came of it"
            assert [_facts(part) for part in first] == [_facts(part) for part in again]
            await self._sound(record, self.given(record))

        run(law())

    def test_whatever_loads_becomes_parts_or_an_error(self, record: AttachmentSource[Any]) -> None:
        """For all settings that load: a list of `Part` or `RawPart`, or a Mailwright error; nothing else is raised."""
        place = self.place(record)

        async def law(changes: Mapping[str, Any]) -> None:
            try:
                settings = place.load(place.wrap({**self.given(record), **changes})).attachments[0][1]
            except DocumentError:
                return
            try:
                await self._resolved(record, settings)
            except MailwrightError as error:
                assert error.message, "an error without words"

        self.every(lambda changes: run(law(changes)), settings_documents(record.settings))

    def test_limits_are_kept(self, record: AttachmentSource[Any]) -> None:
        """With a limit of zero octets, content that is not empty is refused, and nothing larger is held in memory."""

        async def law() -> None:
            parts = await self._resolved(record, self._settings(record))
            if all(not content for _, content in map(_facts, parts) if isinstance(content, bytes | str)):
                return
            try:
                await self._prepared(record, self.given(record), max_bytes=0)
            except AttachmentError as error:
                assert not leaks(error.message)
            else:
                raise AssertionError("the limit of an attachment's size (Fetching.max_bytes) is not kept")

        run(law())

    def test_a_web_that_never_answers_can_be_cancelled(self, record: AttachmentSource[Any]) -> None:
        """Cancelled while it fetches, it ends at once and leaves nothing."""

        async def law() -> None:
            asked = asyncio.Event()

            async def never(url: str) -> Fetched:
                asked.set()
                await asyncio.Event().wait()
                raise AssertionError

            with _folder(self.files) as root:
                fetching = Fetching(http=NoHttp(), path=_below(root), get=never)
                task = asyncio.ensure_future(_as_coroutine(record, self._settings(record), fetching))
                waiting = asyncio.ensure_future(asked.wait())
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                task.cancel()
                await asyncio.gather(task, waiting, return_exceptions=True)

        run(law())

    # -- what the laws use

    def _settings(self, record: AttachmentSource[Any]) -> Any:
        place = self.place(record)
        return place.load(place.wrap(self.given(record))).attachments[0][1]

    def _fetching(self, root: Path, max_bytes: int | None) -> Fetching:
        async def get(url: str) -> Fetched:
            if url not in self.web:
                raise AttachmentError(f"url: {url}: there is no network here")
            return self.web[url]

        return Fetching(http=NoHttp(), path=_below(root), max_bytes=max_bytes, get=get)

    async def _resolved(
        self, record: AttachmentSource[Any], settings: Any, *, max_bytes: int | None = None
    ) -> Sequence[Part | RawPart]:
        with _folder(self.files) as root:
            parts = await record.resolve(settings, self._fetching(root, max_bytes))
            assert isinstance(parts, Sequence), f"resolve returned {type(parts).__name__}, not a list of parts"
            for part in parts:
                assert isinstance(part, Part | RawPart), f"resolve returned a {type(part).__name__}, not a Part"
            return [_loaded(part) for part in parts]

    async def _prepared(
        self, record: AttachmentSource[Any], document: Mapping[str, Any], *, max_bytes: int | None = None
    ) -> Message:
        place = self.place(record)
        [attachment] = place.load(place.wrap(document)).attachments
        message = Message(
            from_="zoe@example.org", to="ann@example.org", subject="Law", text="See it.", attachments=[attachment[1]]
        )
        with _folder(self.files) as root:
            prepared = await prepare(
                message,
                registry=self.registry(),
                fetching=self._fetching(root, max_bytes),
                clock=SystemClock(),
                entropy=SystemEntropy(),
                author=None,
            )
            return prepared.replace(attachments=[_loaded(part) for part in prepared.attachments])

    async def _sound(self, record: AttachmentSource[Any], document: Mapping[str, Any]) -> None:
        prepared = await self._prepared(record, document)
        await asyncio.to_thread(_check, prepared)


def _check(message: Message) -> None:
    assert composed(message).size
    for law in (size_is_length, replay_is_equal, lines_are_sound):
        law(message)


async def _as_coroutine(record: AttachmentSource[Any], settings: Any, fetching: Fetching) -> Any:
    return await record.resolve(settings, fetching)


def _below(root: Path) -> Any:
    def path(name: str) -> Path:
        try:
            found = (root / name).resolve()
        except (ValueError, OSError):
            raise AttachmentError(f"{name!r}: not a file name") from None
        if not found.is_relative_to(root):
            raise AttachmentError(f"{name}: outside the folder that files may be attached from")
        return found

    return path


@contextlib.contextmanager
def _folder(files: Mapping[str, bytes]) -> Any:
    with tempfile.TemporaryDirectory(prefix="mailwright-law-") as name:
        root = Path(name).resolve()
        for file, content in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content)
        yield root


def _loaded(part: Any) -> Any:
    """With file content read, for the folder goes away."""
    if isinstance(part, Part) and isinstance(part.content, Path):
        from attrs import evolve  # noqa: PLC0415 - files only

        return evolve(part, content=part.content.read_bytes(), filename=part.filename or part.content.name)
    return part


def _facts(part: Part | RawPart) -> tuple[Any, Any]:
    content = part.content
    return type(part), content if isinstance(content, bytes | str) else b"".join(_chunks(content))


def _chunks(content: Any) -> Any:
    return content.chunks(65536) if hasattr(content, "chunks") else [repr(content).encode()]
