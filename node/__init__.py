"""The institution's daemon: store, peers, HTTP, command line. The only layer with effects."""
