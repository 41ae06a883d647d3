"""``python -m atoll.node.cli`` is ``atoll``."""

from atoll.node.cli.main import main

main()
