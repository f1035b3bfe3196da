# One image for a whole fleet (the default) or for any other `fleet` command:
#
#   docker run -p 8080:8080 -v fleet-data:/app/data sensor-fleet
#   docker run sensor-fleet config show
#
# BASE may be any image of Debian or Ubuntu with Python 3.11 to 3.13 and venv. A package index that needs settings of
# its own: give pip's configuration as the build secret `pip` and a CA bundle that it names as the secret `ca`. Neither
# stays in the image.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/fleet
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The dependencies are a layer of their own: a change of the code does not install them again.
COPY pyproject.toml ./
COPY scripts/pins.py scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    python3 scripts/pins.py constraints > constraints.txt && \
    python3 scripts/pins.py dependencies > dependencies.txt && \
    /opt/fleet/bin/pip install -q -c constraints.txt -r dependencies.txt
COPY README.md LICENSE CHANGELOG.md supervisor.py ./
COPY configs configs
COPY worker worker
COPY fleet fleet
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/run/secrets/ca \
    /opt/fleet/bin/pip install -q --no-deps . && \
    /opt/fleet/bin/pip uninstall -q -y pip setuptools

FROM ${BASE}
# A fixed number, so that a volume keeps its owner and `runAsNonRoot` can be checked.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin fleet && \
    mkdir -p /app/data && chown -R fleet:fleet /app
COPY --from=build /opt/fleet /opt/fleet
ENV PATH=/opt/fleet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /app
VOLUME /app/data
EXPOSE 8080
# PID 1 drains on SIGTERM: everything due is committed, exit code 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["fleet"]
CMD ["up", "--host", "0.0.0.0", "--port", "8080", "--data", "/app/data"]
