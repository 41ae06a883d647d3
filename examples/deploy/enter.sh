#!/bin/sh
# Run the node of $ATOLL_HOME; the first time, make that home. What `atoll init` prints once is then in that folder: the
# token of the administrator in first.json, the recovery line in `recovery`. Take that elsewhere and delete the file:
# until then every start says so.
set -eu
umask 077
if [ ! -e "$ATOLL_HOME/identity.key" ]; then
    atoll init --home "$ATOLL_HOME" --name "${NODE_NAME:-atoll}" --json > "$ATOLL_HOME/first.json"
fi
if grep -qs '"recovery"' "$ATOLL_HOME/first.json"; then
    python - "$ATOLL_HOME" <<'EOF'
import json, os, pathlib, sys
home = pathlib.Path(sys.argv[1])
first = json.loads((home / "first.json").read_text())
(home / "recovery").write_text(first.pop("recovery") + "\n")
(home / ".first.json").write_text(json.dumps(first) + "\n")
os.replace(home / ".first.json", home / "first.json")
EOF
fi
if [ -e "$ATOLL_HOME/recovery" ]; then
    echo "the recovery line is still on this machine: keep it elsewhere, and delete $ATOLL_HOME/recovery" >&2
fi
exec atoll serve --home "$ATOLL_HOME"
