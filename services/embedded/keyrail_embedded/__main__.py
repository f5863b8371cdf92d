"""`python -m keyrail_embedded`"""

import argparse
import sys

from keyrail_embedded import up

parser = argparse.ArgumentParser(prog="keyrail up")
up.add_arguments(parser)
sys.exit(up.run(parser.parse_args()))
