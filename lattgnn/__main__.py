"""`python -m lattgnn`."""

import sys

from lattgnn.cli import main

sys.exit(main())
