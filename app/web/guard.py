"""What every request passes before anything is done: who asks, from where, how much; and what every answer says."""

import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conflict_framing.web.failures import Refused
from conflict_framing.web.limits import Limits

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
UPLOAD_PATH = "/api/v1/jobs/file"
HEADERS = {
    # Nothing from elsewhere, nothing written into the page, and no page of others around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # What is shown is somebody's text; it shall not lie in a browser's cache.
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware.

    - The Host must be an address or a name of this machine: else a page of another site could have its own name
      point here and read what this page says (DNS rebinding).
    - What changes something must come from this page (Origin), or from a program that is no browser.
    - Each browser gets a session in a cookie, signed so that only cookies given here count; it is in
      ``request.state.session``.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, names: Iterable[str] = ()) -> None:
        self._app, self._limits = app, limits
        self._names = {"localhost", *(name.casefold() for name in names)}
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no web sockets here
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except Refused as refused:
            await _refuse(refused, send)
            return
        cookie = f"conflict_framing_{(scope.get('server') or ('', 0))[1]}"  # cookies are not kept apart by port
        session = self._session(headers, cookie)
        new = session is None
        session = session or self._signed(secrets.token_urlsafe(24))
        scope.setdefault("state", {})["session"] = session

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    added.setdefault(name, value)
                if new:
                    added.append("Set-Cookie", f"{cookie}={session}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        await self._app(scope, self._counted(scope, receive), answer)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            raise Refused(421, "wrong_host", "This server answers under its own address only (see --allow-host).")
        if scope["method"] not in _SAFE_METHODS:
            origin = headers.get("origin")
            site = headers.get("sec-fetch-site", "same-origin")
            if (origin is not None and origin.casefold() not in (f"http://{host}", f"https://{host}")) or (
                origin is None and site not in ("same-origin", "none")
            ):
                raise Refused(403, "wrong_origin", "This request comes from the page of another site.")
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            raise Refused(400, "bad_length", "Content-Length is no number.") from None
        if length > self._most(scope):
            raise self._too_large(scope)

    def _is_ours(self, host: str) -> bool:
        name = host.casefold()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        if name in self._names:
            return True
        try:  # an address cannot be pointed elsewhere, as a name can
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _most(self, scope: Scope) -> int:
        return self._limits.upload_bytes if scope["path"] == UPLOAD_PATH else self._limits.json_bytes

    def _too_large(self, scope: Scope) -> Refused:
        most = f"{self._most(scope) / 2**20:,.0f} MiB"
        return Refused(413, "too_large", f"More than {most} at once. Send it in parts, or packed (.gz).")

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """The body, as long as it stays within its limit; it may come without its length."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._most(scope):
                    # What reads the body would tell any other exception as a mistake in the JSON.
                    raise HTTPException(413, str(self._too_large(scope)))
            return message

        return counted

    def _session(self, headers: Headers, cookie: str) -> str | None:
        found = cookie_parser(headers.get("cookie", "")).get(cookie, "")
        token = found.partition(".")[0]
        return found if token and hmac.compare_digest(self._signed(token).encode(), found.encode()) else None

    def _signed(self, token: str) -> str:
        return f"{token}.{hmac.new(self._secret, token.encode(), hashlib.sha256).hexdigest()}"


async def _refuse(refused: Refused, send: Send) -> None:
    body = json.dumps({"error": refused.to_json()}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
