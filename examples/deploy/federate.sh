#!/bin/sh
# Bring the node of $ATOLL_URL into a federation; done already, it does nothing.
#   federate.sh found FEDERATION GUEST...   found it, and leave an invite for each guest in $INVITES/GUEST
#   federate.sh join FEDERATION GUEST       join with the invite of that name, as soon as it is there
# The token is that which enter.sh has left in $ATOLL_HOME/first.json.
set -eu
umask 077
act=$1 federation=$2
shift 2
ATOLL_TOKEN=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["token"])' "$ATOLL_HOME/first.json")
export ATOLL_TOKEN

id_of() {
    atoll federation list --json |
        python -c 'import json, sys; print(next((f["id"] for f in json.load(sys.stdin) if f["name"] == sys.argv[1]), ""))' "$1"
}

id=$(id_of "$federation")
case $act in
found)
    if [ -z "$id" ]; then
        atoll federation create "$federation" > /dev/null
        id=$(id_of "$federation")
    fi
    for guest in "$@"; do
        if [ ! -e "$INVITES/$guest.joined" ]; then
            atoll federation invite "$id" > "$INVITES/.$guest"
            mv "$INVITES/.$guest" "$INVITES/$guest"
        fi
    done
    ;;
join)
    if [ -z "$id" ]; then
        waited=0
        while [ ! -s "$INVITES/$1" ]; do
            waited=$((waited + 1))
            [ "$waited" -le 120 ] || { echo "no invite for $1 came" >&2; exit 1; }
            sleep 1
        done
        atoll federation join "$(cat "$INVITES/$1")"
    fi
    rm -f "$INVITES/$1"
    : > "$INVITES/$1.joined"
    ;;
*)
    echo "usage: federate.sh found|join FEDERATION GUEST..." >&2
    exit 2
    ;;
esac
