# One image for a single sensor (the default), for a whole fleet, and for any other `fleet` command:
#
#   docker run -v $(pwd)/data:/app/data -e SENSOR_ID=SENSOR_NYC_001 -e SENSOR_LOCATION="New York" sensor-fleet
#   docker run -p 8080:8080 -v fleet-data:/app/data sensor-fleet fleet up --replicas 20 --rate 5
#   docker run sensor-fleet fleet config show
#
# Data goes to /app/data, which is `data` seen from the working directory. /app/config.yaml and /app/node_identity.json
# are taken if they are mounted. See docs/containers.md.
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
# A fixed number, so that a volume keeps its owner. A new volume takes over the mode of /app/data: any user may write
# to it, as `--user` or root without capabilities.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin fleet && \
    mkdir -p /app/data && chown -R fleet:fleet /app && chmod 777 /app/data
COPY --from=build /opt/fleet /opt/fleet
# Whatever is started in a container by one of these names runs as 10001, or as the user that the container has:
# deploy/entrypoint says how.
COPY deploy/entrypoint /opt/fleet/launch/entrypoint
RUN cd /opt/fleet/launch && for name in fleet python python3; do ln -s entrypoint $name; done
COPY deploy/main.py /app/main.py
# The examples, to run by their names: `fleet up -c configs/chaos-test.yaml`.
COPY configs /app/configs
# The MONITORING settings beat those of a config file: whatever is run is reached from outside the container, and the
# health check knows where to ask. With MONITORING_ENABLED=false it asks nobody: that the container runs is enough.
ENV PATH=/opt/fleet/launch:/opt/fleet/bin:$PATH \
    HOME=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MONITORING_ENABLED=true \
    MONITORING_HOST=0.0.0.0 \
    MONITORING_PORT=8080
# Only root can hand over a folder of the host that Docker made. The entry point drops to 10001 before anything runs.
USER 0:0
WORKDIR /app
VOLUME /app/data
EXPOSE 8080
# PID 1 drains on SIGTERM: everything due is committed, exit code 0.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; os.environ['MONITORING_ENABLED'].lower() in ('false', 'no', 'off', '0') or web.urlopen(f\"http://127.0.0.1:{os.environ['MONITORING_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["/opt/fleet/launch/entrypoint"]
CMD ["python", "-m", "worker"]
