#!/bin/sh
# Prints the Python that an existing .venv was made with, else the newest (3.11 to 3.14) on the PATH.
# A pyenv shim without its version does not count.
if .venv/bin/python -c 'import sys; print(sys._base_executable)' 2>/dev/null; then
    exit 0
fi
best= best_minor=10
for name in python3 python3.14 python3.13 python3.12 python3.11; do
    minor=$("$name" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)' 2>/dev/null) || continue
    if [ "$minor" -gt "$best_minor" ] && [ "$minor" -le 14 ]; then
        best=$name best_minor=$minor
    fi
done
if [ -z "$best" ]; then
    echo "No Python 3.11 or newer was found on the PATH." >&2
    echo "On Debian or Ubuntu: apt install python3 python3-venv. On macOS: brew install python." >&2
    echo "Or name one: make run PYTHON=/path/to/python3.13" >&2
    exit 1
fi
command -v "$best"
