"""What peers say to each other: typed, signed, bounded messages. No sockets, no clock."""
