#!/bin/sh
# Runs the steps of the Dockerfile where there is no engine: same sources, same commands, other paths.
# Usage: sh deploy/docker-steps.sh [PYTHON]
# Proves: locks with hashes are enough, the installed package is whole (no checkout beside it), an ordinary user can run
# it, the health check tells ready from not. Does not prove: the base image, COPY and USER as an engine does them.
set -eu
python=${1:-$(sh "$(dirname "$0")/find-python.sh")}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
chmod 755 "$work"
serve=
finish() {
    if [ -n "$serve" ]; then
        kill -TERM "$serve" 2>/dev/null || true
        wait "$serve" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

step() { printf '\n== %s\n' "$*"; }

# As root: an account without a home, as USER in the Dockerfile.
if [ "$(id -u)" = 0 ]; then
    as_user='setpriv --reuid=65534 --regid=65534 --clear-groups'
else
    as_user=
fi

step "COPY: what .dockerignore lets through"
mkdir -p "$work/src" "$work/etc" "$work/data"
(cd "$here" && tar c --exclude=__pycache__ Dockerfile README.md config.yaml pyproject.toml requirements.lock deploy \
    migrations pricing proxy) | tar x -C "$work/src"

step "build stage: dependencies, then the project"
cd "$work/src"
"$python" deploy/venv.py "$work/opt" requirements.lock
"$python" deploy/venv.py "$work/opt" requirements.lock --project .

step "final stage: no sources"
cp deploy/healthcheck.py "$work/opt/healthcheck.py"
cp config.yaml "$work/etc/config.yaml"
cd /
rm -rf "$work/src"
if [ "$(id -u)" = 0 ]; then
    chown 65534:65534 "$work/data"
fi
chmod 700 "$work/data"
$as_user env -i PATH="$work/opt/bin:/usr/bin:/bin" HOME=/nonexistent synapscale --help >"$work/help"
head -n 3 "$work/help"
$as_user env -i PATH="$work/opt/bin:/usr/bin:/bin" HOME=/nonexistent python -c \
    'from proxy.storage.migrate import shipped; print("migrations:", len(shipped())); assert shipped()'

step "CMD and HEALTHCHECK"
port=$("$work/opt/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
url=http://127.0.0.1:$port/health/ready
if $as_user "$work/opt/bin/python" "$work/opt/healthcheck.py" "$url" 2>/dev/null; then
    echo "the health check passes with nothing running"; exit 1
fi
cd "$work/data"
$as_user env -i PATH="$work/opt/bin:/usr/bin:/bin" HOME=/nonexistent PYTHONUNBUFFERED=1 \
    synapscale serve --host 0.0.0.0 --port "$port" --behind-proxy --data-dir "$work/data" \
    --config "$work/etc/config.yaml" </dev/null >"$work/log" 2>&1 &
serve=$!
tries=0
until $as_user "$work/opt/bin/python" "$work/opt/healthcheck.py" "$url" 2>/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 120 ] || ! kill -0 "$serve" 2>/dev/null; then
        cat "$work/log"; echo "never healthy"; exit 1
    fi
    sleep 0.5
done
echo "healthy"
kill -TERM "$serve"
wait "$serve"
serve=
echo "stopped with status 0"
step "done"
