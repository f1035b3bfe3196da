#!/usr/bin/env bash
# Build the container image and run a single sensor and a fleet in it, on a Debian machine that has no container engine and reaches no container
# registry: podman comes from Debian's packages, and debootstrap makes the base image. The image stays in podman's
# store as localhost/sensor-fleet, unless --throw-away is given: then nothing is left but the Debian packages.
#
#   scripts/build_image.sh [--throw-away]        as root
#   BASE=python:3.12-slim scripts/build_image.sh where podman can pull that
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

IMAGE=localhost/sensor-fleet
DEBIAN_BASE=localhost/sensor-fleet-base:bookworm
CONTAINER=sensor-fleet-check-$$
USER_ID=10001
SENSORS=10
SENSOR=SENSOR_NYC_001

scratch=$(mktemp -d)
store=()
if [ "${1:-}" = --throw-away ]; then
    store=(--root "$scratch/store" --runroot "$scratch/run")
fi

# podman as this needs it. runc: crun refuses machines that mount both versions of cgroups. The complaint left out is
# podman's about health timers where there is no systemd; nothing here uses them.
engine() {
    podman "${store[@]}" --runtime runc "$@" 2> >(grep -v 'systemd connection' >&2)
}

clear_away() {
    engine rm --force --volumes "$CONTAINER" >/dev/null 2>&1 || true
    engine volume rm --force "$CONTAINER" >/dev/null 2>&1 || true
}

leave() {
    local code=$?
    clear_away
    if [ ${#store[@]} -gt 0 ]; then
        engine rmi --all --force >/dev/null 2>&1 || true
        umount "$scratch/store/overlay" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$scratch"
    exit $code
}

step() { printf '== %s\n' "$*"; }

fail() {
    echo "build_image: $*" >&2
    engine logs --tail 30 "$CONTAINER" >&2 2>/dev/null || true
    exit 1
}

install_tools() {
    local missing=() tool
    for tool in podman runc debootstrap; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] && return
    step "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A minimal Debian with its own Python 3.11, from the mirror that apt on this machine uses.
make_debian_base() {
    local mirror root="$scratch/debian"
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(LABEL)' 'Created-By: Packages' |
        awk '$2 == "bookworm" && $3 == "Debian" { print $1; exit }')
    [ -n "$mirror" ] || fail "apt on this machine knows no mirror of Debian bookworm; give an image as BASE=..."
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" "$mirror" \
        >"$scratch/debootstrap.log" 2>&1 || { tail -20 "$scratch/debootstrap.log" >&2; fail "debootstrap failed"; }
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/etc/{resolv.conf,hostname}
    tar -C "$root" -c . | engine import --quiet - "$DEBIAN_BASE" >/dev/null
    rm -rf --one-file-system "$root"
}

# How pip on this machine reaches its index, as a configuration for pip inside the build. It is mounted while pip runs
# and is in no layer.
write_pip_secrets() {
    local settings key value
    settings=$(python3 -m pip config list 2>/dev/null || true)
    echo "[global]" >"$scratch/pip.conf"
    for key in index-url extra-index-url trusted-host proxy timeout; do
        value=$(sed -n "s/^\(global\|:env:\)\.\(default-\)\{0,1\}$key='\(.*\)'\$/\3/p" <<<"$settings" | tail -1)
        case "$value" in "" | *file:*) ;; *) echo "$key = $value" >>"$scratch/pip.conf" ;; esac
    done
    value=$(sed -n "s/^\(global\|:env:\)\.cert='\(.*\)'\$/\2/p" <<<"$settings" | tail -1)
    : >"$scratch/ca.pem"
    if [ -n "$value" ] && [ -r "$value" ]; then
        cp "$value" "$scratch/ca.pem"
        echo "cert = /run/secrets/ca" >>"$scratch/pip.conf"
    fi
}

# chroot: the steps of the build need no runtime, and so work where containers are confined.
build() {
    engine build --isolation chroot --network host --format docker --build-arg "BASE=$1" \
        --secret "id=pip,src=$scratch/pip.conf" --secret "id=ca,src=$scratch/ca.pem" \
        --tag "$IMAGE" --quiet . >/dev/null
}

