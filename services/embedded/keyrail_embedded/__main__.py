"""`python -m keyrail_embedded`"""

import argparse
import sys

import keyrail.runtime  # pyright: ignore[reportUnusedImport] # noqa: F401 - before nats is imported
from keyrail_embedded import up

parser = argparse.ArgumentParser(prog="keyrail up")
up.add_arguments(parser)
sys.exit(up.run(parser.parse_args()))
