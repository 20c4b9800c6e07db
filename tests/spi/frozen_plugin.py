"""A plugin written for SPI version 1, and never edited again: what it does must go on working until the version is raised."""

from attrs import field, frozen

from mailwright import Veto, hookimpl
from mailwright.errors import MailwrightError
from mailwright.sasl import passwords
from mailwright.spi import (
    AttachmentSource,
    AuthMethod,
    AuthTarget,
    Capabilities,
    HttpRequest,
    Limits,
    Part,
    Provider,
    QueueEngine,
    RecipientStatus,
    Reply,
    Report,
    Secret,
    SecretScheme,
    Settings,
)

MAILWRIGHT_SPI_VERSION = 1
SEEN = []


@frozen(kw_only=True)
class FrozenProviderSettings(Settings):
    region: str = "eu"


@frozen(kw_only=True)
class FrozenAuthSettings(Settings):
    user: str
    key: Secret = field(metadata={"secret": True})


@frozen(kw_only=True)
class FrozenAttachmentSettings(Settings):
    text: str = "frozen"


class FrozenAuthenticator:
    def __init__(self, settings, opening):
        self.settings = settings
        self.opening = opening

    async def sasl(self, offer):
        return passwords(self.settings.user, await self.opening.reveal(self.settings.key), offer)

    async def sign(self, request):
        key = await self.opening.reveal(self.settings.key)
        headers = {**request.headers, "Authorization": f"Bearer {key}"}
        return HttpRequest(method=request.method, url=request.url, headers=headers, body=request.body)

    async def refused(self, reply, challenge):
        return False

    async def aclose(self):
        pass


class FrozenTransport:
    capabilities = Capabilities(content="mime", recipients="envelope", per_recipient=True)

    def __init__(self, settings, opening):
        self.settings = settings
        self.opening = opening

    async def deliver(self, submission):
        request = HttpRequest(method="POST", url="https://api.example.com/mail", body=bytes(submission.composed))
        signed = await self.opening.authenticator.sign(request)
        await submission.commit()
        SEEN.append(("deliver", signed.headers["Authorization"], submission.message.subject, self.settings.region))
        reply = Reply(protocol="http", code=200, text="taken")
        statuses = tuple(
            RecipientStatus(address=address, outcome="rejected", permanent=True, stage="http", reply=reply)
            if address.startswith("refused")
            else RecipientStatus(address=address, outcome="accepted", stage="http", reply=reply)
            for address in submission.envelope.recipients
        )
        return Report(statuses=statuses, final=reply, server_id="frozen-1")

    async def verify(self):
        yield "frozen"

    async def aclose(self):
        pass


async def reveal(reference):
    return f"revealed-{reference}"


async def resolve(settings, fetching):
    return [Part(content=settings.text, filename="frozen.txt")]


async def no_ledger(url, clock):
    raise NotImplementedError


@hookimpl
def mailwright_providers():
    yield Provider(
        name="frozen",
        title="Frozen",
        settings=FrozenProviderSettings,
        auth=("frozen",),
        target=lambda settings: AuthTarget(protocol="http", host="api.example.com"),
        limits=Limits(rate=1000, burst=100, recipients=10),
        open=FrozenTransport,
        explain=lambda reply: "a frozen cause" if reply.code == 200 else None,
    )


@hookimpl
def mailwright_auth_methods():
    yield AuthMethod(
        name="frozen",
        settings=FrozenAuthSettings,
        protocols=frozenset({"smtp", "http"}),
        open=lambda settings, target, opening: FrozenAuthenticator(settings, opening),
        user=lambda settings: settings.user,
    )


@hookimpl
def mailwright_attachment_sources():
    yield AttachmentSource(name="frozen", settings=FrozenAttachmentSettings, resolve=resolve)


@hookimpl
def mailwright_secret_schemes():
    yield SecretScheme(name="frozen", reveal=reveal)


@hookimpl
def mailwright_queue_engines():
    yield QueueEngine(schemes=("frozen",), ledger=no_ledger)


@hookimpl
def mailwright_before_compose(message, connection):
    SEEN.append(("before_compose", message.subject, connection.provider))
    if message.subject == "forbidden":
        raise Veto("frozen says no")
    return message.replace(subject=f"{message.subject}, frozen")


@hookimpl(trylast=True)
async def mailwright_before_send(composed, envelope, connection):
    SEEN.append(("before_send", len(envelope.recipients), composed.size == len(bytes(composed)), connection.sender))
    return composed.with_header("X-Frozen", "1")


@hookimpl
async def mailwright_after_send(receipt, connection):
    SEEN.append(("after_send", receipt.status, connection.provider))


@hookimpl
def mailwright_send_failed(error, receipt, connection):
    SEEN.append(("send_failed", isinstance(error, MailwrightError), receipt is None, connection.provider))
