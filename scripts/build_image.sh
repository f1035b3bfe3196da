#!/usr/bin/env bash
# Build the container image and run it: a single sensor, a fleet, the docker lines of the source documents, and the
# ways to confine a container. For a Debian machine that has no container engine and reaches no container registry:
# podman comes from Debian's packages, and debootstrap makes the base image. The image stays in podman's store as
# localhost/sensor-fleet, unless --throw-away is given: then nothing is left but the Debian packages.
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
OTHER_USER=4321
# The names that the image has in the source documents; nothing is pulled from the registry.
REGISTRY="ghcr"".io"
DOCUMENTED_NAMES=(sensor-simulator $REGISTRY/bacalhau-project/sensor-log-generator)

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
    [ ! -s "$scratch/cid" ] || engine rm --force --volumes --cidfile "$scratch/cid" >/dev/null 2>&1 || true
    engine volume rm --force "$CONTAINER" >/dev/null 2>&1 || true
    rm -rf --one-file-system "$scratch/cid" "$scratch/folder"
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
    [ ! -s "$scratch/cid" ] || engine logs --tail 30 "$(cat "$scratch/cid")" >&2 2>/dev/null || true
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

# Start a container in the background with these options; its id is in the file cid.
start() {
    rm -f "$scratch/cid"
    run --detach --cidfile "$scratch/cid" "$@" >/dev/null
}

# Sensors and rows in each database of the volume or folder $1, each database checked: one line for each.
rows() {
    run --rm --volume "$1:/app/data" "${@:2}" "$IMAGE" python -c '
import pathlib, apsw
for path in sorted(pathlib.Path("/app/data").glob("*.db")):
    connection = apsw.Connection(str(path))
    (verdict,), = connection.execute("PRAGMA integrity_check")
    (sensors, count), = connection.execute("SELECT group_concat(DISTINCT sensor_id), count(*) FROM sensor_readings")
    print(path.name, verdict, count, sensors)
'
}

# The rows of the one sensor in the output of `rows`, 0 if there are none or the database is damaged. How many there
# are is chance: readings go missing as one of the types of anomaly.
count() { awk '$1 == "sensor_data.db" && $2 == "ok" { n = $3 } END { print n + 0 }' "$scratch/rows"; }

wait_until_healthy() {
    local deadline=$((SECONDS + 120))
    until engine healthcheck run "$1" >/dev/null 2>&1; do
        [ "$(engine inspect --format '{{.State.Running}}' "$1")" = true ] || fail "it ended by itself"
        [ $SECONDS -lt $deadline ] || fail "not healthy after 120 s"
        sleep 0.5
    done
    local status
    status=$(engine inspect --format '{{.State.Health.Status}}' "$1")
    [ "$status" = healthy ] || fail "podman calls it $status"
}

# Wait until the container that was started is healthy and has data, and stop it. User $1 runs it, and the commands
# that are executed in it.
observe() {
    local id user
    id=$(cat "$scratch/cid")
    wait_until_healthy "$id"
    user=$(engine exec "$id" stat -c %u /proc/1)
    [ "$user" = "$1" ] || fail "runs as user $user, not as $1"
    user=$(engine exec "$id" python -c 'import os; print(os.getuid())')
    [ "$user" = "$1" ] || fail "a command in it runs as user $user, not as $1"
    engine exec "$id" grep -q '^CapEff:[[:space:]]*0*$' /proc/1/status || fail "has capabilities"
    sleep 5 # let it run: what is to be seen is data, not a condition
    engine stop --time 60 "$id" >/dev/null
    local code
    code=$(engine inspect --format '{{.State.ExitCode}}' "$id")
    [ "$code" = 0 ] || fail "exit code $code after SIGTERM, 0 promised"
}

# Run the image with these options and this command until it is healthy and has data, and stop it. What can be taken
# from a container is taken: the root file system is read-only, and there are no capabilities.
live() {
    clear_away
    start --volume "$CONTAINER:/app/data" --user "$USER_ID:$USER_ID" --read-only --cap-drop all \
        --security-opt no-new-privileges "$@"
    observe "$USER_ID"
    step "healthy; drained when stopped, exit code 0"
    rows "$CONTAINER" | tee "$scratch/rows"
    run --rm --volume "$CONTAINER:/app/data" "$IMAGE" fleet verify --data /app/data || fail "the data is not as it must be"
}

# Make a folder with an empty `data` of user $1, mode 0755, and with the files that some lines take, and go there.
enter_folder() {
    clear_away
    mkdir "$scratch/folder"
    cp configs/basic.yaml "$scratch/folder/config.yaml"
    cp configs/basic.yaml "$scratch/folder/my-config.yaml"
    cp tests/seeds/data/002-node_identity.json "$scratch/folder/identity.json"
    install -d -m 0755 -o "$1" -g "$1" "$scratch/folder/data"
    cd "$scratch/folder"
}

