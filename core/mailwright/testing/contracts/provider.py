"""What a provider owes: settings, a target, and an endpoint or a way to open a transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hypothesis import strategies as st

from mailwright.documents import connection_schema, structure_connection, unstructure_connection
from mailwright.errors import DocumentError
from mailwright.spi import Provider, Reply
from mailwright.testing.contracts.settings import Place, SettingsContract, _keys, settings_documents
from mailwright.vetting import Kind

_LIFTED = ("host", "port", "tls")
_TLS = {"tls", "starttls", "none"}


class ProviderContract(SettingsContract):
    """For plugins with ``mailwright_providers``.

    Attributes:
        document: Valid settings (what stands under ``options``, and ``host``, ``port``, ``tls`` where it has them).
    """

    kind: ClassVar[Kind | None] = "provider"

    def place(self, record: Any) -> Place:
        """The top level of a connection document, and its ``options``."""
        registry = self.registry()

        def wrap(values: Mapping[str, Any]) -> dict[str, Any]:
            top = {key: value for key, value in values.items() if key in _LIFTED}
            rest = {key: value for key, value in values.items() if key not in _LIFTED}
            return {"provider": record.name, **top, **({"options": rest} if rest else {})}

        def path(key: str) -> str:
            return f"$.{key}" if key in _LIFTED and key in _keys(record.settings) else f"$.options.{key}"

        return Place(
            wrap=wrap,
            path=path,
            load=lambda document: structure_connection(document, registry),
            plain=unstructure_connection,
            masked=lambda connection: unstructure_connection(connection, mask_secrets=True),
        )

    def test_it_has_a_title(self, record: Provider[Any]) -> None:
        """People choose it from a list."""
        assert record.title.strip(), f"{record.name}: give it a title"

    def test_the_schema_knows_it(self, record: Provider[Any]) -> None:
        """Forms can offer it: the JSON Schema of connections names it."""
        assert record.name in repr(connection_schema(self.registry()))

    def test_its_target_and_endpoint_are_sound(self, record: Provider[Any]) -> None:
        """For all valid settings: a host without blanks or controls, a port that exists, a known kind of TLS."""
        place = self.place(record)
        base = self._valid(record)

        def law(changes: dict[str, Any]) -> None:
            try:
                settings = place.load(place.wrap({**self.given(record), **changes})).settings
            except DocumentError:
                settings = base.settings
            target = record.target(settings)
            assert target.protocol in {"smtp", "http"}
            assert _is_host(target.host), f"target: {target.host!r} is not a host; refuse it in the settings class"
            for name, url in target.oauth_urls.items():
                assert url.startswith("https://"), f"oauth_urls[{name!r}]: {url} is not https"
            if record.endpoint is not None:
                endpoint = record.endpoint(settings)
                assert _is_host(endpoint.host), f"endpoint: {endpoint.host!r} is not a host"
                assert 1 <= endpoint.port <= 65535
                assert endpoint.tls in _TLS

        self.every(law, settings_documents(record.settings))

    def test_smtp_is_encrypted_by_default(self, record: Provider[Any]) -> None:
        """Without a word about it, the endpoint uses TLS; only loopback may do without."""
        if record.endpoint is not None:
            endpoint = record.endpoint(self._valid(record).settings)
            assert endpoint.tls != "none" or endpoint.host in {"127.0.0.1", "::1", "localhost"}

    def test_the_auth_it_names_is_there(self, record: Provider[Any]) -> None:
        """Each method in ``auth`` exists, and works over the target's protocol."""
        registry = self.registry()
        protocol = record.target(self._valid(record).settings).protocol
        for name in record.auth:
            method = registry.auth_method(name)
            assert protocol in method.protocols, f"auth {name} does not work over {protocol}"

    def test_its_limits_are_sound(self, record: Provider[Any]) -> None:
        """Limits are positive where they are set."""
        limits = record.limits
        for name in ("rate", "burst", "connections", "messages_per_session", "idle", "recipients", "size"):
            value = getattr(limits, name)
            assert value is None or value > 0, f"limits.{name}: {value}"

    def test_explain_takes_any_reply(self, record: Provider[Any]) -> None:
        """`explain` returns text or None, whatever a server says."""
        replies = st.builds(
            Reply,
            protocol=st.sampled_from(["smtp", "http"]),
            code=st.integers(100, 599),
            enhanced=st.none() | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
            text=st.text(max_size=60),
        )

        def law(reply: Reply) -> None:
            said = record.explain(reply)
            assert said is None or (isinstance(said, str) and said.strip())

        self.every(law, replies)


def _is_host(text: str) -> bool:
    return bool(text) and text.isprintable() and not any(char.isspace() for char in text)
