"""Every size and time limit of the protocol, in one place. Times in milliseconds, sizes in bytes."""

LISTING = 4 * 1024
HEAD = 1024
CERTIFICATE = 4 * 1024
CONTROL_FRAME = 256 * 1024
GOSSIP_MESSAGE = 64 * 1024
MATCH_FRAME = 4 * 1024 * 1024
PREDICT_FRAME = 32 * 1024 * 1024
FETCH_CHUNK = 64 * 1024
PACKAGE = 2 * 1024 * 1024 * 1024
SPECIFICATIONS = 4
WITHDRAWN = 2000  # lines of withdrawn listings that a log may carry
DECREE = 64 * 1024
SUCCESSION = 1024
LISTINGS = 100_000  # of one owner in any federation
OPEN_LISTINGS = 1000  # of one owner in an open federation
SYNC_PAGE = 100  # listings in one answer: 100 * 2 KiB stays below CONTROL_FRAME
PEERS_TOLD = 64  # peers in one answer, each with at most ADDRESSES
ADDRESSES, ADDRESS = 8, 200  # of one peer, and characters of one
NAME = 80  # characters of the name of a node

SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000
CLOCK_SKEW = 10 * MINUTE
HEAD_LIFETIME = 7 * DAY
CERTIFICATE_LIFETIME = 90 * DAY
NORM2_MAX = 1.05
