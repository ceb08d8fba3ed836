"""Receivers of alerts on loopback: a webhook and a mail server, both real, and a poster that keeps what it is handed.

Belongs here: what a test looks at afterwards. Does not belong here: assertions.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller

from market_assets.alerts.posting import Posted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage

    from market_assets.alerts.targets import Target
    from market_assets.store import AlertMessage


@dataclass
class Webhook:
    """An HTTP server that takes Apprise's JSON posts, and any GET."""

    port: int = 0
    #: HTTP status of the answers
    status: int = 200
    posts: list[dict[str, Any]] = field(default_factory=list)
    gets: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [post["title"] for post in self.posts]


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve on a free port of loopback."""
    seen = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if seen.status < 300:
                seen.posts.append(json.loads(body))
                seen.headers.append(dict(self.headers))
            self.answer()

        def do_GET(self) -> None:
            seen.gets.append(self.path)
            self.answer()

        def answer(self) -> None:
            self.send_response(seen.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Mailbox:
    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - its name
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[int, list[EmailMessage]]]:
    """Serve SMTP on a free port of loopback; yield the port and the mails that came."""
    box = _Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port, box.mails
    finally:
        controller.stop()


class Kept:
    """A poster that keeps what it posts, and fails where it is told to."""

    def __init__(self, fails: Callable[[str], str] = lambda _target: "") -> None:
        self.fails = fails
        self.taken: list[tuple[str, AlertMessage]] = []
        self.tried = 0

    def post(self, target: Target, message: AlertMessage) -> Posted:
        self.tried += 1
        error = self.fails(target.name)
        if not error:
            self.taken.append((target.name, message))
        return Posted(target.name, error)

    def titles(self, target: str) -> list[str]:
        return [message.title for name, message in self.taken if name == target]