# In the folder that was entered: user $1 owns `data` and what the container left in it, and a sensor has its rows.
check_folder() {
    local owners
    owners=$(find data -printf '%U\n' | sort -u)
    [ "$owners" = "$1" ] || fail "data and its content belong to" $owners "and not to $1"
    rows "$PWD/data" "${@:2}" >"$scratch/rows"
    [ "$(count)" -ge 1 ] || fail "no data in the folder: $(cat "$scratch/rows")"
    echo "user $1: $(cat "$scratch/rows")"
}

# Each docker line of the source documents as it is written there ($REGISTRY stands for its host), in a folder that
# Docker would have made: empty, root's, mode 0755.
try_documented_lines() {
    local name line lines identity_file=identity.json sensor_id=$CONTAINER
    for name in "${DOCUMENTED_NAMES[@]}"; do
        engine tag "$IMAGE" "$name:latest"
    done
    docker() {
        [ "$1" = run ] || fail "docker $1"
        start "${@:2}"
    }
    mapfile -d '' lines < <(awk -v RS= -v ORS='\0' 1 tests/deploy/data/docker-lines.sh)
    [ ${#lines[@]} -gt 1 ] || fail "no docker lines"
    for line in "${lines[@]}"; do
        step "$(xargs <<<"${line//\\$'\n'/}")"
        (
            enter_folder 0
            eval "$line"
            observe "$USER_ID"
            check_folder "$USER_ID"
        )
    done
}

# A container with these options on a folder of user $1: it runs as user $2, who owns what is in the folder then.
try_folder() {
    step "a folder of user $1: ${*:3}"
    (
        enter_folder "$1"
        start -v "$PWD/data:/app/data" "${@:3}"
        observe "$2"
        check_folder "$2" ${CHECK_OPTIONS-}
    )
}

# The same on a folder that cannot be written: it ends with code 1 and tells user, folder and remedy.
try_refusal() {
    step "a folder of user $1, refused: ${*:3}"
    (
        enter_folder "$1"
        local code=0
        run --rm -v "$PWD/data:/app/data" "${@:3}" >/dev/null 2>"$scratch/told" || code=$?
        [ "$code" = 1 ] || fail "exit code $code, not 1"
        grep "^entrypoint: user $2 cannot write to /app/data (owner $1, mode 755): start the container with" "$scratch/told" ||
            fail "not told: $(cat "$scratch/told")"
    )
}

try_image() {
    step "$IMAGE $(run --rm "$IMAGE" fleet --version)"
    step "one sensor"
    live --env SENSOR_ID="$SENSOR" --env SENSOR_LOCATION="New York Factory Floor 3" "$IMAGE"
    [ "$(awk '{ print $4 }' "$scratch/rows")" = "$SENSOR" ] && [ "$(count)" -ge 1 ] ||
        fail "the volume lacks the data of $SENSOR"
    step "a fleet of $SENSORS"
    live "$IMAGE" fleet up --replicas "$SENSORS" --rate 10
    [ "$(awk '$2 == "ok" { n++; rows += $3 } END { print n, (rows >= 30 * n) }' "$scratch/rows")" = "$SENSORS 1" ] ||
        fail "the volume lacks data"
    try_documented_lines
    try_folder 0 "$USER_ID" --read-only "$IMAGE"
    try_folder "$USER_ID" "$USER_ID" --user "$USER_ID:$USER_ID" "$IMAGE"
    try_folder "$OTHER_USER" "$OTHER_USER" "$IMAGE"
    try_folder "$OTHER_USER" "$OTHER_USER" --user "$OTHER_USER:$OTHER_USER" --read-only --cap-drop=ALL "$IMAGE"
    try_folder 0 "$USER_ID" --cap-drop=ALL --cap-add=CHOWN,SETUID,SETGID --read-only "$IMAGE"
    # Root without capabilities stays root; to look at its files, the next container must be the same.
    CHECK_OPTIONS=--cap-drop=ALL try_folder 0 0 --cap-drop=ALL --read-only "$IMAGE"
    try_refusal 0 "$OTHER_USER" --user "$OTHER_USER:$OTHER_USER" "$IMAGE"
    try_refusal "$OTHER_USER" 0 --cap-drop=ALL "$IMAGE"
    # Bacalhau's jobs, that of the source documents and ours, in the job user's folder and in root's.
    try_folder "$OTHER_USER" "$OTHER_USER" --workdir /app -e SQLITE_TMPDIR=/tmp --entrypoint '["python", "main.py"]' "$IMAGE"
    try_folder 0 "$USER_ID" --workdir /app -e SQLITE_TMPDIR=/tmp --entrypoint '["python", "-m", "worker"]' "$IMAGE" \
        --config configs/single-sensor.yaml
    step "a new volume, no capabilities, no user given"
    clear_away
    start --volume "$CONTAINER:/app/data" --read-only --cap-drop=ALL "$IMAGE"
    observe 0
    rows "$CONTAINER" --cap-drop=ALL | tee "$scratch/rows"
    [ "$(count)" -ge 1 ] || fail "the volume lacks data"
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
