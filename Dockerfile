# One image for every part: code location, runs, daemon, webserver, API, migrations. What each runs is said by Helm's
# values and by deploy/. Nothing in it is written to at run time: the root file system may be read-only, with writable
# directories mounted at /tmp and $DAGSTER_HOME.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
WORKDIR /src
# The dependencies are a layer of their own: they change less often than the code.
COPY requirements-deploy.txt .
RUN /opt/venv/bin/pip install --quiet --no-compile --no-deps --require-hashes --only-binary :all: -r requirements-deploy.txt
COPY pyproject.toml setup.py README.md ./
COPY market_assets market_assets
RUN /opt/venv/bin/pip install --quiet --no-compile --no-deps --no-build-isolation . \
    && /opt/venv/bin/pip uninstall --quiet --yes setuptools pip \
    && find /opt/venv/lib -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} + \
    # Unchecked: nothing can change a source file of a read-only image, so that nothing is compared at import.
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ML Market Collector" \
      org.opencontainers.image.description="Traditional-market features for crypto models: collector, API, Dagster" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The official image comes without bytecode of the standard library, and a read-only pod could never keep its own.
RUN python -m compileall -q -j 0 -x '/(test|tests|idlelib|turtledemo|lib2to3|ensurepip)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && mkdir -p /opt/dagster/dagster_home \
    && chown 10001:10001 /opt/dagster/dagster_home
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    DAGSTER_HOME=/opt/dagster/dagster_home \
    DAGSTER_DISABLE_TELEMETRY=1 \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/dagster
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
# Of the default command; Kubernetes does not read it, and has probes of its own for every part.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["market-assets", "serve", "--host", "0.0.0.0"]
