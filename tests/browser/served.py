"""The pages of a staged fleet, which has no processes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.serving import make_server

from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from tests.fleet.staged import StagedFleet


@contextmanager
def served(staged: StagedFleet) -> Iterator[str]:
    """Serve the pages of a staged fleet; yields their address."""
    server = make_server("127.0.0.1", 0, create_app(staged.run, Observer(staged.run, tick=0.2)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
