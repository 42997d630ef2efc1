"""``python -m pbx_stir`` is ``pbx-stir``."""

import sys

from pbx_stir.cli.main import main

sys.exit(main())
