"""``python -m likewise`` is the same as ``likewise``."""

from likewise.cli import main

raise SystemExit(main())
