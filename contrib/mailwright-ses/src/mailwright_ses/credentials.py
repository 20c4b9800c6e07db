"""AWS credentials: found and used for Signature Version 4 by botocore."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any

from attrs import evolve, field, frozen

from mailwright.errors import AuthError, ConfigurationError
from mailwright.spi import AuthTarget, HttpRequest, Opening, Reply, SaslMechanism, SaslOffer, Secret, Settings


@frozen(kw_only=True)
class AwsSettings(Settings):
    """What stands beside ``type`` in a connection's ``auth``."""

    access_key_id: str | None = field(default=None, metadata={"title": "Access key ID"})
    secret_access_key: Secret | None = field(default=None, metadata={"title": "Secret access key", "secret": True})
    session_token: Secret | None = field(default=None, metadata={"title": "Session token", "secret": True})
    profile: str | None = field(default=None, metadata={"title": "Profile of the AWS configuration"})

    def __attrs_post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            missing = "access_key_id" if self.access_key_id is None else "secret_access_key"
            raise ConfigurationError(f"{missing}: give both keys, or neither for what the machine has")
        if self.session_token is not None and self.access_key_id is None:
            raise ConfigurationError("session_token: belongs to an access_key_id and a secret_access_key")
        if self.profile is not None and self.access_key_id is not None:
            raise ConfigurationError("profile: give either a profile or keys")


class AwsSigner:
    """Signs requests; what botocore found is kept for the connection's life and renewed by botocore."""

    def __init__(self, settings: AwsSettings, target: AuthTarget, opening: Opening) -> None:
        self._settings = settings
        self._region = target.host.removeprefix("email.").partition(".")[0]
        self._opening = opening
        self._found: Any = None

    async def sasl(self, offer: SaslOffer) -> SaslMechanism:
        """Not over SMTP."""
        del offer
        raise AuthError("$.auth.type: AWS credentials are for the API; over SMTP, SES wants SMTP credentials and basic")

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """Add Authorization and its date; in a thread, for it hashes the body and may look for credentials."""
        reveal, settings = self._opening.reveal, self._settings
        keys: tuple[str | None, ...] | None = None
        if settings.secret_access_key is not None:
            token = await reveal(settings.session_token) if settings.session_token else None
            keys = (settings.access_key_id, await reveal(settings.secret_access_key), token)
        return await to_thread(self._signed, request, keys)

    def _signed(self, request: HttpRequest, keys: tuple[str | None, ...] | None) -> HttpRequest:
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - heavy, and only who signs needs it
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - likewise

        unsigned = AWSRequest(
            method=request.method, url=request.url, headers=dict(request.headers), data=request.body or b""
        )
        SigV4Auth(self._credentials(keys), "ses", self._region).add_auth(unsigned)
        return evolve(request, headers=dict(unsigned.headers.items()))

    def _credentials(self, keys: tuple[str | None, ...] | None) -> Any:
        from botocore.credentials import Credentials  # noqa: PLC0415 - heavy, and only who signs needs it

        if keys is not None:
            return Credentials(*keys)
        if self._found is None:
            self._found = self._searched()
        return self._found.get_frozen_credentials()

    def _searched(self) -> Any:
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - heavy, and only who signs needs it
        from botocore.session import Session  # noqa: PLC0415 - likewise

        try:
            found = Session(profile=self._settings.profile).get_credentials()
        except BotoCoreError as error:
            msg = f"$.auth: no AWS credentials: {error}"
            raise AuthError(msg) from None
        if found is None:
            msg = "$.auth: no AWS credentials on this machine: give access_key_id and secret_access_key, a profile, or a role"
            raise AuthError(msg)
        return found

    async def refused(self, reply: Reply, challenge: bytes | None) -> bool:
        """Wrong keys stay wrong; roles are renewed before they run out."""
        del reply, challenge
        return False

    async def aclose(self) -> None:
        """Nothing is held open."""