# Options of every run. No network but its own loopback, so that no port of this machine matters. podman's default
# limits may be above what this machine's root may give.
run() {
    engine run --network none --ulimit nofile=4096:4096 --ulimit nproc=2048:2048 --health-interval=disable "$@"
}

# Sensors and rows in each database of the data volume, each database checked: one line for each.
rows() {
    run --rm --volume "$CONTAINER:/app/data" "$IMAGE" python -c '
import pathlib, apsw
for path in sorted(pathlib.Path("/app/data").glob("*.db")):
    connection = apsw.Connection(str(path))
    (verdict,), = connection.execute("PRAGMA integrity_check")
    (sensors, count), = connection.execute("SELECT group_concat(DISTINCT sensor_id), count(*) FROM sensor_readings")
    print(path.name, verdict, count, sensors)
'
}

wait_until_healthy() {
    local deadline=$((SECONDS + 120))
    until engine healthcheck run "$CONTAINER" >/dev/null 2>&1; do
        [ "$(engine inspect --format '{{.State.Running}}' "$CONTAINER")" = true ] || fail "it ended by itself"
        [ $SECONDS -lt $deadline ] || fail "not healthy after 120 s"
        sleep 0.5
    done
    local status
    status=$(engine inspect --format '{{.State.Health.Status}}' "$CONTAINER")
    [ "$status" = healthy ] || fail "podman calls it $status"
}

# Run the image with these options and this command until it is healthy and has data, and stop it. What can be taken
# from a container is taken: the root file system is read-only, and there are no capabilities.
live() {
    clear_away
    run --detach --name "$CONTAINER" --volume "$CONTAINER:/app/data" --read-only --cap-drop all \
        --security-opt no-new-privileges "$@" >/dev/null
    wait_until_healthy
    step "healthy"
    [ "$(engine exec "$CONTAINER" id -u)" = "$USER_ID" ] || fail "does not run as user $USER_ID"
    engine exec "$CONTAINER" sh -c '! touch /opt/fleet/written 2>/dev/null' || fail "the program can write over itself"
    sleep 5 # let it run: what is to be seen is data, not a condition
    engine stop --time 60 "$CONTAINER" >/dev/null
    local code
    code=$(engine inspect --format '{{.State.ExitCode}}' "$CONTAINER")
    [ "$code" = 0 ] || fail "exit code $code after SIGTERM, 0 promised"
    step "stopped: drained, exit code 0"
    rows | tee "$scratch/rows"
    run --rm --volume "$CONTAINER:/app/data" "$IMAGE" fleet verify --data /app/data || fail "the data is not as it must be"
}

try_image() {
    step "$IMAGE $(run --rm "$IMAGE" fleet --version)"
    step "one sensor"
    live --env SENSOR_ID="$SENSOR" --env SENSOR_LOCATION="New York Factory Floor 3" "$IMAGE"
    [ "$(awk '$1 == "sensor_data.db" && $2 == "ok" && $3 >= 4 { print $4 }' "$scratch/rows")" = "$SENSOR" ] ||
        fail "the volume lacks the data of $SENSOR"
    step "a fleet of $SENSORS"
    live "$IMAGE" fleet up --replicas "$SENSORS" --rate 10
    [ "$(awk '$2 == "ok" && $3 >= 30' "$scratch/rows" | wc -l)" = "$SENSORS" ] || fail "the volume lacks data"
}

trap leave EXIT
[ "$(id -u)" = 0 ] || fail "must run as root"
command -v apt-get >/dev/null || [ -n "${BASE:-}" ] || fail "needs Debian's apt-get, or an image as BASE=..."
install_tools
if [ -z "${BASE:-}" ]; then
    engine image exists "$DEBIAN_BASE" || { step "making the base image"; make_debian_base; }
    BASE=$DEBIAN_BASE
fi
step "building on $BASE"
write_pip_secrets
build "$BASE"
try_image
step "image works: $(engine image inspect --format '{{.Size}}' "$IMAGE" | awk '{ printf "%.0f MB", $1 / 1e6 }')"
