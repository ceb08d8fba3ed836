"""The smallest FastAPI endpoint: a constant body, nothing in front of it. `python -m benchmarks.reference.plain_api`.

It runs on the same server with the same options as the API it is compared with.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.responses import Response

BODY = b""
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/constant")
async def constant() -> Response:
    """Return the body."""
    return Response(BODY, media_type="application/json")


if __name__ == "__main__":
    BODY = Path(sys.argv[2]).read_bytes()
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_config=None, server_header=False)
