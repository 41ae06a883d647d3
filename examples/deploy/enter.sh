#!/bin/sh
# Run the node of $ATOLL_HOME; the first time, make that home. What `atoll init` prints once, the token of the
# administrator and the recovery line, is then in $ATOLL_HOME/first.json: read it, and take the recovery line elsewhere.
set -eu
umask 077
if [ ! -e "$ATOLL_HOME/identity.key" ]; then
    atoll init --home "$ATOLL_HOME" --name "${NODE_NAME:-atoll}" --json > "$ATOLL_HOME/first.json"
fi
exec atoll serve --home "$ATOLL_HOME"
