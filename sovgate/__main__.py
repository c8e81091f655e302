"""`python -m sovgate` is `sovgate`."""

from sovgate.cli import main

main()
