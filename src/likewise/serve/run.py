"""Running the server: addresses, keys, signals, and a graceful end."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from likewise.data import Source, load
from likewise.errors import InputError, MissingExtraError
from likewise.search import Index
from likewise.serve.keys import Keys
from likewise.serve.limits import Limits

__all__ = ["http_protocol", "is_loopback", "serve"]

_GRACE_SECONDS = 10
_FOLLOW_SECONDS = 0.5
_SWITCH_SECONDS = 0.0005


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    path: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    data: Source | None = None,
    keys: str | os.PathLike[str] | None = None,
    writable: bool = False,
    limits: Limits | None = None,
    corrections: str | os.PathLike[str] | None = None,
    follow: bool = False,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve an index until SIGINT or SIGTERM; SIGHUP loads the folder again and swaps it in one step.

    Parameters
    ----------
    path : path
        A saved index.
    host, port : str, int
        Where to listen; port 0 takes a free one. Beyond this machine keys are required.
    data : source, optional
        What was indexed, for the page's pictures.
    keys : path, optional
        A file of keys; see :mod:`likewise.serve.keys`.
    writable : bool
        Whether records may be added and removed; the index is then held by this process alone.
    limits : Limits, optional
    corrections : path, optional
        A CSV for the page's verdicts on suspects.
    follow : bool
        Whether the folder is looked at twice a second, and swapped as on SIGHUP where it was saved anew.
    started : callable, optional
        Called with the address once the server listens.

    Raises
    ------
    InputError
        An address beyond this machine without keys, a port that is taken.
    MissingExtraError
        fastapi, uvicorn or prometheus-client isn't installed.
    """
    held = None if keys is None else Keys.load(keys)
    if not is_loopback(host) and not held:
        raise InputError(
            f"host {host} can be reached from other machines, so keys are required: make one with "
            "likewise serve --new-key NAME --keys FILE, then give --keys FILE"
        )
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise InputError(f"port must be from 0 to 65535; found {port!r}")
    try:
        import uvicorn

        from likewise.serve.app import create_app
        from likewise.serve.explorer import Explorer
        from likewise.serve.logs import log, log_to
        from likewise.serve.served import Served
    except ImportError as error:
        raise MissingExtraError(
            f"likewise serve needs {error.name}: pip install 'likewise[serve]'"
        ) from error

    # Two threads share the interpreter, one for connections and one for work. An answer that is ready should
    # not wait the usual 5 milliseconds until the other lets go.
    sys.setswitchinterval(_SWITCH_SECONDS)
    rules = limits or Limits()
    opened = Index.open if writable else Index.load
    records = None if data is None else load(data)
    seen = _version(path)  # before it is read: what is saved while it is read is taken after
    served = Served(opened(path), writable=writable, pixels=rules.pixels)
    explorer = Explorer(served, records=records, corrections=corrections)
    hosts = frozenset({"127.0.0.1", "localhost", "[::1]", host.lower()}) if is_loopback(host) else None
    app = create_app(served, keys=held, limits=rules, explorer=explorer, hosts=hosts)
    listening = _listening(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ws="none",
        http=http_protocol(),
    )
    log_to()

    class Server(uvicorn.Server):
        """uvicorn, with a swap on SIGHUP and a word when it listens."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if hasattr(signal, "SIGHUP"):
                asyncio.get_running_loop().add_signal_handler(
                    signal.SIGHUP, lambda: asyncio.ensure_future(swap())
                )
            if follow:
                self._following = asyncio.ensure_future(watch())
            address = f"http://{_shown(host)}:{listening.getsockname()[1]}"
            log("listening", address=address, records=len(served.index))
            if started is not None:
                started(address)

        async def shutdown(self, sockets: Any = None) -> None:
            if follow:
                self._following.cancel()
            await super().shutdown(sockets)

    async def watch() -> None:
        nonlocal seen
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            now = _version(path)
            if now is not None and now != seen:
                seen = now
                await swap()

    async def swap() -> None:
        try:
            await asyncio.to_thread(served.swap, lambda: opened(path))
            explorer.forget()
            log("swapped", records=len(served.index), model=served.index.model.fingerprint)
        except InputError:
            log("swap failed", trace=True)

    with _ended_by_sigterm():
        Server(config).run(sockets=[listening])


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the server and not the process.

    uvicorn raises the signal that it stopped for once more when all is done. With the system's own handler
    that would kill the process before the last lines of the log are written, and with another status than 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _version(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """What tells a saved index from the one before it in the same place; None where there is none now."""
    try:
        found = os.stat(os.path.join(path, "index.json"))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(512)
    except OSError as error:
        made.close()
        raise InputError(
            f"can't listen on {host}:{port} ({error.strerror or error}); choose another --port"
        ) from error
    return made


def http_protocol() -> Any:
    """The fast parser where it is installed, else uvicorn's own choice."""
    try:
        from likewise.serve.protocol import BoundedHttp
    except ImportError:
        return "h11"
    return BoundedHttp


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
